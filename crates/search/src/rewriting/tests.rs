use std::path::PathBuf;

use datafusion::arrow::array::StringViewArray;
use datafusion::arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use record::{Draft, Field, Kind, Source, Timestamp, uuid_v7};
use world::{SeededEntropy, SimulatedDisk, World};

use super::*;
use crate::columns::SCHEMA;
use crate::live::Chunk;
use crate::parts::FileInParts;
use crate::segment::{Listed, list, seal};
use crate::terms::path_beside;
use crate::tests::Log;

const DIR: &str = "segments";
const ROWS: usize = 600;
const SEGMENTS: usize = 3;
/// States that are drawn at one moment.
const STATES_OF_A_MOMENT: u64 = 3;

/// Rows in the order of the log, whose times are not, some of them of `control` records.
async fn rows() -> RecordBatch {
    let world = World::real();
    let source = Arc::new(Source {
        service: "bot".into(),
        environment: "test".into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: "test".into(),
    });
    let draft = |n: usize| {
        let time = Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(n * 7_919 % 400).unwrap());
        let kind = if n.is_multiple_of(50) { Kind::Control } else { Kind::System };
        let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, kind, source.clone());
        let (name, bytes) = ("gen_ai.input.messages".into(), format!("word{n} of all").into_bytes());
        draft.content.push(Field { name, media: "text/plain".into(), bytes });
        draft.content.push(Field { name: "other".into(), media: "text/plain".into(), bytes: vec![0xFF, 1] });
        draft
    };
    let log = Log::of((0..ROWS).map(draft).collect()).await;
    let snapshot = log.engine.snapshot().unwrap();
    concat_batches(&SCHEMA, &snapshot.live).unwrap()
}

/// Segments of these rows, as many in each.
fn sealed(disk: &SimulatedDisk, rows: &RecordBatch) -> Vec<Segment> {
    let each = ROWS / SEGMENTS;
    let segment = |nth: usize| {
        let chunk = Chunk::new(((nth + 1) * each) as u64, rows.slice(nth * each, each));
        seal(disk, Path::new(DIR), "example.com/log", ((nth * each) as u64, Kept::Everything), &[chunk]).unwrap()
    };
    (0..SEGMENTS).map(segment).collect()
}

fn listed(disk: &dyn Disk) -> Listed {
    list(disk, Path::new(DIR)).unwrap()
}

/// The rows of segments in the order of the log. Each segment must have its digest, and come newest first.
fn read(disk: &SimulatedDisk, segments: &[Segment]) -> RecordBatch {
    let arc: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut batches = Vec::new();
    for segment in segments {
        let file = Path::new(DIR).join(&segment.path);
        check_digest(disk, &file).unwrap();
        let reader = FileInParts::open(&arc, &file).unwrap().rows().unwrap().build().unwrap();
        let rows: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let rows = concat_batches(&SCHEMA, &rows).unwrap();
        let keys: Vec<_> = crate::segment::row_keys(&rows).unwrap().collect();
        assert!(keys.is_sorted_by(|a, b| a > b), "{}", segment.path);
        batches.push(rows);
    }
    let all = concat_batches(&SCHEMA, &batches).unwrap();
    let order = sort_to_indices(all.column_by_name("log_index").unwrap(), None, None).unwrap();
    take_record_batch(&all, &order).unwrap()
}

fn rewrite(disk: &SimulatedDisk, sources: Vec<Segment>, kept: Kept) -> Result<Segment, RewriteError> {
    let (arc, dir): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Path::new(DIR));
    let mut rewrite = Rewrite::begin(&arc, dir, sources, kept)?;
    while rewrite.step()? {}
    rewrite.finish()
}

/// Rewrites, and removes what is replaced.
fn rewrite_whole(disk: &SimulatedDisk, sources: Vec<Segment>, kept: Kept) -> Result<Segment, RewriteError> {
    let segment = rewrite(disk, sources.clone(), kept)?;
    for source in sources {
        source.remove(disk, Path::new(DIR)).map_err(|error| SealError::Io(PathBuf::new(), error))?;
    }
    Ok(segment)
}

fn texts<'r>(rows: &'r RecordBatch, column: &str) -> &'r StringViewArray {
    rows.column_by_name(column).unwrap().as_string_view()
}

#[tokio::test]
async fn segments_become_one_with_the_same_rows_in_order() {
    let (disk, rows) = (SimulatedDisk::default(), rows().await);
    let sources = sealed(&disk, &rows);
    let one = rewrite_whole(&disk, sources, Kept::Everything).unwrap();
    assert_eq!((one.first, one.end), (0, ROWS as u64));
    let found = listed(&disk);
    assert_eq!((found.segments.len(), found.replaced.len(), found.unfinished.len()), (1, 0, 0));
    assert_eq!(read(&disk, &found.segments), rows);
    let Indexed::By(terms) = one.indexed else { panic!("it has no index") };
    assert_eq!(terms.rows, ROWS);
    assert!(terms.may_have("word77"));
}

#[tokio::test]
async fn what_is_kept_is_all_that_is_left_on_the_disk() {
    let (disk, rows) = (SimulatedDisk::default(), rows().await);
    let source = sealed(&disk, &rows).remove(0);
    let without = rewrite_whole(&disk, vec![source], Kept::Records).unwrap();
    let left = read(&disk, std::slice::from_ref(&without));
    let inputs = texts(&left, "input");
    for (row, kind) in texts(&left, "kind").iter().enumerate() {
        assert_eq!(inputs.is_valid(row), kind == Some("control"), "{row}");
        assert_eq!(left.column_by_name("content_seed").unwrap().is_valid(row), kind == Some("control"), "{row}");
        assert_eq!(left.column_by_name("other_content").unwrap().is_valid(row), kind == Some("control"), "{row}");
    }
    assert_eq!(left.column_by_name("id").unwrap().as_ref(), rows.slice(0, 200).column_by_name("id").unwrap().as_ref());
    let file = Path::new(DIR).join(&without.path);
    for part in [&file, &path_beside(&file)] {
        let bytes = disk.read(part).unwrap();
        assert!(memchr::memmem::find(&bytes, b"word7").is_none(), "{} has what was erased", part.display());
    }

    let control = rewrite_whole(&disk, vec![without], Kept::Control).unwrap();
    let left = read(&disk, std::slice::from_ref(&control));
    assert_eq!(left.num_rows(), 4);
    assert_eq!(texts(&left, "input").value(1), "word50 of all");
    assert_eq!((control.first, control.end), (0, 200));
}

#[tokio::test]
async fn a_damaged_segment_is_left_alone() {
    let (disk, rows) = (SimulatedDisk::default(), rows().await);
    let sources = sealed(&disk, &rows);
    disk.tamper(&Path::new(DIR).join(&sources[1].path), |bytes| bytes[100] ^= 1);
    let error = rewrite(&disk, sources, Kept::Everything).unwrap_err();
    insta::assert_snapshot!(error.to_string().replace(|c: char| c.is_ascii_digit(), "0"), @"example.com_log/0000-00-00/000000000000-000000000000.parquet is damaged, so it is left alone: its bytes do not have the SHA-000 beside it: one of the two was changed. `testimony verify` says more");
    assert!(listed(&disk).unfinished.is_empty());
}

#[tokio::test]
async fn segments_of_other_columns_do_not_become_one() {
    let (disk, rows) = (SimulatedDisk::default(), rows().await);
    let mut sources = sealed(&disk, &rows);
    let fewer: Vec<usize> = (0..SCHEMA.fields().len()).filter(|at| SCHEMA.field(*at).name() != "result").collect();
    let arc: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut merge = Merge::open(&arc, Path::new(DIR), &sources[..1]).unwrap().unwrap();
    let file = Path::new(DIR).join(&sources[0].path);
    let mut writer = SegmentWriter::begin(&disk, &file, Arc::new(SCHEMA.project(&fewer).unwrap())).unwrap();
    while let Some(rows) = merge.next_rows().unwrap() {
        writer.write(&rows.project(&fewer).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    assert!(matches!(rewrite(&disk, sources.clone(), Kept::Everything), Err(RewriteError::Columns)));
    // By itself it can be lessened.
    rewrite(&disk, vec![sources.remove(0)], Kept::Records).unwrap();
}

/// Calls `step` on a fresh disk again and again, killed one moment later each time, until it comes to its end; how many moments there were.
fn at_every_moment(
    prepare: impl Fn(&SimulatedDisk),
    step: impl Fn(&SimulatedDisk),
    check: impl Fn(SimulatedDisk, &str),
) -> usize {
    for moment in 0.. {
        let disk = SimulatedDisk::default();
        prepare(&disk);
        let mut passed = 0;
        disk.kill_when(move |_, _| {
            passed += 1;
            passed > moment
        });
        step(&disk);
        let is_over = !disk.is_dead();
        check(disk.after_kill(), &format!("killed at moment {moment}"));
        for seed in 0..STATES_OF_A_MOMENT {
            let dice = SeededEntropy::new((moment as u64) << 8 | seed);
            check(disk.after_power_loss(&dice), &format!("without power at moment {moment}, state {seed}"));
        }
        if is_over {
            return moment;
        }
    }
    0
}

#[tokio::test]
async fn a_crash_at_any_step_of_compaction_loses_nothing_and_leaves_nothing() {
    let rows = rows().await;
    let moments = at_every_moment(
        |disk| drop(sealed(disk, &rows)),
        |disk| {
            let _ = rewrite_whole(disk, listed(disk).segments, Kept::Everything);
        },
        |left, case| {
            let found = listed(&left);
            assert_eq!(read(&left, &found.segments), rows, "{case}");
            found.clear(&left, Path::new(DIR));
            let segments = listed(&left).segments;
            if segments.len() > 1 {
                rewrite_whole(&left, segments, Kept::Everything).unwrap();
            }
            let found = listed(&left);
            assert_eq!((found.segments.len(), found.replaced.len(), found.unfinished.len()), (1, 0, 0), "{case}");
            assert_eq!(read(&left, &found.segments), rows, "{case}");
        },
    );
    assert!(moments > 30, "{moments}");
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_removal_leaves_the_segment_as_it_was_or_lessened() {
    let rows = rows().await;
    let moments = at_every_moment(
        |disk| drop(sealed(disk, &rows)),
        |disk| {
            let _ = rewrite_whole(disk, listed(disk).segments.drain(..1).collect(), Kept::Records);
        },
        |left, case| {
            let found = listed(&left);
            let kept: Vec<Kept> = found.segments.iter().map(|segment| segment.kept).collect();
            assert!(
                matches!(kept[..], [Kept::Everything | Kept::Records, Kept::Everything, Kept::Everything]),
                "{case}"
            );
            let is_lessened = kept[0] == Kept::Records;
            found.clear(&left, Path::new(DIR));
            let found = listed(&left);
            let now = read(&left, &found.segments);
            let lost = texts(&now, "input").null_count();
            assert_eq!(lost, if is_lessened { 196 } else { 0 }, "{case}");
            if is_lessened {
                let day = Path::new(DIR).join(found.segments[0].folder());
                let whole = left.list(&day).unwrap();
                let whole =
                    whole.iter().filter(|name| name.starts_with("000000000000-") && !name.contains(".records."));
                assert_eq!(whole.count(), 0, "{case}: what was erased is still there");
            }
        },
    );
    assert!(moments > 15, "{moments}");
}

#[tokio::test]
async fn a_crash_at_any_step_of_sealing_leaves_the_whole_segment_or_none() {
    let rows = rows().await;
    let chunk = || [Chunk::new(ROWS as u64, rows.clone())];
    let moments = at_every_moment(
        |_| {},
        |disk| {
            let _ = seal(disk, Path::new(DIR), "example.com/log", (0, Kept::Everything), &chunk());
        },
        |left, case| {
            let found = listed(&left);
            if !found.segments.is_empty() {
                assert_eq!(read(&left, &found.segments), rows, "{case}");
            }
            found.clear(&left, Path::new(DIR));
            seal(&left, Path::new(DIR), "example.com/log", (0, Kept::Everything), &chunk()).unwrap();
            assert_eq!(read(&left, &listed(&left).segments), rows, "{case}");
        },
    );
    assert!(moments > 8, "{moments}");
}
