//! Bodies that were sent compressed (RFC 9110, section 8.4): gzip and zstd, one at a time, with a limit on what comes out.

use std::io::{self, Read};

use axum::body::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, HeaderMap};

use crate::problem::Problem;

/// The largest body after its encoding is undone, in bytes. What is longer is a bomb, or should be sent in parts.
pub(crate) const DECODED_BYTES_MAX: usize = 64 << 20;

/// The body without its encoding.
pub(crate) fn decoded(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Problem> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = encodings.next().map_or("identity", |encoding| encoding.to_str().unwrap_or("?"));
    match encodings.next() {
        None => decoded_from(encoding, body),
        Some(_) => Err(unknown("several")),
    }
}

/// The same for an encoding that is said elsewhere.
pub(crate) fn decoded_from(encoding: &str, body: Bytes) -> Result<Bytes, Problem> {
    let read = match encoding.trim().to_ascii_lowercase().as_str() {
        "identity" | "" => return Ok(body),
        "gzip" | "x-gzip" => bounded(flate2::read::MultiGzDecoder::new(body.as_ref())),
        "zstd" => zstd::stream::read::Decoder::new(body.as_ref()).and_then(bounded),
        other => return Err(unknown(other)),
    };
    match read {
        Ok(Some(read)) => Ok(read.into()),
        Ok(None) => {
            let detail =
                format!("the body is larger than {DECODED_BYTES_MAX} bytes when it is decompressed; send it in parts");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
        }
        Err(error) => {
            let detail = format!("the body is not what its content-encoding says: {error}");
            Err(Problem::new(StatusCode::BAD_REQUEST, "content_encoding", detail))
        }
    }
}

/// All of it, or nothing when that is too much.
fn bounded(decoder: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut read = Vec::new();
    decoder.take(DECODED_BYTES_MAX as u64 + 1).read_to_end(&mut read)?;
    Ok((read.len() <= DECODED_BYTES_MAX).then_some(read))
}

fn unknown(encoding: &str) -> Problem {
    let detail = format!("the content-encoding {encoding:?} is not read here; gzip and zstd are");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http::HeaderValue;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(encoding: &'static str, body: Vec<u8>, expected: Result<&[u8], StatusCode>) {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(encoding))]);
        let got = decoded(&headers, body.into()).map_err(|problem| problem.status());
        assert_eq!(got.as_deref(), expected.as_deref(), "{encoding}");
    }

    #[test]
    fn what_was_compressed_is_read_as_it_was() {
        let text = b"hello hello hello".as_slice();
        check("identity", text.to_vec(), Ok(text));
        check("gzip", gzip(text), Ok(text));
        check(" GZip ", [gzip(b"hello "), gzip(b"hello hello")].concat(), Ok(text));
        check("zstd", zstd::encode_all(text, 1).unwrap(), Ok(text));
        assert_eq!(
            decoded(&HeaderMap::new(), Bytes::from_static(b"x")).map_err(|problem| problem.status()),
            Ok("x".into())
        );
    }

    #[test]
    fn what_is_not_what_it_says_is_refused() {
        check("gzip", b"hello".to_vec(), Err(StatusCode::BAD_REQUEST));
        let mut cut = gzip(b"hello hello hello");
        cut.truncate(15);
        check("gzip", cut, Err(StatusCode::BAD_REQUEST));
        check("zstd", b"hello".to_vec(), Err(StatusCode::BAD_REQUEST));
        check("br", b"hello".to_vec(), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        check("gzip, zstd", b"hello".to_vec(), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    #[test]
    fn a_bomb_is_too_large() {
        let zeros = vec![0; DECODED_BYTES_MAX + 1];
        check("gzip", gzip(&zeros), Err(StatusCode::PAYLOAD_TOO_LARGE));
        check("zstd", zstd::encode_all(zeros.as_slice(), 1).unwrap(), Err(StatusCode::PAYLOAD_TOO_LARGE));
        check("gzip", gzip(&zeros[1..]), Ok(&zeros[1..]));
    }
}
