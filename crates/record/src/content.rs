//! Content: what may have to be erased, and the commitments that stand for it in the leaf.
//!
//! `commitment = HMAC-SHA-256(key = salt, "testimony/v1/content\n" || field name || "\n" || bytes)`,
//! where `salt = HKDF-SHA-256(seed, info = "testimony/v1/salt\n" || field name)` (RFC 5869). One random
//! seed a record: a field is disclosed by giving its salt, and erased with all others by deleting the seed.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Names of content fields; those of OpenTelemetry's GenAI conventions where one exists.
pub mod names {
    /// The messages sent to the model, as the caller wrote them.
    pub const INPUT: &str = "gen_ai.input.messages";
    /// The messages that the model answered with.
    pub const OUTPUT: &str = "gen_ai.output.messages";
    /// The arguments of a tool call.
    pub const ARGUMENTS: &str = "gen_ai.tool.call.arguments";
    /// The result of a tool call.
    pub const RESULT: &str = "gen_ai.tool.call.result";
    /// Everything in a request body beside the messages.
    pub const PARAMETERS: &str = "testimony.request.parameters";
    /// A request body that could not be read as the protocol wants it.
    pub const REQUEST_BODY: &str = "testimony.request.body";
    /// A response body that is not an answer of the protocol (errors, garbage).
    pub const RESPONSE_BODY: &str = "testimony.response.body";
}

/// The 32 random bytes that all salts of one record come from.
pub type Seed = [u8; 32];

/// One field of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, see [`names`].
    pub name: String,
    /// Its media type.
    pub media: String,
    /// The exact bytes that are committed to.
    pub bytes: Vec<u8>,
}

/// The content of one record: its fields, sorted by name, and the seed of their salts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The seed of the salts.
    pub seed: Seed,
    /// The fields.
    pub fields: Vec<Field>,
}

/// One field of content, borrowed from where it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// Its name, see [`names`].
    pub name: &'a str,
    /// Its media type.
    pub media: &'a str,
    /// The exact bytes that are committed to.
    pub bytes: &'a [u8],
}

/// What a leaf says of one field of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment<'a> {
    /// The commitment in base64.
    pub commitment: Cow<'a, str>,
    /// How many bytes the field has.
    pub bytes: u64,
    /// Its media type.
    pub media: Cow<'a, str>,
}

/// Content that is not what a leaf commits to, or not content at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The stored form ends early or has bytes left over.
    #[error("stored content is malformed at byte {0}")]
    Malformed(usize),
    /// The leaf commits to other fields than the content has.
    #[error("the leaf commits to {committed:?}, the content has {held:?}")]
    Fields {
        /// The fields that the leaf names.
        committed: Vec<String>,
        /// The fields that are there.
        held: Vec<String>,
    },
    /// A field's bytes are not those that were committed to.
    #[error("content field {0:?} does not match the commitment in its leaf")]
    Mismatch(String),
}

/// The salt of one field: whoever has it can check the field, and learns nothing of the others.
pub type Salt = [u8; 32];

/// The salt of a field under its record's seed: HKDF-SHA-256 (RFC 5869) without a salt of its own. 32 bytes are its first
/// block.
#[must_use]
pub fn salt(seed: &Seed, name: &str) -> Salt {
    let extracted = keyed_hash(&[0; 32], &[seed]);
    keyed_hash(&extracted, &[b"testimony/v1/salt\n", name.as_bytes(), &[1]])
}

/// The commitment to one field under its record's seed.
#[must_use]
pub fn commit(seed: &Seed, name: &str, bytes: &[u8]) -> [u8; 32] {
    commit_under(&salt(seed, name), name, bytes)
}

fn commit_under(salt: &Salt, name: &str, bytes: &[u8]) -> [u8; 32] {
    keyed_hash(salt, &[b"testimony/v1/content\n", name.as_bytes(), b"\n", bytes])
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(crate) fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC pads a short key with zeros to the hash's block (RFC 2104, section 2).
    let mut block = [0_u8; 64];
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl Content {
    /// Checks every field against what the leaf says, and that neither has more fields than the other.
    ///
    /// # Errors
    /// The first field that differs.
    pub fn check<'c>(
        &self,
        committed: impl ExactSizeIterator<Item = (&'c str, &'c Commitment<'c>)> + Clone,
    ) -> Result<(), ContentError> {
        let fields: Vec<FieldRef<'_>> =
            self.fields.iter().map(|Field { name, media, bytes }| FieldRef { name, media, bytes }).collect();
        check_fields(&self.seed, &fields, committed)
    }

    /// The stored form: seed, then for each field three length-prefixed byte strings (name, media, bytes),
    /// lengths as 32-bit big-endian numbers.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size = self.fields.iter().map(|f| 12 + f.name.len() + f.media.len() + f.bytes.len()).sum::<usize>();
        let mut out = Vec::with_capacity(32 + size);
        out.extend_from_slice(&self.seed);
        for field in &self.fields {
            for part in [field.name.as_bytes(), field.media.as_bytes(), &field.bytes] {
                out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(part);
            }
        }
        out
    }

    /// Reads the stored form; no bytes at all are no content.
    ///
    /// # Errors
    /// When a length does not fit what is there.
    pub fn decode(stored: &[u8]) -> Result<Option<Self>, ContentError> {
        if stored.is_empty() {
            return Ok(None);
        }
        let (seed, fields) = stored.split_first_chunk::<32>().ok_or(ContentError::Malformed(0))?;
        let fields = decode_fields(fields)?;
        let owned = |field: FieldRef<'_>| Field {
            name: field.name.to_owned(),
            media: field.media.to_owned(),
            bytes: field.bytes.to_vec(),
        };
        Ok(Some(Self { seed: *seed, fields: fields.into_iter().map(owned).collect() }))
    }

    /// The bytes of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Checks fields, sorted by name, against what a leaf says of them, and that neither has more than the other.
///
/// # Errors
/// The first field that differs.
pub fn check_fields<'c>(
    seed: &Seed,
    fields: &[FieldRef<'_>],
    committed: impl ExactSizeIterator<Item = (&'c str, &'c Commitment<'c>)> + Clone,
) -> Result<(), ContentError> {
    let others = || ContentError::Fields {
        committed: committed.clone().map(|(name, _)| name.to_owned()).collect(),
        held: fields.iter().map(|field| field.name.to_owned()).collect(),
    };
    if committed.len() != fields.len() {
        return Err(others());
    }
    for ((name, commitment), field) in committed.clone().zip(fields) {
        if name != field.name {
            return Err(others());
        }
        let matches = is_committed(&commit(seed, name, field.bytes), *field, commitment);
        if !matches {
            return Err(ContentError::Mismatch(name.to_owned()));
        }
    }
    Ok(())
}

/// Checks one disclosed field, of which only the salt is known, against what a leaf says of it.
///
/// # Errors
/// When it differs.
pub fn check_disclosed(salt: &Salt, field: FieldRef<'_>, committed: &Commitment<'_>) -> Result<(), ContentError> {
    let commitment = commit_under(salt, field.name, field.bytes);
    if is_committed(&commitment, field, committed) {
        Ok(())
    } else {
        Err(ContentError::Mismatch(field.name.to_owned()))
    }
}

fn is_committed(commitment: &[u8; 32], field: FieldRef<'_>, committed: &Commitment<'_>) -> bool {
    base64_of(commitment) == committed.commitment.as_bytes()
        && committed.bytes == field.bytes.len() as u64
        && committed.media == field.media
}

/// Reads the fields of the stored form, which stand after the seed.
///
/// # Errors
/// When a length does not fit what is there.
pub fn decode_fields(stored: &[u8]) -> Result<Vec<FieldRef<'_>>, ContentError> {
    let mut rest = stored;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let at = size_of::<Seed>() + stored.len() - rest.len();
        let mut part = || -> Option<&[u8]> {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = after;
            Some(part)
        };
        let field = (|| {
            let (name, media) = (std::str::from_utf8(part()?).ok()?, std::str::from_utf8(part()?).ok()?);
            Some(FieldRef { name, media, bytes: part()? })
        })();
        fields.push(field.ok_or(ContentError::Malformed(at))?);
    }
    Ok(fields)
}

/// The base64 of 32 bytes, without a trip to the heap: a check of a log makes millions of them.
fn base64_of(bytes: &[u8; 32]) -> [u8; 44] {
    use base64::Engine as _;
    let mut out = [0; 44];
    let written = base64::engine::general_purpose::STANDARD.encode_slice(bytes, &mut out);
    debug_assert_eq!(written, Ok(44));
    out
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Computed with Python's `hmac` and `hashlib` (see docs/format.md); append-only.
    #[test]
    fn the_commitment_is_what_the_format_says() {
        let seed: Seed = std::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(encode_base64(&commit(&seed, names::INPUT, b"[]")), "rIg9JFDFeENyenKSzLcsUtRD2JMlNbLTKovac1aisPw=");
    }

    proptest! {
        #[test]
        fn salts_are_those_of_hkdf(seed in any::<Seed>(), name in "[a-z.]{0,40}") {
            let mut theirs = [0; 32];
            let infos = [b"testimony/v1/salt\n", name.as_bytes()];
            hkdf::Hkdf::<Sha256>::new(None, &seed).expand_multi_info(&infos, &mut theirs).unwrap();
            prop_assert_eq!(salt(&seed, &name), theirs);
        }

        #[test]
        fn stored_content_reads_back(seed in any::<Seed>(), fields in prop::collection::vec(("[a-z.]{0,9}", "[a-z/]{0,9}", any::<Vec<u8>>()), 0..4)) {
            let fields = fields.into_iter().map(|(name, media, bytes)| Field { name, media, bytes }).collect();
            let content = Content { seed, fields };
            prop_assert_eq!(Content::decode(&content.encode()).unwrap(), Some(content));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in any::<Vec<u8>>()) {
            let _ = Content::decode(&bytes);
        }
    }
}
