use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ledger::{Ledger, Options};
use record::{Draft, Kind, Source, Timestamp, uuid_v7};
use world::World;

use super::*;
use crate::families::{DURATION, FAMILIES, FIRST_CHUNK, LABELS_MAX, TOKEN_USAGE, Type};

fn draft(world: &World) -> Draft {
    let time = Timestamp::from_micros(world.clock.now_micros());
    let source = Source {
        service: "a \"b\" \\".into(),
        environment: "staging".into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: "test".into(),
    };
    Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::System, Arc::new(source))
}

fn open(dir: &Path, world: &World) -> Ledger {
    Ledger::open(world, dir, &Options { origin: Some("example.com/log".into()), ..Options::default() }).unwrap().ledger
}

/// The samples of a text, without exemplars.
fn samples(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(" # ").next().unwrap());
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

#[tokio::test]
async fn what_is_durable_is_counted_when_somebody_asks() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::real());
    let ledger = open(dir.path(), &world);
    ledger.append_all(vec![draft(&world); 3]).await.unwrap();
    // What was there before this process is no longer counted.
    let metrics = Metrics::follow(&world, &ledger, "1.2.3").unwrap();
    for nth in 1..=5 {
        ledger.append(draft(&world)).await.unwrap();
        let now = samples(&metrics.write(Format::Text, &Beside::default()).unwrap());
        let counted = &now["testimony_records_total{environment=\"staging\",service=\"a \\\"b\\\" \\\\\",producer=\"test\",kind=\"system\"}"];
        assert_eq!(counted, &nth.to_string());
        assert_eq!(now["testimony_log_records"], (3 + nth).to_string());
        assert_eq!(now["testimony_metrics_lag_records"], "0");
        assert_eq!(now["testimony_build_info{version=\"1.2.3\"}"], "1");
        let batches: u64 = now["testimony_batch_duration_seconds_count"].parse().unwrap();
        assert!(batches > nth && now["testimony_batch_duration_seconds_bucket{le=\"+Inf\"}"] == batches.to_string());
        assert!(now["testimony_wal_bytes"].parse::<u64>().unwrap() > 1_000 && now["testimony_wal_segments"] == "1");
    }
    ledger.close();
}

#[tokio::test]
async fn the_thread_counts_when_nobody_asks_and_ends_with_the_last_handle() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::real());
    let ledger = open(dir.path(), &world);
    let metrics = Metrics::follow(&world, &ledger, "").unwrap();
    ledger.append_all(vec![draft(&world); 50]).await.unwrap();
    while metrics.0.lock().follower.position() < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let watched = Arc::downgrade(&metrics.0);
    drop(metrics);
    while watched.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ledger.close();
}

#[test]
fn every_family_is_written_once_in_either_form() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::real());
    let ledger = open(dir.path(), &world);
    let metrics = Metrics::follow(&world, &ledger, "").unwrap();
    // The server's own, as it gives them.
    let own = FAMILIES.iter().filter(|family| {
        ["testimony_search", "testimony_forward", "testimony_checkpoint_cosig"]
            .iter()
            .any(|start| family.name.starts_with(start))
    });
    let beside = Beside { gauges: own.map(|family| (*family, Some(1))).collect() };
    let open_metrics = metrics.write(Format::OpenMetrics, &beside).unwrap();
    let heads = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut written: Vec<String> = heads.map(str::to_owned).collect();
    let mut expected: Vec<String> = FAMILIES.iter().map(|one| format!("{} {}", one.name, one.kind.word())).collect();
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
    assert!(open_metrics.ends_with("\n# EOF\n"));
    let text = metrics.write(Format::Text, &beside).unwrap();
    assert!(!text.contains("EOF") && !text.contains("# UNIT") && text.contains("# TYPE testimony_build_info gauge\n"));
    assert!(text.contains("# TYPE testimony_records_total counter\n"));
    ledger.close();
}

#[test]
fn names_are_as_prometheus_and_openmetrics_want_them() {
    let mut seen = BTreeSet::new();
    for family in FAMILIES {
        let Family { name, kind, unit, help, labels, classes } = family;
        assert!(seen.insert(name) && name.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_'), "{name}");
        assert!(unit.is_empty() || name.ends_with(&format!("_{unit}")), "{name}: the unit stands at its end");
        assert!(!["_total", "_info", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)), "{name}");
        assert!(labels.len() <= LABELS_MAX && !help.ends_with('.') && !help.is_empty(), "{name}");
        assert_eq!(classes.is_empty(), *kind != Type::Histogram, "{name}");
        assert!(classes.is_sorted_by(|a, b| a < b), "{name}");
    }
    // What `counts.rs` looks up once for all three.
    let [of_call, last] = [&DURATION, &TOKEN_USAGE].map(|family| family.labels.split_at(LABELS_MAX - 1));
    assert_eq!((of_call.0, last.0), (FIRST_CHUNK.labels, FIRST_CHUNK.labels));
    assert_eq!((of_call.1, last.1), (&[Label::ErrorType][..], &[Label::TokenType][..]));
}

/// Every sample that a family can have.
fn sample_names(family: &Family) -> Vec<String> {
    let ends: &[&str] = match family.kind {
        Type::Counter => &["_total"],
        Type::Gauge => &[""],
        Type::Histogram => &["_bucket", "_sum", "_count"],
        Type::Info => &["_info"],
    };
    ends.iter().map(|end| format!("{}{end}", family.name)).collect()
}

fn file(path: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test reads what it is about")]
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

#[test]
fn the_document_lists_every_metric_and_no_other() {
    let document = file("docs/metrics.md");
    let section = document.split("## All of them").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let expected = FAMILIES.iter().map(|family| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{}`", label.name())).collect();
        format!(
            "| `{}` | {} | {} | {} |",
            sample_names(family)[0].replace("_bucket", ""),
            family.kind.word(),
            labels.join(", "),
            family.help
        )
    });
    let expected: Vec<String> = expected.collect();
    assert_eq!(listed, expected, "the table should be\n{}", expected.join("\n"));
}

#[test]
fn the_dashboard_asks_for_nothing_that_is_not_there() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana/testimony.json")).unwrap();
    let mut questions = Vec::new();
    collect(&dashboard, &mut questions);
    assert!(questions.len() > 20, "{questions:?}");
    let names: BTreeSet<String> = FAMILIES.iter().flat_map(|family| sample_names(family)).collect();
    let labels: BTreeSet<&str> = FAMILIES.iter().flat_map(|family| family.labels).map(|label| label.name()).collect();
    // Functions and words of PromQL, and what Grafana puts in.
    let known = [
        "sum",
        "rate",
        "by",
        "le",
        "histogram_quantile",
        "clamp_min",
        "time",
        "max",
        "min",
        "or",
        "vector",
        "increase",
        "label_values",
        "instance",
        "job",
        "on",
        "topk",
        "unless",
        "and",
    ];
    let mut asked = BTreeSet::new();
    for question in &questions {
        let outside: String =
            question.split('"').step_by(2).collect::<Vec<_>>().join(" ").replace("$__rate_interval", "");
        for word in outside.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_' && sign != '$') {
            if word.is_empty() || word.starts_with(|sign: char| sign.is_ascii_digit() || sign == '$') {
                continue;
            }
            assert!(names.contains(word) || labels.contains(word) || known.contains(&word), "{word:?} in {question}");
            asked.extend(names.get(word));
        }
    }
    for family in FAMILIES {
        assert!(
            sample_names(family).iter().any(|name| asked.contains(name))
                || family.name == "testimony_build"
                || family.name.starts_with("process_start"),
            "no panel shows {}",
            family.name
        );
    }
}

/// Everything that is asked of Prometheus.
fn collect(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match value {
                    serde_json::Value::String(text) if name == "expr" || (name == "query" && text.contains('(')) => {
                        into.push(text.clone());
                    }
                    value => collect(value, into),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}
