use super::*;
use crate::decision::Obligation;
use crate::input::{Actor, Time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const WITHIN: Duration = Duration::from_secs(60);

fn input() -> Input {
    Input {
        actor: Actor { kind: "user".to_owned(), id: "alice".to_owned(), ..Actor::default() },
        time: Time { rfc3339: "2026-11-23T09:14:02Z".to_owned(), unix_ns: 1_795_425_242_000_000_001 },
        ..Input::default()
    }
}

/// Reads one request and answers it; gives the request.
async fn opa(status: u16, body: String) -> (String, JoinHandle<(String, serde_json::Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        let asked = loop {
            let read = stream.read(&mut buffer).await.unwrap();
            bytes.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8(bytes.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if let Ok(body) = serde_json::from_str(body) {
                break (head.to_lowercase(), body);
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        // Whoever has read enough may be gone.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        asked
    });
    (url, asked)
}

async fn decide(status: u16, body: impl Into<String>) -> Delegated {
    let (url, _asked) = opa(status, body.into()).await;
    Delegate::new(&url, None, WITHIN, vec![Point::Request]).unwrap().decide(Point::Request, &input()).await
}

/// A failed decision's error, which is its only reason too.
async fn error(status: u16, body: impl Into<String>) -> String {
    let delegated = decide(status, body).await;
    assert!(!delegated.decision.allow);
    let error = delegated.decision.error.unwrap();
    assert_eq!(delegated.decision.reasons, std::slice::from_ref(&error));
    assert_eq!((delegated.revision, delegated.decision_id), (String::new(), String::new()));
    error
}

#[tokio::test]
async fn what_an_opa_decides_is_what_our_own_rules_would_have_said() {
    let answer = serde_json::json!({
        "decision_id": "1f2a",
        "provenance": {
            "version": "1.9.0", "build_commit": "", "build_timestamp": "", "build_hostname": "",
            "bundles": {"teams": {"revision": "7"}, "main": {"revision": "42"}, "unnumbered": {"revision": ""}},
        },
        "result": {
            "allow": true,
            "deny": [],
            "reasons": ["alice may"],
            "obligations": [{"type": "redact", "check": "secrets"}, {"type": "cap", "max_tokens": 256}],
            "is_night": [[{"a": null}]],
        },
    });
    let delegated = decide(200, answer.to_string()).await;
    let decision = delegated.decision;
    assert!(decision.allow);
    assert_eq!(decision.reasons, ["alice may"]);
    let redact = Obligation::Redact { check: Some("secrets".to_owned()), pattern: None };
    assert_eq!(decision.obligations, [redact, Obligation::Cap { max_tokens: 256 }]);
    assert_eq!(
        decision.rules,
        ["allow", "obligations", "reasons"].map(|rule| format!("data.testimony.request.{rule}"))
    );
    assert_eq!(decision.error, None);
    assert_eq!(delegated.revision, "main@42, teams@7, unnumbered");
    assert_eq!(delegated.decision_id, "1f2a");
}

#[tokio::test]
async fn a_task_of_its_own_may_ask() {
    let (url, _asked) = opa(200, r#"{"result": {"allow": true}}"#.to_owned()).await;
    let delegate = Delegate::new(&url, None, WITHIN, vec![Point::Request]).unwrap();
    let asking = delegate.clone();
    let decided = tokio::spawn(async move { asking.decide(Point::Request, &input()).await });
    assert!(decided.await.unwrap().decision.allow);
}

#[tokio::test]
async fn the_question_is_the_input_with_the_token_and_nothing_else() {
    let (url, asked) = opa(200, r#"{"result": {"allow": true}}"#.to_owned()).await;
    let delegate = Delegate::new(&url, Some("s3cret"), WITHIN, vec![Point::Admin]).unwrap();
    assert!(delegate.decide(Point::Admin, &input()).await.decision.allow);
    let (head, body) = asked.await.unwrap();
    assert!(head.starts_with("post /v1/data/testimony/admin?provenance=true&strict-builtin-errors=true http/1.1\r\n"));
    assert!(
        head.contains("\r\nauthorization: bearer s3cret\r\n") && head.contains("\r\ncontent-type: application/json")
    );
    assert_eq!(body, serde_json::json!({ "input": input() }));
    assert!(!format!("{delegate:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_opa_without_the_package_denies_as_a_policy_without_the_rule_does() {
    let delegated = decide(200, r#"{"provenance": {"version": "1.9.0", "revision": "3"}}"#).await;
    assert_eq!(delegated.decision, Decision::silent(Point::Request));
    assert_eq!(delegated.revision, "3");
    assert_eq!(decide(200, "{}").await.decision, Decision::silent(Point::Request));
}

#[tokio::test]
async fn results_that_are_not_as_documented_are_a_denial() {
    for (result, expected) in [
        (r#"true"#, "data.testimony.request is not an object"),
        (r#"{"allow": "yes"}"#, "data.testimony.request.allow is not a boolean"),
        (r#"{"allow": true, "deny": {"a": true}}"#, "data.testimony.request.deny is neither a set nor an array"),
        (r#"{"allow": true, "obligations": [{"type": "cap", "max_tokens": 0}]}"#, "obligation with a cap of 0 tokens"),
    ] {
        let decision = decide(200, format!(r#"{{"result": {result}, "provenance": {{}}}}"#)).await.decision;
        assert!(!decision.allow && decision.obligations.is_empty(), "{decision:?}");
        assert!(decision.error.as_ref().unwrap().contains(expected), "{decision:?}");
    }
}

#[tokio::test]
async fn why_an_opa_refuses_is_said_with_the_place_of_the_rule() {
    let refusal = serde_json::json!({
        "code": "internal_error", "message": "error(s) occurred while evaluating query",
        "errors": [{"code": "eval_builtin_error", "message": "to_number: invalid syntax", "location": {"file": "a.rego", "row": 7, "col": 1}}],
    });
    assert_eq!(
        error(500, refusal.to_string()).await,
        "OPA answered with status 500: error(s) occurred while evaluating query (internal_error); a.rego:7: to_number: invalid syntax"
    );
    let refusal = r#"{"code": "unauthorized", "message": "request rejected by administrative policy"}"#;
    assert_eq!(
        error(401, refusal).await,
        "OPA answered with status 401: request rejected by administrative policy (unauthorized)"
    );
    assert_eq!(error(404, "404 page not found").await, "OPA answered with status 404: without saying why");
    let long = serde_json::json!({"code": "c", "message": "é".repeat(9000)}).to_string();
    assert!(error(500, long).await.len() < 600);
}

#[tokio::test]
async fn an_answer_that_allows_counts_only_with_status_200() {
    for status in [201, 302, 400, 503] {
        assert!(error(status, r#"{"result": {"allow": true}}"#).await.contains(&status.to_string()));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_or_too_large_is_a_denial() {
    let start = "OPA answered with what its API does not: ";
    assert!(error(200, "allow").await.starts_with(start));
    assert!(error(200, r#"{"result": {"allow": true}"#).await.starts_with(start));
    assert!(error(200, "[true]").await.starts_with(start));
    let deep = format!(r#"{{"result": {{"allow": true, "x": {}{}}}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert!(error(200, deep).await.starts_with(start));
    let large = format!(r#"{{"result": {{"allow": true, "x": "{}"}}}}"#, "x".repeat(ANSWER_BYTES_MAX));
    assert_eq!(error(200, large).await, "OPA answered with more than 262144 bytes");
}

#[tokio::test]
async fn an_opa_that_is_not_there_or_says_nothing_is_a_denial() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It listens and never answers, and has no time to.
    let delegate = Delegate::new(&url, None, Duration::ZERO, vec![Point::Request]).unwrap();
    let decision = delegate.decide(Point::Request, &input()).await.decision;
    assert_eq!(decision.error.as_deref(), Some("OPA did not answer within 0ns"));
    drop(listener);
    let delegate = Delegate::new(&url, None, WITHIN, vec![Point::Request]).unwrap();
    let decision = delegate.decide(Point::Request, &input()).await.decision;
    let error = decision.error.unwrap();
    assert!(error.starts_with("OPA cannot be reached: ") && !error.contains("127.0.0.1"), "{error}");
    assert!(!decision.allow);
}

#[test]
fn what_can_never_be_asked_is_refused_at_once() {
    let refusal = |url, token, points: &[Point]| Delegate::new(url, token, WITHIN, points.to_vec()).unwrap_err();
    let url = "http://127.0.0.1:8181";
    for wrong in ["", "127.0.0.1:8181", "ftp://a", "http://user@a"] {
        assert!(refusal(wrong, None, &Point::ALL).to_string().ends_with("is not an http or https address"));
    }
    for wrong in ["", " ", "a\nb"] {
        assert!(matches!(refusal(url, Some(wrong), &Point::ALL), DelegateError::Peer(PeerError::Token)));
    }
    assert!(matches!(refusal(url, None, &[]), DelegateError::Points));
    let delegate = Delegate::new(url, None, WITHIN, vec![Point::Request]).unwrap();
    assert_eq!(Point::ALL.map(|point| delegate.answers(point)), [true, false, false]);
}
