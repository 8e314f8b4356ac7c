//! Queries that are running are listed and can be ended.

use super::{Log, log};
use crate::{Answer, EngineError, Limits, Queries, Query, QueryKind, Running, Search, Stopped, View};

/// It would take longer than any test.
const ENDLESS: &str =
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 1000000000) SELECT count(*) FROM t";

fn endless(log: &Log) -> Running<Answer> {
    let asked = log.engine.sql(&View::everything(), ENDLESS.into(), Search::default(), Limits::default());
    log.engine.queries().listed(QueryKind::Sql, ENDLESS, None, asked)
}

fn all(queries: &Queries) -> Vec<Query> {
    queries.list(|_| true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_listed_while_it_runs_and_ends_when_it_is_cancelled() {
    let log = log().await;
    let queries = log.engine.queries().clone();
    let waiting = tokio::spawn(endless(&log));
    let [running] = all(&queries).try_into().unwrap();
    assert_eq!((running.kind, running.text.as_str()), (QueryKind::Sql, ENDLESS));
    assert!(queries.list(|_| false).is_empty());
    assert!(queries.cancel(running.id, |_| false).is_none(), "somebody who may not");
    assert_eq!(queries.cancel(running.id, |_| true).unwrap().id, running.id);
    let ended = waiting.await.unwrap().unwrap_err();
    assert!(matches!(ended, EngineError::Stopped(Stopped::Cancelled)), "{ended}");
    assert!(queries.cancel(running.id, |_| true).is_none() && all(&queries).is_empty());

    let asked = log.engine.sql(&View::everything(), "SELECT 1".into(), Search::default(), Limits::default());
    assert_eq!(queries.listed(QueryKind::Sql, "SELECT 1", None, asked).await.unwrap().rows(), 1);
    assert!(all(&queries).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_nobody_waits_for_is_off_the_list() {
    let log = log().await;
    let waiting = tokio::spawn(endless(&log));
    assert_eq!(all(log.engine.queries()).len(), 1);
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert!(all(log.engine.queries()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_an_end_and_what_is_not_in_it_does_not_run() {
    let log = log().await;
    let many: Vec<_> = (0..1_024).map(|_| endless(&log)).collect();
    let refused = endless(&log).await.unwrap_err();
    assert!(matches!(refused, EngineError::Stopped(Stopped::TooMany)), "{refused}");
    drop(many);
    let text = "é".repeat(4_000);
    let asked = log.engine.search(&View::everything(), Search::default(), Limits::default());
    let listed = log.engine.queries().listed(QueryKind::Search, &text, None, asked);
    assert_eq!(all(log.engine.queries())[0].text, "é".repeat(2_048));
    assert!(!listed.await.unwrap().is_empty());
}
