use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TEXTS: [Text<'static>; 1] =
    [Text { role: "user", text: "The launch code of the Blue Heron is four times the seven, and nobody may know it." }];

fn validator(text: &str) -> Validator {
    let schema: Value = serde_json::from_str(text).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::validator_for(&schema).unwrap()
}

fn answers() -> Validator {
    validator(include_str!("../../schema/answer.json"))
}

#[track_caller]
fn check(answer: &str, expected: &str) {
    let shown = match read_answer(answer.as_bytes(), &TEXTS) {
        Ok(Opinion { outcome, score, rules, explanation }) => {
            format!("{outcome:?} {score} {} {explanation}", rules.join(","))
        }
        Err(failure) => failure.to_string(),
    };
    assert_eq!(shown, expected);
}

#[test]
fn answers_become_verdicts() {
    check(r#"{"action":"pass"}"#, "Pass 0  ");
    check(r#"{"action":"pass","score":0.25,"rule":"x","explanation":"fine"}"#, "Pass 0.25  ");
    check(r#"{"action":"flag"}"#, "Flag 1 unnamed the webhook gives no reason");
    check(
        r#"{"action":"block","score":0.5,"rule":"Trade-Secrets.v2","explanation":"It tells\nof a launch."}"#,
        "Block 0.5 Trade-Secrets.v2 It tells of a launch.",
    );
    check(
        r#" {"explanation":null,"action":"block","score":1,"rule":null} "#,
        "Block 1 unnamed the webhook gives no reason",
    );
}

#[test]
fn what_is_not_understood_is_no_pass() {
    let form = "its answer is not JSON with an action of \"pass\", \"flag\" or \"block\" and nothing unknown";
    for answer in [
        "",
        "pass",
        "\"pass\"",
        "[]",
        "{}",
        "null",
        r#"{"action":"Pass"}"#,
        r#"{"action":"redact"}"#,
        r#"{"action":null}"#,
        r#"{"action":"pass","redactions":[]}"#,
        r#"{"action":"block","action":"pass"}"#,
        r#"{"action":"pass"} x"#,
        r#"{"action":"pass","score":"0"}"#,
        r#"{"action":"pass","rule":7}"#,
    ] {
        check(answer, form);
    }
    check(r#"{"action":"pass","score":1.5}"#, "its answer is not one whose score is from 0 to 1");
    check(r#"{"action":"pass","score":-1}"#, "its answer is not one whose score is from 0 to 1");
    let rule = "its answer is not one whose rule is 1 to 64 letters, digits, \".\", \"_\" and \"-\"";
    for bad in ["", "failed", "a b", "größe", &"x".repeat(65)] {
        check(&json!({"action": "block", "rule": bad}).to_string(), rule);
    }
}

#[test]
fn an_explanation_that_quotes_is_left_out() {
    let explanation = |text: &str| explained(Some(text), &TEXTS);
    let left_out = "the webhook's explanation repeats some of the text and is left out";
    let text = TEXTS[0].text;
    for from in 0..text.len() - QUOTED_CHARS_MAX - 1 {
        for before in 0..=QUOTED_CHARS_MAX {
            let quote = &text[from..from + QUOTED_CHARS_MAX + 1];
            assert_eq!(explanation(&format!("{}{quote}\"", "-".repeat(before))), left_out);
        }
    }
    assert_eq!(explanation("It gives a code away."), "It gives a code away.");
    assert_eq!(explanation(&"ä".repeat(600)).chars().count(), EXPLANATION_CHARS_MAX);
}

#[test]
fn the_question_has_the_form_of_its_schema() {
    let questions = validator(include_str!("../../schema/question.json"));
    for actor in [None, Some("alice")] {
        for direction in [Direction::Input, Direction::Output] {
            let (call, unix_seconds, model, environment) = ("c-1", 1_764_000_000, "m", "staging");
            let asked = Asked { direction, call, unix_seconds, model, actor, environment, texts: &TEXTS };
            let question: Value = serde_json::from_slice(&question(&asked).unwrap()).unwrap();
            let errors: Vec<String> = questions.iter_errors(&question).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(question["side"], if direction == Direction::Input { "input" } else { "output" });
            assert_eq!(question["texts"][0]["text"], TEXTS[0].text);
            let documented = questions_members();
            let missing = documented.iter().filter(|name| question.get(name.as_str()).is_none());
            assert_eq!(missing.collect::<Vec<_>>(), if actor.is_none() { vec!["actor"] } else { vec![] });
        }
    }
}

fn questions_members() -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("../../schema/question.json")).unwrap();
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

fn answer() -> impl Strategy<Value = Value> {
    let action = prop::sample::select(vec!["pass", "flag", "block", "redact", "", "PASS"]).prop_map(Value::from);
    let anything =
        prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), "[a-z]{0,3}".prop_map(Value::from)];
    let score = prop_oneof![(-0.5..1.5f64).prop_map(Value::from), Just(json!(0)), Just(json!(1)), anything.clone()];
    let rule = prop_oneof!["[a-zA-Z0-9._ é-]{0,5}".prop_map(Value::from), Just(json!("failed")), anything.clone()];
    let members = (action, score, rule, anything.clone(), anything);
    (members, any::<u16>()).prop_map(|((action, score, rule, explanation, other), present)| {
        let members =
            [("action", action), ("score", score), ("rule", rule), ("explanation", explanation), ("x", other)];
        // What nobody knows is rarely there, the action mostly.
        let is_there = |at: usize| match at {
            0 => present % 16 != 0,
            4 => present % 8 == 1,
            at => present >> (at + 4) & 1 == 1,
        };
        let there = members
            .into_iter()
            .enumerate()
            .filter(|(at, _)| is_there(*at))
            .map(|(_, (name, value))| (name.to_owned(), value));
        Value::Object(there.collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn an_answer_counts_exactly_when_its_schema_says_so(answer in answer()) {
        let is_read = read_answer(answer.to_string().as_bytes(), &TEXTS).is_ok();
        prop_assert_eq!(is_read, answers().is_valid(&answer), "{}", answer);
    }

    #[test]
    fn no_bytes_end_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        let _ = read_answer(&bytes, &TEXTS);
        let _ = read_answer(text.as_bytes(), &TEXTS);
        let _ = explained(Some(&text), &TEXTS);
    }
}
