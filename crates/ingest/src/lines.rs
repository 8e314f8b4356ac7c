//! Files of lines to records, as `docs/ingest/files.md` tells: JSON lines and plain text, bare or as containers' logs have them.
//!
//! ```text
//! bytes ──Splitter──▶ lines ──Wrapping──▶ fragments ──join──▶ entries ──mapping──▶ drafts
//! ```
//!
//! An entry may take several lines: parts of one that a container's log has cut, and lines that continue the one before.
//!
//! | file | what is in it |
//! |---|---|
//! | `splitter` | bytes to lines, each with its place in the file |
//! | `container` | what containers' logs wrap around a line |
//! | `join` | fragments to entries, stream by stream |

use std::borrow::Cow;
use std::sync::Arc;

use record::{Draft, Field, Kind};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::cursor::Place;
use crate::drafting::{BodyPlace, LOST_BYTES, ORIGINAL, PATH_BYTES_MAX, Problems, cut, set_body};
use crate::mapping::{Event, Input, Mapped, Mapping};
use crate::{Arrival, Form, kubernetes};
use join::{Joined, Joiner};
use splitter::{Line, Splitter};

mod container;
mod join;
mod splitter;

pub use container::Wrapping;

/// The most bytes of one entry unless said otherwise.
pub const ENTRY_BYTES_MAX: usize = 1_024 * 1_024;
/// The most lines of one entry; a line more begins the next.
pub const ENTRY_LINES_MAX: usize = 1_000;
/// The largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024 * 1_024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryFormat {
    /// Whatever a mapping makes of it.
    #[default]
    Lines,
    /// An audit event of a Kubernetes API server (`--audit-log-path`).
    Kubernetes,
}

/// How the door for lines reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinesSettings {
    /// What an entry is.
    pub format: EntryFormat,
    /// What stands around a line.
    pub wrapping: Wrapping,
    /// A regular expression that fits where an entry begins; lines that it does not fit continue the one before. Without it every line is
    /// an entry.
    pub begins: Option<String>,
    /// Where what an unmapped line says is kept.
    pub body: BodyPlace,
    /// The most bytes of one entry; what is more of it is counted and left out.
    pub entry_bytes_max: usize,
}

impl Default for LinesSettings {
    fn default() -> Self {
        let (wrapping, body) = (Wrapping::Bare, BodyPlace::Attribute);
        Self { format: EntryFormat::Lines, wrapping, begins: None, body, entry_bytes_max: ENTRY_BYTES_MAX }
    }
}

/// Why there is no door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// The pattern that says where an entry begins is none.
    #[error("begins: {0}")]
    Begins(String),
}

/// The door for lines.
#[derive(Debug)]
pub struct Lines {
    settings: LinesSettings,
    begins: Option<Regex>,
    mapping: Option<Arc<Mapping>>,
}

/// One file, as far as it was read.
#[derive(Debug)]
pub struct LineReader {
    door: Arc<Lines>,
    /// What the file is called for ever, see [`crate::Cursor`].
    name: String,
    path: String,
    splitter: Splitter,
    joiner: Joiner,
}

/// What a part of a file has become.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The record; none where the mapping drops it or where there is nothing in it.
    pub draft: Option<Draft>,
    /// Where reading may go on once this record and all before it are durable.
    pub place: Place,
}

impl Lines {
    /// A door. An entry is given to the mapping, as JSON where it is that, under the path of its file.
    ///
    /// # Errors
    /// When the pattern is none.
    pub fn new(settings: LinesSettings, mapping: Option<Arc<Mapping>>) -> Result<Self, LinesError> {
        let regex = |pattern: &String| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        let begins = settings.begins.as_ref().map(regex).transpose();
        let begins = begins.map_err(|error| LinesError::Begins(error.to_string()))?;
        Ok(Self { settings, begins, mapping })
    }

    /// Begins to read a file at a place in it. `name` is what it is called for ever, `path` where it is found now.
    #[must_use]
    pub fn open(self: &Arc<Self>, name: &str, path: &str, place: Place) -> LineReader {
        let bytes_max = self.settings.entry_bytes_max;
        LineReader {
            door: self.clone(),
            name: name.to_owned(),
            path: path.to_owned(),
            splitter: Splitter::new(place, bytes_max),
            joiner: Joiner::new(place, bytes_max),
        }
    }

    /// The record of an entry. The same bytes of the same file are the same record, however often they are read.
    fn draft(&self, joined: &Joined, name: &str, path: &str, arrival: &Arrival<'_>) -> Option<Draft> {
        let decoded = String::from_utf8_lossy(&joined.bytes);
        if decoded.trim().is_empty() {
            return None;
        }
        let key = format!("lines/{name}/{}-{}", joined.start.offset, joined.end);
        let mut problems = Problems::default();
        let mapped = match self.settings.format {
            EntryFormat::Lines => self.mapped(&decoded, joined, path, &key, arrival),
            EntryFormat::Kubernetes => audit_event(&decoded, &mut problems, arrival),
        };
        let mut draft = match mapped {
            Some(Mapped::Draft(draft)) => *draft,
            Some(Mapped::Dropped) => return None,
            Some(Mapped::Unmatched) | None => {
                let (id, time) = (arrival.id(Some(&key)), joined.time.unwrap_or(arrival.received));
                let mut draft = Draft::new(id, time, Kind::System, Arc::new(arrival.source.clone()));
                set_body(&mut draft, &decoded, self.settings.body);
                draft
            }
        };
        draft.attributes.set_text("log.file.path", cut(path, PATH_BYTES_MAX));
        if let Some(stream) = joined.stream.name() {
            draft.attributes.set("log.iostream", stream);
        }
        if joined.lost_bytes > 0 {
            draft.attributes.set(LOST_BYTES, i64::try_from(joined.lost_bytes).unwrap_or(i64::MAX));
        }
        if let Cow::Owned(_) = decoded {
            let (media, bytes) = ("application/octet-stream".to_owned(), joined.bytes.clone());
            draft.content.retain(|field| field.name != ORIGINAL);
            draft.content.push(Field { name: ORIGINAL.into(), media, bytes });
        }
        joined.problem.iter().for_each(|problem| problems.add(problem));
        problems.tell(&mut draft);
        Some(draft)
    }

    fn mapped(&self, text: &str, joined: &Joined, path: &str, key: &str, arrival: &Arrival<'_>) -> Option<Mapped> {
        let mapping = self.mapping.as_ref()?;
        let json: Option<Json> = text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten();
        let input = json.as_ref().map_or(Input::Text(text), Input::Json);
        Some(mapping.read(&Event { input, source: path, time: joined.time, key: Some(key) }, arrival))
    }
}

/// An entry as the door for a Kubernetes API server reads it; what is none there is kept as it stands.
fn audit_event(text: &str, problems: &mut Problems, arrival: &Arrival<'_>) -> Option<Mapped> {
    let mut read = kubernetes::read(text.as_bytes(), Form::Lines, arrival).into_iter();
    match (read.next(), read.next()) {
        (Some(Ok(draft)), None) => return Some(Mapped::Draft(Box::new(draft))),
        (Some(Err(why)), None) => problems.add(&why.to_string()),
        _ => problems.add("it is not one audit event"),
    }
    None
}

impl LineReader {
    /// Takes the next bytes of the file; what is whole now.
    pub fn push(&mut self, chunk: &[u8], arrival: &Arrival<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for line in self.splitter.push(chunk) {
            self.take(line, arrival, &mut entries);
        }
        entries
    }

    /// Nothing has come for a while: what waits for lines that continue it is whole. A line without its end still waits.
    pub fn flush(&mut self, arrival: &Arrival<'_>) -> Vec<Entry> {
        let joined = self.joiner.flush();
        self.entries(joined, arrival)
    }

    /// The file will not grow any more: everything is whole.
    #[must_use]
    pub fn end(mut self, arrival: &Arrival<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(line) = self.splitter.end() {
            self.take(line, arrival, &mut entries);
        }
        let joined = self.joiner.end();
        entries.extend(self.entries(joined, arrival));
        entries
    }

    /// The file has another path now.
    pub fn renamed(&mut self, path: &str) {
        path.clone_into(&mut self.path);
    }

    /// Up to where bytes were taken.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.splitter.offset()
    }

    fn take(&mut self, line: Line, arrival: &Arrival<'_>, entries: &mut Vec<Entry>) {
        let fragment = self.door.settings.wrapping.unwrap(line);
        let joined = self.joiner.take(fragment, self.door.begins.as_ref());
        entries.extend(self.entries(joined, arrival));
    }

    fn entries(&self, joined: Vec<(Joined, Place)>, arrival: &Arrival<'_>) -> Vec<Entry> {
        let entry = |(joined, place): (Joined, Place)| Entry {
            draft: self.door.draft(&joined, &self.name, &self.path, arrival),
            place,
        };
        joined.into_iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests;
