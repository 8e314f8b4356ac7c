//! Streams to messages (RFC 6587): octets counted, or a line each, told apart message by message as rsyslog does.

/// The most bytes of one message unless said otherwise. RFC 5425, section 4.3.1, asks for 8,192 at least.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1_024;
/// The most digits of a count: no message has more bytes than that (RFC 6587, section 3.4.1, has no limit).
const COUNT_DIGITS_MAX: usize = 9;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, at most as many as a message may have.
    pub bytes: Vec<u8>,
    /// How many more it had.
    pub lost_bytes: u64,
}

/// Takes a stream apart: chunks in, messages out. It holds one message at most.
#[derive(Debug, Clone)]
pub struct Frames {
    bytes_max: usize,
    state: State,
    frame: Vec<u8>,
    lost_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a message.
    Start,
    /// The bytes so far are digits, and a count if a space and `<` follow.
    Count,
    /// A count and its space were there; `<` must follow.
    CountEnd(u64),
    /// So many bytes of a counted message are to come.
    Counted(u64),
    /// A message that a line feed ends.
    Line,
}

impl Frames {
    /// Nothing read yet; messages are cut at `bytes_max`.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: State::Start, frame: Vec::new(), lost_bytes: 0 }
    }

    /// Takes the next chunk; the messages that are whole now, empty ones passed over.
    pub fn push(&mut self, mut chunk: &[u8]) -> Vec<Frame> {
        let mut out = Vec::new();
        while let Some(&first) = chunk.first() {
            chunk = match self.state {
                State::Start => self.start(first, chunk),
                State::Count => self.count(first, chunk),
                State::CountEnd(count) => {
                    if first == b'<' {
                        self.frame.clear();
                        self.state = State::Counted(count);
                    } else {
                        // A line such as `12 monkeys`, not a count.
                        self.state = State::Line;
                    }
                    chunk
                }
                State::Counted(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
                    let (part, rest) = chunk.split_at(here);
                    self.keep(part);
                    match left - here as u64 {
                        0 => self.finish(&mut out),
                        left => self.state = State::Counted(left),
                    }
                    rest
                }
                State::Line => match chunk.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        let (line, rest) = chunk.split_at(end);
                        self.keep(line);
                        self.finish(&mut out);
                        rest.get(1..).unwrap_or_default()
                    }
                    None => {
                        self.keep(chunk);
                        &[]
                    }
                },
            };
        }
        out
    }

    /// The stream has ended: what was begun is a message too, whatever is missing of it.
    #[must_use]
    pub fn end(mut self) -> Option<Frame> {
        if let State::Counted(left) = self.state {
            self.lost_bytes += left;
        }
        let mut out = Vec::new();
        self.finish(&mut out);
        out.pop()
    }

    /// How many bytes of a message that is not whole are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.frame.len()
    }

    fn start<'c>(&mut self, first: u8, chunk: &'c [u8]) -> &'c [u8] {
        match first {
            // Between messages: what ends a line, also after a counted message.
            b'\n' | b'\r' | 0 => return chunk.get(1..).unwrap_or_default(),
            b'1'..=b'9' => self.state = State::Count,
            _ => self.state = State::Line,
        }
        chunk
    }

    fn count<'c>(&mut self, first: u8, chunk: &'c [u8]) -> &'c [u8] {
        let count = || std::str::from_utf8(&self.frame).ok()?.parse().ok();
        match first {
            b'0'..=b'9' if self.frame.len() < COUNT_DIGITS_MAX => {}
            b' ' => match count() {
                Some(count) => self.state = State::CountEnd(count),
                None => self.state = State::Line,
            },
            _ => {
                self.state = State::Line;
                return chunk;
            }
        }
        self.frame.push(first);
        chunk.get(1..).unwrap_or_default()
    }

    fn keep(&mut self, part: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.frame.len()).min(part.len());
        let (kept, lost) = part.split_at(room);
        self.frame.extend_from_slice(kept);
        self.lost_bytes += lost.len() as u64;
    }

    fn finish(&mut self, out: &mut Vec<Frame>) {
        let mut bytes = std::mem::take(&mut self.frame);
        let lost_bytes = std::mem::take(&mut self.lost_bytes);
        self.state = State::Start;
        while matches!(bytes.last(), Some(b'\r' | b'\n' | 0)) {
            bytes.pop();
        }
        if !bytes.is_empty() {
            out.push(Frame { bytes, lost_bytes });
        }
    }
}
