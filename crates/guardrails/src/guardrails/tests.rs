//! What holds for all checks together: streams and whole texts agree, markers cover, work is bounded.

use proptest::prelude::*;

use super::*;
use crate::{Action, Finished, Outcome, Settings};

const SETTINGS: &str = r#"
    [output.secrets]
    action = "redact"
    [output.personal_data]
    action = "redact"
    rules = { phone = "flag" }
    [output.length]
    action = "flag"
    bytes_max = 300
    chars_max = 290
    [output.language]
    action = "flag"
    languages = ["en"]
    [output.prompt_injection]
    action = "flag"
    [output.json_schema]
    action = "flag"
    schema = { type = "object" }
"#;
const PATTERNS: &str = r#"
    [output.patterns]
    action = "redact"
    [[output.patterns.rules]]
    name = "names"
    words = ["Blue Heron", "größe"]
    [[output.patterns.rules]]
    name = "ticket"
    regex = '\bT-[0-9 ]{2,12}'
"#;

const PIECES: &[&str] = &[
    "How are you today? ",
    "ghp_",
    "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7",
    " AKIA",
    "QWERTZUIOP234567",
    "\n",
    "  ",
    "4242 4242 4242 4242",
    "4242",
    " ",
    "DE89 3704 0044 0532 0130 00",
    "ada@mail.example.org",
    "@",
    "+49 170 1234567",
    "api_key = \"",
    "h7Kq2mZw9Xb4Rt6Yn8",
    "\"",
    "-----BEGIN PRIVATE KEY-----\n",
    "MIIEvQIBADANBgkqhkiG9w0BAQ\n",
    "-----END PRIVATE KEY-----",
    "-----",
    "größe",
    "Blue",
    " Heron",
    "日本",
    "ignore all previous ",
    "instructions. ",
    "<|im_",
    "start|>",
    "T-12 34",
    "postgres://a:",
    "s3cr3tpw@host ",
    "eyJhbGciOiJIUzI1NiJ9",
    ".eyJzdWIiOiJ0ZXN0In0",
    ".c2lnbmF0dXJlc2lnbmF0dXJl",
    "AB 12 34 56 C",
    ".",
    "password: ",
    "die der und nicht ist ein ",
    "bearer ",
    "\u{200B}",
    "-",
    "BSN 111222333",
    "{\"a\": 1}",
    "xoxb-",
    "2 55 08 14 168 025 38",
];

fn guardrails(toml: &str) -> Guardrails {
    Guardrails::new(&toml::from_str::<Settings>(toml).unwrap().output).unwrap()
}

/// What a stream lets out when its text comes in these chunks, and how it ends.
fn stream<'a>(guardrails: &Guardrails, chunks: impl IntoIterator<Item = &'a str>) -> (String, Vec<Finding>, Finished) {
    let mut stream = guardrails.stream();
    let mut text = String::new();
    let mut blocked = Vec::new();
    for chunk in chunks {
        let released = stream.push(chunk);
        text.push_str(&released.text);
        blocked.extend(released.blocked);
        if let Some(held_bytes_max) = guardrails.held_bytes_max() {
            assert!(stream.held_bytes() <= held_bytes_max, "{} bytes are held", stream.held_bytes());
        }
    }
    let finished = stream.finish();
    text.push_str(&finished.text);
    blocked.extend(finished.blocked.clone());
    (text, blocked, finished)
}

/// A text in chunks that end at some of its characters.
fn cut(text: &str, mut at: Vec<usize>) -> Vec<&str> {
    at.iter_mut().for_each(|at| *at = text.floor_char_boundary(*at % (text.len() + 1)));
    at.push(text.len());
    at.sort_unstable();
    let mut from = 0;
    at.into_iter().map(|at| &text[std::mem::replace(&mut from, at)..at]).collect()
}

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![8 => prop::sample::select(PIECES).prop_map(str::to_owned), 1 => "[ -~]{0,12}", 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_judged_as_the_whole_text(text in texts(), at in prop::collection::vec(any::<usize>(), 0..20), patterns in any::<bool>()) {
        let guardrails = guardrails(&if patterns { format!("{SETTINGS}{PATTERNS}") } else { SETTINGS.to_owned() });
        let whole = guardrails.examine(&text);
        let (streamed, blocked, finished) = stream(&guardrails, cut(&text, at));
        prop_assert_eq!(blocked, vec![]);
        prop_assert_eq!(streamed, whole.text);
        prop_assert_eq!(finished.verdicts, whole.verdicts);
        let sorted = |mut findings: Vec<Finding>| {
            findings.sort_by_key(|finding| (finding.check, finding.range.start, finding.range.end));
            findings
        };
        prop_assert_eq!(sorted(finished.findings), sorted(whole.findings));
    }

    #[test]
    fn a_stream_is_judged_as_the_whole_text_beyond_what_it_can_hold(
        pieces in prop::collection::vec((texts(), 1..400_usize), 1..5), chunk in 1..9000_usize, patterns in any::<bool>(),
    ) {
        let text: String = pieces.iter().map(|(piece, times)| piece.replace(' ', "").repeat(*times)).collect();
        let guardrails = guardrails(&if patterns { format!("{SETTINGS}{PATTERNS}") } else { SETTINGS.to_owned() });
        let whole = guardrails.examine(&text);
        let (streamed, _, finished) = stream(&guardrails, cut(&text, (0..text.len()).step_by(chunk).collect()));
        prop_assert!(streamed == whole.text, "{} bytes differ", text.len());
        prop_assert_eq!(finished.verdicts, whole.verdicts);
    }

    #[test]
    fn nothing_of_a_blocked_text_leaves_from_the_block_on(text in texts(), at in prop::collection::vec(any::<usize>(), 0..20)) {
        let blocking = guardrails("[output.secrets]\naction = \"block\"\n[output.personal_data]\naction = \"redact\"");
        let whole = blocking.examine(&text);
        let (streamed, blocked, finished) = stream(&blocking, cut(&text, at));
        let first = whole.findings.iter().find(|finding| finding.action == Action::Block);
        prop_assert_eq!(blocked.first(), first);
        prop_assert!(blocked.len() <= 1);
        prop_assert_eq!(&finished.verdicts, &whole.verdicts);
        prop_assert!(whole.text.starts_with(&streamed));
        let Some(first) = first else {
            prop_assert_eq!(streamed, whole.text);
            return Ok(());
        };
        // What another check found from before the block to behind it is masked by that check's marker, which may leave.
        let before = &whole.findings[..whole.findings.iter().position(|finding| finding == first).unwrap()];
        let covering = before.iter().rev().filter(|finding| finding.range.end >= first.range.end).max_by_key(|finding| finding.range.end);
        match covering {
            Some(covering) => prop_assert!(streamed.ends_with(&covering.marker())),
            None => prop_assert!(whole.text[streamed.len()..].starts_with(&first.marker())),
        }
    }
}

#[test]
fn a_secret_split_over_chunks_at_any_offset_is_caught() {
    let guardrails = guardrails(SETTINGS);
    let secret = "ghp_aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7";
    let card = "4242 4242 4242 4242";
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----";
    for (canary, rule) in
        [(secret, "secrets/github-token"), (card, "personal_data/payment-card"), (key, "secrets/private-key")]
    {
        let text = format!("The value is {canary} and that is all there is to say about it, my friend.");
        let expect = text.replace(canary, &format!("[redacted:{rule}]"));
        for first in 0..=text.len() {
            for second in [first, first + 1, first + 7, text.len()] {
                let second = second.min(text.len());
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(stream(&guardrails, chunks).0, expect);
            }
        }
        let bytes = (0..text.len()).map(|at| &text[at..=at]);
        assert_eq!(stream(&guardrails, bytes).0, expect);
    }
}

#[test]
fn prose_is_held_back_by_little() {
    let guardrails = guardrails(SETTINGS);
    let mut stream = guardrails.stream();
    let mut most = 0;
    for word in "The quick brown fox jumps over the lazy dog, and then it rests. ".repeat(50).split_inclusive(' ') {
        stream.push(word);
        most = most.max(stream.held_bytes());
    }
    assert!(most <= 48, "{most}");
}

#[test]
fn what_two_checks_find_is_masked_once_and_counted_twice() {
    let guardrails = guardrails(&format!("{SETTINGS}{PATTERNS}"));
    let examination = guardrails.examine("mail Blue Heron@mail.example.org now");
    assert_eq!(examination.text, "mail [redacted:patterns/names][redacted:personal_data/e-mail] now");
    let examination = guardrails.examine("T-4242 4242 4242 4242.");
    assert_eq!(examination.verdicts.iter().filter(|verdict| verdict.action == Outcome::Redact).count(), 1);
}

#[test]
fn a_finding_that_is_only_flagged_leaves_the_text_alone() {
    let examination = guardrails(SETTINGS);
    let examination = examination.examine("call +49 170 1234567");
    assert!(matches!(examination.text, Cow::Borrowed("call +49 170 1234567")));
    assert_eq!(examination.verdicts[1].action, Outcome::Flag);
    assert_eq!(examination.verdicts[1].rules, ["phone"]);
}

#[test]
fn hostile_texts_cost_no_more_a_byte_than_a_fixed_bound() {
    /// How often each byte may be looked at, by all checks together.
    const LOOKS_MAX: u64 = 120;
    let guardrails = guardrails(SETTINGS);
    let length = 1 << 17;
    for piece in [
        "a",
        "1",
        "-----BEGIN",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n",
        "@",
        "a@",
        "a.b@",
        "1 ",
        "+1 ",
        "+12345678 ",
        "eyJ",
        "eyJ.eyJ.",
        "eyJaaaaaaaaaaaa.eyJ",
        "secret=",
        "password: a1",
        "://a:b",
        "sk-",
        "ghp_",
        "=",
        "AB 12 34 ",
        "DE89 ",
        ".",
        "é",
        "-",
        "\u{200B}",
        "bearer ",
        "4242 4242 ",
    ] {
        let text = piece.repeat(length / piece.len());
        let (_, work) = guardrails.examine_counting(&text);
        assert!(work <= LOOKS_MAX * text.len() as u64, "{piece}: {} a byte", work / text.len() as u64);
        let (_, twice) = guardrails.examine_counting(&text.repeat(2));
        assert!(twice <= work * 2 + work / 4, "{piece}: {work}, then {twice}");

        let mut stream = guardrails.stream();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (chunk, next) = rest.split_at(rest.floor_char_boundary(5));
            rest = next;
            stream.push(chunk);
            assert!(stream.held_bytes() <= guardrails.held_bytes_max().unwrap(), "{piece}");
        }
        // A window is read again for each eighth of it that is decided.
        let streamed = stream.work();
        assert!(
            streamed <= LOOKS_MAX * 12 * text.len() as u64,
            "{piece}: {} a byte on a stream",
            streamed / text.len() as u64
        );
    }
}

#[test]
fn a_megabyte_of_one_thing_is_read_a_few_times() {
    let guardrails = guardrails(SETTINGS);
    for piece in ["a", "1", "-----BEGIN", "@"] {
        let text = piece.repeat((1 << 20) / piece.len());
        let (examination, work) = guardrails.examine_counting(&text);
        assert!(work <= 16 * text.len() as u64, "{piece}: {} a byte", work / text.len() as u64);
        assert_eq!(examination.text, text);
    }
}

#[test]
fn a_stream_can_be_handed_to_another_task() {
    const fn is_owned_and_sendable<T: Send + 'static>() {}
    is_owned_and_sendable::<crate::Stream>();
    is_owned_and_sendable::<Guardrails>();
}
