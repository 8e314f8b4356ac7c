//! What containers' logs wrap around a line.

use record::Timestamp;
use serde::{Deserialize, Serialize};

use super::splitter::Line;
use crate::cursor::Place;

/// What stands around a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrapping {
    /// Nothing.
    #[default]
    Bare,
    /// `2016-10-06T00:17:09.669794202Z stdout F text`, as containerd and CRI-O write it (Kubernetes, "Logging format" of the CRI).
    Cri,
    /// `{"log":"text\n","stream":"stdout","time":"…"}`, as Docker's json-file driver writes it.
    Docker,
}

/// Where a container wrote a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    None,
    Out,
    Error,
}

/// A line without what was around it.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) start: Place,
    pub(super) end: Place,
    pub(super) stream: Stream,
    pub(super) time: Option<Timestamp>,
    pub(super) bytes: Vec<u8>,
    pub(super) lost_bytes: u64,
    /// Whether the rest of it follows in the next line of its stream.
    pub(super) is_partial: bool,
    pub(super) problem: Option<&'static str>,
}

#[derive(Deserialize)]
struct DockerLine {
    log: String,
    stream: Option<String>,
    time: Option<String>,
}

impl Stream {
    fn of(name: &str) -> Self {
        match name {
            "stdout" => Self::Out,
            "stderr" => Self::Error,
            _ => Self::None,
        }
    }

    /// As OpenTelemetry calls it (attribute registry, `log.iostream`).
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Out => Some("stdout"),
            Self::Error => Some("stderr"),
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::None => 0,
            Self::Out => 1,
            Self::Error => 2,
        }
    }
}

impl Wrapping {
    /// Takes off what is around a line. A line that has nothing of the kind around it is taken as it is.
    pub(super) fn unwrap(self, line: Line) -> Fragment {
        let (read, problem) = match self {
            Self::Bare => (None, None),
            Self::Cri => (cri(&line.bytes), Some("the line is not as the CRI has it")),
            Self::Docker => (docker(&line.bytes), Some("the line is not as Docker's json-file has it")),
        };
        let (start, end, lost_bytes) = (line.start, line.end, line.lost_bytes);
        match read {
            Some((stream, time, is_partial, bytes)) => {
                Fragment { start, end, stream, time, bytes, lost_bytes, is_partial, problem: None }
            }
            None => {
                let (stream, bytes) = (Stream::None, line.bytes);
                Fragment { start, end, stream, time: None, bytes, lost_bytes, is_partial: false, problem }
            }
        }
    }
}

type Unwrapped = (Stream, Option<Timestamp>, bool, Vec<u8>);

fn cri(line: &[u8]) -> Option<Unwrapped> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let (time, stream, tags) = (word()?, word()?, word()?);
    let time = Timestamp::parse(time).ok()?;
    // More tags may follow the first one, after colons.
    let is_partial = match tags.split(':').next()? {
        "F" => false,
        "P" => true,
        _ => return None,
    };
    Some((Stream::of(stream), Some(time), is_partial, parts.next().unwrap_or_default().to_vec()))
}

fn docker(line: &[u8]) -> Option<Unwrapped> {
    let line: DockerLine = serde_json::from_slice(line).ok()?;
    let stream = line.stream.as_deref().map_or(Stream::None, Stream::of);
    let time = line.time.and_then(|time| Timestamp::parse(&time).ok());
    // The driver cuts lines at 16 KiB; only the last part has the line's end.
    let (text, is_partial) = match line.log.strip_suffix('\n') {
        Some(text) => (text.strip_suffix('\r').unwrap_or(text), false),
        None => (line.log.as_str(), true),
    };
    Some((stream, time, is_partial, text.as_bytes().to_vec()))
}
