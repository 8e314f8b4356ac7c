use super::*;
use std::path::Path;
use std::sync::Arc;

use gateway::RulesInForce;
use ledger::{Ledger, Options};
use record::Source;
use search::SealAt;
use world::World;

/// One run of a server.
struct Run {
    intake: Intake,
    engine: Engine,
    searches: SavedSearches,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.engine.close();
        self.intake.ledger.close();
    }
}

fn start(data: &Path) -> Run {
    let world = World::real();
    let ledger = Ledger::open(&world, data, &Options::default()).unwrap().ledger;
    let engine = Engine::follow(&world, data, &ledger, SealAt { rows: 4, bytes: 1 << 20 }).unwrap();
    let text = |text: &str| text.to_owned();
    let reads = Source {
        service: text("shop"),
        environment: text("staging"),
        host: text("here"),
        origin: ledger.origin().to_string(),
        producer: text("reads"),
    };
    let intake = Intake {
        ledger,
        reads: Arc::new(reads),
        event_kinds: ingest::cloudevents::Kinds::default(),
        telemetry: ingest::otlp::Options::default(),
        rules: RulesInForce::default(),
        world,
    };
    Run { intake, engine, searches: SavedSearches::default() }
}

fn name(name: &str) -> SearchName {
    SearchName::parse(name.to_owned()).unwrap()
}

impl Run {
    /// The version after a change, or the status and detail of the refusal.
    async fn change(&self, of: &str, query: Option<&str>, replaces: Option<u64>) -> Result<u64, (u16, String)> {
        let change = Change { name: name(of), query: query.map(str::to_owned), replaces };
        let done = self.searches.change(&self.engine, &self.intake, &Caller::owner(), change).await;
        done.map(|saved| saved.version).map_err(|problem| (problem.status().as_u16(), problem.detail().to_owned()))
    }

    async fn all(&self) -> Vec<(String, String, u64)> {
        let all = self.searches.all(&self.engine).await.unwrap();
        all.into_iter().map(|saved| (saved.name.0, saved.query, saved.version)).collect()
    }

    async fn versions(&self, of: &str) -> Vec<(u64, String)> {
        let (records, is_truncated) = history(&self.engine, &name(of), Limits::default()).await.unwrap();
        assert!(!is_truncated);
        let told = records.iter().map(version_told);
        told.map(|told| (told["version"].as_u64().unwrap(), told["state"].as_str().unwrap().to_owned())).collect()
    }
}

#[test]
fn a_name_has_few_letters() {
    for good in ["a", "refused-7d", &"x".repeat(64)] {
        assert!(SearchName::parse(good.to_owned()).is_some(), "{good}");
    }
    for bad in ["", "A", "a b", "a/b", "é", &"x".repeat(65)] {
        assert!(SearchName::parse(bad.to_owned()).is_none(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_is_the_last_that_the_log_says_of_each_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let before = {
        let run = start(&data);
        assert_eq!(run.all().await, Vec::new());
        assert_eq!(run.change("failed", Some("outcome:failed"), None).await, Ok(1));
        assert_eq!(run.change("other", Some("a | top model"), None).await, Ok(1));
        for version in 1..6 {
            let query = format!("outcome:failed since:{version}d");
            assert_eq!(run.change("failed", Some(&query), Some(version)).await, Ok(version + 1));
        }
        assert_eq!(run.change("gone", Some("x"), None).await, Ok(1));
        assert_eq!(run.change("gone", None, Some(1)).await, Ok(1));
        run.all().await
    };
    assert_eq!(before.len(), 2);
    assert_eq!(before[0], ("failed".into(), "outcome:failed since:5d".into(), 6));
    let run = start(&data);
    assert_eq!(run.all().await, before);
    assert_eq!(run.versions("gone").await, [(2, "deleted".into()), (1, "saved".into())]);
    assert_eq!(run.versions("failed").await.len(), 6);
    // A name that comes back counts on.
    assert_eq!(run.change("gone", Some("y"), None).await, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_over_what_they_have_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let run = start(&dir.path().join("data"));
    assert_eq!(run.change("a", Some("x"), None).await, Ok(1));
    let (status, said) = run.change("a", Some("y"), None).await.unwrap_err();
    assert!(status == 409 && said.contains("already, at version 1: say version=1"), "{said}");
    let at_once = ["y", "z"].map(|query| run.change("a", Some(query), Some(1)));
    let [first, second] = at_once;
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let (status, said) = run.change("a", None, Some(1)).await.unwrap_err();
    assert!(status == 409 && said.contains("at version 2 and no longer at 1"), "{said}");
    assert_eq!(run.change("b", Some("y"), Some(1)).await.unwrap_err().0, 404);
    assert_eq!(run.change("b", None, None).await.unwrap_err().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let run = start(&dir.path().join("data"));
    let saved = |nth: usize| {
        let name = name(&format!("n{nth}"));
        let saved =
            Saved { name: name.clone(), query: "x".into(), version: 1, at: Timestamp::from_micros(0), by: None };
        (name, saved)
    };
    *run.searches.0.lock().await = Some((0..SEARCHES_MAX).map(saved).collect());
    let (status, said) = run.change("one-more", Some("x"), None).await.unwrap_err();
    assert!(status == 409 && said.contains("1000 saved searches"), "{said}");
    assert_eq!(run.change("n0", None, Some(1)).await, Ok(1));
    assert_eq!(run.change("one-more", Some("x"), None).await, Ok(1));
}
