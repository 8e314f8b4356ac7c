//! A signed token in compact form (RFC 7515 §7.1): header, payload and signature in base64url, with dots between.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{TOKEN_BYTES_MAX, TokenError, unique};

/// The most bytes of a text from a header that is kept.
const HEADER_TEXT_BYTES_MAX: usize = 256;
/// Types that are for access: plain (RFC 7519 §5.1) and that of access tokens (RFC 9068 §2.1). Others, such as logout tokens, are not.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token whose parts have been read and not yet believed.
#[derive(Debug)]
pub(crate) struct Compact<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// What is signed: header and payload as they stand.
    pub(super) message: &'a str,
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
    pub(crate) unverified_claims: Map<String, Value>,
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Whether a credential has the outer form of a token.
    pub(crate) fn is_like(text: &str) -> bool {
        text.starts_with("eyJ") || text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    pub(crate) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge(text.len()));
        }
        // Five parts are an encrypted token (RFC 7516 §7.1), which nobody here could read.
        let three = || TokenError::Malformed("it has not three parts");
        let (message, signature) = text.rsplit_once('.').ok_or_else(three)?;
        let (header, payload) = message.split_once('.').ok_or_else(three)?;
        if payload.contains('.') {
            return Err(three());
        }
        let (algorithm, key_id) = read_header(&decode(header, "its header is not base64url")?)?;
        let claims = unique::object(&decode(payload, "its payload is not base64url")?);
        let unverified_claims = claims
            .map_err(|_| TokenError::Malformed("its payload is not a JSON object in which each name stands once"))?;
        let signature = decode(signature, "its signature is not base64url")?;
        Ok(Self { text, message, algorithm, key_id, unverified_claims, signature })
    }
}

/// Algorithm and key.
fn read_header(json: &[u8]) -> Result<(String, Option<String>), TokenError> {
    let header = unique::object(json);
    let header =
        header.map_err(|_| TokenError::Malformed("its header is not a JSON object in which each name stands once"))?;
    let text = |name: &'static str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= HEADER_TEXT_BYTES_MAX => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Malformed("alg, kid or typ in its header is not a text, or a long one")),
    };
    if header.contains_key("crit") {
        return Err(TokenError::Critical);
    }
    if let Some(typ) = text("typ")? {
        let short = typ.to_ascii_lowercase();
        // RFC 7515 §4.1.9: the prefix is left out where there is no other slash.
        if !TYPES.contains(&short.strip_prefix("application/").unwrap_or(&short)) {
            return Err(TokenError::Type(typ));
        }
    }
    let algorithm = text("alg")?.ok_or(TokenError::Malformed("its header has no alg"))?;
    Ok((algorithm, text("kid")?))
}

/// Base64url without padding and without bits to spare (RFC 7515 §2), so that one token has one text.
fn decode(part: &str, what: &'static str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed(what))
}
