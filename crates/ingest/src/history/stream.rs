//! From the bytes of a file to its documents, whatever pieces the bytes come in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::{Scanner, Step};
use super::rows::Rows;
use super::wrong;
use crate::Rejected;

/// The most bytes that one document (a line, an element of a list, a row) may have. A larger one is rejected and not kept in memory.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// The byte order mark that some programs put before UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON document a line; empty lines are passed over.
    Lines,
    /// One list of documents, or documents one after the other, on as many lines as they like.
    Json,
    /// Comma-separated values (RFC 4180) under a line of names, as `COPY … TO STDOUT WITH CSV HEADER` writes them.
    Csv,
}

/// How far a file has been taken. What lies before it need not be imported again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Bytes from the beginning of the file, after decompression.
    pub bytes: u64,
    /// Documents in them: lines, elements or rows, those that were rejected among them.
    pub records: u64,
}

/// One document, and where it ends.
pub(super) struct Document {
    pub(super) body: Result<Body, Rejected>,
    pub(super) end: Position,
}

/// What a document consists of.
pub(super) enum Body {
    /// The bytes of JSON.
    Json(Vec<u8>),
    /// The fields of a row under their columns' names.
    Row(Map<String, Value>),
}

impl Body {
    /// The document, read.
    pub(super) fn value(self) -> Result<Value, Rejected> {
        match self {
            Self::Json(bytes) => serde_json::from_slice(&bytes).map_err(|error| Rejected::Malformed(error.to_string())),
            Self::Row(fields) => Ok(Value::Object(fields)),
        }
    }
}

/// Cuts a file into documents.
pub(super) struct Stream {
    cut: Cut,
    /// The first bytes, until it is known whether they are a byte order mark.
    first: Vec<u8>,
    is_begun: bool,
    position: Position,
}

enum Cut {
    Lines(Pending),
    Json(Pending, Scanner),
    Csv(Box<Rows>),
}

/// A document of which not all bytes have come.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    is_too_large: bool,
}

impl Stream {
    pub(super) fn new(form: Form) -> Self {
        let cut = match form {
            Form::Lines => Cut::Lines(Pending::default()),
            Form::Json => Cut::Json(Pending::default(), Scanner::default()),
            Form::Csv => Cut::Csv(Box::default()),
        };
        Self { cut, first: Vec::new(), is_begun: false, position: Position::default() }
    }

    /// Where the last document ended.
    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// The documents that end in these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Document> {
        if self.is_begun {
            return self.cut(bytes);
        }
        self.first.extend_from_slice(bytes);
        if self.first.len() < MARK.len() { Vec::new() } else { self.begin() }
    }

    /// The document that ends with the file, if there is one.
    pub(super) fn end(&mut self) -> Vec<Document> {
        let mut documents = if self.is_begun { Vec::new() } else { self.begin() };
        let last = match &mut self.cut {
            Cut::Lines(pending) | Cut::Json(pending, _) => pending.take().map(|body| (body, 0)),
            Cut::Csv(rows) => rows.end().map(|body| (body, 0)),
        };
        documents.extend(last.map(|last| self.document(last)));
        documents
    }

    fn begin(&mut self) -> Vec<Document> {
        self.is_begun = true;
        let first = std::mem::take(&mut self.first);
        let rest = first.strip_prefix(MARK).unwrap_or(&first);
        self.position.bytes += (first.len() - rest.len()) as u64;
        self.cut(rest)
    }

    fn cut(&mut self, mut bytes: &[u8]) -> Vec<Document> {
        let mut documents = Vec::new();
        while !bytes.is_empty() {
            let (body, used) = match &mut self.cut {
                Cut::Lines(pending) => pending.line(bytes),
                Cut::Json(pending, scanner) => pending.document(scanner, bytes),
                Cut::Csv(rows) => rows.read(bytes),
            };
            bytes = bytes.get(used..).unwrap_or_default();
            match body {
                Some(body) => documents.push(self.document((body, used))),
                None => self.position.bytes += used as u64,
            }
        }
        documents
    }

    fn document(&mut self, (body, used): (Result<Body, Rejected>, usize)) -> Document {
        self.position.bytes += used as u64;
        self.position.records += 1;
        Document { body, end: self.position }
    }
}

impl Pending {
    /// Takes bytes up to the end of a line: the document, if there is one, and how many bytes were taken.
    fn line(&mut self, bytes: &[u8]) -> (Option<Result<Body, Rejected>>, usize) {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                self.add(bytes.get(..at).unwrap_or_default());
                (self.take(), at + 1)
            }
            None => {
                self.add(bytes);
                (None, bytes.len())
            }
        }
    }

    /// Takes bytes up to the end of a JSON document.
    fn document(&mut self, scanner: &mut Scanner, bytes: &[u8]) -> (Option<Result<Body, Rejected>>, usize) {
        let mut kept_from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let (kept, used) = match scanner.step(*byte) {
                Step::Within => continue,
                Step::Between => {
                    kept_from = at + 1;
                    continue;
                }
                Step::Last => (at + 1, at + 1),
                Step::Ended => (at, at + 1),
            };
            self.add(bytes.get(kept_from..kept).unwrap_or_default());
            return (self.take(), used);
        }
        self.add(bytes.get(kept_from..).unwrap_or_default());
        (None, bytes.len())
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.is_too_large || self.bytes.len() + bytes.len() > DOCUMENT_BYTES_MAX {
            self.is_too_large = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn take(&mut self) -> Option<Result<Body, Rejected>> {
        let bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.is_too_large) {
            return Some(Err(too_large()));
        }
        let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
        (!is_empty).then_some(Ok(Body::Json(bytes)))
    }
}

pub(super) fn too_large() -> Rejected {
    wrong("document", format!("it has more than {DOCUMENT_BYTES_MAX} bytes"))
}

impl Form {
    /// The form that a file's name tells of, its compression's ending taken off.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" => Some(Self::Lines),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}
