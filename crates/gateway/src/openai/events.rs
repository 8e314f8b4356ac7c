//! Server-sent events (WHATWG HTML, section 9.2), read from a copy while the bytes flow on.

use super::completion::Completion;

/// The longest line that is put together; a longer one is passed over.
const LINE_BYTES_MAX: usize = 4 << 20;
/// How much of a stream that holds no answer is kept for the record.
const GARBAGE_BYTES_MAX: usize = 64 << 10;

/// The end mark of an OpenAI stream.
const DONE: &[u8] = b"[DONE]";

/// A reader of one stream.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    pub(crate) completion: Completion,
    line: Vec<u8>,
    /// How many bytes came before the line that is being read.
    line_start: u64,
    position: u64,
    done_at: Option<u64>,
    has_error: bool,
    /// The beginning of the stream, as long as no chunk of an answer was in it.
    garbage: Vec<u8>,
}

/// `data: {"error": …}`, as llama.cpp and vLLM tell of an error once the stream has begun.
#[derive(serde::Deserialize)]
struct ErrorEvent {
    #[serde(rename = "error")]
    _error: serde::de::IgnoredAny,
}

impl EventReader {
    /// Takes in the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.completion.is_empty() {
            let room = GARBAGE_BYTES_MAX.saturating_sub(self.garbage.len());
            self.garbage.extend(bytes.iter().take(room));
        }
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.position += piece.len() as u64;
            let (text, ended) = match piece.split_last() {
                Some((b'\n' | b'\r', text)) => (text, true),
                _ => (piece, false),
            };
            if self.line.len() + text.len() <= LINE_BYTES_MAX {
                self.line.extend_from_slice(text);
            }
            if ended {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let start = std::mem::replace(&mut self.line_start, self.position);
        let Some(data) = line.strip_prefix(b"data:") else { return };
        let data = data.trim_ascii();
        if data == DONE {
            self.done_at.get_or_insert(start);
        } else if self.completion.push_chunk(data) {
            self.garbage = Vec::new();
        } else if serde_json::from_slice::<ErrorEvent>(data).is_ok() {
            self.has_error = true;
        }
    }

    /// Whether the model server told of an error in the middle of the stream.
    pub(crate) const fn has_error(&self) -> bool {
        self.has_error
    }

    /// How many bytes come before the end mark, once that has come.
    pub(crate) const fn done_at(&self) -> Option<u64> {
        self.done_at
    }

    /// How many bytes have come.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// What came, when none of it was an answer.
    pub(crate) fn garbage(&self) -> &[u8] {
        &self.garbage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] = b": hello\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n\
        data:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\n\n";

    proptest! {
        #[test]
        fn a_stream_reads_the_same_however_it_is_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            let mut whole = EventReader::default();
            whole.push(STREAM);
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = EventReader::default();
            let mut from = 0;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                pieces.push(&STREAM[from..cut]);
                from = cut;
            }
            prop_assert_eq!(&pieces.completion, &whole.completion);
            prop_assert_eq!(pieces.done_at(), whole.done_at());
            let mark = usize::try_from(whole.done_at().unwrap()).unwrap();
            prop_assert_eq!(&STREAM[mark..], b"data: [DONE]\n\n");
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            EventReader::default().push(&bytes);
        }
    }

    #[test]
    fn an_error_in_the_middle_is_noticed() {
        let mut reader = EventReader::default();
        reader.push(b"data: {\"choices\":[]}\n\n");
        assert!(!reader.has_error());
        reader.push(b"data: {\"error\":{\"message\":\"out of memory\"}}\n\n");
        assert!(reader.has_error());
    }

    #[test]
    fn garbage_is_kept_and_an_answer_is_not_garbage() {
        let mut reader = EventReader::default();
        reader.push(b"<html>no stream</html>\n");
        assert_eq!(reader.garbage(), b"<html>no stream</html>\n");
        reader.push(STREAM);
        assert!(reader.garbage().is_empty());
        assert!(reader.completion.messages().contains("\"content\":\"ab\""));
    }
}
