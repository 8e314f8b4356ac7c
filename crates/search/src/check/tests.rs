use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Archive, Batch, Ledger, Options};
use record::{Draft, Field, Kind, Outcome, Source, Timestamp, Uuid, uuid_v7};
use tlog::TILE_WIDTH;

use super::*;
use crate::columns::SCHEMA;
use crate::compaction::CompactAt;
use crate::engine::{Engine, Limits, SealAt, Search};
use crate::live::Chunk;
use crate::merging::Merge;
use crate::rebuilding::{Rebuilt, rebuild_segments};
use crate::writing::SegmentWriter;
use crate::{Answer, Because, Bounds, Due, Format, Removed, Retention, View};

const RECORDS: u64 = 5_000;

struct Log {
    _dir: tempfile::TempDir,
    data: PathBuf,
    world: World,
}

fn draft(world: &World, n: u64) -> Draft {
    // Times go back now and then, as those of imported records do.
    let time = Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(n * 7_919 % 10_000).unwrap());
    let source = Source {
        service: "bot".into(),
        environment: "test".into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: "test".into(),
    };
    let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::InferenceRequest, Arc::new(source));
    draft.call_id = Some(Uuid::from_u128(n.into()));
    draft.outcome = Some(Outcome::Denied);
    draft.attributes.set("gen_ai.request.model", format!("model-{}", n % 3));
    draft.attributes.set("gen_ai.request.temperature", 0.5);
    draft.content.push(Field {
        name: "gen_ai.input.messages".into(),
        media: "text/plain".into(),
        bytes: format!("question {n}").into_bytes(),
    });
    draft.content.push(Field {
        name: "testimony.request.body".into(),
        media: "text/plain".into(),
        bytes: vec![0xFF, 1],
    });
    draft
}

/// A log whose first records are sealed in segments and whose last are not.
async fn log() -> (Log, Ledger, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let (data, world) = (dir.path().join("data"), World::real());
    let options = Options { origin: Some("example.com/log".into()), wal_segment_bytes: 200_000, ..Options::default() };
    let ledger = Ledger::open(&world, &data, &options).unwrap().ledger;
    let engine = Engine::follow(&world, &data, &ledger, SealAt { rows: 2_048, bytes: usize::MAX }).unwrap();
    for chunk in 0..RECORDS / 100 {
        let drafts = (chunk * 100..(chunk + 1) * 100).map(|n| draft(&world, n)).collect();
        ledger.append_all(drafts).await.unwrap();
    }
    while engine.segments().0 < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (Log { _dir: dir, data, world }, ledger, engine)
}

/// Entry bundles of a stopped log.
fn bundles(archive: &Archive) -> impl Fn(u64, &mut Vec<u8>) -> Result<(), String> + Sync + '_ {
    |number: u64, bundle: &mut Vec<u8>| {
        let mut index = number * TILE_WIDTH;
        while index < ((number + 1) * TILE_WIDTH).min(archive.size()) {
            for entry in archive.batch_with(index).map_err(|error| error.to_string())?.entries_from(index) {
                if index < (number + 1) * TILE_WIDTH {
                    tlog::push_entry(bundle, entry.leaf).unwrap();
                }
                index += 1;
            }
        }
        Ok(())
    }
}

fn reopened(log: &Log) -> Ledger {
    let options = Options { origin: Some("example.com/log".into()), wal_segment_bytes: 200_000, ..Options::default() };
    Ledger::open(&log.world, &log.data, &options).unwrap().ledger
}

fn findings(log: &Log) -> Vec<String> {
    let (findings, end) = checked(log);
    assert!(end >= 4_096);
    findings
}

/// What is found, and where the segments end.
fn checked(log: &Log) -> (Vec<String>, u64) {
    let mut batches = Vec::new();
    let archive = Archive::open(&log.world, &log.data, |batch| batches.push(batch)).unwrap();
    let bundles = bundles(&archive);
    let mut told = Removal::default();
    batches.iter().flat_map(Batch::entries).for_each(|entry| told.learn(entry.leaf));
    let (findings, end) = check_segments(&log.world, &log.data, archive.wal_first(), told, 2, &bundles, &|_| {});
    (findings.iter().map(ToString::to_string).collect(), end)
}

fn json(answer: &Answer) -> String {
    String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_and_unsealed_rows_answer_as_one_and_survive_a_restart() {
    let (log, ledger, engine) = log().await;
    let count = "SELECT model, count(*) AS n, min(log_index) AS first, max(log_index) AS last FROM records GROUP BY model ORDER BY model";
    let expected = "{\"model\":\"model-0\",\"n\":1667,\"first\":0,\"last\":4998}\n{\"model\":\"model-1\",\"n\":1667,\"first\":1,\"last\":4999}\n\
        {\"model\":\"model-2\",\"n\":1666,\"first\":2,\"last\":4997}\n";
    assert_eq!(
        json(&engine.sql(&View::everything(), count.into(), Search::default(), Limits::default()).await.unwrap()),
        expected
    );
    let search = |query: &str| Search { query: query.into(), ..Search::default() };
    for n in [0_u32, 2_047, 2_048, 4_999] {
        let found = engine
            .search(
                &View::everything(),
                search(&format!("\"question {n}\" call:{}", Uuid::from_u128(n.into()))),
                Limits::default(),
            )
            .await
            .unwrap();
        assert!(json(&found).contains(&format!("\"log_index\":{n},")), "{n}");
    }
    let call = Uuid::from_u128(7).to_string();
    let story = engine.story(&View::everything(), "call_id", call, Limits::default()).await.unwrap();
    assert_eq!(story[0]["content"]["testimony.request.body"], "\u{fffd}\u{1}");
    engine.close();
    ledger.close();
    assert_eq!(findings(&log), [""; 0]);

    let mut batches = Vec::new();
    Archive::open(&log.world, &log.data, |batch| batches.push(batch)).unwrap();
    let stopped = Engine::of_stopped(&log.world, &log.data, "example.com/log", batches).unwrap();
    assert_eq!(
        json(&stopped.sql(&View::everything(), count.into(), Search::default(), Limits::default()).await.unwrap()),
        expected
    );
    stopped.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_seal_what_has_piled_up_before_they_answer() {
    let (log, ledger, engine) = log().await;
    engine.close();
    for chunk in 0..60 {
        let drafts = (RECORDS + chunk * 100..RECORDS + (chunk + 1) * 100).map(|n| draft(&log.world, n)).collect();
        ledger.append_all(drafts).await.unwrap();
    }
    // Another engine, which has a lag from the start.
    let rows = 1_024;
    let engine = Engine::follow(&log.world, &log.data, &ledger, SealAt { rows, bytes: usize::MAX }).unwrap();
    let queries = (0..4).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            let (view, count) = (View::everything(), "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM records");
            json(&engine.sql(&view, count.into(), Search::default(), Limits::default()).await.unwrap())
        })
    });
    for query in queries.collect::<Vec<_>>() {
        assert_eq!(query.await.unwrap(), format!("{{\"n\":{0},\"ids\":{0}}}\n", RECORDS + 6_000));
    }
    let sealed =
        segment::list(log.world.disk.as_ref(), &log.data.join("segments")).unwrap().segments.last().unwrap().end;
    assert!(sealed + 4 * 1_024 >= RECORDS + 6_000, "{sealed}");
    engine.close();
    ledger.close();
    assert_eq!(findings(&log), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_cut_an_answer_and_say_so() {
    let (_log, ledger, engine) = log().await;
    let few = Limits { rows_max: 3, ..Limits::default() };
    let answer = engine.search(&View::everything(), Search::default(), few).await.unwrap();
    assert_eq!((answer.len(), answer.is_truncated()), (3, true));
    let endless =
        "SELECT count(*) FROM records a, records b, records c, records d WHERE a.seq + b.seq + c.seq + d.seq = -1";
    let short = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
    assert!(engine.sql(&View::everything(), endless.into(), Search::default(), short).await.is_err());
    engine.close();
    ledger.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_missing_or_forged_segment_is_found_and_named() {
    let (log, ledger, engine) = log().await;
    engine.close();
    ledger.close();
    let (disk, dir) = (log.world.disk.clone(), log.data.join("segments"));
    let segments = segment::list(disk.as_ref(), &dir).unwrap().segments;
    let file = dir.join(&segments[0].path);
    let whole = disk.read(&file).unwrap();

    let mut changed = whole.clone();
    changed[whole.len() / 3] ^= 4;
    disk.replace(&file, &changed).unwrap();
    assert!(findings(&log)[0].contains(&segments[0].path));

    disk.remove(&file).unwrap();
    assert!(findings(&log).iter().any(|finding| finding.contains("a segment is missing")));
    disk.replace(&file, &whole).unwrap();
    assert_eq!(findings(&log), [""; 0]);

    // A forger who writes a whole segment anew, digest and all, is told by the leaves.
    for (column, said) in
        [("model", "column model is not what the leaf says"), ("input", "commitment"), ("outcome", "column outcome")]
    {
        disk.replace(&file, &whole).unwrap();
        forge(&log, &segments[0], column);
        assert!(findings(&log)[0].contains(said), "{column}: {:?}", findings(&log));
    }
}

/// Writes a segment again with one column changed in its first row.
fn forge(log: &Log, segment: &Segment, column: &str) {
    let (disk, dir) = (log.world.disk.as_ref(), log.data.join("segments"));
    let bytes = bytes::Bytes::from(disk.read(&dir.join(&segment.path)).unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().with_batch_size(100_000).build().unwrap();
    let rows = reader.map(Result::unwrap).next().unwrap();
    let at = rows.schema().index_of(column).unwrap();
    let texts = rows
        .column(at)
        .as_string_view()
        .iter()
        .enumerate()
        .map(|(row, text)| if row == 0 { Some("forged") } else { text });
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(texts.collect::<datafusion::arrow::array::StringViewArray>());
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let forged = segment::seal(
        disk,
        &dir,
        "example.com/log",
        (segment.first, Kept::Everything),
        &[Chunk::new(segment.end, rows)],
    )
    .unwrap();
    assert_eq!(forged.path, segment.path);
}

/// An engine that compacts as soon as there are three segments of 1,024 records, over a log of several.
async fn compacted() -> (Log, Ledger, Engine) {
    let (log, ledger, engine) = log().await;
    engine.close();
    let (rows, compact_at) = (1_024, CompactAt { records: u64::MAX, bytes: u64::MAX, segments: 3 });
    let seal_at = SealAt { rows, bytes: usize::MAX };
    let engine = Engine::follow_and_compact(&log.world, &log.data, &ledger, seal_at, compact_at).unwrap();
    for chunk in 0..20 {
        let drafts = (RECORDS + chunk * 100..RECORDS + (chunk + 1) * 100).map(|n| draft(&log.world, n)).collect();
        ledger.append_all(drafts).await.unwrap();
    }
    rest(&engine).await;
    (log, ledger, engine)
}

async fn rest(engine: &Engine) {
    let all = || async { json(&ask(engine, "SELECT count(*) FROM records").await) };
    all().await;
    while !engine.is_at_rest() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(engine: &Engine, statement: &str) -> Answer {
    engine.sql(&View::everything(), statement.into(), Search::default(), Limits::default()).await.unwrap()
}

/// What lies in the folder of segments, by name.
fn files(log: &Log) -> Vec<String> {
    let segments = segment::list(log.world.disk.as_ref(), &log.data.join("segments")).unwrap();
    assert_eq!((segments.replaced.len(), segments.unfinished.len(), segments.orphaned.len()), (0, 0, 0));
    segments.segments.iter().map(|segment| segment.path.rsplit('/').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_changes_no_answer_and_no_verdict() {
    let (log, ledger, engine) = compacted().await;
    assert!(files(&log).len() < 3, "{:?}", files(&log));
    let all =
        "SELECT count(*) AS n, count(DISTINCT id) AS ids, max(log_index) AS last, count(input) AS inputs FROM records";
    assert_eq!(json(&ask(&engine, all).await), "{\"n\":7000,\"ids\":7000,\"last\":6999,\"inputs\":7000}\n");
    for n in [0, 1_023, 1_024, 4_095, 4_096, 6_999] {
        let search = Search { query: format!("\"question {n}\""), ..Search::default() };
        let found = engine.search(&View::everything(), search, Limits::default()).await.unwrap();
        assert_eq!(found.len(), 1, "{n}");
        assert!(json(&found).contains(&format!("\"log_index\":{n},")), "{n}");
    }
    engine.close();
    ledger.close();
    assert_eq!(findings(&log), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_stays_until_it_has_been_read() {
    let (log, ledger, engine) = log().await;
    let before = engine.snapshot().unwrap();
    engine.close();
    let (rows, compact_at) = (2_048, CompactAt { records: u64::MAX, bytes: u64::MAX, segments: 2 });
    let seal_at = SealAt { rows, bytes: usize::MAX };
    let engine = Engine::follow_and_compact(&log.world, &log.data, &ledger, seal_at, compact_at).unwrap();
    let read = engine.snapshot().unwrap();
    while engine.segments().0 > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dir = log.data.join("segments");
    assert!(!engine.is_at_rest());
    for segment in &read.segments {
        assert!(log.world.disk.length(&dir.join(&segment.path)).unwrap() > 0);
    }
    drop(read);
    rest(&engine).await;
    for segment in &before.segments {
        assert!(log.world.disk.length(&dir.join(&segment.path)).is_err(), "{}", segment.path);
    }
    assert_eq!(files(&log).len(), 1);
    engine.close();
    ledger.close();
    assert_eq!(findings(&log), [""; 0]);
}

/// The record of a removal, as it is written before anything goes.
async fn record_removal(log: &Log, removed: Removed, before: u64) {
    let ledger = reopened(log);
    let mut draft = draft(&log.world, 1);
    draft.kind = Kind::Control;
    draft.call_id = None;
    draft.source = Arc::new(Source { producer: crate::RETENTION_DOOR.into(), ..(*draft.source).clone() });
    draft.attributes.set(crate::REMOVED_ATTRIBUTE, removed.as_str());
    draft.attributes.set(crate::BEFORE_ATTRIBUTE, i64::try_from(before).unwrap());
    ledger.append_all(vec![draft]).await.unwrap();
    ledger.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn content_and_records_that_are_kept_no_longer_are_gone_and_the_log_still_verifies() {
    let (log, ledger, engine) = log().await;
    let none = Bounds { age: None, bytes: None };
    let is_nothing = |retention: &Retention| engine.due(retention).unwrap().is_empty();
    let far = Bounds { age: Some(Duration::from_secs(3_600)), bytes: Some(1 << 40) };
    assert!(
        is_nothing(&Retention { content: none, records: none })
            && is_nothing(&Retention { content: far, records: far })
    );
    // Everything that is sealed is older than no time at all; what is not sealed stays.
    let at_once = Bounds { age: Some(Duration::ZERO), bytes: None };
    let sealed = engine.kept().0.last().unwrap().end;
    let due = engine.due(&Retention { content: at_once, records: none }).unwrap();
    assert_eq!(due, [Due { removed: Removed::Content, from: 0, before: sealed, because: Because::Age }]);

    let first = engine.kept().0[0].end;
    let mut removal = Removal::default();
    removal.extend(Removed::Content, sealed);
    removal.extend(Removed::Records, first);
    engine.remove(removal);
    rest(&engine).await;
    let counts = "SELECT count(*) AS n, min(log_index) AS first, count(input) AS inputs FROM records";
    let expected = format!("{{\"n\":{},\"first\":{first},\"inputs\":{}}}\n", RECORDS - first, RECORDS - sealed);
    assert_eq!(json(&ask(&engine, counts).await), expected);
    let search = |n: u64| Search { query: format!("\"question {n}\""), ..Search::default() };
    let found = |n: u64| engine.search(&View::everything(), search(n), Limits::default());
    assert_eq!(found(sealed - 1).await.unwrap().len(), 0);
    assert_eq!(found(RECORDS - 1).await.unwrap().len(), 1);
    assert_eq!(engine.due(&Retention { content: at_once, records: none }).unwrap(), []);
    let due = engine.due(&Retention { content: none, records: Bounds { age: None, bytes: Some(0) } }).unwrap();
    assert_eq!(due, [Due { removed: Removed::Records, from: first, before: sealed, because: Because::Size }]);
    let story = engine.story(&View::everything(), "log_index", (sealed - 1).to_string(), Limits::default()).await;
    let story = story.unwrap();
    assert_eq!((&story[0]["content_removed"], &story[0]["content"]), (&true.into(), &serde_json::Value::Null));
    let story = engine.story(&View::everything(), "log_index", sealed.to_string(), Limits::default()).await.unwrap();
    assert_eq!(
        (&story[0]["content_removed"], &story[0]["input"]),
        (&serde_json::Value::Null, &format!("question {sealed}").into())
    );

    // Without a record that says so, both are missing.
    engine.close();
    ledger.close();
    let gone = findings(&log);
    assert!(gone.iter().any(|finding| finding.contains("its content is gone")), "{gone:?}");
    assert!(gone.iter().any(|finding| finding.contains("its records are gone")), "{gone:?}");
    record_removal(&log, Removed::Content, sealed).await;
    record_removal(&log, Removed::Records, first - 1).await;
    assert_eq!(findings(&log).len(), 1, "{:?}", findings(&log));
    record_removal(&log, Removed::Records, first).await;
    assert_eq!(findings(&log), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_came_later_is_null_in_older_segments_and_no_finding() {
    let (log, ledger, engine) = log().await;
    let calls = "SELECT count(*) AS n, count(top_p) AS top, count(temperature) AS temperatures, count(arguments) AS arguments FROM records";
    assert_eq!(json(&ask(&engine, calls).await), "{\"n\":5000,\"top\":0,\"temperatures\":5000,\"arguments\":0}\n");
    let (old, rows) = {
        let segments = engine.kept().0;
        (segments[0].clone(), segments[0].records())
    };
    engine.close();
    // As a version would have written it that knew neither.
    let (disk, dir) = (log.world.disk.clone(), log.data.join("segments"));
    let merged = |merge: &mut Merge| std::iter::from_fn(|| merge.next_rows().unwrap()).collect::<Vec<_>>();
    let all = merged(&mut Merge::open(&disk, &dir, std::slice::from_ref(&old)).unwrap().unwrap());
    let known = |name: &str| !["temperature", "arguments"].contains(&name);
    let fewer: Vec<usize> = (0..SCHEMA.fields().len()).filter(|at| known(SCHEMA.field(*at).name())).collect();
    let columns = Arc::new(SCHEMA.project(&fewer).unwrap());
    let mut writer = SegmentWriter::begin(disk.as_ref(), &dir.join(&old.path), columns).unwrap();
    all.iter().for_each(|rows| writer.write(&rows.project(&fewer).unwrap()).unwrap());
    writer.finish().unwrap();

    let engine = Engine::follow(&log.world, &log.data, &ledger, SealAt { rows: 2_048, bytes: usize::MAX }).unwrap();
    let expected = format!("{{\"n\":5000,\"top\":0,\"temperatures\":{},\"arguments\":0}}\n", RECORDS - rows);
    assert_eq!(json(&ask(&engine, calls).await), expected);
    let cold = "SELECT count(*) AS n FROM records WHERE temperature = 0.5 AND log_index < 10";
    assert_eq!(json(&ask(&engine, cold).await), "{\"n\":0}\n");
    let story = engine.story(&View::everything(), "log_index", "7".into(), Limits::default()).await.unwrap();
    assert_eq!(story[0]["input"], "question 7", "{}", story[0]);
    let search = Search { query: "\"question 7\"".into(), ..Search::default() };
    let found = engine.search(&View::everything(), search, Limits::default()).await.unwrap();
    assert_eq!((found.len(), json(&found).contains("\"temperature\"")), (1, false), "{}", json(&found));
    engine.close();
    ledger.close();
    assert_eq!(findings(&log), [""; 0]);
}

fn rebuilt(log: &Log) -> Rebuilt {
    let archive = Archive::open(&log.world, &log.data, |_| {}).unwrap();
    let bundles = bundles(&archive);
    rebuild_segments(&log.world, &log.data, "example.com/log", archive.wal_first(), &bundles, &|_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rebuilt_gives_the_same_answers() {
    let (log, ledger, engine) = compacted().await;
    let all = "SELECT * FROM records ORDER BY log_index";
    let whole = Limits { rows_max: 10_000, ..Limits::default() };
    let told = async |engine: &Engine| {
        json(&engine.sql(&View::everything(), all.into(), Search::default(), whole).await.unwrap())
    };
    let before = told(&engine).await;
    engine.close();
    ledger.close();
    let names = files(&log);
    let (disk, dir) = (log.world.disk.clone(), log.data.join("segments"));
    for segment in segment::list(disk.as_ref(), &dir).unwrap().segments {
        let file = dir.join(&segment.path);
        // Everything beside the content is derived: indexes, digests, columns.
        disk.remove(&crate::terms::path_beside(&file)).unwrap();
        disk.replace(&crate::writing::digest_path(&file), b"of something else").unwrap();
        forge(&log, &segment, "model");
    }
    assert_ne!(findings(&log), [""; 0]);
    let done = rebuilt(&log);
    assert_eq!((done.findings, done.gaps, done.segments), (vec![], vec![], names.len()));
    assert_eq!(findings(&log), [""; 0]);
    assert_eq!(files(&log), names);
    let ledger = reopened(&log);
    let engine = Engine::follow(&log.world, &log.data, &ledger, SealAt::default()).unwrap();
    assert_eq!(told(&engine).await, before);
    engine.close();
    ledger.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilding_leaves_what_it_cannot_read_and_fills_what_is_not_there_without_content() {
    let (log, ledger, engine) = log().await;
    engine.close();
    ledger.close();
    let (disk, dir) = (log.world.disk.clone(), log.data.join("segments"));
    let segments = segment::list(disk.as_ref(), &dir).unwrap().segments;
    let (first, second) = (dir.join(&segments[0].path), dir.join(&segments[1].path));
    disk.remove(&first).unwrap();
    let damaged = b"no Parquet at all".to_vec();
    disk.replace(&second, &damaged).unwrap();
    let done = rebuilt(&log);
    assert_eq!(done.gaps, [(0, segments[0].end)]);
    assert_eq!(done.findings.len(), 1);
    assert!(done.findings[0].place.ends_with(&segments[1].path), "{:?}", done.findings);
    assert_eq!(disk.read(&second).unwrap(), damaged);

    disk.remove(&second).unwrap();
    assert_eq!(rebuilt(&log).findings, []);
    let ledger = reopened(&log);
    let engine = Engine::follow(&log.world, &log.data, &ledger, SealAt::default()).unwrap();
    let counts = "SELECT count(*) AS n, count(DISTINCT id) AS ids, count(input) AS inputs FROM records";
    // What the write-ahead log still has, is all there.
    let lost = segment::list(disk.as_ref(), &dir).unwrap().segments;
    let lost: Vec<&Segment> = lost.iter().filter(|segment| segment.kept == Kept::Records).collect();
    let left = RECORDS - lost.last().unwrap().end;
    assert_eq!(json(&ask(&engine, counts).await), format!("{{\"n\":{RECORDS},\"ids\":{RECORDS},\"inputs\":{left}}}\n"));
    engine.close();
    ledger.close();
    // The content is lost, and nothing hides that.
    assert_eq!(checked(&log).0.len(), lost.len(), "{:?}", checked(&log));
}
