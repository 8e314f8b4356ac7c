use access::{Grant, Identity, Role};
use record::Draft;
use serde_json::Value;
use world::World;

use super::*;
use crate::tests::{Log, draft};
use crate::{EngineError, Format};

fn staging() -> View {
    View::of(&Identity::anonymous(vec![Grant { role: Role::Admin, scope: "env=staging".parse().unwrap() }]))
}

/// Records of few moments, so that many have the same time.
fn drafts(from: u64, count: u64) -> Vec<Draft> {
    let world = World::real();
    let at_once = |n: u64| {
        let mut draft = draft(&world, n);
        draft.time = Timestamp::from_micros(draft.time.as_micros() / 50_000_000_000 * 50_000_000_000);
        draft
    };
    (from..from + count).map(at_once).collect()
}

struct Told {
    rows: Vec<Value>,
    next: Option<String>,
}

async fn page(
    log: &Log,
    view: &View,
    query: &str,
    cursor: Option<String>,
    rows_max: usize,
) -> Result<Told, EngineError> {
    let search = Search { query: query.into(), ..Search::default() };
    let limits = Limits { rows_max, ..Limits::default() };
    let answer = log.engine.page(view, search, Page { cursor, snippets: true }, limits).await?;
    let json: Value = serde_json::from_slice(&answer.write(Format::Json).unwrap()).unwrap();
    assert_eq!(json["next"].as_str(), answer.next());
    assert_eq!(json["truncated"] == true, answer.next().is_some(), "{query}");
    Ok(Told { rows: json["rows"].as_array().unwrap().clone(), next: answer.next().map(str::to_owned) })
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_together_are_the_answer_of_the_first_moment_whatever_arrives_between_them() {
    let log = Log::of(drafts(3, 1_300)).await;
    let mut arrived = 1_303;
    for (nth, (view, query)) in [
        (View::everything(), ""),
        (View::everything(), "\"b 1\" OR model:Model-1"),
        (staging(), ""),
        (staging(), "b user:user-3 OR duration_ms:>500"),
        (View::everything(), "until:2025-11-25T06:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let all = page(&log, &view, query, None, 10_000).await.unwrap().rows;
        assert!(all.len() > 50 && all.len() % 97 != 0, "{query}: {}", all.len());
        let mut rows = Vec::new();
        let mut cursor = None;
        let mut pages = 0;
        let sealed = log.engine.segments().0;
        loop {
            // Of any size, another each time.
            let told = page(&log, &view, query, cursor, 97 + 41 * (pages % 5)).await.unwrap();
            pages += 1;
            rows.extend(told.rows);
            // Newer, as old as what was given out, and older; enough of them that a segment is sealed meanwhile.
            log.append(drafts(arrived, 150)).await;
            arrived += 150;
            while log.engine.segments().0 < usize::try_from(arrived - 3).unwrap() / 1_100 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let Some(next) = told.next else { break };
            cursor = Some(next);
        }
        assert_eq!(rows.len(), all.len(), "{query}");
        assert_eq!(rows, all, "{query}");
        assert!(pages > all.len() / 300, "{pages} pages of {query}");
        let later = page(&log, &view, query, None, 10_000).await.unwrap().rows;
        assert!(later.len() > all.len(), "what arrives is found by who asks anew");
        assert!(nth > 0 || log.engine.segments().0 > sealed, "a segment was sealed between the pages");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_one_search_of_one_view() {
    let log = Log::of(drafts(3, 1_200)).await;
    let everything = View::everything();
    let next = page(&log, &everything, "b", None, 10).await.unwrap().next.unwrap();
    page(&log, &everything, "b", Some(next.clone()), 10).await.unwrap();
    let refused =
        async |view: &View, query: &str, cursor: &str| match page(&log, view, query, Some(cursor.to_owned()), 10).await
        {
            Err(EngineError::Page(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(told) => panic!("{} rows for {cursor}", told.rows.len()),
        };
    assert_eq!(refused(&everything, "b ", &next).await, PageError::Foreign);
    assert_eq!(refused(&staging(), "b", &next).await, PageError::Foreign);
    let mut others = std::collections::BTreeSet::new();
    for at in 0..next.len() {
        let changed = if next.as_bytes()[at] == b'0' { '1' } else { '0' };
        let changed = format!("{}{changed}{}", &next[..at], &next[at + 1..]);
        others.insert(format!("{:?}", refused(&everything, "b", &changed).await));
    }
    assert_eq!(others.into_iter().collect::<Vec<_>>(), ["Foreign", "Version"]);
    for malformed in [
        "",
        "0",
        "x",
        "é",
        "01",
        &next[..next.len() - 2],
        &format!("{next}00"),
        &"0".repeat(100_000),
        &next.to_uppercase(),
    ] {
        let error = refused(&everything, "b", malformed).await;
        assert!(matches!(error, PageError::Malformed), "{malformed}: {error}");
    }
    // Of a log that has more than this one, as a copy of an earlier day has.
    let search = Search { query: "b".into(), ..Search::default() };
    let bound = Bound { origin: "example.com/log", view: &everything, search: &search };
    let cursor = Cursor::read(&next, &bound).unwrap();
    assert_eq!((cursor.size, Cursor::read(&cursor.write(&bound), &bound).unwrap()), (1_200, cursor));
    let ahead = Cursor { size: 1_201, ..cursor }.write(&bound);
    assert_eq!(refused(&everything, "b", &ahead).await, PageError::Ahead(1_201, 1_200));
    assert_eq!(refused(&everything, "b | top model", &next).await, PageError::StageHasNoPages);
    let staged = page(&log, &everything, "b | top model", None, 10).await;
    assert!(matches!(staged, Err(EngineError::Page(PageError::StageHasNoSnippets))));
    let many = page(&log, &everything, "b", None, snippets::ROWS_MAX + 1).await;
    assert!(matches!(many, Err(EngineError::Page(PageError::TooManySnippets))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_passes_over_segments_of_which_all_was_given_out() {
    let log = Log::of(drafts(3, 2_300)).await;
    log.index();
    // Whatever is older than the first record is in no segment at all.
    let search = Search::default();
    let bound = Bound { origin: "example.com/log", view: &View::everything(), search: &search };
    let rest = Cursor { size: 2_300, now: Timestamp::from_micros(0), last: (0, 2_300) };
    let frame = log.engine.visible(log.engine.snapshot().unwrap(), &View::everything()).await.unwrap();
    let plan = frame.filter(rest.rest()).unwrap().explain(false, true).unwrap().collect().await.unwrap();
    let plan = datafusion::arrow::util::pretty::pretty_format_batches(&plan).unwrap().to_string();
    let pruned =
        ["files_ranges_pruned_statistics=2 total → 0 matched", "row_groups_pruned_statistics=2 total → 0 matched"];
    assert!(pruned.iter().any(|said| plan.contains(said)), "{plan}");
    assert_eq!(rest.write(&bound).len(), 2 * CURSOR_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_with_their_snippets_in_every_form_and_only_if_asked() {
    let log = Log::of(drafts(3, 1_200)).await;
    let search = || Search { query: "\"b 1\" OR -input:b".into(), ..Search::default() };
    let with = Page { cursor: None, snippets: true };
    let limits = Limits { rows_max: 20, ..Limits::default() };
    let answer = log.engine.page(&View::everything(), search(), with, limits).await.unwrap();
    let lines = String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let snippet = serde_json::json!({"field": "input", "text": "a | b 1", "marks": [[4, 7]], "cut_start": false, "cut_end": false});
    assert_eq!(first["snippets"], serde_json::json!([snippet]));
    for format in [Format::Csv, Format::Parquet, Format::Arrow] {
        assert!(answer.write(format).unwrap().len() > 1_000);
    }
    let without = log.engine.search(&View::everything(), search(), limits).await.unwrap();
    assert!(!String::from_utf8(without.write(Format::Json).unwrap()).unwrap().contains("snippets"));
    // Nothing to mark, and nothing found.
    for query in ["model:Model-1", "model:none"] {
        let told = page(&log, &View::everything(), query, None, 20).await.unwrap();
        assert!(told.rows.iter().all(|row| row.get("snippets").is_none()), "{query}");
    }
}
