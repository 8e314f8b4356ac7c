//! Which language and which script: the first four kilobytes are judged, by letters and by the small words that every sentence has.
//!
//! A language is refused only when it is told for sure: many small words of it, few of any that is allowed. What cannot be told
//! passes, so a short text or a list of names passes.

mod words;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::Action;
use crate::check::{Candidate, Check, Judgement, Reading, Window};
use crate::settings::{LanguageSettings, SettingsError, whole_action};
use words::{LANGUAGES, SCRIPTS, Script};

const NAME: &str = "language";
/// How much of a text is judged, in bytes.
const JUDGED_BYTES_MAX: usize = 4096;
/// How many small words a language needs to be told.
const WORDS_MIN: u32 = 4;
/// How many letters a script needs, and the share of all letters in percent.
const LETTERS_MIN: u32 = 12;
const LETTERS_PERCENT_MIN: u32 = 20;
/// The longest small word, in bytes.
const WORD_BYTES_MAX: usize = 16;

/// The check.
#[derive(Debug)]
pub(crate) struct Language {
    action: Action,
    /// Bit by bit, the languages of a small word.
    words: HashMap<&'static str, u32>,
    /// Whether each of [`LANGUAGES`] is allowed.
    languages: Option<Vec<bool>>,
    /// Whether each of [`SCRIPTS`] is allowed.
    scripts: Option<Vec<bool>>,
}

impl Language {
    pub(crate) fn new(settings: &LanguageSettings) -> Result<Self, SettingsError> {
        let action = whole_action(NAME, settings.action)?;
        if settings.languages.is_empty() && settings.scripts.is_empty() {
            return Err(SettingsError::value(NAME, "languages or scripts", "has to be given"));
        }
        let mut words: HashMap<&'static str, u32> = HashMap::new();
        for (index, language) in LANGUAGES.iter().enumerate() {
            for word in language.words.split(' ').filter(|word| !word.is_empty()) {
                *words.entry(word).or_default() |= 1 << index;
            }
        }
        let languages = allowed("languages", &settings.languages, LANGUAGES.iter().map(|language| language.code))?;
        let scripts = allowed("scripts", &settings.scripts, SCRIPTS.iter().map(|(name, _)| *name))?;
        Ok(Self { action, words, languages, scripts })
    }
}

fn allowed(
    member: &str,
    given: &[String],
    known: impl Iterator<Item = &'static str> + Clone,
) -> Result<Option<Vec<bool>>, SettingsError> {
    if let Some(name) = given.iter().find(|name| known.clone().all(|known| known != name.as_str())) {
        let known: Vec<&str> = known.collect();
        return Err(SettingsError::value(NAME, member, format!("has {name:?}, which is none of {}", known.join(", "))));
    }
    Ok((!given.is_empty()).then(|| known.map(|known| given.iter().any(|name| name == known)).collect()))
}

impl Check for Language {
    fn name(&self) -> &'static str {
        NAME
    }

    fn span_bytes_max(&self) -> usize {
        0
    }

    fn ends_with_words(&self) -> bool {
        true
    }

    fn finds_places(&self) -> bool {
        false
    }

    fn begin(self: Arc<Self>) -> Box<dyn Reading> {
        Box::new(LanguageReading {
            check: self,
            read: 0,
            is_judged: false,
            word: String::with_capacity(WORD_BYTES_MAX),
            is_long_word: false,
            letters: [0; SCRIPTS.len()],
            words: [0; LANGUAGES.len()],
        })
    }
}

#[derive(Debug)]
struct LanguageReading {
    check: Arc<Language>,
    /// How many bytes have been read.
    read: usize,
    is_judged: bool,
    word: String,
    is_long_word: bool,
    /// How many letters of each script there were.
    letters: [u32; SCRIPTS.len()],
    /// How many small words of each language there were, in tenths: a letter that only one language has counts as well.
    words: [u32; LANGUAGES.len()],
}

impl Reading for LanguageReading {
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>) {
        if self.is_judged {
            return;
        }
        for letter in window.fresh().chars() {
            if self.read + letter.len_utf8() > JUDGED_BYTES_MAX {
                self.judge(found);
                return;
            }
            self.read += letter.len_utf8();
            window.count_work(letter.len_utf8());
            self.take(letter);
        }
    }

    fn finish(&mut self, found: &mut Vec<Candidate>) -> Judgement {
        self.judge(found);
        Judgement::default()
    }
}

impl LanguageReading {
    fn take(&mut self, letter: char) {
        let lower = if letter.is_ascii_alphabetic() {
            Some((Script::Latin, letter.to_ascii_lowercase()))
        } else if letter.is_ascii() {
            None
        } else {
            Script::of(letter).map(|script| (script, letter.to_lowercase().next().unwrap_or(letter)))
        };
        let Some((script, lower)) = lower else {
            self.end_word();
            return;
        };
        if let Some(count) = self.letters.get_mut(script as usize) {
            *count += 1;
        }
        if self.word.len() + lower.len_utf8() > WORD_BYTES_MAX {
            self.is_long_word = true;
        } else {
            self.word.push(lower);
        }
    }

    fn end_word(&mut self) {
        if !self.word.is_empty()
            && !self.is_long_word
            && let Some(languages) = self.check.words.get(self.word.as_str())
        {
            for (index, count) in self.words.iter_mut().enumerate() {
                *count += languages >> index & 1;
            }
        }
        self.word.clear();
        self.is_long_word = false;
    }

    fn judge(&mut self, found: &mut Vec<Candidate>) {
        if std::mem::replace(&mut self.is_judged, true) {
            return;
        }
        self.end_word();
        let all: u32 = self.letters.iter().sum();
        if let Some(allowed) = &self.check.scripts {
            let other = self.letters.iter().zip(SCRIPTS).zip(allowed).filter(|(_, is_allowed)| !**is_allowed);
            let other =
                other.map(|((count, (name, _)), _)| (*count, name)).max().filter(|(count, _)| is_many(*count, all));
            if let Some((count, name)) = other {
                let explanation = format!("the text has letters of the script {name}, which is not allowed");
                found.push(self.candidate("script", share(count, all), explanation));
            }
        }
        if let Some(allowed) = &self.check.languages {
            let other = self.language_by_script(all).or_else(|| self.language_by_words(allowed));
            if let Some((index, score)) = other.filter(|(index, _)| !allowed.get(*index).copied().unwrap_or(true)) {
                let code = LANGUAGES.get(index).map_or("", |language| language.code);
                let explanation = format!("the text is in the language {code}, which is not allowed");
                found.push(self.candidate("language", score, explanation));
            }
        }
    }

    /// The language of a script that has only one here.
    fn language_by_script(&self, all: u32) -> Option<(usize, f32)> {
        // A Japanese text has Chinese characters too.
        let kana = self.letters.get(Script::Kana as usize).copied().unwrap_or(0);
        let han = self.letters.get(Script::Han as usize).copied().unwrap_or(0);
        let is_japanese = kana * 10 >= han;
        LANGUAGES.iter().enumerate().find_map(|(index, language)| {
            let script = language.script?;
            let count = match script {
                Script::Han if is_japanese => 0,
                Script::Kana if is_japanese => kana + han,
                script => self.letters.get(script as usize).copied()?,
            };
            (count >= LETTERS_MIN && count * 2 > all).then(|| (index, share(count, all)))
        })
    }

    /// The language with the most small words, when no allowed one comes near.
    fn language_by_words(&self, allowed: &[bool]) -> Option<(usize, f32)> {
        let (index, most) = self.words.iter().copied().enumerate().max_by_key(|(_, count)| *count)?;
        let near = self
            .words
            .iter()
            .zip(allowed)
            .filter(|(_, is_allowed)| **is_allowed)
            .map(|(count, _)| *count)
            .max()
            .unwrap_or(0);
        (most >= WORDS_MIN && near * 10 <= most * 6).then(|| (index, 1.0 - share(near, most)))
    }

    fn candidate(&self, rule: &'static str, score: f32, explanation: String) -> Candidate {
        let explanation = Cow::Owned(explanation);
        Candidate { rule: Cow::Borrowed(rule), action: self.check.action, range: 0..self.read, score, explanation }
    }
}

fn is_many(count: u32, all: u32) -> bool {
    count >= LETTERS_MIN && count * 100 >= all * LETTERS_PERCENT_MIN
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand are exact in an f32")]
fn share(part: u32, whole: u32) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

#[cfg(test)]
mod tests {
    use crate::{Guardrails, Side};

    #[track_caller]
    fn check(settings: &str, text: &str, rule: Option<&str>) {
        let side: Side = toml::from_str(&format!("[language]\naction = \"flag\"\n{settings}")).unwrap();
        let examination = Guardrails::new(&side).unwrap().examine(text);
        assert_eq!(examination.verdicts[0].rules.first().map(AsRef::as_ref), rule, "{text}");
    }

    const TEXTS: [(&str, &str); 16] = [
        ("en", "The order was sent to the wrong address and it has not been returned by the customer yet."),
        ("de", "Die Bestellung wurde an die falsche Adresse geschickt und ist noch nicht von dem Kunden zurück."),
        ("fr", "La commande a été envoyée à la mauvaise adresse et elle n'est pas encore revenue chez le vendeur."),
        (
            "es",
            "El pedido se envió a la dirección equivocada y todavía no ha sido devuelto por el cliente que lo pidió.",
        ),
        (
            "it",
            "L'ordine è stato spedito al vecchio indirizzo e non è ancora tornato, ma il cliente ha detto che lo vuole.",
        ),
        (
            "pt",
            "O pedido foi enviado para o endereço errado e ainda não foi devolvido, mas o cliente disse que não o quer.",
        ),
        ("nl", "De bestelling is naar het verkeerde adres gestuurd en is nog niet door de klant aan ons teruggegeven."),
        (
            "sv",
            "Beställningen skickades till fel adress och den har inte kommit tillbaka från kunden som ville ha den.",
        ),
        (
            "pl",
            "Zamówienie zostało wysłane na zły adres i nie jest jeszcze zwrócone, ale klient mówi, że to nie jego wina.",
        ),
        ("ru", "Заказ был отправлен не по тому адресу, и он ещё не вернулся от клиента, который его и не ждал."),
        ("zh", "订单被送到了错误的地址，客户还没有把它退回来。"),
        ("ja", "注文は間違った住所に送られて、まだお客様から戻っていません。"),
        ("ko", "주문이 잘못된 주소로 배송되었고 아직 고객에게서 돌아오지 않았습니다."),
        ("el", "Η παραγγελία στάλθηκε σε λάθος διεύθυνση και δεν επιστράφηκε."),
        ("ar", "تم إرسال الطلب إلى العنوان الخطأ ولم يعد بعد من العميل."),
        ("hi", "ऑर्डर गलत पते पर भेजा गया और अभी तक ग्राहक से वापस नहीं आया है।"),
    ];

    #[test]
    fn each_language_is_allowed_where_it_is_and_refused_elsewhere() {
        for (code, text) in TEXTS {
            check(&format!("languages = [\"{code}\"]"), text, None);
            for (other, _) in TEXTS.iter().filter(|(other, _)| *other != code) {
                check(&format!("languages = [\"{other}\"]"), text, Some("language"));
            }
        }
    }

    #[test]
    fn scripts_are_told_by_letters() {
        check("scripts = [\"latin\"]", TEXTS[0].1, None);
        check("scripts = [\"latin\"]", TEXTS[9].1, Some("script"));
        check("scripts = [\"cyrillic\"]", TEXTS[9].1, None);
        check(
            "scripts = [\"latin\"]",
            "Moscow is written Москва in Russian, and that is all there is to say of it.",
            None,
        );
    }

    #[test]
    fn what_cannot_be_told_passes() {
        for text in ["", "OK", "Kim, Ana, Bo", "1234 5678", "fn main() { let x = 5; }"] {
            check("languages = [\"fi\"]", text, None);
        }
    }
}
