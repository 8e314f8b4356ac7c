//! What a client sends. Bytes come as they come: a message is read once all of it is there, and one that is too long is known by its head.

/// The longest opening message, in bytes, as in PostgreSQL.
pub const OPENING_BYTES_MAX: usize = 10_000;
/// The head of every other message: its kind and its length.
pub const TYPED_BYTES: usize = 5;

/// What a client asks for in place of a version.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// To go on by TLS.
    Tls,
    /// To go on by GSSAPI.
    Gss,
    /// To end what runs for another connection.
    Cancel {
        /// What that connection was told it is.
        process: u32,
        /// What only that connection was told.
        secret: u32,
    },
    /// To ask.
    Startup {
        /// The protocol: 3 in the upper half.
        version: u32,
        /// `user`, `database`, and settings.
        parameters: Vec<(String, String)>,
    },
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// One with its parameters.
    Portal,
}

/// A message of a connection that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Statements, to be run one after the other.
    Query(String),
    /// A statement to be prepared; the types of its first parameters, 0 where the server is to say.
    Parse {
        /// What it is to be called.
        name: String,
        /// The statement.
        statement: String,
        /// Object identifiers of types.
        types: Vec<u32>,
    },
    /// Parameters for a prepared statement.
    Bind {
        /// What both together are to be called.
        portal: String,
        /// The statement.
        statement: String,
        /// Whether parameters are binary: none of them, all, or each.
        are_binary: Vec<bool>,
        /// The parameters.
        values: Vec<Option<Vec<u8>>>,
        /// Whether columns are to be binary, likewise.
        wants_binary: Vec<bool>,
    },
    /// What columns and parameters are there?
    Describe(Target, String),
    /// To be run.
    Execute {
        /// What is to be run.
        portal: String,
        /// How many rows are wanted now; 0: all.
        rows: u32,
    },
    /// To be forgotten.
    Close(Target, String),
    /// What there is to send is to be sent.
    Flush,
    /// The end of messages that belong together.
    Sync,
    /// A password, or what else is answered to the question who it is.
    Password(Vec<u8>),
    /// The end.
    Terminate,
    /// The data of a COPY, which is never asked for: they come after a COPY that was refused, and are passed over.
    Copy,
    /// A call of a function by its number.
    Call,
}

/// What a client sent is not of the protocol. It cannot be told where the next message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than any that is taken.
    #[error("a message of {length} bytes: {most} are allowed")]
    TooLong {
        /// What it says.
        length: u32,
        /// What it may.
        most: usize,
    },
    /// Shorter than its own length.
    #[error("a message whose length is less than that of what is in it")]
    Cut,
    /// There is something after what is in it.
    #[error("a message whose length is more than that of what is in it")]
    Rest,
    /// A text that is none.
    #[error("a text that is not UTF-8: set client_encoding to UTF8")]
    Text,
    /// A kind that is not known.
    #[error("a message of the unknown kind {0}")]
    Kind(u8),
    /// A form of values that is not known.
    #[error("the unknown form {0} of a value")]
    Form(u16),
}

/// Reads what a connection begins with, and how many bytes it takes; none while it is not all there.
///
/// # Errors
/// See [`Malformed`].
pub fn read_opening(bytes: &[u8]) -> Result<Option<(Opening, usize)>, Malformed> {
    let Some((length, mut body)) = body(bytes, OPENING_BYTES_MAX)? else { return Ok(None) };
    let opening = match body.u32()? {
        TLS => Opening::Tls,
        GSS => Opening::Gss,
        CANCEL => Opening::Cancel { process: body.u32()?, secret: body.u32()? },
        version => {
            let mut parameters = Vec::new();
            loop {
                let name = body.text()?;
                if name.is_empty() {
                    break;
                }
                parameters.push((name, body.text()?));
            }
            Opening::Startup { version, parameters }
        }
    };
    body.end()?;
    Ok(Some((opening, length)))
}

/// Reads the next message, and how many bytes it takes; none while it is not all there. `most` is what it may take without its kind.
///
/// # Errors
/// See [`Malformed`].
pub fn read_message(bytes: &[u8], most: usize) -> Result<Option<(Message, usize)>, Malformed> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    if !b"QPBDECHSpXdcfF".contains(kind) {
        return Err(Malformed::Kind(*kind));
    }
    let Some((length, mut body)) = body(rest, most)? else { return Ok(None) };
    let message = match kind {
        b'Q' => Message::Query(body.text()?),
        b'P' => {
            let (name, statement) = (body.text()?, body.text()?);
            let count = body.u16()?;
            Message::Parse { name, statement, types: (0..count).map(|_| body.u32()).collect::<Result<_, _>>()? }
        }
        b'B' => bind(&mut body)?,
        b'D' => Message::Describe(body.target()?, body.text()?),
        b'E' => Message::Execute { portal: body.text()?, rows: body.u32()? },
        b'C' => Message::Close(body.target()?, body.text()?),
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'p' => Message::Password(body.rest()),
        b'F' => {
            body.rest();
            Message::Call
        }
        _ => {
            body.rest();
            Message::Copy
        }
    };
    body.end()?;
    Ok(Some((message, length + 1)))
}

fn bind(body: &mut Body<'_>) -> Result<Message, Malformed> {
    let (portal, statement) = (body.text()?, body.text()?);
    let are_binary = body.forms()?;
    let count = body.u16()?;
    let value = |body: &mut Body<'_>| match body.u32()? {
        // -1
        u32::MAX => Ok(None),
        length => body.take(usize::try_from(length).unwrap_or(usize::MAX)).map(|value| Some(value.to_vec())),
    };
    let values = (0..count).map(|_| value(body)).collect::<Result<_, _>>()?;
    Ok(Message::Bind { portal, statement, are_binary, values, wants_binary: body.forms()? })
}

/// The length of a message, which counts itself, and what is after that.
fn body(bytes: &[u8], most: usize) -> Result<Option<(usize, Body<'_>)>, Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let says = u32::from_be_bytes(*head);
    let length = usize::try_from(says).unwrap_or(usize::MAX);
    if length > most {
        return Err(Malformed::TooLong { length: says, most });
    }
    let inner = length.checked_sub(4).ok_or(Malformed::Cut)?;
    Ok(rest.get(..inner).map(|body| (length, Body(body))))
}

/// What of a message has not been read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.chunk().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// A text that ends with a zero.
    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Cut)?;
        let text = std::str::from_utf8(self.take(end)?).map_err(|_| Malformed::Text)?.to_owned();
        self.take(1)?;
        Ok(text)
    }

    fn forms(&mut self) -> Result<Vec<bool>, Malformed> {
        let count = self.u16()?;
        let form = |body: &mut Self| match body.u16()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Malformed::Form(other)),
        };
        (0..count).map(|_| form(self)).collect()
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        match self.chunk()? {
            [b'S'] => Ok(Target::Statement),
            [b'P'] => Ok(Target::Portal),
            [other] => Err(Malformed::Kind(other)),
        }
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    const fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    fn opening(body: &[u8]) -> Vec<u8> {
        typed(0, body)[1..].to_vec()
    }

    /// As libpq 15 writes them.
    #[test]
    fn a_connection_begins_like_this() {
        let startup = opening(b"\x00\x03\x00\x00user\0ada\0database\0log\0\0");
        let parameters = vec![("user".to_owned(), "ada".to_owned()), ("database".to_owned(), "log".to_owned())];
        let read = Opening::Startup { version: 3 << 16, parameters };
        assert_eq!(read_opening(&startup), Ok(Some((read, startup.len()))));
        assert_eq!(read_opening(&[0, 0, 0, 8, 4, 210, 22, 47]), Ok(Some((Opening::Tls, 8))));
        assert_eq!(read_opening(&[0, 0, 0, 8, 4, 210, 22, 48]), Ok(Some((Opening::Gss, 8))));
        let cancel = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 7, 255, 255, 255, 255];
        assert_eq!(read_opening(&cancel), Ok(Some((Opening::Cancel { process: 7, secret: u32::MAX }, 16))));
    }

    #[test]
    fn a_message_is_read_once_it_is_all_there_and_the_next_one_is_left() {
        let bind = typed(b'B', b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x02ab\0\0");
        for cut in 0..bind.len() {
            assert_eq!(read_message(&bind[..cut], 1_000), Ok(None), "{cut}");
        }
        let two = [bind.clone(), typed(b'S', b"")].concat();
        let read = Message::Bind {
            portal: "p".to_owned(),
            statement: "s".to_owned(),
            are_binary: vec![true],
            values: vec![None, Some(b"ab".to_vec())],
            wants_binary: Vec::new(),
        };
        assert_eq!(read_message(&two, 1_000), Ok(Some((read, bind.len()))));
        assert_eq!(read_message(&two[bind.len()..], 1_000), Ok(Some((Message::Sync, 5))));
    }

    #[test]
    fn what_is_not_of_the_protocol_is_told_by_its_head_where_it_can_be() {
        let long = u32::MAX.to_be_bytes();
        let too_long = Malformed::TooLong { length: u32::MAX, most: 10 };
        assert_eq!(read_message(&[&b"Q"[..], &long].concat(), 10), Err(too_long));
        assert_eq!(read_message(b"G", 10), Err(Malformed::Kind(b'G')));
        assert_eq!(read_message(&typed(b'Q', b"no end"), 100), Err(Malformed::Cut));
        assert_eq!(read_message(&typed(b'Q', b"a\0b"), 100), Err(Malformed::Rest));
        assert_eq!(read_message(&typed(b'Q', b"\xff\0"), 100), Err(Malformed::Text));
        assert_eq!(read_message(&typed(b'P', b"\0\0\xff\xff"), 100), Err(Malformed::Cut));
        assert_eq!(read_message(&typed(b'B', b"\0\0\0\x01\0\x02"), 100), Err(Malformed::Form(2)));
        assert_eq!(read_message(&[b'S', 0, 0, 0, 3], 100), Err(Malformed::Cut));
        assert_eq!(read_opening(b"GET / HTTP/1.1\r\n"), Err(Malformed::TooLong { length: 0x4745_5420, most: 10_000 }));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), kind in 0_usize..14) {
            let _ = read_opening(&bytes);
            let _ = read_message(&bytes, 1_000);
            let kind = b"QPBDECHSpXdcfF"[kind];
            let message = typed(kind, &bytes);
            if let Ok(Some((_, length))) = read_message(&message, 1_000) {
                prop_assert_eq!(length, message.len());
            }
        }
    }
}
