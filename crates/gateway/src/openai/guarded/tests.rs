use std::borrow::Cow;
use std::collections::BTreeMap;

use guardrails::{Outcome, Settings};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const REDACT: &str = "[output.secrets]\naction = \"redact\"\n[output.personal_data]\naction = \"redact\"";
const BLOCK: &str = "[output.secrets]\naction = \"block\"";
const CANARY: &str = "ghp_aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7";
const MARKER: &str = "[redacted:secrets/github-token]";

fn guardrails(toml: &str) -> Guardrails {
    Guardrails::new(&toml::from_str::<Settings>(toml).unwrap().output).unwrap()
}

/// What leaves of a stream that comes in these pieces, before its end, and how it ends.
fn run<'a>(guardrails: &Guardrails, pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Finished) {
    let mut stream = GuardedStream::new(guardrails);
    let mut out = Vec::new();
    for piece in pieces {
        let was_blocked = stream.blocked().is_some();
        let flowing = stream.push(piece);
        assert!(!was_blocked || flowing.is_empty());
        out.extend(flowing);
    }
    let finished = stream.finish();
    out.extend_from_slice(&finished.bytes);
    (String::from_utf8(out).unwrap(), finished)
}

fn whole(guardrails: &Guardrails, stream: &str) -> (String, Finished) {
    run(guardrails, [stream.as_bytes()])
}

fn event(choices: Value) -> String {
    format!(
        "data: {}\n\n",
        json!({"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices})
    )
}

fn says(choice: u64, delta: Value) -> String {
    event(json!([{"index": choice, "delta": delta}]))
}

fn ends(choice: u64) -> String {
    event(json!([{"index": choice, "delta": {}, "finish_reason": "stop"}]))
}

/// The texts that a client puts together, by choice and member; no text may come after its choice has ended.
fn texts(stream: &str) -> BTreeMap<(u64, String), String> {
    let (mut texts, mut ended): (BTreeMap<_, String>, Vec<u64>) = (BTreeMap::new(), Vec::new());
    for data in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let chunk: Value = serde_json::from_str(data).unwrap();
        for choice in chunk["choices"].as_array().unwrap() {
            let index = choice["index"].as_u64().unwrap();
            assert!(!ended.contains(&index), "{stream}");
            let mut add = |name: String, text: &Value| {
                texts.entry((index, name)).or_default().push_str(text.as_str().unwrap_or_default());
            };
            for name in ["content", "refusal", "reasoning_content"] {
                if choice["delta"][name].is_string() {
                    add(name.to_owned(), &choice["delta"][name]);
                }
            }
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                add(format!("call {}", call["index"]), &call["function"]["arguments"]);
            }
            if choice["finish_reason"].is_string() {
                ended.push(index);
            }
        }
    }
    texts
}

fn delta(kind: usize, text: &str) -> (String, Value) {
    match kind % 5 {
        0 => ("content".into(), json!({"content": text})),
        1 => ("refusal".into(), json!({"refusal": text})),
        2 => ("reasoning_content".into(), json!({"reasoning_content": text, "role": "assistant"})),
        call => (format!("call {call}"), json!({"tool_calls": [{"function": {"arguments": text}, "index": call}]})),
    }
}

fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    cuts.sort_unstable();
    let mut from = 0;
    cuts.into_iter().map(|to| &bytes[std::mem::replace(&mut from, to)..to]).collect()
}

const PIECES: &[&str] = &[
    "How are you today? ",
    "ghp_",
    "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7",
    " ",
    "\n",
    "4242 4242",
    " 4242 4242",
    "ada@",
    "mail.example.org",
    "日本",
    "größe ",
    "\"quoted\\\" ",
    "password: ",
    "h7Kq2mZw9Xb4Rt6Yn8",
    ". ",
    "😀",
];

proptest! {
    #[test]
    fn every_text_leaves_as_if_it_had_come_whole(
        parts in prop::collection::vec((0..3_u64, 0..5_usize, prop::sample::select(PIECES)), 0..40),
        ending in prop::collection::vec(any::<bool>(), 3), is_crlf in any::<bool>(), is_ascii in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let guardrails = guardrails(REDACT);
        let (mut stream, mut said) = (String::from(": hello\n\n"), BTreeMap::<(u64, String), String>::new());
        for (choice, kind, text) in parts {
            let (name, delta) = delta(kind, text);
            said.entry((choice, name)).or_default().push_str(text);
            stream.push_str(&says(choice, delta));
        }
        for (choice, _) in (0..3).zip(ending).filter(|(_, has_ended)| *has_ended) {
            stream.push_str(&ends(choice));
        }
        stream.push_str("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n");
        if is_crlf {
            stream = stream.replace('\n', "\r\n");
        }
        if is_ascii {
            stream = stream.replace('ö', "\\u00f6").replace('😀', "\\ud83d\\ude00");
        }
        let (out, finished) = run(&guardrails, cut(stream.as_bytes(), &cuts));
        let expect: BTreeMap<_, _> =
            said.into_iter().map(|(key, text)| (key, guardrails.examine(&text).text.into_owned())).collect();
        prop_assert_eq!(texts(&out), expect);
        prop_assert_eq!(finished.blocked, None);
        prop_assert!(stream.ends_with(std::str::from_utf8(&finished.end).unwrap()));
        prop_assert!(finished.end.starts_with(b"data: [DONE]"));
        let (at_once, finished_at_once) = whole(&guardrails, &stream);
        prop_assert_eq!(out, at_once);
        prop_assert_eq!(finished.verdicts, finished_at_once.verdicts);
    }

    #[test]
    fn nothing_changes_when_nothing_is_on(bytes in prop::collection::vec(prop_oneof![
        Just(&b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"[..]), Just(&b"\n"[..]), Just(&b"\r"[..]), Just(&b": c"[..]),
        Just(&b"event: x"[..]), Just(&b"\xff{"[..]), Just(&b"data: [DONE]"[..]),
    ], 0..20), cuts in prop::collection::vec(any::<usize>(), 0..9)) {
        let stream = bytes.concat();
        let (mut guarded, mut out) = (GuardedStream::new(&guardrails("")), Vec::new());
        for piece in cut(&stream, &cuts) {
            out.extend(guarded.push(piece));
        }
        let Finished { bytes, end, verdicts, blocked } = guarded.finish();
        // Half a line of data at the very end is no event.
        let half = stream.len() - out.len() - bytes.len() - end.len();
        prop_assert_eq!(&[out, bytes, end].concat()[..], &stream[..stream.len() - half]);
        prop_assert!(half == 0 || !stream[stream.len() - half..].contains(&b'\n'));
        prop_assert_eq!((verdicts, blocked), (vec![], None));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in "(data: |event|\\{|\\[|\"|choices|delta|:|,|\\}|\\]|\n|\r|[0-9]){0,40}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let mut stream = GuardedStream::new(&guardrails(REDACT));
            stream.push(bytes);
            let _ = stream.finish();
            let _ = guard_answer(&guardrails(REDACT), bytes);
            let _ = guard_request(&guardrails(REDACT), bytes);
        }
    }
}

#[test]
fn a_secret_never_leaves_in_part_wherever_it_is_cut() {
    let guardrails = guardrails(REDACT);
    let text = format!("The token is {CANARY} and so on.");
    for kind in 0..5 {
        for first in 0..=text.len() {
            let stream =
                format!("{}{}", says(0, delta(kind, &text[..first]).1), says(0, delta(kind, &text[first..]).1));
            for stream in [format!("{stream}data: [DONE]\n\n"), stream.clone(), format!("{stream}{}", ends(0))] {
                let (out, finished) = whole(&guardrails, &stream);
                let said: Vec<String> = texts(&out).into_values().collect();
                assert_eq!(said, [text.replace(CANARY, MARKER)], "cut at {first}");
                assert!(!out.contains("ghp_") && !out.contains("zA7"), "{out}");
                assert_eq!(finished.verdicts[0].findings, 1);
            }
        }
    }
    let stream = format!("{}{}data: [DONE]\n\n", says(0, json!({"content": text})), ends(0));
    let (expect, _) = whole(&guardrails, &stream);
    for at in 0..=stream.len() {
        let (out, _) = run(&guardrails, [&stream.as_bytes()[..at], &stream.as_bytes()[at..]]);
        assert_eq!(out, expect);
    }
}

#[test]
fn an_event_whose_texts_stay_keeps_its_bytes() {
    let stream = "event: message\r\ndata:{\"x\" : [1.50, \"\\u00e9\"], \"choices\":[ {\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}} ]}\r\n\r\n: ping\n\nid: 3\ndata: {\"choices\":[],\ndata:  \"usage\":{\"total_tokens\":42}}\n\n";
    assert_eq!(whole(&guardrails(REDACT), stream).0, stream);
}

#[test]
fn members_that_nobody_knows_stay_when_a_text_is_replaced() {
    let stream = format!(
        "data: {{\"zeta\":1.50,\ndata: \"choices\":[{{\"b\":[],\"index\":0,\"delta\":{{\"content\":\"x {CANARY} \\n\",\"a\":null}},\"finish_reason\":\"stop\"}}], \"eta\" : {{}}}}\n\n"
    );
    let expect = format!(
        "data: {{\"zeta\":1.50, \"choices\":[{{\"b\":[],\"index\":0,\"delta\":{{\"content\":\"x {MARKER} \\n\",\"a\":null}},\"finish_reason\":\"stop\"}}], \"eta\" : {{}}}}\n\n"
    );
    for end in ["\n", "\r\n", "\r"] {
        let (out, _) = whole(&guardrails(REDACT), &stream.replace('\n', end));
        assert_eq!(out, expect.replace('\n', end));
    }
}

#[test]
fn what_is_held_leaves_before_the_reason_in_an_event_of_its_own() {
    let stream = [says(0, json!({"content": "Hello"})), ends(0)].concat();
    let (out, _) = whole(&guardrails(REDACT), &stream);
    let made = "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null,\"index\":0}]}\n\n";
    assert_eq!(out, [&says(0, json!({"content": ""})), made, &ends(0)].concat());
}

#[test]
fn nothing_leaves_from_the_block_on_and_reading_goes_on() {
    let two = format!("A. {CANARY} b. ");
    let stream = [
        says(0, json!({"content": "Good day to you. "})),
        says(0, json!({"content": two})),
        says(1, json!({"content": two})),
        ends(0),
        "data: [DONE]\n\n".into(),
    ]
    .concat();
    let (out, finished) = whole(&guardrails(BLOCK), &stream);
    assert_eq!(out, says(0, json!({"content": "Good day to you. "})));
    assert_eq!(finished.blocked.unwrap().rule, "github-token");
    assert_eq!((finished.verdicts[0].action, finished.verdicts[0].findings), (Outcome::Block, 2));
    assert_eq!(finished.end, b"data: [DONE]\n\n");
}

#[test]
fn a_block_at_the_end_releases_nothing_that_was_held() {
    let (out, finished) = whole(&guardrails(BLOCK), &says(0, json!({"content": CANARY})));
    assert_eq!(texts(&out).into_values().collect::<String>(), "");
    assert!(finished.blocked.is_some() && finished.bytes.is_empty());
}

#[track_caller]
fn check_fault(stream: &str, rule: &str) {
    let (out, finished) = whole(&guardrails(REDACT), stream);
    assert!(!out.contains("ghp_"), "{out}");
    assert_eq!(finished.blocked.unwrap().rule, rule);
    assert!(finished.verdicts.iter().any(|verdict| verdict.check == "form" && verdict.action == Outcome::Block));
}

#[test]
fn what_cannot_be_examined_is_blocked() {
    check_fault(&says(CHOICES_MAX, json!({"content": "a"})), "too-many-choices");
    check_fault(&[ends(0), says(0, json!({"content": "ghp_"}))].concat(), "text-after-end");
    check_fault("data: {\"choices\":[{\"delta\":{\"content\":\"ghp_\"},\"logprob\":NaN}]}\n\n", "unreadable");
    check_fault(&format!("data: {}{}\n\n", "[".repeat(200), "]".repeat(200)), "unreadable");
    check_fault(&format!("data: {}\n\n", "a".repeat(LINE_BYTES_MAX)), "too-long");
    check_fault(&"data: a\n".repeat(LINE_BYTES_MAX / 8 + 1), "too-long");
    check_fault(&format!("data: {{\"{CANARY}\":1}}\n\n"), "unknown-form");
    let many: String = (0..=TEXTS_MAX)
        .map(|nth| says(0, json!({"tool_calls": [{"index": nth, "function": {"arguments": "ghp_"}}]})))
        .collect();
    check_fault(&many, "too-many-texts");
}

#[test]
fn a_secret_outside_of_the_known_texts_is_masked() {
    for stream in [
        format!("data: {{\"error\":{{\"message\":\"no {CANARY}\"}}}}\n\n"),
        format!("{{\"error\":{{\"message\":\"no {CANARY}\"}}}}\n"),
        format!(": {CANARY}\n\n"),
        format!("data: plain {CANARY}\n\n"),
        format!(
            "\u{FEFF}data: {{\"choices\":[{{\"delta\":{{\"unknown\":\"{CANARY}\"}},\"finish_reason\":\"stop\"}}]}}\n\n"
        ),
        says(0, json!({"tool_calls": [{"index": 0, "function": {"name": CANARY}}]})),
        says(0, json!({"content": [{"type": "text", "text": CANARY}]})),
        event(json!([{"index": 0, "delta": {}, "message": {"content": CANARY}}])),
    ] {
        let (out, finished) = whole(&guardrails(REDACT), &stream);
        assert!(!out.contains(CANARY) && out.contains(MARKER), "{out}");
        assert_eq!(finished.verdicts[0].findings, 1, "{stream}");
    }
}

#[test]
fn log_probabilities_do_not_tell_the_text() {
    let choices = json!([{"index": 0, "delta": {"content": "ghp_"}, "logprobs": {"content": [{"token": "ghp_"}]}, "token_ids": [1]}]);
    let (out, _) = whole(&guardrails(REDACT), &[event(choices), ends(0)].concat());
    assert!(out.contains("\"logprobs\":null,\"token_ids\":null"), "{out}");
    assert_eq!(out.matches("ghp_").count(), 1);
}

#[test]
fn what_follows_the_end_mark_is_left_out() {
    let (out, finished) = whole(&guardrails(REDACT), &format!("data: [DONE]\r\n\r\ndata: {CANARY}\n\n"));
    assert_eq!((out.as_str(), finished.end.as_slice()), ("", &b"data: [DONE]\r\n\r\n"[..]));
}

#[test]
fn what_is_held_is_an_event_of_its_own_even_where_the_last_one_is_not_over() {
    for end in ["\ndata: [DONE]\n\n", "\r\ndata: [DONE]", "\n", "\r", ""] {
        let stream = format!("{}{end}", says(0, json!({"content": "Hi"})).trim_end());
        let (out, _) = whole(&guardrails(REDACT), &stream);
        let (first, made) = out.trim_end().rsplit_once("data: ").unwrap();
        assert!(first.ends_with("\n\n") || first.ends_with("\r\n\n") || first.ends_with("\r\n"), "{first:?}");
        assert_eq!(texts(&format!("data: {made}"))[&(0, "content".to_owned())], "Hi", "{out:?}");
    }
}

#[test]
fn half_an_event_at_the_end_is_left_out() {
    let stream = format!("{}data: {{\"choices\":[{{\"delta\":{{\"content\":\"gh", says(0, json!({"content": "Hi"})));
    let (out, finished) = whole(&guardrails(REDACT), &stream);
    assert_eq!(texts(&out)[&(0, "content".to_owned())], "Hi");
    assert_eq!(finished.blocked, None);
}

#[test]
fn a_whole_answer_is_masked_in_place() {
    let body = |token: &str, logprobs: &str| {
        format!(
            r#"{{ "id":"x","choices":[{{"index":0,"message":{{"role":"assistant","content":"a {token} ","refusal":null,"reasoning":"{token}","tool_calls":[{{"id":"t","function":{{"name":"f","arguments":"{{\"k\":\"{token}\"}}"}}}}]}},"logprobs":{logprobs}}}],"usage":{{"n":1.0}} }}"#
        )
    };
    let guarded = |toml, body: &str| {
        let Guarded { body, verdicts, blocked } = guard_answer(&guardrails(toml), body.as_bytes());
        (String::from_utf8(body.into_owned()).unwrap(), verdicts, blocked)
    };
    let (shown, verdicts, blocked) = guarded(REDACT, &body(CANARY, "[{\"token\":\"g\"}]"));
    assert_eq!((shown, blocked), (body(MARKER, "null"), None));
    assert_eq!((verdicts[0].action, verdicts[0].findings), (Outcome::Redact, 3));
    let (shown, _, blocked) = guarded(BLOCK, &body(CANARY, "null"));
    assert_eq!((shown.as_str(), blocked.unwrap().rule.as_ref()), ("", "github-token"));
    let harmless = body("word", "[{\"token\":\"g\"}]");
    assert!(
        matches!(guard_answer(&guardrails(REDACT), harmless.as_bytes()).body, Cow::Borrowed(same) if same == harmless.as_bytes())
    );
    assert_eq!(guarded(REDACT, &format!("<html>{CANARY} </html>")).0, format!("<html>{MARKER} </html>"));
}

#[test]
fn a_request_is_masked_in_place_and_only_in_its_messages() {
    let body = |token: &str| {
        format!(
            r#"{{"model":"m", "messages": [ {{"role":"user","content":"\u00e9 {token} "}},{{"role":"user","content":[{{"type":"text","text":"{token}"}},{{"type":"image_url","image_url":{{"url":"data:{CANARY}"}}}}]}},{{"role":"assistant","tool_calls":[{{"function":{{"arguments":"{{\"a\":\"{token}\"}}"}}}}]}} ],"user":"{CANARY}","temperature":0.70}}"#
        )
    };
    let given = body(CANARY);
    let guarded = guard_request(&guardrails(REDACT), given.as_bytes());
    let shown = String::from_utf8(guarded.body.into_owned()).unwrap();
    assert_eq!(shown, body(MARKER).replace("\\u00e9 [", "é ["));
    assert_eq!(guarded.verdicts[0].findings, 3);
    let harmless = body("word");
    assert!(matches!(guard_request(&guardrails(REDACT), harmless.as_bytes()).body, Cow::Borrowed(_)));
    assert_eq!(guard_request(&guardrails(REDACT), b"{").blocked.unwrap().rule, "unreadable");
    let guarded = guard_request(&guardrails(BLOCK), given.as_bytes());
    assert!(guarded.body.is_empty() && guarded.blocked.is_some());
}

#[test]
fn the_verdicts_of_all_choices_are_one_a_check() {
    let stream =
        [says(0, json!({"content": "Hello. "})), says(1, json!({"content": format!("{CANARY} ")})), ends(0), ends(1)]
            .concat();
    let (_, finished) = whole(&guardrails(REDACT), &stream);
    let shown: Vec<_> =
        finished.verdicts.iter().map(|verdict| (verdict.check, verdict.action, verdict.findings)).collect();
    assert_eq!(shown, [("secrets", Outcome::Redact, 1), ("personal_data", Outcome::Pass, 0)]);
}

#[test]
fn the_event_with_the_reason_takes_up_what_its_own_text_holds() {
    let last = event(json!([{"index": 0, "delta": {"content": "Heron, good day"}, "finish_reason": "stop"}]));
    let (out, _) = whole(&guardrails(REDACT), &[says(0, json!({"content": "Blue "})), last.clone()].concat());
    assert_eq!(out, [says(0, json!({"content": "Blue "})), last].concat());
}
