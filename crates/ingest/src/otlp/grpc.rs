//! gRPC around OTLP, as far as it is bytes: frames and trailers (gRPC, "PROTOCOL-HTTP2.md"). Whoever holds the connection does the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{BODY_BYTES_MAX, Code, Encoding, Signal, Status};

/// The bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The one message of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whether `grpc-encoding` says how to read it. What comes out may have at most [`BODY_BYTES_MAX`] bytes.
    pub is_compressed: bool,
    /// Its bytes.
    pub message: &'a [u8],
}

/// What a call of this path means; no other method is there.
///
/// # Errors
/// `UNIMPLEMENTED` for any other path.
pub fn method(path: &str) -> Result<Signal, Status> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Ok(Signal::Traces),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Ok(Signal::Logs),
        _ => Err(Status::new(Code::Unimplemented, "only traces and logs are taken here: TraceService and LogsService")),
    }
}

/// Takes the one message out of the body of a unary call. `is_encoded` is whether the call has a `grpc-encoding` other than `identity`.
///
/// # Errors
/// The status to answer: `RESOURCE_EXHAUSTED` for a message over [`BODY_BYTES_MAX`], `UNIMPLEMENTED` for none or more than one, `INTERNAL` for
/// a broken frame.
pub fn unframe(body: &[u8], is_encoded: bool) -> Result<Frame<'_>, Status> {
    if body.is_empty() {
        return Err(Status::new(Code::Unimplemented, "the call has no message; it must have one"));
    }
    let (flag, length) = prefix(body)?;
    let message = body.get(PREFIX_BYTES..).unwrap_or_default();
    if message.len() < length {
        return Err(Status::new(Code::Internal, format!("the message ends after {} of {length} bytes", message.len())));
    }
    let (message, rest) = message.split_at(length);
    if !rest.is_empty() {
        return Err(Status::new(Code::Unimplemented, "the call has more than one message; it must have one"));
    }
    if flag && !is_encoded {
        return Err(Status::new(
            Code::Internal,
            "the message is marked as compressed, and grpc-encoding does not say how",
        ));
    }
    Ok(Frame { is_compressed: flag, message })
}

/// How many bytes a body will have, from its first five: whoever reads it need not read more, and need not begin where it is too long.
///
/// # Errors
/// As [`unframe`].
pub fn body_bytes(head: &[u8]) -> Result<usize, Status> {
    prefix(head).map(|(_, length)| PREFIX_BYTES + length)
}

fn prefix(head: &[u8]) -> Result<(bool, usize), Status> {
    let Some(([flag, length @ ..], _)) = head.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Status::new(Code::Internal, "the call ends before its message begins"));
    };
    let length = u32::from_be_bytes(*length) as usize;
    match flag {
        0 | 1 if length <= BODY_BYTES_MAX => Ok((*flag == 1, length)),
        0 | 1 => Err(Status::new(
            Code::ResourceExhausted,
            format!("the message has {length} bytes, more than {BODY_BYTES_MAX}; send smaller batches"),
        )),
        _ => Err(Status::new(Code::Internal, "the first byte of a message must be 0 or 1")),
    }
}

/// A message that is not compressed, in its frame. Over 4 GiB there is none.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(PREFIX_BYTES + message.len());
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// The trailers of a call that failed. Those of one that did not are `grpc-status: 0`.
#[must_use]
pub fn trailers(status: &Status) -> Vec<(&'static str, String)> {
    vec![
        ("grpc-status", status.code.number().to_string()),
        ("grpc-message", percent_encoded(&status.message)),
        ("grpc-status-details-bin", STANDARD_NO_PAD.encode(status.body(Encoding::Protobuf))),
    ]
}

/// `Percent-Encoded` of the protocol: printable ASCII but `%` stands for itself.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: &[u8]) -> (u32, String) {
        let status = unframe(body, false).unwrap_err();
        (status.code.number(), status.message)
    }

    #[test]
    fn a_call_has_one_message() {
        assert_eq!(unframe(&[0, 0, 0, 0, 2, 7, 8], false), Ok(Frame { is_compressed: false, message: &[7, 8] }));
        assert_eq!(unframe(&[1, 0, 0, 0, 0], true), Ok(Frame { is_compressed: true, message: &[] }));
        let said = [
            &[][..],
            &[0, 0],
            &[0, 0, 0, 0, 2, 7],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0],
            &[2, 0, 0, 0, 0],
            &[0, 255, 0, 0, 0],
        ]
        .map(refused)
        .map(|(code, message)| format!("{code} {message}"));
        insta::assert_snapshot!(said.join("\n"), @"
        12 the call has no message; it must have one
        13 the call ends before its message begins
        13 the message ends after 1 of 2 bytes
        12 the call has more than one message; it must have one
        13 the message is marked as compressed, and grpc-encoding does not say how
        13 the first byte of a message must be 0 or 1
        8 the message has 4278190080 bytes, more than 16777216; send smaller batches
        ");
    }

    #[test]
    fn other_methods_are_not_there() {
        assert_eq!(method("/opentelemetry.proto.collector.logs.v1.LogsService/Export"), Ok(Signal::Logs));
        let metrics = method("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
        assert_eq!(metrics.unwrap_err().code.number(), 12);
    }

    #[test]
    fn trailers_hold_when_to_come_back() {
        let status = Status::unavailable("der Schreiber schläft: 100%", 5);
        let lines: Vec<String> = trailers(&status).iter().map(|(name, value)| format!("{name}: {value}")).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        grpc-status: 14
        grpc-message: der Schreiber schl%C3%A4ft: 100%25
        grpc-status-details-bin: CA4SHGRlciBTY2hyZWliZXIgc2NobMOkZnQ6IDEwMCUaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBQ
        ");
    }

    proptest! {
        #[test]
        fn what_is_framed_is_unframed(message in any::<Vec<u8>>()) {
            let body = frame(&message);
            prop_assert_eq!(body_bytes(&body[..5]).unwrap(), body.len());
            prop_assert_eq!(unframe(&body, false).unwrap().message, &message[..]);
        }

        #[test]
        fn no_bytes_make_unframing_panic(body in any::<Vec<u8>>(), is_encoded in any::<bool>()) {
            let _ = unframe(&body, is_encoded);
        }
    }
}
