//! From what is on disk to a tally. Reads only; whoever writes acts on what it tells.

use std::io;
use std::path::{Path, PathBuf};

use record::{Envelope, Uuid, is_once};
use tlog::{Checkpoint, TILE_WIDTH};
use world::Disk;

use crate::batch::Batch;
use crate::frame::{self, BadFrame};
use crate::identity::Identity;
use crate::tally::{Admitted, Tally};
use crate::wal::{decode_head, list_segments, segment_path};

/// The end of a frame that never became durable, so nobody was ever told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file it is in.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Something on disk that a crash alone cannot explain. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A file cannot be read.
    #[error("could not read {0}")]
    Io(PathBuf, #[source] io::Error),
    /// A file's bytes are not what was written.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Bytes {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Records are missing that a published checkpoint vouches for.
    #[error(
        "{file} vouches for {published} records, but only {found} are there: records that were acknowledged are missing"
    )]
    Missing {
        /// The checkpoint's file.
        file: PathBuf,
        /// The size that it vouches for.
        published: u64,
        /// How many there are.
        found: u64,
    },
}

/// What is on disk.
pub(crate) struct Recovered {
    pub(crate) tally: Tally,
    /// The checkpoint of the last frame; nothing when the write-ahead log has no frame.
    pub(crate) checkpoint: Option<String>,
    /// The first index of every good segment.
    pub(crate) segments: Vec<u64>,
    /// How many bytes of the last segment are good.
    pub(crate) length: u64,
    pub(crate) torn: Option<Torn>,
    /// The size of the checkpoint in `log/checkpoint`.
    pub(crate) published: Option<u64>,
    /// Records in the write-ahead log that are stored once: index and identifier.
    pub(crate) once: Vec<(u64, Uuid)>,
}

pub(crate) fn checkpoint_path(data: &Path) -> PathBuf {
    data.join("log").join("checkpoint")
}

/// Reads the write-ahead log from its start, shows every batch to `visit`, and checks that each follows from the
/// one before: index, sequence numbers, tree and checkpoint.
pub(crate) fn recover(
    disk: &dyn Disk,
    data: &Path,
    identity: &Identity,
    visit: &mut dyn FnMut(Batch),
) -> Result<Recovered, Damage> {
    let dir = data.join("wal");
    let segments = list_segments(disk, &dir).map_err(|error| Damage::Io(dir.clone(), error))?;
    let mut found = Recovered {
        tally: Tally::default(),
        checkpoint: None,
        segments: Vec::new(),
        length: 0,
        torn: None,
        published: read_published(disk, data, identity)?,
        once: Vec::new(),
    };
    for (nth, first) in segments.iter().enumerate() {
        let file = segment_path(&dir, *first);
        let bytes = disk.read(&file).map_err(|error| Damage::Io(file.clone(), error))?;
        let segment = Segment { file, bytes, is_last: nth + 1 == segments.len(), identity };
        segment.replay(*first, &mut found, visit)?;
    }
    check_published(&found, data)?;
    check_beginning(&found, &dir)?;
    Ok(found)
}

struct Segment<'i> {
    file: PathBuf,
    bytes: Vec<u8>,
    is_last: bool,
    identity: &'i Identity,
}

impl Segment<'_> {
    fn damaged(&self, offset: usize, what: impl Into<String>) -> Damage {
        Damage::Bytes { file: self.file.clone(), offset: offset as u64, what: what.into() }
    }

    fn replay(&self, first: u64, found: &mut Recovered, visit: &mut dyn FnMut(Batch)) -> Result<(), Damage> {
        let Some((origin, tally, mut offset)) = decode_head(&self.bytes) else {
            // A crash while a segment was begun leaves a head without an end, and the segment before it whole or, at the
            // first start of all, none.
            let is_beginning = first == 0 && found.published.is_none();
            if self.is_last && (is_beginning || !found.segments.is_empty()) && self.no_frame_after(0) {
                found.torn = Some(self.torn(0));
                return Ok(());
            }
            return Err(self.damaged(0, "the head of the segment cannot be read"));
        };
        let ours = self.identity.signer.verifier().name();
        if origin != ours {
            return Err(self.damaged(0, format!("it belongs to the log {origin:?}, not to {ours:?}")));
        }
        if tally.size() != first || (!found.segments.is_empty() && tally != found.tally) {
            return Err(self.damaged(0, "the segment does not go on from the one before it"));
        }
        found.tally = tally;
        found.segments.push(first);
        let mut last_note_at = None;
        while offset < self.bytes.len() {
            let rest = self.bytes.get(offset..).unwrap_or_default();
            match frame::read(rest) {
                Ok((batch, length)) => {
                    self.admit(&batch, offset, found)?;
                    found.checkpoint = Some(batch.checkpoint().to_owned());
                    last_note_at = Some(offset);
                    visit(batch);
                    offset += length;
                }
                Err(BadFrame::Short | BadFrame::Wrong) if self.is_last && self.no_frame_after(offset + 1) => {
                    found.torn = Some(self.torn(offset));
                    break;
                }
                Err(_) => return Err(self.damaged(offset, "a frame does not match its checksum")),
            }
        }
        found.length = offset as u64;
        // The roots chain every frame to the last one, so one signature covers them all.
        match (&found.checkpoint, last_note_at) {
            (Some(note), Some(at)) => {
                self.identity.verify(note.as_bytes()).map(drop).map_err(|error| self.damaged(at, error.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn torn(&self, offset: usize) -> Torn {
        Torn { file: self.file.clone(), offset: offset as u64, bytes: (self.bytes.len() - offset) as u64 }
    }

    /// Frames are written one after the other, each after an fsync of the one before. So a good frame after a bad
    /// one proves that the bad one was good once.
    fn no_frame_after(&self, from: usize) -> bool {
        let mut rest = self.bytes.get(from..).unwrap_or_default();
        while let Some(at) = rest.windows(frame::MAGIC.len()).position(|window| window == frame::MAGIC) {
            rest = rest.get(at..).unwrap_or_default();
            if frame::read(rest).is_ok() {
                return false;
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        true
    }

    fn admit(&self, batch: &Batch, offset: usize, found: &mut Recovered) -> Result<(), Damage> {
        let tally = &mut found.tally;
        if batch.first() != tally.size() {
            return Err(self.damaged(offset, format!("record {} stands where {} belongs", batch.first(), tally.size())));
        }
        for entry in batch.entries() {
            let envelope = Envelope::parse(entry.leaf)
                .map_err(|error| self.damaged(offset, format!("record {}: {error}", entry.index)))?;
            let producer = envelope.source.producer.as_ref();
            if envelope.seq != tally.next_seq(producer) {
                return Err(self.damaged(offset, format!("record {} breaks the sequence of {producer:?}", entry.index)));
            }
            let once = envelope.id.parse().ok().filter(|id| is_once(*id));
            found.once.extend(once.map(|id| (entry.index, id)));
            let record = Admitted { producer, seq: envelope.seq, phase: envelope.phase(), is_once: once.is_some() };
            tally.admit(entry.hash, &record);
        }
        let stated = Checkpoint::parse_unverified(batch.checkpoint().as_bytes())
            .map_err(|error| self.damaged(offset, error.to_string()))?;
        if stated.size != tally.size() || stated.root != tally.frontier.root() {
            return Err(self.damaged(offset, "the records are not those that the checkpoint was signed over"));
        }
        Ok(())
    }
}

fn read_published(disk: &dyn Disk, data: &Path, identity: &Identity) -> Result<Option<u64>, Damage> {
    let file = checkpoint_path(data);
    match disk.read(&file) {
        // The checkpoint is not synced, and is written anew.
        Ok(bytes) if is_lost_with_power(&bytes) => Ok(None),
        Ok(bytes) => identity.verify(&bytes).map(|checkpoint| Some(checkpoint.size)).map_err(|error| Damage::Bytes {
            file,
            offset: 0,
            what: error.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Damage::Io(file, error)),
    }
}

/// A loss of power may leave a name without its bytes, or with blocks of zeros in their place.
fn is_lost_with_power(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.chunks(512).any(|block| block.iter().all(|byte| *byte == 0))
}

/// A segment goes only when full bundles hold all that it held, so what is left never begins in one that is not yet full.
fn check_beginning(found: &Recovered, wal: &Path) -> Result<(), Damage> {
    match found.segments.first() {
        Some(first) if first.next_multiple_of(TILE_WIDTH) > found.tally.size() => Err(Damage::Bytes {
            file: segment_path(wal, *first),
            offset: 0,
            what: format!("the write-ahead log cannot begin at record {first}: the segment before it is missing"),
        }),
        _ => Ok(()),
    }
}

/// The inside may be ahead of the outside, never behind it.
fn check_published(found: &Recovered, data: &Path) -> Result<(), Damage> {
    let size = found.tally.size();
    let Some(published) = found.published.filter(|published| *published > size) else { return Ok(()) };
    match &found.torn {
        // What looks like the end of a frame that was never finished was acknowledged: it is no torn tail.
        Some(torn) => Err(Damage::Bytes {
            file: torn.file.clone(),
            offset: torn.offset,
            what: format!("records {size} to {} cannot be read, but log/checkpoint vouches for them", published - 1),
        }),
        None => Err(Damage::Missing { file: checkpoint_path(data), published, found: size }),
    }
}
