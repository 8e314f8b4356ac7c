use serde_json::{Value, json};

use super::server::Server;
use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TEXTS: [Text<'static>; 2] =
    [Text { role: "system", text: "Be kind." }, Text { role: "user", text: "How do I pick a lock?" }];
const ANSWERED: [Text<'static>; 2] =
    [Text { role: "user", text: "Hello" }, Text { role: "assistant", text: "Hello yourself" }];

fn asked(direction: Direction, texts: &'static [Text<'static>]) -> Asked<'static> {
    let (call, unix_seconds, actor) = ("0198c", 1_764_000_000, Some("alice"));
    Asked { direction, call, unix_seconds, model: "big-model", actor, environment: "staging", texts }
}

fn input() -> Asked<'static> {
    asked(Direction::Input, &TEXTS)
}

fn side(toml: &str) -> Side {
    toml::from_str(toml).unwrap()
}

/// Settings with so much time that a slow machine does not matter, unless they say otherwise.
fn patient(more: &str) -> String {
    if more.contains("timeout_ms") { more.to_owned() } else { format!("timeout_ms = 60_000\n{more}") }
}

fn judge(url: &str, more: &str) -> Judges {
    let more = patient(more);
    let toml = format!("[judge]\nurl = \"{url}/v1/\"\nmodel = \"small\"\naction = \"block\"\n{more}");
    Judges::new(&side(&toml)).unwrap()
}

fn webhook(url: &str, more: &str) -> Judges {
    let more = patient(more);
    Judges::new(&side(&format!("[webhook]\nurl = \"{url}/hook?team=a\"\n{more}"))).unwrap()
}

async fn completing(content: &str) -> Server {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"});
    Server::answering(200, "", &json!({"id": "x", "choices": [choice], "usage": {}}).to_string()).await
}

fn shown(verdicts: &[Verdict]) -> String {
    let shown = |verdict: &Verdict| {
        let Verdict { check, action, score, findings, rules, explanation } = verdict;
        format!("{check} {action:?} {score} {findings} {} | {explanation}", rules.join(","))
    };
    verdicts.iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_settings(toml: &str, sentence: &str) {
    assert_eq!(Judges::new(&side(toml)).map(drop).unwrap_err().to_string(), sentence);
}

#[tokio::test]
async fn a_judge_that_finds_nothing_lets_pass() {
    let server = completing("\n\nsafe").await;
    let verdicts = judge(&server.url, "api_key = \"sk-1\"").judge(&input()).await;
    assert_eq!(shown(&verdicts), "judge Pass 0 0  | ");
    let (head, body) = server.requests().remove(0);
    assert!(head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer sk-1") && head.contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["model"], &body["temperature"], &body["stream"]), (&json!("small"), &json!(0), &json!(false)));
    assert_eq!(body["max_tokens"], 100);
    let content = body["messages"][0]["content"].as_str().unwrap();
    assert!(content.contains("\nUser: Be kind.\n\nHow do I pick a lock?\n\n<END CONVERSATION>"), "{content}");
    assert!(content.contains("ONLY THE LAST User message"), "{content}");
}

#[tokio::test]
async fn what_a_judge_finds_is_in_its_verdict_by_code_and_name() {
    let server = completing("unsafe\nS2,S10").await;
    let verdicts = judge(&server.url, "").judge(&input()).await;
    let sentence = "the judge finds the text unsafe: S2 (Non-Violent Crimes), S10 (Hate)";
    assert_eq!(shown(&verdicts), format!("judge Block 1 2 S10,S2 | {sentence}"));
}

#[tokio::test]
async fn an_answer_is_judged_as_the_agents() {
    let server = completing("Yes.").await;
    let judges = judge(&server.url, "style = \"yes-no\"\ncategories = [\"Greetings\"]");
    let verdicts = judges.judge(&asked(Direction::Output, &ANSWERED)).await;
    assert_eq!(shown(&verdicts), "judge Block 1 1 unsafe | the judge finds the text unsafe");
    let body = server.requests().remove(0).1;
    assert!(body.contains("Does the last Agent message") && body.contains("S1: Greetings."), "{body}");
}

#[tokio::test]
async fn a_server_that_makes_the_prompt_gets_the_messages() {
    let server = completing("safe").await;
    let judges = judge(&server.url, "style = \"llama-guard-messages\"");
    assert_eq!(shown(&judges.judge(&asked(Direction::Output, &ANSWERED)).await), "judge Pass 0 0  | ");
    let body: Value = serde_json::from_str(&server.requests().remove(0).1).unwrap();
    let expected = json!([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello yourself"}]);
    assert_eq!(body["messages"], expected);
}

#[tokio::test]
async fn a_judge_that_is_not_understood_fails_as_the_settings_say() {
    let why = "judge {} 0 1 failed | the judge did not say whether the text may pass: its answer is not";
    let form = "\"safe\", or \"unsafe\" and a line with codes of the categories";
    let server = completing("I think that it is safe.").await;
    for (fail, outcome) in [("", "Block"), ("fail = \"closed\"", "Block"), ("fail = \"open\"", "Flag")] {
        let verdicts = judge(&server.url, fail).judge(&input()).await;
        assert_eq!(shown(&verdicts), format!("{} {form}", why.replace("{}", outcome)));
    }
    for body in ["", "safe", "{}", r#"{"choices":[]}"#, r#"{"choices":[{"message":{"content":null}}]}"#] {
        let server = Server::answering(200, "", body).await;
        let verdicts = judge(&server.url, "").judge(&input()).await;
        assert_eq!(shown(&verdicts), format!("{} a chat completion with one choice", why.replace("{}", "Block")));
    }
    let cut = r#"{"choices":[{"message":{"content":"unsafe\nS1"},"finish_reason":"length"}]}"#;
    let server = Server::answering(200, "", cut).await;
    let verdicts = judge(&server.url, "").judge(&input()).await;
    assert_eq!(shown(&verdicts), format!("{} whole: it was cut off at max_tokens", why.replace("{}", "Block")));
}

#[tokio::test]
async fn refusals_redirects_and_long_answers_are_failures() {
    let elsewhere = completing("safe").await;
    let location = format!("location: {}/v1/chat/completions\r\n", elsewhere.url);
    for (status, headers) in [(307, location.as_str()), (302, &location), (401, ""), (500, ""), (503, "")] {
        let server = Server::answering(status, headers, "safe").await;
        let verdicts = judge(&server.url, "").judge(&input()).await;
        assert!(shown(&verdicts).ends_with(&format!(": it answered with status {status}")), "{}", shown(&verdicts));
    }
    assert!(elsewhere.requests().is_empty());
    let server = completing(&format!("safe{}", " ".repeat(crate::ANSWER_BYTES_MAX))).await;
    let verdicts = judge(&server.url, "").judge(&input()).await;
    assert!(shown(&verdicts).ends_with(": its answer has more than 65536 bytes"), "{}", shown(&verdicts));
}

#[tokio::test]
async fn who_is_not_there_or_says_nothing_is_a_failure_that_names_no_address() {
    let gone = "http://127.0.0.1:1";
    for judges in [judge(gone, ""), webhook(gone, "")] {
        let verdicts = judges.judge(&input()).await;
        let sentence = "did not say whether the text may pass: it cannot be reached: Connection refused";
        assert!(shown(&verdicts).contains(sentence) && !shown(&verdicts).contains("127.0.0.1"), "{}", shown(&verdicts));
    }
    let silent = Server::silent().await;
    for judges in [judge(&silent.url, "timeout_ms = 10"), webhook(&silent.url, "timeout_ms = 10")] {
        let verdicts = judges.judge(&input()).await;
        assert_eq!(verdicts[0].action, Outcome::Block);
        assert!(shown(&verdicts).ends_with(": it did not answer within 10 ms"), "{}", shown(&verdicts));
    }
}

#[tokio::test]
async fn who_waits_for_a_place_waits_within_their_time_and_asks_nothing() {
    let silent = Server::silent().await;
    let judges = webhook(&silent.url, "timeout_ms = 60_000\nconcurrency_max = 1\nfail = \"open\"");
    let first = tokio::spawn({
        let judges = judges.clone();
        async move { judges.judge(&input()).await }
    });
    silent.asked(1).await;
    let asked = input();
    let second = judges.judge(&asked);
    tokio::pin!(second);
    for _ in 0..100 {
        let waits = tokio::select! { biased; _ = &mut second => false, () = tokio::task::yield_now() => true };
        assert!(waits);
    }
    assert_eq!(silent.requests().len(), 1);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // A question that is given up gives its place to the next.
    tokio::select! { _ = &mut second => unreachable!(), () = silent.asked(2) => {} }
}

#[tokio::test]
async fn a_webhook_gets_the_call_and_a_signature() {
    let answer = r#"{"action":"flag","score":0.5,"rule":"locks","explanation":"It is about locks."}"#;
    let server = Server::answering(201, "", answer).await;
    let verdicts = webhook(&server.url, &format!("secret = \"{SECRET}\"")).judge(&input()).await;
    assert_eq!(shown(&verdicts), "webhook Flag 0.5 1 locks | It is about locks.");
    let requests = server.requests();
    let (head, body) = &requests[0];
    assert!(head.starts_with("post /hook?team=a http/1.1\r\n"), "{head}");
    let signature = crate::signature::Signer::new(SECRET).unwrap().sign("0198c-input", 1_764_000_000, body.as_bytes());
    for header in ["webhook-id: 0198c-input", "webhook-timestamp: 1764000000"] {
        assert!(head.contains(header), "{head}");
    }
    assert!(head.contains(&format!("webhook-signature: {}", signature.to_lowercase())), "{head}");
    let expected = json!({
        "version": 1, "side": "input", "call": "0198c", "time": 1_764_000_000, "model": "big-model", "actor": "alice",
        "environment": "staging",
        "texts": [{"role": "system", "text": "Be kind."}, {"role": "user", "text": "How do I pick a lock?"}],
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn without_a_secret_there_is_no_signature() {
    let server = Server::answering(200, "", r#"{"action":"pass"}"#).await;
    assert_eq!(shown(&webhook(&server.url, "").judge(&input()).await), "webhook Pass 0 0  | ");
    let head = server.requests().remove(0).0;
    assert!(head.contains("webhook-id: ") && !head.contains("webhook-signature"), "{head}");
}

#[tokio::test]
async fn all_are_asked_at_once_and_each_has_a_verdict() {
    let (model, hook) = (completing("safe").await, Server::silent().await);
    let toml = format!(
        "[judge]\nurl = \"{}\"\nmodel = \"m\"\naction = \"flag\"\ntimeout_ms = 59_999\n[webhook]\nurl = \"{}\"\ntimeout_ms = 60_000",
        model.url, hook.url
    );
    let judges = Judges::new(&side(&toml)).unwrap();
    assert!(!judges.is_empty());
    // The webhook never answers, and yet the judge was asked: neither waits for the other.
    let both = async { tokio::join!(model.asked(1), hook.asked(1)) };
    let asked = input();
    tokio::select! { _ = judges.judge(&asked) => unreachable!(), _ = both => {} }

    let toml = toml.replace("60_000", "10");
    let verdicts = Judges::new(&side(&toml)).unwrap().judge(&input()).await;
    let checks: Vec<_> = verdicts.iter().map(|verdict| (verdict.check, verdict.action)).collect();
    assert_eq!(checks, [("judge", Outcome::Pass), ("webhook", Outcome::Block)]);
}

#[tokio::test]
async fn texts_that_are_too_long_are_not_sent() {
    let server = completing("safe").await;
    for judges in [judge(&server.url, "text_bytes_max = 28"), webhook(&server.url, "text_bytes_max = 28")] {
        let verdicts = judges.judge(&input()).await;
        let sentence = "there are 29 bytes to judge, more than its text_bytes_max of 28";
        assert!(shown(&verdicts).ends_with(sentence), "{}", shown(&verdicts));
        assert_eq!(verdicts[0].rules, [FAILED_RULE]);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn nobody_is_asked_about_nothing() {
    let server = completing("unsafe\nS1").await;
    let empty: &[Text<'_>] = &[Text { role: "user", text: " " }];
    for judges in [judge(&server.url, ""), webhook(&server.url, "")] {
        let verdicts = judges.judge(&asked(Direction::Input, empty)).await;
        assert_eq!(verdicts[0].action, Outcome::Pass);
    }
    let nobody = Judges::new(&Side::default()).unwrap();
    assert!(nobody.is_empty() && nobody.judge(&input()).await.is_empty());
    assert!(server.requests().is_empty());
}

#[test]
fn faults_of_the_settings_are_told_in_a_sentence() {
    let judge = "[judge]\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\naction = \"block\"\n";
    let webhook = "[webhook]\nurl = \"http://127.0.0.1:1\"\n";
    let check_judge = |more: &str, sentence: &str| check_settings(&format!("{judge}{more}"), sentence);
    check_settings(
        &judge.replace("block", "redact"),
        "judge judges a text as a whole and cannot redact; its action is \"flag\" or \"block\"",
    );
    check_settings(&judge.replace("\"m\"", "\" \""), "judge: model has to be given");
    check_judge("timeout_ms = 9", "judge: timeout_ms has to be from 10 to 60000");
    check_judge("timeout_ms = 60_001", "judge: timeout_ms has to be from 10 to 60000");
    check_judge("concurrency_max = 0", "judge: concurrency_max has to be from 1 to 1024");
    check_judge("text_bytes_max = 0", "judge: text_bytes_max has to be from 1 to 1048576");
    check_judge("api_key = \"a\\nb\"", "judge: api_key has characters that a header cannot have");
    check_judge("instructions = \"Well?\"", "judge: instructions have to have {conversation} in them");
    check_judge("categories = [\"a\\nb\"]", "judge: categories \"a\\nb\" is not a name: one line of 1 to 64 bytes");
    check_settings(&judge.replace("/v1", "/v1?key=1"), "judge: url has to be a base without a query");
    check_settings(
        &format!("{webhook}secret = \"hunter2\""),
        "webhook: secret has to be \"whsec_\" and base64 of 24 to 64 random bytes",
    );
    check_settings(
        &format!("{webhook}text_bytes_max = 99999999"),
        "webhook: text_bytes_max has to be from 1 to 16777216",
    );
}

#[test]
fn an_address_is_not_repeated() {
    let sentence = "url has to be an http or https address without a name or password in it";
    for bad in ["http://me:hunter2@host/", "ftp://hunter2", "hunter2", ""] {
        check_settings(&format!("[webhook]\nurl = \"{bad}\""), &format!("webhook: {sentence}"));
        let toml = format!("[judge]\nurl = \"{bad}\"\nmodel = \"m\"\naction = \"flag\"");
        check_settings(&toml, &format!("judge: {sentence}"));
    }
}

#[test]
fn the_settings_in_the_documentation_can_be_used() {
    let blocks = include_str!("../../../../docs/guardrails.md").split("```toml\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    let with_judge = blocks.iter().find(|block| block.contains("[guardrails.input.judge]")).unwrap();
    let with_judge = with_judge.replace("whsec_…", SECRET);
    // The members that are commented out too.
    for toml in [with_judge.replace("\n# ", "\n"), with_judge] {
        let settings: toml::Table = toml.parse().unwrap();
        let settings: guardrails::Settings = settings["guardrails"].clone().try_into().unwrap();
        assert!(Judges::new(&settings.input).unwrap().judge.is_some());
        assert!(Judges::new(&settings.output).map(|judges| judges.webhook).is_ok_and(|webhook| webhook.is_some()));
    }
}
