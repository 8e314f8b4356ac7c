use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Archive, Ledger, Options};
use record::{Draft, Field, Kind, Outcome, Source, Timestamp, Uuid, uuid_v7};

use super::*;
use crate::engine::{Engine, Limits, SealAt, Search};
use crate::live::Chunk;
use crate::{Answer, Format, View};

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
    while segment::list(world.disk.as_ref(), &data.join("segments")).unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (Log { _dir: dir, data, world }, ledger, engine)
}

fn findings(log: &Log) -> Vec<String> {
    let mut batches = Vec::new();
    let archive = Archive::open(&log.world, &log.data, |batch| batches.push(batch)).unwrap();
    let bundles = |number: u64, bundle: &mut Vec<u8>| {
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
    };
    let (findings, end) = check_segments(&log.world, &log.data, archive.wal_first(), 2, &bundles, &|_| {});
    assert!(end >= 4_096);
    findings.iter().map(ToString::to_string).collect()
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
    let sealed = segment::list(log.world.disk.as_ref(), &log.data.join("segments")).unwrap().last().unwrap().end;
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
    let segments = segment::list(disk.as_ref(), &dir).unwrap();
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
    let forged = segment::seal(disk, &dir, "example.com/log", segment.first, &[Chunk::new(segment.end, rows)]).unwrap();
    assert_eq!(forged.path, segment.path);
}
