//! Whatever is asked: no row outside of a scope comes into an answer, a count, a plan or an error.

use std::collections::HashMap;

use access::{Grant, Identity, Role};
use record::{Draft, Field, Kind, Uuid};
use serde_json::Value;
use world::World;

use super::Log;
use crate::{Format, Limits, Search, View};

const RECORDS: u64 = 1_500;
/// In everything that a hidden record says.
const CANARY: &str = "canary";

/// Every other record is hidden, some for their environment, some for their kind, some since they have no model.
fn draft(world: &World, n: u64) -> Draft {
    let mut draft = super::draft(world, n + 3);
    let hidden = !n.is_multiple_of(2);
    let mut source = (*draft.source).clone();
    source.environment = if hidden && n.is_multiple_of(3) { format!("{CANARY}-env") } else { "staging".into() };
    draft.source = source.into();
    draft.kind = if hidden && n % 3 == 1 { Kind::Auth } else { Kind::InferenceRequest };
    draft.attributes.set("gen_ai.request.model", "gemma");
    if hidden && n % 3 == 2 {
        draft.attributes.set("gen_ai.request.model", format!("{CANARY}-model"));
    }
    // A call has a hidden half and one that is seen.
    draft.call_id = Some(Uuid::from_u128(u128::from(n / 2) + 1));
    let said = if hidden { format!("{CANARY}{n}") } else { "17".into() };
    if let Some(actor) = draft.actor.as_mut().filter(|_| hidden) {
        actor.id = Some(format!("{CANARY}-user"));
    }
    draft.attributes.set("example.said", said.clone());
    draft.attributes.set(if hidden { format!("{CANARY}.name") } else { "example.name".into() }, 1_i64);
    draft.content =
        vec![Field { name: "gen_ai.input.messages".into(), media: "text/plain".into(), bytes: said.into_bytes() }];
    draft
}

fn seen() -> View {
    let grant = Grant { role: Role::Reader, scope: "env=staging,model=gemma*".parse().unwrap() };
    View::of(&Identity::anonymous(vec![grant]))
}

struct Asked {
    log: Log,
    /// What comes with every record that is seen.
    rows: Vec<Value>,
}

impl Asked {
    async fn begin() -> Self {
        let world = World::real();
        let log = Log::of((0..RECORDS).map(|n| draft(&world, n)).collect()).await;
        log.index();
        let rows = log.rows(&View::everything(), "").await;
        let rows = rows.into_iter().filter(|row| !row.to_string().contains(CANARY)).collect();
        Self { log, rows }
    }

    /// What comes of a statement, answer or error, in all forms.
    async fn sql(&self, statement: &str) -> Result<Vec<Value>, String> {
        let among = Search::default();
        let answer = self.log.engine.sql(&seen(), statement.into(), among, Limits::default()).await;
        let answer = answer.map_err(|error| format!("{error} {error:?}"))?;
        let form = |form| answer.write(form).map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default();
        assert!(!form(Format::Csv).contains(CANARY), "{statement}");
        let lines = form(Format::JsonLines);
        Ok(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_those_of_the_rows_that_are_seen() {
    let asked = Asked::begin().await;
    let (all, rows) = (asked.rows.len(), &asked.rows);
    assert_eq!(all, usize::try_from(RECORDS).unwrap() / 2, "half of the records are seen");
    let users = rows.iter().filter(|row| row["actor_id"].is_string()).count();
    let mut by_user: HashMap<&str, usize> = HashMap::new();
    rows.iter().filter_map(|row| row["actor_id"].as_str()).for_each(|user| *by_user.entry(user).or_default() += 1);
    let pairs: usize = by_user.values().map(|count| count * count).sum();
    for (statement, expected) in [
        ("SELECT count(*) AS n FROM records", all),
        ("SELECT count(1) AS n FROM records WHERE input IS NOT NULL", all),
        ("SELECT count(actor_id) AS n FROM records", users),
        ("SELECT count(DISTINCT actor_id) AS n FROM records", by_user.len()),
        ("SELECT count(*) AS n FROM calls", all),
        ("SELECT count(*) AS n FROM records WHERE environment <> 'staging' OR kind = 'auth' OR model <> 'gemma'", 0),
        ("SELECT count(*) AS n FROM records WHERE match(input, 'canary*')", 0),
        ("SELECT count(*) AS n FROM records WHERE match(input, '17')", all),
        ("SELECT count(*) AS n FROM records WHERE attributes['canary.name'] IS NOT NULL", 0),
        ("SELECT count(*) AS n FROM records a JOIN records b ON a.call_id = b.call_id", all),
        (
            "SELECT count(*) AS n FROM records a LEFT JOIN records b ON a.call_id = b.call_id AND a.log_index <> b.log_index WHERE b.id IS NULL",
            all,
        ),
        ("SELECT count(*) AS n FROM records a JOIN records b ON a.actor_id = b.actor_id", pairs),
        ("SELECT count(*) AS n FROM records a CROSS JOIN records b", all * all),
        ("SELECT count(*) AS n FROM (SELECT * FROM records UNION ALL SELECT * FROM records)", 2 * all),
        ("SELECT count(*) AS n FROM (SELECT id FROM records EXCEPT SELECT id FROM records WHERE log_index % 2 = 0)", 0),
        (
            "SELECT count(*) AS n FROM records a WHERE EXISTS (SELECT 1 FROM records b WHERE b.call_id = a.call_id AND b.id <> a.id)",
            0,
        ),
        ("SELECT count(*) AS n FROM records a WHERE a.id NOT IN (SELECT id FROM records)", 0),
        ("SELECT max(n) AS n FROM (SELECT count(*) OVER () AS n FROM records)", all),
        ("SELECT max(n) AS n FROM (SELECT row_number() OVER (ORDER BY input) AS n FROM records)", all),
        ("SELECT count(*) AS n FROM records WHERE log_index % 2 = 1", 0),
        ("SELECT count(*) AS n FROM records HAVING count(*) > 0", all),
        (
            "SELECT sum(n) AS n FROM (SELECT kind, environment, count(*) AS n FROM records GROUP BY CUBE (kind, environment))",
            4 * all,
        ),
        ("SELECT count(*) AS n FROM records TABLESAMPLE (100)", all),
        ("WITH r AS (SELECT * FROM records) SELECT (SELECT count(*) FROM r) AS n", all),
    ] {
        match asked.sql(statement).await {
            Ok(told) => assert_eq!(told, [serde_json::json!({"n": expected})], "{statement}"),
            Err(error) => {
                assert!(error.contains("not implemented") || error.contains("TABLESAMPLE"), "{statement}: {error}")
            }
        }
    }
    for (query, expected) in [
        ("", all),
        ("-env:staging", 0),
        ("canary* OR type:auth OR model:canary*", 0),
        ("17", all),
        ("canary.name:*", 0),
    ] {
        assert_eq!(asked.log.rows(&seen(), query).await.len(), expected, "{query}");
    }
}

/// What lets a value out of an expression: by failing on it, by the order or the number of rows, by what is known of a table before it is read.
const LEAKS: [&str; 60] = [
    "SELECT CAST(input AS INT) FROM records",
    "SELECT input FROM records WHERE CAST(input AS INT) = 17",
    "SELECT input FROM records WHERE CAST(environment AS INT) = 17",
    "SELECT input FROM records WHERE CAST(model AS DOUBLE) > 1 OR true",
    "SELECT count(*) FROM records WHERE CAST(actor_id AS BOOLEAN)",
    "SELECT count(*) FROM records WHERE CAST(input AS TIMESTAMP) > now()",
    "SELECT count(*) FROM records WHERE to_timestamp(input) > now()",
    "SELECT count(*) FROM records WHERE CAST(attributes['example.said'] AS INT) = 17",
    "SELECT count(*) FROM records WHERE arrow_cast(input, 'Int8') = 17",
    "SELECT 1 / (CASE WHEN environment = 'canary-env' THEN 0 ELSE 1 END) AS x FROM records",
    "SELECT count(*) FROM records WHERE 1 / (log_index % 2 - 1) = 1",
    "SELECT count(*) FROM records WHERE CASE WHEN input LIKE 'canary%' THEN CAST(input AS INT) = 1 ELSE true END",
    "SELECT count(*) FROM records WHERE environment = 'staging' OR CAST(input AS INT) = 1",
    "SELECT * FROM records WHERE environment <> 'staging' AND CAST(input AS INT) = 1",
    "SELECT * FROM records ORDER BY CAST(input AS INT)",
    "SELECT CAST(input AS INT), count(*) FROM records GROUP BY 1",
    "SELECT sum(CAST(input AS INT)) FROM records",
    "SELECT max(CAST(input AS INT)) OVER (PARTITION BY environment) FROM records",
    "SELECT * FROM records a JOIN records b ON CAST(a.input AS INT) = b.log_index",
    "SELECT * FROM records a LEFT JOIN records b ON a.call_id = b.call_id AND CAST(b.input AS INT) = 1",
    "SELECT * FROM records a FULL JOIN records b ON a.call_id = b.call_id",
    "SELECT * FROM records a WHERE EXISTS (SELECT 1 FROM records b WHERE b.call_id = a.call_id AND CAST(b.input AS INT) = 1)",
    "SELECT * FROM records a WHERE a.input IN (SELECT input FROM records WHERE environment <> 'staging')",
    "SELECT (SELECT max(input) FROM records) AS x, (SELECT min(input) FROM records) AS y",
    "SELECT (SELECT max(b.input) FROM records b WHERE b.call_id = a.call_id) FROM records a",
    "SELECT (SELECT input FROM records)",
    "SELECT * FROM records UNION SELECT * FROM records",
    "SELECT min(input), max(input), min(environment), max(model), max(actor_id) FROM records",
    "SELECT min(log_index), max(log_index), min(time), max(received) FROM records",
    "SELECT first_value(input ORDER BY input DESC), last_value(input ORDER BY log_index), nth_value(input, 2) FROM records",
    "SELECT lag(input) OVER (ORDER BY log_index), lead(input) OVER (ORDER BY log_index) FROM records",
    "SELECT array_agg(input), string_agg(environment, ',') FROM records",
    "SELECT array_agg(DISTINCT model) FROM records",
    "SELECT approx_distinct(input), approx_percentile_cont(log_index, 0.99) FROM records",
    "SELECT * FROM calls",
    "SELECT * FROM calls WHERE CAST(input AS INT) = 1",
    "SELECT * FROM calls a JOIN records b ON a.call_id = b.call_id",
    "SELECT match(input, 'canary*') AS x, input FROM records",
    "SELECT * FROM records WHERE NOT match(input, '17')",
    "SELECT * FROM records WHERE input ~ 'canary' OR regexp_like(input, 'c.n')",
    "SELECT regexp_replace(input, '17', 'x') FROM records",
    "SELECT attributes FROM records",
    "SELECT map_keys(attributes), map_values(attributes) FROM records",
    "SELECT unnest(map_keys(attributes)) FROM records",
    "SELECT DISTINCT environment, kind, model, actor_id FROM records",
    "SELECT * FROM records LIMIT 3 OFFSET 740",
    "SELECT * FROM records ORDER BY input DESC LIMIT 1",
    "SELECT * FROM records WHERE environment = 'canary-env' OR 1 = 1",
    "SELECT * FROM records WHERE environment IS NOT NULL AND NOT (environment = 'staging')",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM information_schema.columns",
    "SELECT * FROM information_schema.df_settings",
    "EXPLAIN SELECT * FROM records",
    "EXPLAIN ANALYZE SELECT * FROM records WHERE environment = 'x'",
    "EXPLAIN VERBOSE SELECT * FROM records WHERE input = 'x'",
    "EXPLAIN FORMAT TREE SELECT count(*) FROM records",
    "SELECT content_seed FROM records",
    "SELECT other_content FROM records",
    "SELECT * FROM segments",
    "SELECT * FROM 'segments/example.com_log'",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_hidden_record_says_is_in_an_answer_or_an_error() {
    let asked = Asked::begin().await;
    let (mut answered, mut refused) = (0, 0);
    for statement in LEAKS {
        let text = match asked.sql(statement).await {
            Ok(rows) => {
                answered += 1;
                serde_json::to_string(&rows).unwrap()
            }
            Err(error) => {
                refused += 1;
                error
            }
        };
        // What was asked may come again in an error that points at it.
        assert!(!text.replace(statement, "").replace("'canary*'", "").contains(CANARY), "{statement}: {text}");
        assert!(!statement.starts_with("EXPLAIN") || text.contains("who may see every record"), "{statement}: {text}");
    }
    assert!(answered > 30 && refused > 8, "{answered} answered, {refused} refused");
    for query in [
        "",
        "canary*",
        "input:canary* OR env:canary* OR NOT env:staging",
        "| stats count(), dc(user), dc(model), min(time), max(time) by env, type, model, user",
        "| stats sum(example.said), max(example.said), p50(example.said), dc(canary.name) as n by example.said",
        "| top 1000 user",
        "| top example.said, model, env",
    ] {
        let told = serde_json::to_string(&asked.log.rows(&seen(), query).await).unwrap();
        assert!(!told.contains(CANARY), "{query}: {told}");
    }
    let fields = asked.log.engine.fields(&seen(), Limits::default()).await.unwrap();
    assert!(fields.iter().all(|field| !field.name.contains(CANARY)));
    for field in ["env", "model", "user", "example.said", "canary.name", "call"] {
        let answer = asked.log.engine.values(&seen(), field.into(), String::new(), Limits::default()).await.unwrap();
        assert!(!String::from_utf8(answer.write(Format::Csv).unwrap()).unwrap().contains(CANARY), "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_records_outside_of_a_scope_are_as_if_they_were_not_there() {
    let asked = Asked::begin().await;
    let hidden = asked.log.rows(&View::everything(), "canary1 OR canary3 OR canary5 OR canary7").await;
    assert_eq!(hidden.len(), 4);
    for row in hidden {
        for id in [row["id"].as_str().unwrap().to_owned(), row["log_index"].to_string()] {
            assert!(asked.log.engine.stored(&seen(), id.clone(), Limits::default()).await.unwrap().is_none(), "{id}");
            assert!(asked.log.engine.stored(&View::everything(), id, Limits::default()).await.unwrap().is_some());
        }
        let call = row["call_id"].as_str().unwrap().to_owned();
        let story = asked.log.engine.story(&seen(), "call_id", call, Limits::default()).await.unwrap();
        assert_eq!(story.len(), 1);
        assert!(!Value::Array(story).to_string().contains(CANARY));
    }
}
