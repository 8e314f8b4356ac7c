//! The signature of a bundle: a token in `.signatures.json` that names every file and its hash.
//!
//! JSON documents are hashed as their values, with sorted keys and without white space, other files byte for byte (OPA,
//! "Bundle signature format").

use std::collections::BTreeMap;

use ring::digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bundle::{MANIFEST, SIGNATURES};
use crate::jwt::{Algorithm, Keys, Token};

/// How deep a signed document may be nested.
const DOCUMENT_DEPTH_MAX: usize = 64;

/// The key that must have signed a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey {
    /// The key's name. When given, a bundle that names another key is refused.
    pub id: Option<String>,
    /// The one algorithm that is accepted, whatever the signature says.
    pub algorithm: Algorithm,
    /// A shared secret, or a certificate, public key (PEM) or JSON Web Key.
    pub key: Vec<u8>,
    /// What the bundle must be signed for; empty for no scope.
    pub scope: String,
}

/// Why a bundle's signature does not count. Nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no `.signatures.json`.
    #[error("the bundle is not signed")]
    Missing,
    /// It cannot be read.
    #[error("the signature of the bundle cannot be read: {0}")]
    Malformed(String),
    /// The key that is to verify it cannot be used.
    #[error("the key for the bundle's signature cannot be used: {0}")]
    Key(String),
    /// It was not made with the key.
    #[error("the signature of the bundle was not made with the key")]
    Invalid,
    /// It is for something else.
    #[error("the bundle is signed for the scope {0:?}")]
    Scope(String),
    /// A file is not as it was signed.
    #[error("the file {0} of the bundle is not as it was signed")]
    File(String),
    /// A file is not part of what was signed.
    #[error("the file {0} of the bundle was not signed")]
    Unsigned(String),
    /// A file that was signed is not there.
    #[error("the file {0} of the bundle was signed and is not there")]
    Absent(String),
}

#[derive(Deserialize)]
struct Signatures {
    signatures: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    files: Vec<SignedFile>,
    #[serde(default)]
    keyid: Option<String>,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct SignedFile {
    name: String,
    hash: String,
    algorithm: String,
}

/// Checks the files of a bundle against its signature.
pub(crate) fn verify(files: &[(String, Vec<u8>)], key: &VerificationKey) -> Result<(), SignatureError> {
    let malformed = |what: &dyn std::fmt::Display| SignatureError::Malformed(what.to_string());
    let (_, bytes) = files.iter().find(|(path, _)| path == SIGNATURES).ok_or(SignatureError::Missing)?;
    let signatures: Signatures = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let [token] = signatures.signatures.as_slice() else {
        return Err(malformed(&"there is not exactly one token"));
    };
    let token = Token::parse(token.as_bytes()).map_err(|what| malformed(&what))?;
    if !Keys::parse(key.algorithm, &key.key).map_err(SignatureError::Key)?.verify(&token) {
        return Err(SignatureError::Invalid);
    }
    let kid = token.header.get("kid").and_then(serde_json::Value::as_str).map(str::to_owned);
    let claims: Claims =
        serde_json::from_value(serde_json::Value::Object(token.payload)).map_err(|error| malformed(&error))?;
    let named = kid.or(claims.keyid);
    if key.id.is_some() && named.is_some() && named != key.id {
        return Err(SignatureError::Invalid);
    }
    if claims.scope != key.scope {
        return Err(SignatureError::Scope(claims.scope));
    }
    let mut signed: BTreeMap<&str, &SignedFile> = claims.files.iter().map(|file| (file.name.as_str(), file)).collect();
    for (path, bytes) in files.iter().filter(|(path, _)| path != SIGNATURES) {
        let file = signed.remove(path.as_str()).ok_or_else(|| SignatureError::Unsigned(path.clone()))?;
        let found = hash(path, bytes, &file.algorithm)?;
        if !found.eq_ignore_ascii_case(&file.hash) {
            return Err(SignatureError::File(path.clone()));
        }
    }
    match signed.keys().next() {
        Some(path) => Err(SignatureError::Absent((*path).to_owned())),
        None => Ok(()),
    }
}

fn hash(path: &str, bytes: &[u8], algorithm: &str) -> Result<String, SignatureError> {
    let algorithm = match algorithm {
        "SHA-256" => &digest::SHA256,
        "SHA-384" => &digest::SHA384,
        "SHA-512" => &digest::SHA512,
        _ => return Err(SignatureError::Malformed(format!("{path} is hashed with {algorithm}"))),
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let found = if matches!(name, "data.json" | MANIFEST) {
        let mut canonical = Vec::new();
        write_canonical(bytes, 0, &mut canonical).ok_or_else(|| SignatureError::File(path.to_owned()))?;
        digest::digest(algorithm, &canonical)
    } else {
        digest::digest(algorithm, bytes)
    };
    Ok(found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The value as OPA hashes it. Numbers are kept as they are written, which is why the text is read piece by piece.
fn write_canonical(json: &[u8], depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let text = json.trim_ascii();
    if depth > DOCUMENT_DEPTH_MAX {
        return None;
    }
    match text.first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(text).ok()?;
            out.push(b'{');
            for (at, (key, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write_canonical(value.get().as_bytes(), depth + 1, out)?;
            }
            out.push(b'}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_slice(text).ok()?;
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_canonical(item.get().as_bytes(), depth + 1, out)?;
            }
            out.push(b']');
        }
        b'"' => write_string(&serde_json::from_slice::<String>(text).ok()?, out),
        _ => out.extend_from_slice(serde_json::from_slice::<&RawValue>(text).ok()?.get().as_bytes()),
    }
    Some(())
}

/// A string as Go's `encoding/json` writes it without HTML escapes.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes())
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
