//! Following the log, and the text for whoever asks.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ledger::{Figures, FollowError, Follower, Ledger};
use world::{Process, World, give_way, process};

use crate::counts::Counts;
use crate::families::{
    BATCH_DURATION, BUILD, CALLS_OPEN, CHECKPOINT_AGE, CHECKPOINT_RECORDS, CPU, DISK_FREE_BYTES, Family, LAG, LOG_FULL,
    LOG_RECORDS, Label, OPEN_FILES, QUEUE_BYTES, QUEUE_LIMIT_BYTES, RESIDENT, START, UNREAD, WAL_BYTES, WAL_SEGMENTS,
};
use crate::format::Format;
use crate::otlp::Otlp;
use crate::sink::{Number, Sink};
use crate::text::Text;

/// How often the thread looks whether there is something to count. Not with every batch: to wake a thread costs a call more than all that
/// is counted of it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Whoever asks counts so many records themselves that the thread has not come to, and no more.
const CATCH_UP_RECORDS_MAX: u64 = 65_536;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The thread could not be started.
    #[error("could not start the thread that counts")]
    Thread(#[source] io::Error),
    /// The disk of the log does not say how full it is.
    #[error("could not look at the files of the log")]
    Look(#[source] io::Error),
}

/// What others than the log know.
#[derive(Debug, Default)]
pub struct Beside {
    /// Gauges, each with its value where it has one.
    pub gauges: Vec<(&'static Family, Option<u64>)>,
}

/// The metrics of a log that is being written. Clones are the same; the thread ends after the last of them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    world: World,
    ledger: Ledger,
    version: &'static str,
    /// When this began, in microseconds since 1970.
    began_micros: i64,
    counting: Mutex<Counting>,
    /// Ends the thread when it is dropped.
    _stop: SyncSender<()>,
}

struct Counting {
    follower: Follower,
    counts: Counts,
}

impl Metrics {
    /// Counts what becomes durable from now on; `version` is the program's.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn follow(world: &World, ledger: &Ledger, version: &'static str) -> Result<Self, MetricsError> {
        let (stop, stopped) = sync_channel(1);
        let follower = ledger.follow(ledger.durable().size);
        let inner = Arc::new(Inner {
            world: world.clone(),
            ledger: ledger.clone(),
            version,
            began_micros: world.clock.now_micros(),
            counting: Mutex::new(Counting { follower, counts: Counts::default() }),
            _stop: stop,
        });
        let watched = Arc::downgrade(&inner);
        let thread = std::thread::Builder::new().name("metrics".into());
        let run = move || {
            give_way();
            let mut is_well = true;
            while matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
                let counted = count_all(&watched);
                // Said once, and not ten times a second.
                if let (true, Err(error)) = (is_well, &counted) {
                    tracing::error!(%error, "the metrics cannot follow the log; they lag from here on");
                }
                is_well = counted.is_ok();
            }
        };
        thread.spawn(run).map_err(MetricsError::Thread)?;
        Ok(Self(inner))
    }

    /// The metrics as they are now: of all that is durable, unless more waits to be counted than may be waited for. Blocks.
    ///
    /// # Errors
    /// When the disk of the log cannot be looked at.
    pub fn write(&self, format: Format, beside: &Beside) -> Result<String, MetricsError> {
        let mut text = Text::new(format);
        self.write_into(&mut text, beside)?;
        Ok(text.finish())
    }

    /// The same as a request of OTLP (`ExportMetricsServiceRequest`), in JSON.
    ///
    /// # Errors
    /// When the disk of the log cannot be looked at.
    pub fn write_otlp(&self, beside: &Beside) -> Result<String, MetricsError> {
        let mut request = Otlp::new(self.0.began_micros, self.0.world.clock.now_micros());
        self.write_into(&mut request, beside)?;
        Ok(request.finish(self.0.version, self.0.ledger.origin()))
    }

    fn write_into(&self, sink: &mut impl Sink, beside: &Beside) -> Result<(), MetricsError> {
        self.0.catch_up();
        let figures = self.0.ledger.figures().map_err(MetricsError::Look)?;
        {
            let Counting { follower, counts } = &*self.0.lock();
            write_counts(sink, counts);
            let lag = self.0.ledger.durable().size.saturating_sub(follower.position());
            sink.single(&LAG, Some(Number::Whole(lag)));
        }
        write_figures(sink, &figures);
        for (family, value) in &beside.gauges {
            sink.single(family, value.map(Number::Whole));
        }
        sink.info(&BUILD, Label::Version, self.0.version);
        write_process(sink, self.0.began_micros, process());
        Ok(())
    }
}

/// Takes in everything that is durable, a batch at a time, as long as there is somebody whom it is for.
fn count_all(metrics: &Weak<Inner>) -> Result<(), FollowError> {
    while metrics.upgrade().map_or(Ok(false), |inner| inner.lock().count_batch())? {}
    Ok(())
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn catch_up(&self) {
        let durable = self.ledger.durable().size;
        let until = durable.min(self.lock().follower.position().saturating_add(CATCH_UP_RECORDS_MAX));
        loop {
            let mut counting = self.lock();
            // What cannot be read back is said by the thread; here it shows as lag.
            if counting.follower.position() >= until || !matches!(counting.count_batch(), Ok(true)) {
                return;
            }
        }
    }
}

impl Counting {
    /// Counts the next batch, if one is durable.
    fn count_batch(&mut self) -> Result<bool, FollowError> {
        let Some(portion) = self.follower.try_next()? else { return Ok(false) };
        portion.entries().for_each(|entry| self.counts.take_in(entry.leaf));
        Ok(true)
    }
}

pub(crate) fn write_counts(sink: &mut impl Sink, counts: &Counts) {
    let words = &counts.words;
    for table in [&counts.duration, &counts.first_chunk, &counts.token_usage, &counts.decision_duration] {
        sink.spreads(words, table);
    }
    let tables =
        [&counts.records, &counts.denied, &counts.verdicts, &counts.decisions, &counts.policy_failures, &counts.auth];
    for table in tables {
        sink.counts(words, table);
    }
    sink.single(&UNREAD, Some(Number::Whole(counts.unread)));
}

fn write_figures(sink: &mut impl Sink, figures: &Figures) {
    sink.durations(&BATCH_DURATION, &figures.batches);
    for (family, value) in [
        (&LOG_RECORDS, figures.size),
        (&CALLS_OPEN, figures.open_calls),
        (&QUEUE_BYTES, figures.queue_bytes),
        (&QUEUE_LIMIT_BYTES, figures.queue_bytes_max),
        (&WAL_BYTES, figures.wal_bytes),
        (&WAL_SEGMENTS, figures.wal_segments),
        (&DISK_FREE_BYTES, figures.free_bytes),
        (&LOG_FULL, figures.is_full.into()),
        (&CHECKPOINT_RECORDS, figures.published),
    ] {
        sink.single(family, Some(Number::Whole(value)));
    }
    sink.single(&CHECKPOINT_AGE, Some(Number::Real(figures.published_ago.as_secs_f64())));
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit 2^53 until the year 2255")]
fn write_process(sink: &mut impl Sink, began_micros: i64, process: Option<Process>) {
    sink.single(&START, Some(Number::Real(began_micros as f64 / 1e6)));
    sink.single(&CPU, process.map(|process| Number::Real(process.cpu_seconds)));
    sink.single(&RESIDENT, process.map(|process| Number::Whole(process.resident_bytes)));
    sink.single(&OPEN_FILES, process.map(|process| Number::Whole(process.open_files)));
}

#[cfg(test)]
mod tests;
