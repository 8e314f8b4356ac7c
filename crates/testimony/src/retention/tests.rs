use std::path::Path;
use std::sync::Arc;

use ledger::Options;
use record::Field;
use search::{Format, SealAt, Search, View};
use world::{Clock as _, ManualClock};

use super::*;
use crate::verification::check_directory;

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
const BEGIN: i64 = 1_764_000_000_000_000;

fn settings(content: &str, records: &str, content_size: &str, records_size: &str) -> config::Retention {
    config::Retention {
        content: content.into(),
        records: records.into(),
        content_size: content_size.into(),
        records_size: records_size.into(),
    }
}

#[test]
fn settings_are_ages_and_sizes_or_empty() {
    assert_eq!(read(&settings("", "", "", "")).unwrap(), Retention::default());
    let all = read(&settings("90d", "57w", "20GiB", "1TiB")).unwrap();
    assert_eq!(all.content.age, Some(Duration::from_secs(90 * 86_400)));
    assert_eq!(all.records, Bounds { age: Some(Duration::from_secs(399 * 86_400)), bytes: Some(1 << 40) });
    let wrong =
        [("90", "", "", ""), ("", "5h", "", ""), ("", "", "20", ""), ("", "", "", "1TB"), ("90d", "30d", "", "")];
    let said = wrong.map(|(content, records, content_size, records_size)| {
        read(&settings(content, records, content_size, records_size)).unwrap_err().to_string()
    });
    insta::assert_snapshot!(said.join("\n"), @r#"
    retention.content: "90" is not an age such as 90d, 13w or 400d
    retention.records: "5h" is not an age such as 90d, 13w or 400d
    retention.content_size: "20" is not a size such as 512MiB, 20GiB or 1TiB
    retention.records_size: "1TB" is not a size such as 512MiB, 20GiB or 1TiB
    retention.content: content cannot be kept longer than the records that it is of
    "#);
}

/// A log whose clock is set by hand.
struct Log {
    _dir: tempfile::TempDir,
    data: std::path::PathBuf,
    clock: Arc<ManualClock>,
    world: World,
    ledger: Ledger,
    engine: Engine,
    config: Config,
}

fn open(world: &World, data: &Path) -> (Ledger, Engine) {
    let options = Options { origin: Some("example.com/log".into()), ..Options::default() };
    let ledger = Ledger::open(world, data, &options).unwrap().ledger;
    let engine = Engine::follow(world, data, &ledger, SealAt::default()).unwrap();
    (ledger, engine)
}

impl Log {
    fn new(retention: config::Retention) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, clock) = (dir.path().join("data"), Arc::new(ManualClock::at(BEGIN)));
        let world = World { clock: clock.clone(), ..World::real() };
        let (ledger, engine) = open(&world, &data);
        let config = Config { retention, ..Config::default() };
        Self { _dir: dir, data, clock, world, ledger, engine, config }
    }

    fn keeping(&self) -> Keeping {
        Keeping::of(&self.world, &self.config, &self.engine, "example.com/log").unwrap()
    }

    /// Ten records, of the present day.
    async fn append(&self) {
        let time = Timestamp::from_micros(self.clock.now_micros());
        let source = Arc::new(self.config.source("example.com/log", "records"));
        let draft = |_| {
            let id = uuid_v7(time, &self.world.entropy.bytes());
            let mut draft = Draft::new(id, time, Kind::System, source.clone());
            let (name, bytes) = ("gen_ai.input.messages".into(), b"secret words".to_vec());
            draft.content.push(Field { name, media: "text/plain".into(), bytes });
            draft
        };
        self.ledger.append_all((0..10).map(draft).collect()).await.unwrap();
    }

    /// Another day begins; what was before is sealed once it has.
    async fn next_day(&self, sealed: usize) {
        self.clock.advance(DAY_MICROS);
        while self.engine.segments().0 < sealed || !self.engine.is_at_rest() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many rows there are beside those of retention, and how many have content.
    async fn counts(&self) -> String {
        while !self.engine.is_at_rest() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let counts = "SELECT count(*) AS n, count(input) AS inputs FROM records WHERE kind = 'system'";
        self.json(counts).await
    }

    async fn json(&self, statement: &str) -> String {
        let rows = self.engine.sql(&View::everything(), statement.into(), Search::default(), Limits::default());
        String::from_utf8(rows.await.unwrap().write(Format::JsonLines).unwrap()).unwrap().trim().to_owned()
    }

    fn verify(&self) -> Vec<String> {
        self.engine.close();
        self.ledger.close();
        check_directory(&self.data, None).unwrap().wrong
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_goes_after_its_days_and_records_after_theirs_each_by_a_record_that_says_so() {
    let log = Log::new(settings("2d", "4d", "", ""));
    log.append().await;
    log.next_day(1).await;
    log.append().await;
    let keeping = log.keeping();
    keeping.look(&log.ledger).await.unwrap();
    assert_eq!(log.counts().await, r#"{"n":20,"inputs":20}"#);

    log.next_day(2).await;
    log.clock.advance(DAY_MICROS / 2);
    keeping.look(&log.ledger).await.unwrap();
    assert_eq!(log.counts().await, r#"{"n":20,"inputs":10}"#);

    log.clock.advance(2 * DAY_MICROS);
    keeping.look(&log.ledger).await.unwrap();
    assert_eq!(log.counts().await, r#"{"n":10,"inputs":0}"#);
    let records = log.json("SELECT log_index, attributes['testimony.retention.removed'] AS removed, attributes['testimony.retention.from'] AS \"from\", \
        attributes['testimony.retention.before'] AS before, attributes['testimony.retention.setting'] AS setting FROM records \
        WHERE kind = 'control' ORDER BY log_index").await;
    insta::assert_snapshot!(records, @r#"
    {"log_index":20,"removed":"content","from":"0","before":"10","setting":"content = \"2d\""}
    {"log_index":21,"removed":"content","from":"10","before":"20","setting":"content = \"2d\""}
    {"log_index":22,"removed":"records","from":"0","before":"10","setting":"records = \"4d\""}
    "#);
    assert_eq!(log.verify(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_recorded_and_not_done_is_done_after_a_restart() {
    let mut log = Log::new(settings("2d", "", "", ""));
    log.append().await;
    log.next_day(1).await;
    log.clock.advance(2 * DAY_MICROS);
    let due = log.engine.due(&read(&log.config.retention).unwrap()).unwrap();
    log.ledger.append(log.keeping().draft(&due[0])).await.unwrap();
    log.engine.close();
    log.ledger.close();

    // Nothing is to be removed any more by the settings: what was recorded is done all the same.
    log.config.retention = settings("", "", "", "");
    (log.ledger, log.engine) = open(&log.world, &log.data);
    assert_eq!(log.counts().await, r#"{"n":10,"inputs":10}"#);
    log.keeping().resume().await.unwrap();
    assert_eq!(log.counts().await, r#"{"n":10,"inputs":0}"#);
    assert_eq!(log.verify(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_goes_the_oldest_first() {
    let log = Log::new(settings("", "", "1B", ""));
    for sealed in 1..=3 {
        log.append().await;
        log.next_day(sealed).await;
    }
    log.keeping().look(&log.ledger).await.unwrap();
    assert_eq!(log.counts().await, r#"{"n":30,"inputs":0}"#);
    let sizes: Vec<u64> = segment_sizes(&log.data);
    // Of three files two are let stay.
    let two = sizes.iter().sum::<u64>() - 1;
    let mut log = log;
    log.config.retention = settings("", "", "", &format!("{two}B"));
    log.keeping().look(&log.ledger).await.unwrap();
    assert_eq!(log.counts().await, r#"{"n":20,"inputs":0}"#);
    assert_eq!(log.verify(), [""; 0]);
}

#[expect(clippy::disallowed_methods, reason = "the test looks at what is on the disk")]
fn segment_sizes(data: &Path) -> Vec<u64> {
    let is_segment = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    let folders = std::fs::read_dir(data.join("segments/example.com_log")).unwrap();
    let files = folders.flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap().map(|file| file.unwrap()));
    files.filter(|file| is_segment(&file.path())).map(|file| file.metadata().unwrap().len()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_lets_go_of_a_day_that_is_sealed_once_the_next_one_has_begun() {
    let log = Log::new(settings("2d", "", "", ""));
    log.append().await;
    log.next_day(1).await;
    let system = |n: i64| {
        let time = Timestamp::from_micros(log.clock.now_micros() + n);
        let source = Arc::new(log.config.source("example.com/log", "system"));
        Draft::new(uuid_v7(time, &log.world.entropy.bytes()), time, Kind::System, source)
    };
    // The first record of a day stands in the segment of the day before, which goes once that record is sealed, too.
    log.ledger.append(system(0)).await.unwrap();
    log.next_day(2).await;
    let mut n = 0;
    while has_secret(&log.data.join("wal")) {
        // Segments are let go of when something is written.
        n += 1;
        log.ledger.append(system(n)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(log.verify(), [""; 0]);
}

#[expect(clippy::disallowed_methods, reason = "the test looks at what is on the disk")]
fn has_secret(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter_map(|file| std::fs::read(file).ok()).any(|bytes| bytes.windows(12).any(|part| part == b"secret words"))
}
