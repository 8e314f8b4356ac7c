//! Guardrails over chat completions: as a stream, whole, and as a request.
//!
//! A stream, top to bottom:
//!
//! 1. bytes become lines, however they are cut, and lines become events (WHATWG HTML, section 9.2);
//! 2. the texts of an event go through one guardrails stream each; what comes out stands in their place, and an event none of whose
//!    texts change keeps its bytes;
//! 3. what a text still holds back goes out before or in the event that says why its choice ended, else before the end mark;
//! 4. the end mark is held for its record.
//!
//! From the first finding that blocks nothing leaves any more, but reading goes on, so that the verdicts are about all that was said.
//! Log probabilities and token numbers would tell the text before it is examined: in a stream they become `null`.

mod chunk;
mod form;
mod judge;
#[cfg(test)]
mod tests;
mod whole;

use guardrails::{Finding, Guardrails, Verdict};

use chunk::{Rewritten, Texts};
use form::Step;
use judge::Judge;
pub use whole::{Guarded, guard_answer, guard_request};

/// The most choices of a stream.
pub const CHOICES_MAX: u64 = 128;
/// The most texts of a stream that may be under way at once.
pub const TEXTS_MAX: usize = 1_024;
/// The longest line, and the longest event, in bytes.
const LINE_BYTES_MAX: usize = 4 << 20;
/// The longest text, in bytes, that is taken for a name by a server.
const EXEMPT_BYTES_MAX: usize = 256;

/// The end mark of an OpenAI stream.
const DONE: &str = "[DONE]";
/// Members that spell out the text of an answer in another way: `logprobs` of the API, `token_ids` of vLLM, `__verbose` of llama.cpp.
const WITHHELD: &[&str] = &["logprobs", "token_ids", "prompt_logprobs", "__verbose"];
/// Members whose texts are said by a person or a model.
const SAID: [&str; 11] = [
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "arguments",
    "text",
    "thinking",
    "transcript",
    "input",
    "output",
    "summary",
];
/// Members that a server makes up and that have to stay as they are.
const EXEMPT: [&str; 9] =
    ["id", "object", "model", "system_fingerprint", "service_tier", "finish_reason", "role", "type", "tool_call_id"];

/// Whether a member's text is said by a person or a model.
fn is_said(step: &Step) -> bool {
    matches!(step, Step::Name(name) if SAID.contains(&name.as_str()))
}

/// Whether a text is a server's own name for something.
fn is_exempt(path: &[Step], literal: &str) -> bool {
    literal.len() <= EXEMPT_BYTES_MAX
        && matches!(path.last(), Some(Step::Name(name)) if EXEMPT.contains(&name.as_str()))
}

/// The judging of one stream. Memory is bounded by [`TEXTS_MAX`] times what guardrails hold back of a text, and 4 MiB.
#[derive(Debug)]
pub struct GuardedStream {
    judge: Judge,
    texts: Texts,
    /// The line that is being read, and the lines of the event that is being read, with their ends.
    line: Vec<u8>,
    event: Vec<Vec<u8>>,
    event_bytes: usize,
    /// Whether the latest line ended in CR, so that LF belongs to it.
    is_after_cr: bool,
    /// Whether what has left ends amid an event.
    is_amid_event: bool,
    /// Whether a limit was passed: what comes cannot be examined.
    is_unreadable: bool,
    end: Option<Vec<u8>>,
}

/// The end of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// What was held back and may leave before the end mark; nothing after a block.
    pub bytes: Vec<u8>,
    /// The end mark as it came, and the empty lines behind it. Anything else behind it is only in here when no check is on.
    pub end: Vec<u8>,
    /// What the checks say of all texts together, one verdict a check; none when there was no text.
    pub verdicts: Vec<Verdict>,
    /// The first finding that forbids to go on.
    pub blocked: Option<Finding>,
}

impl GuardedStream {
    /// Begins to judge a stream.
    #[must_use]
    pub fn new(guardrails: &Guardrails) -> Self {
        Self {
            judge: Judge::new(guardrails),
            texts: Texts::default(),
            line: Vec::new(),
            event: Vec::new(),
            event_bytes: 0,
            is_after_cr: false,
            is_amid_event: false,
            is_unreadable: false,
            end: None,
        }
    }

    /// Takes in what comes next and says what may leave. Nothing does from the event on in which the first block was found.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            if self.is_unreadable {
                break;
            }
            if let Some(end) = &mut self.end {
                end.extend_from_slice(piece);
                continue;
            }
            if std::mem::take(&mut self.is_after_cr) && piece == b"\n" {
                match self.event.last_mut() {
                    Some(line) => line.extend_from_slice(piece),
                    None => self.emit(piece, &mut out),
                }
                continue;
            }
            if self.event_bytes + self.line.len() + piece.len() > LINE_BYTES_MAX {
                self.is_unreadable = true;
                let explanation = format!("an event has more than {LINE_BYTES_MAX} bytes");
                self.judge.fault("too-long", explanation);
                break;
            }
            self.line.extend_from_slice(piece);
            if let Some(end @ (b'\n' | b'\r')) = piece.last() {
                self.is_after_cr = *end == b'\r';
                self.end_line(&mut out);
            }
        }
        out
    }

    /// What forbids the stream to go on, once that has been found.
    #[must_use]
    pub const fn blocked(&self) -> Option<&Finding> {
        self.judge.blocked.as_ref()
    }

    /// Whether the end mark has come.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.end.is_some()
    }

    /// Ends the stream, whether its end mark has come or not.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let mut out = Vec::new();
        if !self.line.is_empty() && !self.is_unreadable {
            // No reader takes half a line of data for an event.
            let is_half = data_of(&self.line).is_some_and(|data| {
                data.trim_ascii() != DONE && serde_json::from_str::<serde::de::IgnoredAny>(&data).is_err()
            });
            if is_half {
                self.line.clear();
            } else {
                self.end_line(&mut out);
            }
        }
        self.end_event(&mut out);
        let rest = self.texts.finish(&mut self.judge);
        if self.is_amid_event && !rest.is_empty() {
            let is_line_over = out.last().is_none_or(|last| matches!(last, b'\n' | b'\r'));
            out.extend_from_slice(if is_line_over { b"\n" } else { b"\n\n" });
        }
        out.extend_from_slice(rest.as_bytes());
        let mut end = self.end.unwrap_or_default();
        if !self.judge.guardrails.is_empty() {
            let mark = end.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(end.len());
            let blank = end.iter().skip(mark).take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            end.truncate(mark + blank);
        }
        let (verdicts, blocked) = self.judge.finish();
        if blocked.is_some() {
            out.clear();
        }
        Finished { bytes: out, end, verdicts, blocked }
    }

    fn emit(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.judge.blocked.is_none() {
            out.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        if data_of(&line).is_some_and(|data| data.trim_ascii() == DONE) {
            self.end_event(out);
            self.end = Some(line);
            return;
        }
        let is_blank = line.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
        if self.event.is_empty() && line.starts_with(b":") {
            // A comment stands for itself; it keeps the connection alive and has to go at once.
            let line = self.other_line(line);
            self.emit(&line, out);
        } else if self.event.is_empty() && is_blank {
            self.is_amid_event = false;
            self.emit(&line, out);
        } else {
            self.event_bytes += line.len();
            self.event.push(line);
            if is_blank {
                self.end_event(out);
                self.is_amid_event = false;
            }
        }
    }

    fn end_event(&mut self, out: &mut Vec<u8>) {
        let lines = std::mem::take(&mut self.event);
        self.event_bytes = 0;
        if lines.is_empty() {
            return;
        }
        let bytes = if self.judge.guardrails.is_empty() { lines.concat() } else { self.rewrite(lines) };
        self.is_amid_event = true;
        self.emit(&bytes, out);
    }

    /// An event with its texts replaced, and what has to go before it.
    fn rewrite(&mut self, lines: Vec<Vec<u8>>) -> Vec<u8> {
        let data: Vec<String> = lines.iter().filter_map(|line| data_of(line)).collect();
        let joined = data.join("\n");
        let is_one = data.len() > 1 && serde_json::from_str::<serde::de::IgnoredAny>(&joined).is_ok();
        if data.len() > 1 && !is_one && self.judge.other(&joined).is_some() {
            self.judge.fault("unknown-form", "an event of several lines holds what may not leave");
        }
        let (mut before, mut out) = (String::new(), Vec::new());
        let mut whole = is_one.then(|| self.texts.rewrite(&joined, &mut self.judge));
        for line in lines {
            let Some(data) = data_of(&line) else {
                out.extend_from_slice(&self.other_line(line));
                continue;
            };
            let rewritten = match &mut whole {
                Some(whole) => {
                    before.push_str(&std::mem::take(&mut whole.before));
                    match &mut whole.data {
                        None => Rewritten::default(),
                        // All of it goes to the first line; the others are left out.
                        Some(text) if text.is_empty() => continue,
                        Some(text) => {
                            Rewritten { before: String::new(), data: Some(std::mem::take(text).replace('\n', " ")) }
                        }
                    }
                }
                None => self.texts.rewrite(&data, &mut self.judge),
            };
            before.push_str(&rewritten.before);
            match rewritten.data {
                None => out.extend_from_slice(&line),
                Some(text) => {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(text.as_bytes());
                    out.extend_from_slice(end_of(&line));
                }
            }
        }
        [before.into_bytes(), out].concat()
    }

    /// A line without data: it passes, with what may not leave masked.
    fn other_line(&mut self, line: Vec<u8>) -> Vec<u8> {
        if self.judge.guardrails.is_empty() {
            return line;
        }
        let end = end_of(&line);
        let text = String::from_utf8_lossy(line.get(..line.len() - end.len()).unwrap_or_default());
        let text = text.trim_start_matches('\u{FEFF}');
        let shown = if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            // No event, but an error or an answer that is sent in place of a stream.
            self.texts.rewrite(text, &mut self.judge).data
        } else {
            self.judge.other(text)
        };
        match shown {
            Some(shown) => [shown.as_bytes(), end].concat(),
            None => line,
        }
    }
}

/// How a line ends.
fn end_of(line: &[u8]) -> &[u8] {
    let text = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    line.get(text..).unwrap_or_default()
}

/// The data of a line that has some, without its end.
fn data_of(line: &[u8]) -> Option<String> {
    let line = line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(line);
    let data = line.strip_prefix(b"data:")?;
    let data = data.strip_prefix(b" ").unwrap_or(data);
    let end = end_of(data);
    Some(String::from_utf8_lossy(data.get(..data.len() - end.len()).unwrap_or_default()).into_owned())
}
