//! How soon a record is found once it is durable, and what questions cost while others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ledger::{AppendError, Ledger};
use search::{Engine, EngineError, Limits, Search, View};

use crate::device::{at, milliseconds};
use crate::traffic::Traffic;

/// How long is written at each pace.
const WRITTEN_FOR: Duration = Duration::from_secs(20);
/// Between two portions of what is written.
const PAUSE: Duration = Duration::from_millis(10);
const PORTIONS_A_SECOND: u64 = 100;
const QUESTIONS: usize = 200;
/// Records a second at which it is measured how soon one is found.
const PACE: u64 = 10_000;

/// Prints both. `capacity` is how many records a second were written when nothing else was done, `question` what is asked, and
/// `first` the first call that the log does not have yet.
pub(crate) async fn run(
    engine: &Engine,
    ledger: &Ledger,
    traffic: &Arc<Traffic>,
    (capacity, question, first): (u64, &str, u64),
) -> anyhow::Result<()> {
    let idle = ask(engine, question, QUESTIONS).await?;
    let writer = Writer::start(ledger, traffic, first, PACE);
    let mut found = Vec::new();
    while let Some(call) = writer.next().await {
        let durable = Instant::now();
        while one(engine, &format!("call:{call}")).await? == 0 {}
        found.push(durable.elapsed());
    }
    let (written, next) = writer.ended().await?;
    found.sort_unstable();
    println!(
        "  found once durable, {written:.0} records/s written        {:>9.1} ms  p50, p99 {:.1} ms, {} times",
        milliseconds(at(&found, 50)),
        milliseconds(at(&found, 99)),
        found.len()
    );
    let writer = Writer::start(ledger, traffic, next, capacity / 2);
    let mut busy = Vec::new();
    while !writer.is_done() {
        busy.extend(ask(engine, question, 1).await?);
    }
    let (written, _) = writer.ended().await?;
    busy.sort_unstable();
    println!(
        "  the newest 100 of a user, idle                      {:>9.1} ms  p50, p99 {:.1} ms, {} times",
        milliseconds(at(&idle, 50)),
        milliseconds(at(&idle, 99)),
        idle.len()
    );
    println!(
        "  the same while {written:.0} records/s are written          {:>9.1} ms  p50, p99 {:.1} ms, {} times: {:.2} and {:.2} × idle",
        milliseconds(at(&busy, 50)),
        milliseconds(at(&busy, 99)),
        busy.len(),
        at(&busy, 50).as_secs_f64() / at(&idle, 50).as_secs_f64(),
        at(&busy, 99).as_secs_f64() / at(&idle, 99).as_secs_f64(),
    );
    Ok(())
}

/// How long a question took each time, sorted.
async fn ask(engine: &Engine, question: &str, times: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        one(engine, question).await?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

async fn one(engine: &Engine, query: &str) -> Result<usize, EngineError> {
    let limits = Limits { rows_max: 100, ..Limits::default() };
    let search = Search { query: query.to_owned(), ..Search::default() };
    Ok(engine.search(&View::everything(), search, limits).await?.rows())
}

/// What writes at a pace, beside those who ask.
struct Writer {
    /// The last call that is durable; what is older nobody has asked for in time.
    durable: tokio::sync::watch::Receiver<Option<record::Uuid>>,
    is_done: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<(f64, u64), AppendError>>,
}

impl Writer {
    fn start(ledger: &Ledger, traffic: &Arc<Traffic>, first: u64, pace: u64) -> Self {
        let (tell, durable) = tokio::sync::watch::channel(None);
        let is_done = Arc::new(AtomicBool::new(false));
        let (ledger, traffic, done) = (ledger.clone(), traffic.clone(), is_done.clone());
        let calls = (pace / 2 / PORTIONS_A_SECOND).max(1);
        let task = tokio::spawn(async move {
            let (start, mut nth) = (Instant::now(), first);
            let mut tick = tokio::time::interval(PAUSE);
            while start.elapsed() < WRITTEN_FOR {
                tick.tick().await;
                let drafts: Vec<_> = (nth..nth + calls).flat_map(|nth| traffic.call(nth)).collect();
                let last = drafts.last().and_then(|draft| draft.call_id);
                ledger.append_all(drafts).await?;
                nth += calls;
                tell.send_replace(last);
            }
            done.store(true, Ordering::Relaxed);
            Ok(((nth - first) as f64 * 2.0 / start.elapsed().as_secs_f64(), nth))
        });
        Self { durable, is_done, task }
    }

    /// The next call that becomes durable; nothing once it is over.
    async fn next(&self) -> Option<record::Uuid> {
        let mut durable = self.durable.clone();
        durable.mark_unchanged();
        durable.changed().await.ok()?;
        *durable.borrow()
    }

    fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed) || self.task.is_finished()
    }

    /// Records a second that were written, and the first call that was not.
    async fn ended(self) -> anyhow::Result<(f64, u64)> {
        Ok(self.task.await??)
    }
}
