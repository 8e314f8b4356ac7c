//! What is kept no longer. Content goes before records do, and the oldest of both goes first: what is gone is told by two numbers.
//!
//! Leaves stay where they are, so every proof stays valid; what goes are the columns of a segment. `control` records stay whole: what this
//! log is run by is a fold over them. That something goes is decided here and recorded by the caller before it is done, so that whoever
//! finds content missing finds the record that says why.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::file::statistics::Statistics;
use record::Envelope;
use world::Disk;

use crate::columns::is_content;
use crate::engine::{Engine, EngineError};
use crate::parts::FileInParts;
use crate::segment::{Kept, Segment};

/// The door that records of retention come through.
pub const RETENTION_DOOR: &str = "retention";
/// What such a record says went: `content` or `records`.
pub const REMOVED_ATTRIBUTE: &str = "testimony.retention.removed";
/// Before which index all of it is gone.
pub const BEFORE_ATTRIBUTE: &str = "testimony.retention.before";

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// What was said: the columns of content and their seeds.
    Content,
    /// The rows.
    Records,
}

impl Removed {
    /// What has this name in a record.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Content, Self::Records].into_iter().find(|removed| removed.as_str() == name)
    }

    /// Its name in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Records => "records",
        }
    }
}

/// How long something is kept, and how much of it; nothing: for ever, and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Since it was received.
    pub age: Option<Duration>,
    /// The bytes of all segments together, above which the oldest goes.
    pub bytes: Option<u64>,
}

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Of content.
    pub content: Bounds,
    /// Of records as a whole.
    pub records: Bounds,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is older than it may be.
    Age,
    /// There is more than there may be.
    Size,
}

/// Something that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// What.
    pub removed: Removed,
    /// The first record that it goes of; what is before is gone already.
    pub from: u64,
    /// One past the last.
    pub before: u64,
    /// Why.
    pub because: Because,
}

/// What is gone, or is to go: all content, and all records, before an index each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    pub(crate) content: u64,
    pub(crate) records: u64,
}

impl Removal {
    /// Takes in what a leaf says, if it is the record of a removal. Nobody but this log makes these: the door of a record is not the sender's
    /// to say.
    pub fn learn(&mut self, leaf: &[u8]) {
        let envelope = memchr::memmem::find(leaf, RETENTION_DOOR.as_bytes()).and_then(|_| Envelope::parse(leaf).ok());
        if let Some(envelope) = envelope {
            self.learn_from(&envelope);
        }
    }

    pub(crate) fn learn_from(&mut self, envelope: &Envelope<'_>) {
        if envelope.source.producer != RETENTION_DOOR || envelope.kind != "control" {
            return;
        }
        let (Some(record::Value::Text(removed)), Some(record::Value::Int(before))) =
            (envelope.attributes.value(REMOVED_ATTRIBUTE), envelope.attributes.value(BEFORE_ATTRIBUTE))
        else {
            return;
        };
        let before = u64::try_from(*before).unwrap_or(0);
        if let Some(removed) = Removed::named(removed) {
            self.extend(removed, before);
        }
    }

    /// What is taken away reaches to an index, if it did not reach further.
    pub fn extend(&mut self, removed: Removed, before: u64) {
        let end = match removed {
            Removed::Content => &mut self.content,
            Removed::Records => &mut self.records,
        };
        *end = (*end).max(before);
    }

    /// What both say together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { content: self.content.max(other.content), records: self.records.max(other.records) }
    }

    /// What is left of a segment that ends at an index.
    pub(crate) const fn leaves(&self, end: u64) -> Kept {
        if end <= self.records {
            Kept::Control
        } else if end <= self.content {
            Kept::Records
        } else {
            Kept::Everything
        }
    }
}

impl Engine {
    /// What is to go by now. Nothing is done about it yet.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn due(&self, retention: &Retention) -> Result<Vec<Due>, EngineError> {
        let (world, dir) = (self.world(), self.dir());
        let now = world.clock.now_micros();
        let (segments, removal) = self.kept();
        let weigh = |segment: &Segment| Weight::of(&world.disk, dir, segment);
        let mut due = Vec::new();
        let kinds = [
            (Removed::Content, retention.content, removal.content.max(removal.records)),
            (Removed::Records, retention.records, removal.records),
        ];
        for (removed, bounds, from) in kinds {
            if let Some((before, because)) = reach(&segments, removed, bounds, from, now, &weigh)? {
                due.push(Due { removed, from, before, because });
            }
        }
        Ok(due)
    }
}

/// How far what is to go reaches, and why.
fn reach(
    segments: &[Segment],
    removed: Removed,
    bounds: Bounds,
    from: u64,
    now: i64,
    weigh: &dyn Fn(&Segment) -> Result<Weight, EngineError>,
) -> Result<Option<(u64, Because)>, EngineError> {
    let oldest_kept = bounds.age.map(|age| now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)));
    let all: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut too_many = bounds.bytes.map_or(0, |bytes| all.saturating_sub(bytes));
    let mut reached = None;
    for segment in segments.iter().filter(|segment| segment.end > from) {
        let weight = weigh(segment)?;
        let is_old = oldest_kept.is_some_and(|oldest| weight.newest < oldest);
        if !is_old && too_many == 0 {
            break;
        }
        let freed = match removed {
            Removed::Content => weight.content_bytes,
            Removed::Records => segment.bytes,
        };
        too_many = too_many.saturating_sub(freed);
        reached = Some((segment.end, if is_old { Because::Age } else { Because::Size }));
    }
    Ok(reached)
}

/// What of a segment matters to retention.
struct Weight {
    /// When its last record was received, in microseconds.
    newest: i64,
    /// How many of its bytes are content.
    content_bytes: u64,
}

impl Weight {
    fn of(disk: &Arc<dyn Disk>, dir: &Path, segment: &Segment) -> Result<Self, EngineError> {
        let file = dir.join(&segment.path);
        let parts = FileInParts::open(disk, &file).map_err(|error| EngineError::Io(file.clone(), error))?;
        let rows = parts.rows().map_err(|error| EngineError::Io(file, std::io::Error::other(error)))?;
        Ok(Self { newest: newest(rows.metadata()), content_bytes: content_bytes(rows.metadata()) })
    }
}

/// When the last record was received; far ahead where nothing says so, since what may be young stays. Of no rows there is nothing to keep.
fn newest(metadata: &ParquetMetaData) -> i64 {
    let groups = metadata.row_groups().iter();
    let newest = groups.map(|group| {
        let column = group.columns().iter().find(|column| column.column_path().string() == "received");
        match column.and_then(|column| column.statistics()) {
            Some(Statistics::Int64(statistics)) => statistics.max_opt().copied().unwrap_or(i64::MAX),
            _ => i64::MAX,
        }
    });
    newest.max().unwrap_or(i64::MIN)
}

fn content_bytes(metadata: &ParquetMetaData) -> u64 {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let contents = columns.filter(|column| is_content(&column.column_path().string()));
    contents.map(|column| u64::try_from(column.compressed_size()).unwrap_or(0)).sum()
}
