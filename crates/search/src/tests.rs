//! Stages, fields and values over a small log, part of which is sealed.

mod hostile;
mod languages;
mod scopes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use access::{Grant, Identity, Role};
use ledger::{Ledger, Options};
use record::{Actor, Draft, Field, Kind, Source, Timestamp, Uuid, uuid_v7};
use serde_json::Value;
use world::World;

use crate::{Engine, EngineError, Format, Limits, SealAt, Search, View};

mod explaining;
mod forms;
mod queries;

const RECORDS: u64 = 1_600;
const HOUR_MICROS: i64 = 3_600_000_000;

/// A log of which some is sealed and some is not.
pub(crate) struct Log {
    _dir: tempfile::TempDir,
    ledger: Ledger,
    pub(crate) engine: Engine,
}

impl Drop for Log {
    fn drop(&mut self) {
        self.engine.close();
        self.ledger.close();
    }
}

/// Records of two environments over some days and at both ends of time, whose values are often missing.
pub(crate) fn draft(world: &World, n: u64) -> Draft {
    // A cheap generator: every bit of a number depends on the whole of `n`.
    let chance = |of: u64, salt: u64| (n.wrapping_add(salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % of;
    let time = match n {
        0 => Timestamp::parse("1601-02-03T04:05:06Z").unwrap(),
        1 => Timestamp::parse("1969-12-31T23:59:59.999999Z").unwrap(),
        2 => Timestamp::parse("9999-12-31T23:59:59Z").unwrap(),
        _ => Timestamp::from_micros(1_764_000_000_000_000 + i64::try_from(chance(250_000, 1)).unwrap() * 1_000_000),
    };
    let source = Source {
        service: "bot".into(),
        environment: if n.is_multiple_of(4) { "production" } else { "staging" }.into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: "test".into(),
    };
    let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::System, Arc::new(source));
    draft.call_id = Some(Uuid::from_u128(n.into()));
    if chance(5, 2) > 0 {
        let id = Some(format!("user-{}", chance(7, 3)));
        draft.actor =
            Some(Actor { kind: "user".into(), id, groups: Vec::new(), auth: None, ip: None, fingerprint: None });
    }
    let attributes = &mut draft.attributes;
    if chance(4, 4) > 0 {
        attributes.set("gen_ai.request.model", format!("Model-{}", chance(3, 5)));
    }
    if chance(3, 6) > 0 {
        attributes.set("testimony.duration_ms", float(usize::try_from(chance(4_000, 7)).unwrap()) / 4.0);
        attributes.set("gen_ai.usage.input_tokens", i64::try_from(chance(1_000, 8)).unwrap());
    }
    if chance(2, 9) > 0 {
        let text = if chance(5, 10) == 0 { "many".to_owned() } else { chance(20, 11).to_string() };
        attributes.set("example.retries", text);
    }
    draft.content.push(Field {
        name: "gen_ai.input.messages".into(),
        media: "text/plain".into(),
        bytes: format!("a | b {}", n % 2).into_bytes(),
    });
    draft
}

async fn log() -> Log {
    let world = World::real();
    Log::of((0..RECORDS).map(|n| draft(&world, n)).collect()).await
}

/// What may be seen by whoever reads one environment.
fn production() -> View {
    View::of(&Identity::anonymous(vec![Grant { role: Role::Admin, scope: "env=production".parse().unwrap() }]))
}

impl Log {
    /// A log of these records. The first 1,100 of them make a segment, and so on.
    pub(crate) async fn of(drafts: Vec<Draft>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, world) = (dir.path().join("data"), World::real());
        let options = Options { origin: Some("example.com/log".into()), ..Options::default() };
        let ledger = Ledger::open(&world, &data, &options).unwrap().ledger;
        let engine = Engine::follow(&world, &data, &ledger, SealAt { rows: 1_024, bytes: usize::MAX }).unwrap();
        for together in drafts.chunks(100) {
            ledger.append_all(together.to_vec()).await.unwrap();
        }
        while engine.segments().0 < drafts.len() / 1_100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { _dir: dir, ledger, engine }
    }

    /// Waits until every segment has its index.
    pub(crate) fn index(&self) {
        while self.engine.segments().1 > 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn ask(&self, view: &View, query: &str, rows_max: usize) -> Result<(Vec<Value>, bool), EngineError> {
        let search = Search { query: query.into(), ..Search::default() };
        let answer = self.engine.search(view, search, Limits { rows_max, ..Limits::default() }).await?;
        let json: Value = serde_json::from_slice(&answer.write(Format::Json).unwrap()).unwrap();
        Ok((json["rows"].as_array().unwrap().clone(), json["truncated"] == true))
    }

    async fn rows(&self, view: &View, query: &str) -> Vec<Value> {
        let (rows, is_truncated) = self.ask(view, query, 100_000).await.unwrap();
        assert!(!is_truncated);
        rows
    }
}

/// The rows in groups by some columns, counted one by one.
fn grouped(rows: &[Value], of: impl Fn(&Value) -> Value) -> HashMap<String, Vec<&Value>> {
    let mut groups: HashMap<String, Vec<&Value>> = HashMap::new();
    for row in rows {
        groups.entry(of(row).to_string()).or_default().push(row);
    }
    groups
}

fn numbers(rows: &[&Value], column: &str) -> Vec<f64> {
    let mut numbers: Vec<f64> = rows.iter().filter_map(|row| row[column].as_f64()).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn float(number: usize) -> f64 {
    u32::try_from(number).unwrap().into()
}

fn micros(text: &Value) -> i64 {
    Timestamp::parse(text.as_str().unwrap()).unwrap().as_micros()
}

#[track_caller]
fn check_near(told: &Value, counted: Option<f64>, off: f64) {
    match counted {
        Some(counted) => assert!((told.as_f64().unwrap() - counted).abs() <= off, "{told} is not {counted}"),
        None => assert!(told.is_null(), "{told} of nothing"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_are_what_counting_row_by_row_gives() {
    let log = log().await;
    let measures = "count(), count(model), dc(user), sum(input_tokens), avg(duration_ms), min(duration_ms), max(duration_ms), \
        min(time), p50(duration_ms), sum(example.retries) as retries";
    let filters = ["", "env:staging", "-model:* \"a | b 1\"", "user:user-3 duration_ms:>500", "model:none"];
    for view in [View::everything(), production()] {
        for filter in filters {
            let found = log.rows(&view, filter).await;
            let stats = log.rows(&view, &format!("{filter} | stats {measures} by env, model")).await;
            let mut groups = grouped(&found, |row| serde_json::json!([row["environment"], row["model"]]));
            for told in &stats {
                let rows = groups.remove(&serde_json::json!([told["environment"], told["model"]]).to_string()).unwrap();
                let users: BTreeSet<&str> = rows.iter().filter_map(|row| row["actor_id"].as_str()).collect();
                let durations = numbers(&rows, "duration_ms");
                let tokens = numbers(&rows, "input_tokens");
                let retries = |row: &&Value| row["attributes"]["example.retries"].as_str()?.parse::<f64>().ok();
                let retries: Vec<f64> = rows.iter().filter_map(retries).collect();
                let total = |numbers: &[f64]| (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>());
                let mean = total(&durations).map(|total| total / float(durations.len()));
                assert_eq!(told["count()"], rows.len());
                assert_eq!(told["count(model)"], rows.iter().filter(|row| row["model"].is_string()).count());
                assert_eq!(told["dc(actor_id)"], users.len());
                check_near(&told["sum(input_tokens)"], total(&tokens), 0.0);
                check_near(&told["avg(duration_ms)"], mean, 1e-6);
                check_near(&told["min(duration_ms)"], durations.first().copied(), 0.0);
                check_near(&told["max(duration_ms)"], durations.last().copied(), 0.0);
                check_near(&told["retries"], total(&retries), 0.0);
                assert_eq!(micros(&told["min(time)"]), rows.iter().map(|row| micros(&row["time"])).min().unwrap());
                // The median is approximate: a twentieth of the range away at most.
                let median = durations.get(durations.len() / 2).copied();
                check_near(&told["p50(duration_ms)"], median, 50.0 + 2_000.0 / float(1 + durations.len()));
            }
            assert!(groups.is_empty(), "{filter}: no row for {:?}", groups.keys());
            let order: Vec<i64> = stats.iter().map(|row| -row["count()"].as_i64().unwrap()).collect();
            assert!(order.is_sorted(), "{order:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_buckets_hold_the_records_of_their_time_however_long_ago() {
    let log = log().await;
    let found = log.rows(&View::everything(), "").await;
    let monday = 4 * 24 * HOUR_MICROS;
    for (span, micros_of_it) in
        [("30s", 30_000_000), ("7h", 7 * HOUR_MICROS), ("1d", 24 * HOUR_MICROS), ("1w", 168 * HOUR_MICROS)]
    {
        let mut counted: BTreeMap<(i64, String), i64> = BTreeMap::new();
        for row in &found {
            let start = monday + (micros(&row["time"]) - monday).div_euclid(micros_of_it) * micros_of_it;
            *counted.entry((start, row["environment"].to_string())).or_default() += 1;
        }
        let told = log.rows(&View::everything(), &format!("| stats count() by env, {span}")).await;
        let told: Vec<(i64, i64, String)> = told
            .iter()
            .map(|row| (micros(&row["time"]), -row["count()"].as_i64().unwrap(), row["environment"].to_string()))
            .collect();
        assert!(told.is_sorted());
        let told: BTreeMap<_, _> = told.into_iter().map(|(start, count, env)| ((start, env), -count)).collect();
        assert_eq!(told, counted, "{span}");
    }
    let weeks = log.rows(&View::everything(), "user:* | stats count() by 1w").await;
    assert_eq!(weeks[0]["time"], "1601-01-29T00:00:00Z", "a Monday");
}

#[tokio::test(flavor = "multi_thread")]
async fn top_values_and_their_shares_are_what_counting_row_by_row_gives() {
    let log = log().await;
    for view in [View::everything(), production()] {
        for filter in ["", "env:staging", "duration_ms:>900"] {
            let found = log.rows(&view, filter).await;
            let groups = grouped(&found, |row| serde_json::json!([row["actor_id"], row["model"]]));
            // What is not there comes last among equals.
            let last = |text: &str| text.replace("null", "~");
            let mut counted: Vec<_> = groups.iter().map(|(key, rows)| (-(rows.len() as i64), last(key))).collect();
            counted.sort();
            counted.truncate(12);
            let top = log.rows(&view, &format!("{filter} | top 12 user, model")).await;
            let told: Vec<_> = top
                .iter()
                .map(|row| {
                    let key = serde_json::json!([row["actor_id"], row["model"]]).to_string();
                    (-row["count()"].as_i64().unwrap(), last(&key))
                })
                .collect();
            assert_eq!(told, counted, "{filter}");
            for row in &top {
                let share = 100.0 * row["count()"].as_f64().unwrap() / float(found.len());
                check_near(&row["percent"], Some(share), 0.005_001);
            }
        }
    }
    assert_eq!(log.rows(&View::everything(), "| top call").await.len(), 10);
    assert_eq!(log.rows(&View::everything(), "model:none | top call").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_cut_at_the_limit_and_a_stage_is_refused_where_a_filter_is_meant() {
    let log = log().await;
    let everything = View::everything();
    let (rows, is_truncated) = log.ask(&everything, "| stats count() by call", 3).await.unwrap();
    assert_eq!((rows.len(), is_truncated), (3, true));
    let (rows, is_truncated) = log.ask(&everything, "| top 3 call", 3).await.unwrap();
    assert_eq!((rows.len(), is_truncated), (3, false));
    assert!(log.ask(&everything, "| top 4 call", 3).await.unwrap().1);
    let (rows, _) = log.ask(&everything, "model:none | stats count(), sum(status)", 3).await.unwrap();
    assert_eq!(rows, [serde_json::json!({"count()": 0})]);

    let among = Search { query: "env:production | top model".into(), ..Search::default() };
    let refused = log.engine.sql(&everything, "SELECT 1".into(), among, Limits::default()).await.unwrap_err();
    assert!(refused.to_string().contains("here is a filter"), "{refused}");
    let tail = crate::Tail::new(&log.engine, &everything, "| top model", log.ledger.follow(0));
    assert!(tail.is_err_and(|error| error.to_string().contains("here is a filter")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_can_be_counted_grouped_by_and_listed_unless_it_says_why_not() {
    let log = log().await;
    let everything = View::everything();
    let fields = log.engine.fields(&everything, Limits::default()).await.unwrap();
    let days = log.rows(&everything, "| stats count() by 1d, env").await.len();
    for field in fields.iter().filter(|field| field.values != "many") {
        let name = &field.name;
        let groups =
            log.rows(&everything, &format!("| stats count() as \"n \\\"1\\\".x\", dc({name}) by {name}")).await;
        let total: u64 = groups.iter().map(|group| group["n \"1\".x"].as_u64().unwrap()).sum();
        assert_eq!(total, RECORDS, "{name}");
        let least = groups.len().min(10);
        assert_eq!(log.rows(&everything, &format!("| top {name}")).await.len(), least, "{name}");
        if matches!(field.values, "integer" | "number" | "attribute") {
            let measures = ["sum", "avg", "min", "max", "p1", "p99"].map(|function| format!("{function}({name})"));
            let stats = log.rows(&everything, &format!("| stats {} by 1d, env", measures.join(", "))).await;
            assert_eq!(stats.len(), days, "{name}");
        }
        match log.engine.values(&everything, name.clone(), String::new(), Limits::default()).await {
            Ok(_) => {}
            Err(error) => assert!(matches!(field.values, "content" | "time"), "{name}: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_and_values_are_those_that_a_view_shows() {
    let log = log().await;
    let fields = log.engine.fields(&View::everything(), Limits::default()).await.unwrap();
    let attributes: Vec<&str> =
        fields.iter().filter(|field| field.values == "attribute").map(|field| field.name.as_str()).collect();
    assert_eq!(
        attributes,
        ["example.retries", "gen_ai.request.model", "gen_ai.usage.input_tokens", "testimony.duration_ms"]
    );
    let nothing = View::of(&Identity::anonymous(Vec::new()));
    let seen = log.engine.fields(&nothing, Limits::default()).await.unwrap();
    assert!(seen.iter().all(|field| field.values != "attribute"));

    let values = async |view: &View, field: &str, prefix: &str, rows_max: usize| {
        let limits = Limits { rows_max, ..Limits::default() };
        let answer = log.engine.values(view, field.into(), prefix.into(), limits).await?;
        Ok::<_, EngineError>(String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap())
    };
    let everything = View::everything();
    for (view, count) in [(&everything, RECORDS / 4), (&production(), RECORDS / 4)] {
        let told = values(view, "env", "PROD", 5).await.unwrap();
        assert_eq!(told, format!("{{\"value\":\"production\",\"count\":{count}}}\n"));
    }
    assert_eq!(values(&production(), "environment", "st", 5).await.unwrap(), "");
    assert_eq!(values(&everything, "model", "model-", 2).await.unwrap().lines().count(), 2);
    assert_eq!(values(&everything, "model", "%", 2).await.unwrap(), "");
    assert!(values(&everything, "example.retries", "man", 2).await.unwrap().starts_with("{\"value\":\"many\""));
    assert!(values(&everything, "log_index", "15", 9).await.unwrap().contains("{\"value\":\"1500\",\"count\":1}"));
    for (field, said) in [
        ("modle", "did you mean \"model\""),
        ("input", "content"),
        ("time", "since:7d"),
        ("attributes", "no single value"),
    ] {
        let error = values(&everything, field, "", 2).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
