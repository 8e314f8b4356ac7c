//! `EXPLAIN` and `EXPLAIN ANALYZE` of whoever may see everything.

use super::{Log, RECORDS, log, production};
use crate::{EngineError, Format, Limits, Search, SqlError, View};

async fn told(log: &Log, view: &View, statement: &str) -> Result<String, EngineError> {
    let answer = log.engine.sql(view, statement.into(), Search::default(), Limits::default()).await?;
    Ok(String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_says_which_segments_and_row_groups_were_passed_over() {
    let log = log().await;
    log.index();
    for (condition, said) in [
        (
            "true",
            &["segments_pruned_index=1 total → 1 matched", "row_groups_pruned_statistics=1 total → 1 matched"][..],
        ),
        ("log_index >= 1000000", &["row_groups_pruned_statistics=1 total → 0 matched"]),
        ("call_id = '00000000-0000-0000-0000-000000000007'", &["segments_pruned_index=1 total → 1 matched"]),
        ("call_id = 'unheard of'", &["segments_pruned_index=1 total → 0 matched", "1 group: [[]]"]),
        ("match(input, 'zebra')", &["segments_pruned_index=1 total → 0 matched"]),
    ] {
        let statement = format!("EXPLAIN ANALYZE SELECT id FROM records WHERE {condition}");
        let plan = told(&log, &View::everything(), &statement).await.unwrap();
        for said in said {
            assert!(plan.contains(said), "{condition}: no {said} in {plan}");
        }
    }
    let wrong = told(&log, &View::everything(), "SELECT 1 FROM records WHERE time < '1601-01-01'").await.unwrap_err();
    assert!(wrong.to_string().contains("1601"), "{wrong}");
    let calls = told(&log, &View::everything(), "explain analyze verbose select count(*) from calls").await.unwrap();
    assert!(calls.contains("row_groups_pruned_statistics"), "{calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_runs_nothing_and_is_for_those_who_may_see_everything() {
    let log = log().await;
    let plan = told(&log, &View::everything(), "EXPLAIN SELECT count(*) FROM records").await.unwrap();
    assert!(plan.contains("logical_plan") && !plan.contains(&RECORDS.to_string()), "{plan}");
    for statement in ["EXPLAIN ANALYZE SELECT 1", "EXPLAIN SELECT 1", "explain verbose select 1"] {
        let refused = told(&log, &production(), statement).await.unwrap_err();
        assert!(matches!(refused, EngineError::Sql(SqlError::ExplainsMore)), "{refused}");
    }
    for statement in
        ["EXPLAIN ANALYZE DELETE FROM records", "EXPLAIN ANALYZE COPY records TO 'x'", "EXPLAIN EXPLAIN SELECT 1"]
    {
        let refused = told(&log, &View::everything(), statement).await.unwrap_err();
        assert!(matches!(refused, EngineError::Sql(_)), "{statement}: {refused}");
    }
}
