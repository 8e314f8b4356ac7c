//! What the log is doing, in numbers, for whoever watches it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use world::Disk;

use crate::follow::Shared;
use crate::wal::{list_segments, segment_path};

/// The upper bounds of the classes that the durations of batches are counted in, in seconds.
pub const BATCH_SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The log in numbers, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How many records are durable.
    pub size: u64,
    /// How many of them the published checkpoint covers.
    pub published: u64,
    /// How long ago this process published it; since the start, if it has not.
    pub published_ago: Duration,
    /// Calls that have begun and not ended.
    pub open_calls: u64,
    /// Records that wait to be written, in bytes.
    pub queue_bytes: u64,
    /// How many may.
    pub queue_bytes_max: u64,
    /// What the write-ahead log takes on disk.
    pub wal_bytes: u64,
    /// How many files it has.
    pub wal_segments: u64,
    /// What is free on its disk.
    pub free_bytes: u64,
    /// Whether there is no space to record on.
    pub is_full: bool,
    /// How long batches took to write, with their `fdatasync`.
    pub batches: Durations,
}

impl Figures {
    pub(crate) fn of(shared: &Shared, queue_bytes_max: u32, room: &Semaphore, is_full: bool) -> io::Result<Self> {
        let Shared { pulse, disk, data, .. } = shared;
        let (wal_bytes, wal_segments) = wal_on_disk(disk.as_ref(), data)?;
        Ok(Self {
            size: shared.point().size,
            published: *shared.published().borrow(),
            published_ago: pulse.published_ago(),
            open_calls: pulse.open_calls.load(Ordering::Relaxed),
            queue_bytes: u64::from(queue_bytes_max).saturating_sub(room.available_permits() as u64),
            queue_bytes_max: queue_bytes_max.into(),
            wal_bytes,
            wal_segments,
            free_bytes: disk.free_bytes(data)?,
            is_full,
            batches: pulse.batches(),
        })
    }
}

/// How often something took how long.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Durations {
    /// How many took no longer than each of [`BATCH_SECONDS`] and longer than the one before; the last, longer than all.
    pub counts: [u64; BATCH_SECONDS.len() + 1],
    /// How long all took together, in seconds.
    pub sum_seconds: f64,
}

/// What is counted as it happens. The writer never waits for whoever reads it.
pub(crate) struct Pulse {
    pub(crate) open_calls: AtomicU64,
    batch_counts: [AtomicU64; BATCH_SECONDS.len() + 1],
    batch_micros: AtomicU64,
    published_at: Mutex<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            open_calls: AtomicU64::new(0),
            batch_counts: Default::default(),
            batch_micros: AtomicU64::new(0),
            published_at: Mutex::new(Instant::now()),
        }
    }
}

impl Pulse {
    /// A batch has become durable.
    pub(crate) fn has_written(&self, took: Duration) {
        let class = BATCH_SECONDS.partition_point(|bound| *bound < took.as_secs_f64());
        if let Some(count) = self.batch_counts.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.batch_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A checkpoint was published.
    pub(crate) fn has_published(&self) {
        *self.published_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(crate) fn published_ago(&self) -> Duration {
        self.published_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(crate) fn batches(&self) -> Durations {
        let micros = Duration::from_micros(self.batch_micros.load(Ordering::Relaxed));
        let counts =
            std::array::from_fn(|class| self.batch_counts.get(class).map_or(0, |count| count.load(Ordering::Relaxed)));
        Durations { counts, sum_seconds: micros.as_secs_f64() }
    }
}

/// Bytes and files of the write-ahead log. A segment that is let go of meanwhile does not count.
fn wal_on_disk(disk: &dyn Disk, data: &Path) -> io::Result<(u64, u64)> {
    let dir = data.join("wal");
    let lengths = list_segments(disk, &dir)?.into_iter().map(|first| disk.length(&segment_path(&dir, first)));
    let lengths: Vec<u64> = lengths.filter_map(Result::ok).collect();
    Ok((lengths.iter().sum(), lengths.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_class_whose_bound_it_does_not_pass() {
        let pulse = Pulse::default();
        for micros in [100, 101, 1_000, 6_000_000] {
            pulse.has_written(Duration::from_micros(micros));
        }
        let Durations { counts, sum_seconds } = pulse.batches();
        let seen: Vec<usize> = counts.iter().enumerate().filter(|(_, count)| **count == 1).map(|(at, _)| at).collect();
        assert_eq!(seen, [0, 1, 3, BATCH_SECONDS.len()]);
        assert!((sum_seconds - 6.001_201).abs() < 1e-9);
    }
}
