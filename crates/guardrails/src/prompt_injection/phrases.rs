//! Orders as sequences of kinds of words: a verb, then what it is about, within a few words.

use super::Signal;

/// The longest word that any phrase has, in bytes.
pub(super) const WORD_BYTES_MAX: usize = 24;
/// Within how many words of its verb an order is complete.
const REACH: u32 = 8;

/// Where, counted in words, each kind of word was last seen.
#[derive(Debug, Default)]
pub(super) struct Phrases {
    count: u32,
    override_verb: Option<u32>,
    earlier: Option<u32>,
    reveal_verb: Option<u32>,
    inner: Option<u32>,
    send_verb: Option<u32>,
    valuable: Option<u32>,
    negation: Option<u32>,
    tell_verb: Option<u32>,
    fresh: Option<u32>,
    you_are: Option<u32>,
    /// The latest word and the one before.
    last: Kind,
    before_last: Kind,
    /// Whether "new instructions" has just been read.
    awaits_colon: bool,
}

/// What a word is for the phrases.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    /// "ignore"
    Override,
    /// "previous"
    Earlier,
    /// "original": earlier, and the model's own
    Original,
    /// "all"
    All,
    /// "your"
    Your,
    /// "new"
    Fresh,
    /// "hidden", "system": the model's own
    Inner,
    /// "print"
    Reveal,
    /// "instructions"
    Object,
    /// "not"
    Negation,
    /// "tell"
    Tell,
    /// "user"
    Person,
    /// "send"
    Send,
    /// "password"
    Valuable,
    /// "https"
    Address,
    /// "unrestricted"
    Unbound,
    Developer,
    Mode,
    You,
    Are,
    /// "youre"
    YouAre,
    Do,
    Anything,
    Now,
}

fn kind(word: &str) -> Kind {
    match word {
        "ignore" | "disregard" | "forget" | "override" | "bypass" | "discard" | "neglect" | "ignoriere"
        | "ignorieren" | "vergiss" | "missachte" | "ignora" | "olvida" | "ignorez" | "oublie" | "oubliez"
        | "dimentica" | "esqueça" | "negeer" => Kind::Override,
        "previous" | "prior" | "above" | "earlier" | "preceding" | "existing" | "foregoing" | "vorherigen"
        | "bisherigen" | "obigen" | "anteriores" | "previas" | "précédentes" | "antérieures" | "precedenti"
        | "vorige" | "eerdere" => Kind::Earlier,
        "original" => Kind::Original,
        "all" | "every" | "any" => Kind::All,
        "your" => Kind::Your,
        "new" | "updated" | "real" | "actual" => Kind::Fresh,
        "system" | "hidden" | "initial" | "secret" | "internal" | "confidential" => Kind::Inner,
        "reveal" | "show" | "print" | "repeat" | "output" | "display" | "leak" | "expose" | "dump" | "recite"
        | "zeige" | "muestra" | "affiche" | "mostra" => Kind::Reveal,
        "instructions" | "instruction" | "prompt" | "rules" | "guidelines" | "directions" | "directives"
        | "restrictions" | "constraints" | "programming" | "safeguards" | "anweisungen" | "regeln"
        | "instrucciones" | "reglas" | "consignes" | "istruzioni" | "instruções" | "instructies" => Kind::Object,
        "not" | "never" | "dont" | "without" | "cannot" => Kind::Negation,
        "tell" | "mention" | "inform" | "telling" | "mentioning" | "informing" | "notify" => Kind::Tell,
        "user" | "human" | "operator" => Kind::Person,
        "send" | "post" | "forward" | "upload" | "exfiltrate" | "transmit" => Kind::Send,
        "password" | "passwords" | "credentials" | "conversation" | "secrets" | "tokens" | "keys" | "history" => {
            Kind::Valuable
        }
        "http" | "https" | "webhook" => Kind::Address,
        "dan" | "unrestricted" | "unfiltered" | "uncensored" | "jailbroken" => Kind::Unbound,
        "developer" => Kind::Developer,
        "mode" => Kind::Mode,
        "you" => Kind::You,
        "are" | "re" => Kind::Are,
        "youre" => Kind::YouAre,
        "do" => Kind::Do,
        "anything" => Kind::Anything,
        "now" => Kind::Now,
        _ => Kind::Other,
    }
}

impl Phrases {
    /// Takes a word in small letters; says which orders it completes.
    pub(super) fn word(&mut self, word: &str) -> [Option<Signal>; 2] {
        self.count = self.count.saturating_add(1);
        self.awaits_colon = false;
        let now = Some(self.count);
        let kind = kind(word);
        let before_that = self.before_last;
        let before = std::mem::replace(&mut self.last, kind);
        self.before_last = before;
        let signal = match kind {
            Kind::Object => return self.object(word),
            Kind::Mode if before == Kind::Developer => Some(Signal::Escape),
            Kind::Now if (before_that, before) == (Kind::Do, Kind::Anything) => Some(Signal::Escape),
            Kind::Unbound if self.is_near(self.you_are, 4) => Some(Signal::Escape),
            Kind::Person if self.is_near(self.tell_verb, 4) => Some(Signal::Secrecy),
            Kind::Address if self.is_near(self.valuable, REACH) => Some(Signal::Exfiltration),
            _ => None,
        };
        match kind {
            Kind::Override if !self.is_near(self.negation, 2) => self.override_verb = now,
            Kind::Earlier => self.earlier = now,
            Kind::Original => (self.earlier, self.inner) = (now, now),
            // "ignore all instructions" is an order, "all instructions" alone is not.
            Kind::All if self.is_near(self.override_verb, 3) => self.earlier = now,
            Kind::Your => {
                self.inner = now;
                if self.is_near(self.override_verb, 3) {
                    self.earlier = now;
                }
            }
            Kind::Fresh => self.fresh = now,
            Kind::Inner => self.inner = now,
            Kind::Reveal => self.reveal_verb = now,
            Kind::Negation => self.negation = now,
            Kind::Tell if self.is_near(self.negation, 2) => self.tell_verb = now,
            Kind::Send => self.send_verb = now,
            Kind::Valuable if self.is_near(self.send_verb, REACH) => self.valuable = now,
            Kind::Are if before == Kind::You => self.you_are = now,
            Kind::YouAre => self.you_are = now,
            _ => {}
        }
        [signal, None]
    }

    /// Takes a mark between words.
    pub(super) fn mark(&mut self, mark: char) -> Option<Signal> {
        (mark == ':' && std::mem::take(&mut self.awaits_colon)).then_some(Signal::NewInstructions)
    }

    /// What instructions, rules or a prompt complete.
    fn object(&mut self, word: &str) -> [Option<Signal>; 2] {
        let is_ordered = self.is_near(self.override_verb, REACH);
        let is_earlier = self.earlier > self.override_verb;
        let overriding = match (is_ordered, is_earlier) {
            (true, true) => Some(Signal::Override),
            (true, false) => Some(Signal::OverrideWeak),
            (false, _) => None,
        };
        let is_inner = self.is_near(self.inner, 3) && self.inner > self.reveal_verb;
        let is_text = matches!(
            word,
            "prompt"
                | "instructions"
                | "instruction"
                | "rules"
                | "guidelines"
                | "anweisungen"
                | "instrucciones"
                | "consignes"
        );
        let revealing = (is_text && is_inner && self.is_near(self.reveal_verb, REACH)).then_some(Signal::Reveal);
        self.awaits_colon = self.is_near(self.fresh, 1);
        [overriding, revealing]
    }

    /// Whether a kind of word was seen at most so many words ago.
    fn is_near(&self, seen: Option<u32>, words: u32) -> bool {
        seen.is_some_and(|seen| self.count.saturating_sub(seen) <= words)
    }
}
