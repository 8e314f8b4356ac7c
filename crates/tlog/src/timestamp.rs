//! Time-stamp tokens (RFC 3161): an authority's word that a message, such as a checkpoint, was there at a time.
//!
//! [`request`] is what one posts to the authority as `application/timestamp-query` (§3.4), [`response`] reads its
//! `application/timestamp-reply`, and [`Token::parse`] reads a token that was kept.
//!
//! **No signature is verified here.** What is checked is that the bytes have the form of a token, that its imprint is
//! the message's SHA-256 and, in an answer, that the nonce is ours. Anybody can make such bytes with any time in them.
//! Whether the authority has signed, and whether its certificate is to be believed, is verified by
//!
//! ```text
//! openssl ts -verify -data MESSAGE -token_in -in TOKEN -CAfile ROOTS.pem [-untrusted INTERMEDIATES.pem]
//! ```
//!
//! and, once that certificate has expired, with `-attime` and the token's time.
//!
//! Nothing here does I/O or panics on what it is given.

use sha2::{Digest as _, Sha256};

/// The largest answer or token that is looked at; one with its certificates has 1 to 10 KiB.
pub const TIMESTAMP_BYTES_MAX: usize = 1 << 16;
/// The most characters that are kept of an authority's words.
const TEXT_CHARS_MAX: usize = 200;

/// A token that is of the message it was checked against. Its signature has not been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The `TimeStampToken`, a CMS `ContentInfo` in DER, exactly as received.
    pub der: Vec<u8>,
    /// The time that it says, `genTime` in POSIX seconds; a fraction is cut off.
    pub time: u64,
}

/// What is wrong with an answer or a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not DER, or not the structure that RFC 3161 asks for.
    #[error("the time-stamp is malformed: {0}")]
    Malformed(String),
    /// The authority has answered, and there is no token.
    #[error("the time-stamp authority gave no token ({status}): {}", reasons(text, failures))]
    Refused {
        /// The name of its `PKIStatus`.
        status: &'static str,
        /// Its words, of any characters; empty when there are none.
        text: String,
        /// The names in its `PKIFailureInfo`.
        failures: Vec<&'static str>,
    },
    /// The imprint is not the SHA-256 of the message.
    #[error("the time-stamp is not of this message: its imprint is not the message's SHA-256")]
    OtherMessage,
    /// The nonce is not the one that was sent, or there is none: it may be an old answer.
    #[error("the time-stamp does not answer this request: its nonce is not the one that was sent")]
    OtherNonce,
}

/// A `TimeStampReq` (§2.4.1) for a message's SHA-256. It asks for the authority's certificate to be in the token.
#[must_use]
pub fn request(message: &[u8], nonce: u64) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[SHA256]), &element(NULL, &[])]);
    let imprint = element(SEQUENCE, &[&algorithm, &element(OCTET_STRING, &[&Sha256::digest(message)])]);
    let version = element(INTEGER, &[&[1]]);
    let nonce = element(INTEGER, &[&unsigned(nonce)]);
    let asks_for_certificate = element(BOOLEAN, &[&[0xff]]);
    element(SEQUENCE, &[&version, &imprint, &nonce, &asks_for_certificate])
}

/// Reads a `TimeStampResp` (§2.4.2), the answer to a [`request`] with this nonce.
///
/// # Errors
/// When the authority refuses, or its answer is malformed or of another message or request.
pub fn response(der: &[u8], message: &[u8], nonce: u64) -> Result<Token, TimestampError> {
    let mut response = Reader::only_sequence(der, "TimeStampResp")?;
    check_granted(response.inside(SEQUENCE, "PKIStatusInfo")?)?;
    let token = response.left;
    let stamp = Stamp::parse(token, message)?;
    if stamp.nonce != Some(unsigned(nonce).as_slice()) {
        return Err(TimestampError::OtherNonce);
    }
    Ok(Token { der: token.to_vec(), time: stamp.time })
}

impl Token {
    /// Reads a token that was kept; whatever nonce it has.
    ///
    /// # Errors
    /// When it is malformed or of another message.
    pub fn parse(der: &[u8], message: &[u8]) -> Result<Self, TimestampError> {
        let stamp = Stamp::parse(der, message)?;
        Ok(Self { der: der.to_vec(), time: stamp.time })
    }
}

/// What is looked at in a `TSTInfo`.
struct Stamp<'a> {
    time: u64,
    /// The content of the INTEGER.
    nonce: Option<&'a [u8]>,
}

impl<'a> Stamp<'a> {
    fn parse(token: &'a [u8], message: &[u8]) -> Result<Self, TimestampError> {
        let mut info = Reader::only_sequence(signed_content(token)?, "TSTInfo")?;
        if info.integer("TSTInfo.version")? != [1] {
            return Err(malformed("its TSTInfo is not of version 1"));
        }
        info.content(OBJECT_IDENTIFIER, "TSTInfo.policy")?;
        check_imprint(info.inside(SEQUENCE, "messageImprint")?, message)?;
        info.integer("serialNumber")?;
        let time = posix_seconds(info.content(GENERALIZED_TIME, "genTime")?);
        let time = time.ok_or_else(|| malformed("its genTime is not YYYYMMDDhhmmss[.s…]Z from 1970 on"))?;
        info.optional(SEQUENCE)?; // accuracy
        info.optional(BOOLEAN)?; // ordering
        let nonce = info.has(INTEGER).then(|| info.integer("nonce")).transpose()?;
        info.optional(CONTEXT_0)?; // tsa
        info.optional(CONTEXT_1)?; // extensions
        info.end("TSTInfo")?;
        Ok(Self { time, nonce })
    }
}

/// The `TSTInfo` in a token: the content of CMS `SignedData` (RFC 5652 §3, §5.1 and §5.2).
fn signed_content(token: &[u8]) -> Result<&[u8], TimestampError> {
    let mut content_info = Reader::only_sequence(token, "TimeStampToken")?;
    if content_info.content(OBJECT_IDENTIFIER, "contentType")? != SIGNED_DATA {
        return Err(malformed("its token is not CMS SignedData"));
    }
    let mut explicit = content_info.inside(CONTEXT_0, "content")?;
    content_info.end("TimeStampToken")?;
    let mut signed_data = explicit.inside(SEQUENCE, "SignedData")?;
    explicit.end("content")?;

    signed_data.integer("SignedData.version")?;
    signed_data.content(SET, "digestAlgorithms")?;
    let content = encapsulated(signed_data.inside(SEQUENCE, "encapContentInfo")?)?;
    signed_data.optional(CONTEXT_0)?; // certificates
    signed_data.optional(CONTEXT_1)?; // crls
    let mut signers = signed_data.inside(SET, "signerInfos")?;
    signed_data.end("SignedData")?;
    // RFC 3161 §2.4.2: a token has no signature but the authority's.
    signers.content(SEQUENCE, "SignerInfo")?;
    signers.end("signerInfos")?;
    Ok(content)
}

fn encapsulated(mut info: Reader<'_>) -> Result<&[u8], TimestampError> {
    if info.content(OBJECT_IDENTIFIER, "eContentType")? != TST_INFO {
        return Err(malformed("what is signed is not a TSTInfo"));
    }
    let mut explicit = info.inside(CONTEXT_0, "eContent")?;
    info.end("encapContentInfo")?;
    let content = explicit.content(OCTET_STRING, "eContent")?;
    explicit.end("eContent")?;
    Ok(content)
}

/// SHA-256 is written with parameters NULL, as in our request, or without (RFC 5754 §2).
fn check_imprint(mut imprint: Reader<'_>, message: &[u8]) -> Result<(), TimestampError> {
    let mut algorithm = imprint.inside(SEQUENCE, "hashAlgorithm")?;
    let is_sha256 = algorithm.content(OBJECT_IDENTIFIER, "hashAlgorithm")? == SHA256;
    let is_plain = matches!(algorithm.left, [] | [NULL, 0]);
    let hashed = imprint.content(OCTET_STRING, "hashedMessage")?;
    imprint.end("messageImprint")?;
    let is_of_message = hashed == Sha256::digest(message).as_slice();
    if is_sha256 && is_plain && is_of_message { Ok(()) } else { Err(TimestampError::OtherMessage) }
}

/// Only `granted` and `grantedWithMods` come with a token (§2.4.2). What else stands there is for a person to read; it is
/// read as far as it can be, so that a badly written refusal is still a refusal.
fn check_granted(mut info: Reader<'_>) -> Result<(), TimestampError> {
    let status = match info.integer("PKIStatus")? {
        [0 | 1] => return Ok(()),
        [2] => "rejection",
        [3] => "waiting",
        [4] => "revocationWarning",
        [5] => "revocationNotification",
        _ => "unknown status",
    };
    let text = match info.optional(SEQUENCE) {
        Ok(Some(texts)) => free_text(Reader { left: texts }),
        _ => String::new(),
    };
    let failures = match info.optional(BIT_STRING) {
        Ok(Some([_unused, bits @ ..])) => failures(bits),
        _ => Vec::new(),
    };
    Err(TimestampError::Refused { status, text, failures })
}

fn free_text(mut texts: Reader<'_>) -> String {
    let texts = std::iter::from_fn(|| texts.optional(UTF8_STRING).ok().flatten());
    let texts: Vec<_> = texts.map(String::from_utf8_lossy).collect();
    texts.join("; ").chars().take(TEXT_CHARS_MAX).collect()
}

/// The first bit is the highest of the first byte (X.690 §8.6.2.2).
fn failures(bits: &[u8]) -> Vec<&'static str> {
    let is_set = |bit: usize| bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0);
    FAILURES.into_iter().filter(|(bit, _)| is_set(*bit)).map(|(_, name)| name).collect()
}

/// The words are a stranger's: they are shown with quotes and escapes.
fn reasons(text: &str, failures: &[&str]) -> String {
    let failures = failures.join(", ");
    match (text, failures.as_str()) {
        ("", "") => "it says no reason".to_owned(),
        ("", failures) => failures.to_owned(),
        (text, "") => format!("{text:?}"),
        (text, failures) => format!("{text:?}, {failures}"),
    }
}

/// `YYYYMMDDhhmmss[.s…]Z` (§2.4.2). A fraction is cut off, so the zeros that must not end it are let pass. There is no
/// second 60, nor is there one for OpenSSL.
fn posix_seconds(text: &[u8]) -> Option<u64> {
    let (digits, fraction) = text.strip_suffix(b"Z")?.split_first_chunk::<14>()?;
    let is_fraction = match fraction {
        [] => true,
        [b'.', fraction @ ..] => !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_fraction || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (pairs, _) = digits.as_chunks::<2>();
    let mut pairs = pairs.iter().map(|[tens, ones]| u64::from(tens - b'0') * 10 + u64::from(ones - b'0'));
    let year = pairs.next()? * 100 + pairs.next()?;
    let days = days_since_1970(year, pairs.next()?, pairs.next()?)?;
    let (hour, minute, second) = (pairs.next()?, pairs.next()?, pairs.next()?);
    let is_of_clock = hour < 24 && minute < 60 && second < 60;
    is_of_clock.then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Of the Gregorian calendar; months and days from 1 on.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap_days_until = |year: u64| year / 4 - year / 100 + year / 400;
    let years = year.checked_sub(1970)?;
    let leap_day = leap_days_until(year) - leap_days_until(year - 1);
    let months = [31, 28 + leap_day, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (before, rest) = months.split_at_checked(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1..=*rest.first()?).contains(&day) {
        return None;
    }
    let leap_days = leap_days_until(year - 1) - leap_days_until(1969);
    Some(years * 365 + leap_days + before.iter().sum::<u64>() + day - 1)
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0xa1;

/// `id-sha256`, 2.16.840.1.101.3.4.2.1 (RFC 5754 §2.2).
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// `id-signedData`, 1.2.840.113549.1.7.2 (RFC 5652 §5.1).
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `id-ct-TSTInfo`, 1.2.840.113549.1.9.16.1.4 (RFC 3161 §2.4.2).
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];

/// The bits of `PKIFailureInfo` (§2.4.2).
const FAILURES: [(usize, &str); 8] = [
    (0, "badAlg"),
    (2, "badRequest"),
    (5, "badDataFormat"),
    (14, "timeNotAvailable"),
    (15, "unacceptedPolicy"),
    (16, "unacceptedExtension"),
    (17, "addInfoNotAvailable"),
    (25, "systemFailure"),
];

/// Elements of DER (X.690), one after another. It goes into an element only when told to, so nothing recurses, and what
/// nobody asks for, such as certificates and signatures, is passed over unread.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The inside of a SEQUENCE that is all there is.
    fn only_sequence(der: &'a [u8], name: &str) -> Result<Self, TimestampError> {
        if der.len() > TIMESTAMP_BYTES_MAX {
            return Err(malformed("it is larger than 64 KiB"));
        }
        let mut outer = Self { left: der };
        let inner = outer.inside(SEQUENCE, name)?;
        outer.end(name)?;
        Ok(inner)
    }

    fn inside(&mut self, tag: u8, name: &str) -> Result<Self, TimestampError> {
        Ok(Self { left: self.content(tag, name)? })
    }

    fn content(&mut self, tag: u8, name: &str) -> Result<&'a [u8], TimestampError> {
        self.optional(tag)?.ok_or_else(|| malformed(&format!("there is no {name} where it should be")))
    }

    /// An INTEGER's bytes, of which there are no more than needed (X.690 §8.3.2).
    fn integer(&mut self, name: &str) -> Result<&'a [u8], TimestampError> {
        match self.content(INTEGER, name)? {
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => {
                Err(malformed(&format!("its {name} is not an INTEGER")))
            }
            integer => Ok(integer),
        }
    }

    fn has(&self, tag: u8) -> bool {
        self.left.first() == Some(&tag)
    }

    /// The content of the next element if it has this tag. Its length must be definite and in as few bytes as it takes
    /// (X.690 §10.1); two bytes are enough below 64 KiB.
    fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, TimestampError> {
        if !self.has(tag) {
            return Ok(None);
        }
        let (length, rest) = match self.left {
            [_, length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
            [_, 0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
            [_, 0x82, high @ 1..=0xff, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            _ => return Err(malformed("a length in it is cut off or not DER, perhaps BER")),
        };
        let (content, left) =
            rest.split_at_checked(length).ok_or_else(|| malformed("an element is longer than what it is in"))?;
        self.left = left;
        Ok(Some(content))
    }

    fn end(self, name: &str) -> Result<(), TimestampError> {
        if self.left.is_empty() { Ok(()) } else { Err(malformed(&format!("there is more in or after its {name}"))) }
    }
}

/// An element of DER, of less than 64 KiB.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let start = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [start, content].concat()
}

/// The content of an INTEGER that is not negative: in as few bytes as it takes, the first below 0x80.
fn unsigned(number: u64) -> Vec<u8> {
    let bytes = [&[0], number.to_be_bytes().as_slice()].concat();
    let spare = bytes.windows(2).take_while(|pair| matches!(pair, [0, 0..=0x7f])).count();
    bytes.into_iter().skip(spare).collect()
}

fn malformed(what: &str) -> TimestampError {
    TimestampError::Malformed(what.to_owned())
}

#[cfg(test)]
mod tests;
