//! The engine: follows the ledger, seals segments, answers queries.

mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use datafusion::logical_expr::Expr;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::prelude::{DataFrame, col, lit};
use ledger::{Batch, FollowError, Follower, Ledger};
use record::Timestamp;
use world::World;

use crate::answer::Answer;
use crate::compaction::CompactAt;
use crate::ending::GivenUp;
use crate::language::{Query, QueryError, compile, moment, parse};
use crate::live::Live;
use crate::paging::PageError;
use crate::queries::{Queries, Stopped};
use crate::retention::Removal;
use crate::running::{AbortOnDrop, Running, collect};
use crate::segment::{self, Indexed, Listed, Segment};
use crate::sql::{Sessions, SqlError, invalid};
use crate::stored::StoredRecord;
use crate::table::{RecordsTable, Snapshot};
use crate::view::View;

/// The name under which this follower holds the write-ahead log.
const NAME: &str = "search";
/// With more than so many segments' worth in memory a query seals before it goes on.
const UNSEALED_MAX: usize = 3;
/// The stack on which queries are planned: nested SQL recurses.
const STACK_BYTES: usize = 16 << 20;

/// When the unsealed tail becomes a segment: at this many rows, or this many bytes of leaves and content.
#[derive(Debug, Clone, Copy)]
pub struct SealAt {
    /// Rows.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Default for SealAt {
    fn default() -> Self {
        Self { rows: 131_072, bytes: 64 << 20 }
    }
}

/// How much one query may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most rows that are given out.
    pub rows_max: usize,
    /// The most bytes of rows that are given out.
    pub bytes_max: usize,
    /// The longest that it may run.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 10_000, bytes_max: 64 << 20, deadline: Duration::from_secs(30) }
    }
}

/// Why there is no engine, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder of segments cannot be used.
    #[error("could not use {0}")]
    Io(PathBuf, #[source] std::io::Error),
    /// Older records could not be read back.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The query is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The statement is wrong.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// There is no such page of what it finds.
    #[error(transparent)]
    Page(#[from] PageError),
    /// It ran longer than it may.
    #[error("the query ran longer than {0} s and was ended: narrow it down by time, or ask for fewer columns")]
    Deadline(u64),
    /// Queries together would have held more memory than they may, and this one was ended.
    #[error("the query needs more memory than there is for queries: narrow it down by time, or group by fewer values")]
    Memory,
    /// It was not let run to its end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// It failed while it ran.
    #[error("the query failed: {0}")]
    Failed(String),
}

/// A search: a query in the query language and what to give out of what it finds, newest first.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The query.
    pub query: String,
    /// Only records from this moment on, in the query language's terms (`7d`).
    pub since: Option<String>,
    /// Only records before this moment.
    pub until: Option<String>,
}

/// Everything that can be searched. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    world: World,
    dir: PathBuf,
    origin: String,
    state: Mutex<State>,
    sessions: Sessions,
    queries: Queries,
    pool: tokio::runtime::Handle,
    background: Mutex<Option<Background>>,
    /// None for a log that is not growing.
    sealing: OnceLock<Sealing>,
}

/// What it takes to seal.
struct Sealing {
    ledger: Ledger,
    at: SealAt,
    compact_at: CompactAt,
    /// Held while a segment is written.
    lock: Mutex<()>,
}

struct State {
    /// In the order of the log.
    segments: Vec<Segment>,
    /// Those that were replaced and may still be read.
    retired: Vec<Segment>,
    /// Whether some are being rewritten.
    is_rewriting: bool,
    /// Whether files of some that were replaced are being removed.
    is_removing: bool,
    /// What is gone, or is to go.
    removal: Removal,
    live: Live,
    /// Reads the ledger up to its durable point; none for a log that is not growing.
    follower: Option<Follower>,
}

struct Background {
    /// Ended by hand, since a runtime must not be dropped where blocking is not allowed.
    pool: tokio::runtime::Runtime,
    /// The thread that seals, and what ends it when it is dropped.
    sealing: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl State {
    /// Takes in everything that is durable.
    fn pull(&mut self) -> Result<(), FollowError> {
        while self.pull_batch()? {}
        Ok(())
    }

    /// Takes in the next batch, if one is durable.
    fn pull_batch(&mut self) -> Result<bool, FollowError> {
        let portion = self.follower.as_mut().map_or(Ok(None), Follower::try_next)?;
        if let Some(portion) = &portion {
            self.live.push(portion.batch().clone(), portion.from());
        }
        Ok(portion.is_some())
    }
}

impl Engine {
    /// An engine over a stopped log: the segments on disk, and the batches of the write-ahead log after them.
    ///
    /// # Errors
    /// When the folder of segments cannot be used.
    pub fn of_stopped(world: &World, data: &Path, origin: &str, batches: Vec<Batch>) -> Result<Self, EngineError> {
        let (engine, _) = Self::open(world, data, origin)?;
        {
            let mut state = engine.lock();
            for batch in batches {
                let from = state.live.end().max(batch.first());
                if from < batch.end() {
                    state.live.push(Arc::new(batch), from);
                }
            }
        }
        Ok(engine)
    }

    /// With what lies in the folder of segments and does not count.
    fn open(world: &World, data: &Path, origin: &str) -> Result<(Self, Listed), EngineError> {
        let dir = data.join("segments");
        let io = |error| EngineError::Io(dir.clone(), error);
        world.disk.create_dirs(&dir).map_err(io)?;
        let mut listed = segment::list(world.disk.as_ref(), &dir).map_err(io)?;
        let mut segments = std::mem::take(&mut listed.segments);
        segments.iter_mut().for_each(|segment| segment.open_terms(world.disk.as_ref(), &dir));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let store = LocalFileSystem::new_with_prefix(&dir).map_err(|error| io(std::io::Error::other(error)))?;
        let pool = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(io)?;
        let live = Live::from(segments.last().map_or(0, |segment| segment.end));
        let state = State {
            segments,
            retired: Vec::new(),
            is_rewriting: false,
            is_removing: false,
            removal: Removal::default(),
            live,
            follower: None,
        };
        let engine = Self(Arc::new(Inner {
            world: world.clone(),
            origin: origin.to_owned(),
            state: Mutex::new(state),
            sessions: Sessions::new(Arc::new(store), threads)?,
            queries: Queries::new(world.clone()),
            pool: pool.handle().clone(),
            background: Mutex::new(Some(Background { pool, sealing: None })),
            sealing: OnceLock::new(),
            dir,
        }));
        Ok((engine, listed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn background(&self) -> MutexGuard<'_, Option<Background>> {
        self.0.background.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the background thread and the queries. What is not sealed is in the write-ahead log. Blocks.
    pub fn close(&self) {
        let Some(Background { pool, sealing }) = self.background().take() else { return };
        if let Some((stop, thread)) = sealing {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the search thread panicked");
            }
        }
        pool.shutdown_background();
    }

    /// How many segments there are, and how many of them wait for their index and are looked through as a whole until then.
    #[must_use]
    pub fn segments(&self) -> (usize, usize) {
        let state = self.lock();
        let waiting = state.segments.iter().filter(|segment| matches!(segment.indexed, Indexed::NotYet));
        (state.segments.len(), waiting.count())
    }

    /// How many records no index covers yet, of a log with so many: those that are in no segment, and those of the segments that wait.
    #[must_use]
    pub fn unindexed_of(&self, size: u64) -> u64 {
        let state = self.lock();
        let waiting = state.segments.iter().filter(|segment| matches!(segment.indexed, Indexed::NotYet));
        size.saturating_sub(state.live.first()) + waiting.map(|segment| segment.end - segment.first).sum::<u64>()
    }

    /// How many queries have not come to their end.
    #[cfg(test)]
    pub(crate) fn queries_running(&self) -> usize {
        self.0.pool.metrics().num_alive_tasks()
    }

    /// What is searchable now: everything that is durable now. Where sealing lags, this helps: memory stays bounded.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, EngineError> {
        while self.advance(UNSEALED_MAX)? {}
        let mut state = self.lock();
        state.pull()?;
        let (disk, dir) = (self.0.world.disk.clone(), self.0.dir.clone());
        Ok(Snapshot { segments: state.segments.clone(), live: state.live.rows(), disk, dir })
    }

    /// The segments that count, and what is gone or to go of them.
    pub(crate) fn kept(&self) -> (Vec<Segment>, Removal) {
        let state = self.lock();
        (state.segments.clone(), state.removal)
    }

    /// Takes away in the background what records say is to go.
    pub fn remove(&self, removal: Removal) {
        let mut state = self.lock();
        state.removal = state.removal.and(removal);
    }

    pub(crate) fn world(&self) -> &World {
        &self.0.world
    }

    /// The folder of segments.
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// The queries that are running.
    #[must_use]
    pub fn queries(&self) -> &Queries {
        &self.0.queries
    }

    /// Runs a SELECT or EXPLAIN over the views `records` and `calls`, as if there were only the records that `among` finds.
    ///
    /// # Errors
    /// When the statement is wrong, not a query, or exceeds its limits.
    pub fn sql(&self, view: &View, statement: String, among: Search, limits: Limits) -> Running<Answer> {
        let (engine, view) = (self.clone(), view.clone());
        self.run(limits, async move {
            let snapshot = engine.snapshot()?;
            let among = engine.filter(&among)?;
            let frame = engine.0.sessions.plan(&statement, snapshot, &view, among, None).await?;
            collect(frame, limits).await
        })
    }

    /// The record with an identifier, or with an index in decimal, if there is one.
    ///
    /// # Errors
    /// When it exceeds its limits.
    pub fn stored(&self, view: &View, id: String, limits: Limits) -> Running<Option<StoredRecord>> {
        let (engine, view) = (self.clone(), view.clone());
        self.run(limits, async move {
            // No identifier is a number: it is a UUID.
            let wanted =
                id.parse::<u64>().map_or_else(|_| col("id").eq(lit(&id)), |index| col("log_index").eq(lit(index)));
            let frame = engine.whole(&view, wanted).await?;
            let answer = collect(frame.limit(0, Some(1)).map_err(invalid)?, limits).await?;
            Ok(answer.batches.iter().flat_map(StoredRecord::all).next())
        })
    }

    /// The first records after an index that came through a door of the log, in its order.
    ///
    /// # Errors
    /// When it exceeds its limits.
    pub fn stored_after(&self, index: u64, producer: &'static str, limits: Limits) -> Running<Vec<StoredRecord>> {
        let engine = self.clone();
        self.run(limits, async move {
            let wanted = col("producer").eq(lit(producer)).and(col("log_index").gt(lit(index)));
            let frame = engine.whole(&View::everything(), wanted).await?;
            let frame = frame.sort(vec![col("log_index").sort(true, false)]).map_err(invalid)?;
            let answer = collect(frame.limit(0, Some(limits.rows_max)).map_err(invalid)?, limits).await?;
            Ok(answer.batches.iter().flat_map(StoredRecord::all).collect())
        })
    }

    /// The records of a snapshot that are seen, with the columns that are.
    pub(crate) async fn visible(&self, snapshot: Snapshot, view: &View) -> Result<DataFrame, EngineError> {
        let session = self.0.sessions.session(RecordsTable::visible(snapshot, view))?;
        Ok(session.table("records").await.map_err(invalid)?)
    }

    /// The records for which something holds, with all content.
    pub(crate) async fn whole(&self, view: &View, wanted: Expr) -> Result<DataFrame, EngineError> {
        let session = self.0.sessions.session(RecordsTable::whole(self.snapshot()?, view))?;
        Ok(session.table("records").await.map_err(invalid)?.filter(wanted).map_err(invalid)?)
    }

    /// Compiles a search's query, which has no stage, and time bounds as of now.
    pub(crate) fn filter(&self, search: &Search) -> Result<Expr, EngineError> {
        self.bounded(search, &parse(&search.query)?, self.now())
    }

    /// The moment that a text of the query language names, as of now.
    #[must_use]
    pub fn moment(&self, text: &str) -> Option<Timestamp> {
        moment(text, self.now())
    }

    pub(crate) fn bounded(&self, search: &Search, query: &Query, now: Timestamp) -> Result<Expr, EngineError> {
        let bounds = [("since", &search.since), ("until", &search.until)];
        let mut filter = compile(&search.query, query, now)?;
        for (name, value) in bounds {
            if let Some(value) = value {
                let bound = format!("{name}:\"{value}\"");
                filter = filter.and(compile(&bound, &parse(&bound)?, now)?);
            }
        }
        Ok(filter)
    }

    /// The moment from which relative times count, of what is asked now.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.world.clock.now_micros())
    }

    /// The name of the log.
    pub(crate) fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Runs a query on the query threads; it ends when it is done, when its time is up, or when nobody waits any more.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limits: Limits,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Running<T> {
        let pool = self.0.pool.clone();
        Box::pin(async move {
            let given_up = GivenUp::default();
            let task = pool.spawn(given_up.clone().during(work));
            let _ends_with_us = AbortOnDrop(task.abort_handle(), given_up);
            match tokio::time::timeout(limits.deadline, task).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => Err(EngineError::Failed(error.to_string())),
                Err(_) => Err(EngineError::Deadline(limits.deadline.as_secs())),
            }
        })
    }
}
