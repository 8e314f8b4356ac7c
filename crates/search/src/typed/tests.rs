use world::World;

use super::*;
use crate::catalog::Catalog;
use crate::tests::{Log, draft};
use crate::{Limits, View};

async fn rows(statement: &str) -> Result<Rows, String> {
    let world = World::real();
    let log = Log::of(vec![draft(&world, 1)]).await;
    let catalog = Catalog { user: "ada".to_owned() };
    let answer = log.engine.sql_of(&View::everything(), statement.to_owned(), &catalog, Limits::default());
    answer.await.map_err(|error| error.to_string())?.typed().map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_type_of_column_has_one_of_postgres() {
    let rows = rows(
        "SELECT log_index, time, id, stream, duration_ms, attributes, CAST(1.50 AS DECIMAL(5, 2)) AS price,
                CAST(7 AS SMALLINT) AS small, CAST(0.5 AS REAL) AS half, DATE '2024-10-04' AS day, TIME '01:02:03' AS clock,
                TIMESTAMP '1970-01-01 00:00:01' AS local, INTERVAL '1 month 2 days 3 seconds' AS span, [1, 2] AS list, NULL AS nothing,
                X'00ff' AS bytes
         FROM records",
    );
    let rows = rows.await.unwrap();
    let mut lines: Vec<String> = Vec::new();
    let mut see = |values: Vec<Value<'_>>| {
        let pairs = rows.columns().iter().zip(values);
        lines.extend(
            pairs
                .filter(|(column, _)| column.name != "id")
                .map(|(column, value)| format!("{} {:?}: {value:?}", column.name, column.kind)),
        );
        Ok::<(), ArrowError>(())
    };
    rows.each(0, 10, &mut see).unwrap();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn rows_are_shown_from_any_of_them_on() {
    let rows = rows("SELECT * FROM (VALUES (1), (2), (3), (4), (5)) v (n) ORDER BY n").await.unwrap();
    let from = |from, count| {
        let mut seen = Vec::new();
        let see = |values: Vec<Value<'_>>| {
            seen.extend(values.into_iter().map(|value| format!("{value:?}")));
            Ok::<(), ArrowError>(())
        };
        rows.each(from, count, see).unwrap();
        seen.join(" ")
    };
    assert_eq!(rows.len(), 5);
    assert_eq!(from(1, 2), "Int8(2) Int8(3)");
    assert_eq!(from(4, 10), "Int8(5)");
    assert_eq!(from(5, 10), "");
}

#[tokio::test]
async fn a_number_that_no_type_can_say_is_an_error_and_not_nothing() {
    let error = rows("SELECT CAST(18446744073709551615 AS BIGINT UNSIGNED) AS n").await.unwrap_err();
    assert!(error.contains("18446744073709551615"), "{error}");
}
