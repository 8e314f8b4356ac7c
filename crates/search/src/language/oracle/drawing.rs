//! Records and queries drawn by chance, of the same few names, values and words, so that they meet.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use record::{Actor, Draft, Field, Kind, Outcome, Source, Timestamp, Trace, Uuid, Value};
use serde_json::json;

/// Queries that once found something else than they should, or were taken though they are none.
pub(super) const ONCE_WRONG: [&str; 18] = [
    r"model:gemma\*",
    r"model:\*",
    r"user:a\*b*",
    "a AND OR b",
    "a OR OR b",
    "OR a",
    "NOT OR a",
    "(refund OR)",
    "(refund AND)",
    "(NOT)",
    "NOT\"refund\"",
    "οδος",
    "ΟΔΟΣ",
    "istanbul",
    "ספר",
    "〇",
    "\"1 2\"",
    "since:*",
];

const WORDS: [&str; 40] = [
    "refund",
    "Refunds",
    "REFUND",
    "policy",
    "polic",
    "a",
    "A",
    "b",
    "42",
    "7",
    "a1",
    "größe",
    "GRÖSSE",
    "Größe",
    "été",
    "e\u{301}te\u{301}",
    "привет",
    "ПРИВЕТ",
    "οδός",
    "ΟΔΟΣ",
    "οδος",
    "İstanbul",
    "istanbul",
    "退",
    "款",
    "退款政策",
    "〇〇さん",
    "時々",
    "ラーメン",
    "สวัสดี",
    "हिन्दी",
    "क्षमा",
    "می\u{200C}خواهم",
    "בית־ספר",
    "한국어",
    "👍",
    "👍🏽",
    "don't",
    "x_y",
    "AND",
];
const MODELS: [&str; 7] = ["gemma", "gemma*", "gemma-3-27b", "Gemma-3-4b", "100%_a", "größe", "a b"];
const USERS: [&str; 6] = ["alice", "bob", "Alice", "a*b", "a:b", "*"];
const ATTRIBUTES: [&str; 4] = ["gen_ai.request.seed", "example.größe", "example.a.b", "x.y"];
const DAY_MICROS: i64 = 86_400_000_000;
const FIRST_DAY_MICROS: i64 = 1_735_689_600_000_000;

fn words(count: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let between = select(vec![" ", " ", " ", ", ", "\n", "-", " – ", "", ". ", "\t"]);
    vec((select(&WORDS[..]), between), count)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, between)| [word, between]).collect())
}

/// A text, or what is said in JSON, or JSON in a text in JSON.
fn content() -> impl Strategy<Value = String> {
    let number = select(vec!["1", "2", "42", "7.5", "-3"]);
    let message = words(0..6).prop_map(|text| json!([{"role": "user", "parts": [{"type": "text", "content": text}]}]));
    let several = vec(words(0..4), 0..4).prop_map(|texts| json!(texts));
    let within = words(0..4).prop_map(|text| json!({"arguments": json!({"refund": text, "n": [1, 2]}).to_string()}));
    let mixed = (words(0..3), number.clone(), words(0..3)).prop_map(|(first, number, last)| {
        let number: serde_json::Value = serde_json::from_str(number).unwrap();
        json!({"policy": first, "n": number, "m": number, "refund": [true, null, last]})
    });
    let json = prop_oneof![message, several, within, mixed];
    let escaped = json.clone().prop_map(|json| {
        let escape = |c: char| {
            if c.is_ascii() {
                c.to_string()
            } else {
                c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }
        };
        json.to_string().chars().map(escape).collect::<String>()
    });
    let broken = (select(vec!["[info] ", "[1] \"refund\": ", "- "]), words(1..5))
        .prop_map(|(begins, text)| format!("{begins}{text}"));
    prop_oneof![4 => words(0..8), 3 => json.prop_map(|json| json.to_string()), 1 => escaped, 1 => broken]
}

fn time() -> impl Strategy<Value = Timestamp> {
    let near = (0..30 * DAY_MICROS).prop_map(|micros| FIRST_DAY_MICROS + micros);
    let at_midnight = (0..30_i64).prop_map(|day| FIRST_DAY_MICROS + day * DAY_MICROS);
    let far = select(vec![i64::MIN, -1, 0, i64::MAX]);
    prop_oneof![8 => near, 2 => at_midnight, 1 => far].prop_map(Timestamp::from_micros)
}

fn source() -> impl Strategy<Value = Source> {
    (select(vec!["bot", "shop"]), select(vec!["staging", "production", ""])).prop_map(|(service, environment)| Source {
        service: service.into(),
        environment: environment.into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: "test".into(),
    })
}

fn actor() -> impl Strategy<Value = Option<Actor>> {
    let actor = (proptest::option::of(select(&USERS[..])), vec("[a-c]", 0..3), proptest::bool::ANY);
    proptest::option::of(actor.prop_map(|(id, groups, has_ip)| Actor {
        kind: "user".into(),
        id: id.map(Into::into),
        groups,
        auth: None,
        ip: has_ip.then(|| "192.0.2.7".into()),
        fingerprint: None,
    }))
}

fn attributes() -> impl Strategy<Value = Vec<(&'static str, Value<'static>)>> {
    let text = |texts: &'static [&'static str]| select(texts).prop_map(|text| Value::Text(text.into()));
    let whole = prop_oneof![8 => 0..600_i64, 1 => Just(-1), 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let number = prop_oneof![
        select(vec![0.0, -0.0, 0.5, 1.0, 1e300, -2.25]).prop_map(Value::Float),
        whole.clone().prop_map(Value::Int),
    ];
    let any = prop_oneof![
        text(&MODELS),
        whole.clone().prop_map(Value::Int),
        Just(Value::Bool(true)),
        Just(Value::Null),
        Just(Value::List(vec![Value::Int(7), Value::Text("a".into())])),
    ];
    let one = prop_oneof![
        text(&MODELS).prop_map(|value| ("gen_ai.request.model", value)),
        number.clone().prop_map(|value| ("gen_ai.request.temperature", value)),
        number.prop_map(|value| ("testimony.duration_ms", value)),
        whole.clone().prop_map(|value| ("gen_ai.usage.input_tokens", Value::Int(value))),
        whole.prop_map(|value| ("http.response.status_code", Value::Int(value))),
        proptest::bool::ANY.prop_map(|value| ("gen_ai.request.stream", Value::Bool(value))),
        any.clone().prop_map(|value| ("gen_ai.request.model", value)),
        any.clone().prop_map(|value| ("gen_ai.request.stream", value)),
        (select(&ATTRIBUTES[..]), any),
    ];
    vec(one, 0..7)
}

fn draft() -> impl Strategy<Value = Draft> {
    let names = [
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "example.note",
    ];
    let contents = (proptest::sample::subsequence(names.to_vec(), 0..4), vec(content(), 4));
    let id = (any::<u128>(), 1..900_u128, proptest::option::of("[0-3]{32}"));
    let what = (select(Kind::ALL), proptest::option::of(select(Outcome::ALL)));
    (id, time(), source(), actor(), what, attributes(), contents).prop_map(
        |((id, call, trace_id), time, source, actor, (kind, outcome), attributes, (names, texts))| {
            let mut draft = Draft::new(Uuid::from_u128(id), time, kind, Arc::new(source));
            (draft.actor, draft.outcome) = (actor, outcome);
            draft.call_id = (call > 100).then(|| Uuid::from_u128(call));
            draft.trace = Trace { trace_id, ..Trace::default() };
            attributes.into_iter().for_each(|(name, value)| draft.attributes.set(name, value));
            draft.content = names
                .into_iter()
                .zip(texts)
                .map(|(name, text)| Field { name: name.into(), media: "text/plain".into(), bytes: text.into_bytes() })
                .collect();
            draft
        },
    )
}

/// So many records.
pub(super) fn drafts(runner: &mut TestRunner, count: usize) -> Vec<Draft> {
    (0..count).map(|_| draft().new_tree(runner).unwrap().current()).collect()
}

/// In quotes, and what has to be so behind a backslash.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text as a word of the language.
fn bare(text: &str) -> String {
    let is_sign = |c: char| c.is_whitespace() || "()\"|\\:*".contains(c);
    let word: String = text.chars().flat_map(|c| is_sign(c).then_some('\\').into_iter().chain([c])).collect();
    if matches!(text, "AND" | "OR" | "NOT") || text.starts_with(['-', '[', '<', '>']) {
        format!("\\{word}")
    } else {
        word
    }
}

fn starred(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let part = |text: &str, from: usize, count: usize| text.chars().skip(from % 4).take(count).collect::<String>();
    (select(texts), 0..4_usize, 0..5_usize, 0..6_usize).prop_map(move |(text, shape, from, count)| match shape {
        0 => format!("{}*", bare(&part(text, 0, count))),
        1 => format!("*{}", bare(&part(text, from, 99))),
        2 => format!("*{}*", bare(&part(text, from, count))),
        _ => format!("{}*{}", bare(&part(text, 0, 1)), bare(&part(text, from + 1, 99))),
    })
}

fn value(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => select(texts).prop_map(bare),
        1 => select(texts).prop_map(quoted),
        2 => starred(texts),
        1 => Just("*".to_owned()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&WORDS[..]).prop_map(bare),
        2 => words(1..4).prop_map(|text| quoted(&text)),
        2 => starred(&WORDS),
        1 => (starred(&WORDS), select(&WORDS[..])).prop_map(|(first, last)| quoted(&format!("{first} {last}"))),
    ]
}

/// A comparison, a range, or a value alone.
fn compared(value: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = String> {
    let signs = select(vec!["", ">", ">=", "<", "<="]);
    let space = || select(vec!["", " ", "  "]);
    prop_oneof![
        3 => (signs, value.clone()).prop_map(|(sign, value)| format!("{sign}{value}")),
        2 => (value.clone(), value, space(), space())
            .prop_map(|(from, to, before, after)| format!("[{before}{from} {before}TO {after}{to}{after}]")),
        1 => Just("*".to_owned()),
    ]
}

fn moments() -> impl Strategy<Value = String> + Clone {
    let day = (0..32_i64).prop_map(|day| Timestamp::from_micros(FIRST_DAY_MICROS + day * DAY_MICROS).to_string());
    let dates = day.clone().prop_map(|day| day[..10].to_owned());
    let offset = dates.clone().prop_map(|day| format!("{day}T01:30:00.5+01:30"));
    let odd = select(vec![
        "now",
        "1h",
        "400w",
        "999999999w",
        "0s",
        "9999-12-31",
        "0000-01-01",
        "1969-12-31T23:59:59.999999Z",
        "x",
        "7y",
    ]);
    prop_oneof![3 => dates, 2 => day, 1 => offset, 1 => odd.prop_map(Into::into)]
}

fn condition() -> impl Strategy<Value = String> {
    let whole = prop_oneof![4 => (0..600_i64).prop_map(|n| n.to_string()), 1 => select(vec!["-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5", "+7"]).prop_map(Into::into)];
    let number = prop_oneof![2 => whole.clone(), 2 => select(vec!["0", "-0", "0.5", ".5", "1", "1e300", "-2.25", "9223372036854775807", "x"]).prop_map(Into::into)];
    let field = |names: Vec<&'static str>, of: BoxedStrategy<String>| {
        (select(names), of).prop_map(|(name, condition)| format!("{name}:{condition}")).boxed()
    };
    let contents = prop_oneof![
        select(&WORDS[..]).prop_map(bare),
        words(1..3).prop_map(|text| quoted(&text)),
        starred(&WORDS),
        Just("*".into())
    ];
    let known: &'static [&'static str] = &[
        "staging",
        "production",
        "",
        "bot",
        "user",
        "allowed",
        "failed",
        "inference.request",
        "tool.call",
        "192.0.2.7",
    ];
    prop_oneof![
        field(vec!["model", "gen_ai.request.model"], value(&MODELS).boxed()),
        field(vec!["user", "actor_id", "actor_groups"], value(&USERS).boxed()),
        field(
            vec!["env", "environment", "service", "kind", "type", "outcome", "ip", "actor_type", "producer"],
            value(known).boxed()
        ),
        field(ATTRIBUTES.to_vec(), value(&MODELS).boxed()),
        field(
            vec!["call", "trace"],
            prop_oneof![
                (1..900_u128).prop_map(|n| Uuid::from_u128(n).to_string()),
                Just("*".into()),
                Just("*1".into()),
                Just("0*".into())
            ]
            .boxed()
        ),
        field(vec!["status", "input_tokens"], compared(whole.clone()).boxed()),
        field(
            vec!["log_index", "index", "seq"],
            compared(prop_oneof![(0..2_300_i64).prop_map(|n| n.to_string()), whole]).boxed()
        ),
        field(vec!["temperature", "duration_ms"], compared(number).boxed()),
        field(vec!["stream"], select(vec!["true", "false", "*", "maybe"]).prop_map(String::from).boxed()),
        field(vec!["time", "received"], compared(moments()).boxed()),
        field(vec!["since", "until"], moments().boxed()),
        field(vec!["input", "output", "arguments", "result"], contents.boxed()),
    ]
}

/// A query that is one, but for a value here and there.
pub(super) fn query() -> impl Strategy<Value = String> {
    let term = prop_oneof![2 => text(), 3 => condition()];
    let filter = term.prop_recursive(4, 10, 3, |inner| {
        let between = select(vec![" ", " ", "  ", " AND ", "\t AND\n", " OR ", " OR ", " OR  "]);
        let group = inner.clone().prop_map(|inner| format!("({inner})"));
        let negated = (select(vec!["-", "NOT ", "- ", "NOT  "]), prop_oneof![group.clone(), condition()])
            .prop_map(|(not, inner)| format!("{not}{inner}"));
        let several = (inner, vec((between, prop_oneof![group, negated.clone(), condition(), text()]), 1..3))
            .prop_map(|(first, more)| more.into_iter().fold(first, |all, (between, next)| all + between + &next));
        prop_oneof![1 => negated, 3 => several]
    });
    (select(vec!["", "", " "]), filter, select(vec!["", "", " "]))
        .prop_map(|(before, filter, after)| before.to_owned() + &filter + after)
}

/// Parts of queries in any order.
pub(super) fn tokens() -> impl Strategy<Value = String> {
    let part = select(vec![
        "refund",
        "a",
        "policy ",
        "model:",
        "model:gemma",
        "env:staging",
        "status:",
        "[",
        "]",
        " TO ",
        "TO",
        "1",
        "400",
        ">=",
        "<",
        "*",
        "\"",
        "\"refund\"",
        "(",
        ")",
        "-",
        " AND ",
        " OR ",
        "NOT ",
        "AND",
        "OR",
        "NOT",
        ":",
        "\\",
        " ",
        "\n",
        "since:",
        "7d",
        "退",
        "👍",
        ".",
        "x.y:",
    ]);
    vec(part, 0..9).prop_map(|parts| parts.concat())
}
