//! History: what another system has kept of calls until now, for `testimony import`. `docs/ingest/history.md` tells what becomes what.
//!
//! | file | what is in it |
//! |---|---|
//! | `stream` | from bytes to documents, and [`Position`], from which an import goes on |
//! | `json`, `rows` | where a JSON document ends; rows of CSV |
//! | `openai_jsonl`, `langfuse`, `litellm` | one format each: documents in, calls out |
//! | `openai` | bodies of OpenAI's API, which all three hold |
//! | `call` | a call that was told of, as the drafts of its records |
//! | `members` | members under several names, times, numbers |
//!
//! Every file is read from its first byte, after an interruption too: what lies before the position where the import was cut
//! short is looked at again for what later documents refer to (traces, requests of a batch, the names of columns), and
//! gives no drafts. So pipes and compressed files are resumed like any other. What is drafted a second time all the same has the same
//! identifiers, and a ledger stores it once while its memory of identifiers reaches back that far.

mod call;
mod json;
mod langfuse;
mod litellm;
mod members;
mod openai;
mod openai_jsonl;
mod rows;
mod stream;

use std::str::FromStr;

use record::{Draft, UnknownName};
use serde_json::Value;

use crate::{Arrival, Rejected};
use stream::{Document, Stream};

pub use stream::{DOCUMENT_BYTES_MAX, Form, Position};

/// The systems whose history can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Files of OpenAI's batch and fine-tuning APIs, and plain pairs of request and response.
    OpenaiJsonl,
    /// Exports of Langfuse: observations, traces, scores.
    Langfuse,
    /// Rows of `LiteLLM_SpendLogs`, and LiteLLM's standard logging payload.
    Litellm,
}

/// What one document of a file came to.
#[derive(Debug)]
pub struct Taken {
    /// For each record that it tells of a draft, or why it is none. A document that only belongs to others (a trace, a request that
    /// waits for its answer) has none.
    pub drafts: Vec<Result<Draft, Rejected>>,
    /// Where the file goes on. To be kept only when everything up to here is durable.
    pub end: Position,
}

/// An import under way: one or more files of one system, in the order in which they belong together.
pub struct Import {
    door: Door,
    stream: Stream,
    /// What lies before it has been imported.
    from: Position,
}

/// What a system's documents are read by, with what it remembers of earlier ones.
enum Door {
    OpenaiJsonl(openai_jsonl::Waiting),
    Langfuse(langfuse::Traces),
    Litellm,
}

impl Import {
    /// An import of what `origin` has kept, with no file begun.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        let door = match origin {
            Origin::OpenaiJsonl => Door::OpenaiJsonl(openai_jsonl::Waiting::default()),
            Origin::Langfuse => Door::Langfuse(langfuse::Traces::default()),
            Origin::Litellm => Door::Litellm,
        };
        Self { door, stream: Stream::new(Form::Lines), from: Position::default() }
    }

    /// Begins a file. Its bytes come by [`Import::push`], from the first one on; documents up to `from` have been imported before.
    pub fn begin(&mut self, form: Form, from: Position) {
        (self.stream, self.from) = (Stream::new(form), from);
    }

    /// Takes the next bytes of the file, however they are cut, and gives what the documents that end in them came to.
    pub fn push(&mut self, bytes: &[u8], arrival: &Arrival<'_>) -> Vec<Taken> {
        let documents = self.stream.push(bytes);
        self.take(documents, arrival)
    }

    /// The file has no more bytes.
    pub fn end_of_file(&mut self, arrival: &Arrival<'_>) -> Vec<Taken> {
        let documents = self.stream.end();
        let mut taken = self.take(documents, arrival);
        let end = self.stream.position();
        if end.bytes < self.from.bytes {
            let what = format!(
                "the import stopped at byte {}, and the file has only {} now: it is another file; import it anew",
                self.from.bytes, end.bytes
            );
            taken.push(Taken { drafts: vec![Err(Rejected::Member { member: "position".into(), what })], end });
        }
        taken
    }

    /// All files have ended: requests that no answer was found for are recorded without one.
    pub fn finish(&mut self, arrival: &Arrival<'_>) -> Vec<Draft> {
        match &mut self.door {
            Door::OpenaiJsonl(waiting) => waiting.unanswered(arrival),
            Door::Langfuse(_) | Door::Litellm => Vec::new(),
        }
    }

    /// Where the file that is being read goes on, with everything before it given out.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.stream.position()
    }

    fn take(&mut self, documents: Vec<Document>, arrival: &Arrival<'_>) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(documents.len());
        for Document { body, end } in documents {
            let is_new = end.bytes > self.from.bytes;
            if !is_new && matches!(self.door, Door::Litellm) {
                continue;
            }
            let drafts = match body.and_then(stream::Body::value) {
                Ok(document) => self.door.read(document, arrival),
                Err(rejected) => vec![Err(rejected)],
            };
            if is_new {
                taken.push(Taken { drafts, end });
            }
        }
        taken
    }
}

impl Door {
    fn read(&mut self, document: Value, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
        match self {
            Self::OpenaiJsonl(waiting) => waiting.read(document, arrival),
            Self::Langfuse(traces) => traces.read(document, arrival),
            Self::Litellm => litellm::read(&document, arrival),
        }
    }
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenaiJsonl, Self::Langfuse, Self::Litellm];

    /// The word for it, on the command line and in `testimony.imported.from`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenaiJsonl => "openai-jsonl",
            Self::Langfuse => "langfuse",
            Self::Litellm => "litellm",
        }
    }
}

impl FromStr for Origin {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|origin| origin.as_str() == word);
        found.ok_or_else(|| UnknownName(word.to_owned(), "origin of history (openai-jsonl, langfuse, litellm)"))
    }
}

fn wrong(member: &str, what: impl Into<String>) -> Rejected {
    Rejected::Member { member: member.to_owned(), what: what.into() }
}

#[cfg(test)]
mod tests;
