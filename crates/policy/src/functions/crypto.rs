//! `crypto.*`: digests and message authentication, in lower-case hexadecimal as OPA has them.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use regorus::Value;
use ring::{digest, hmac as ring_hmac};

use super::{Failure, Function};

/// Name, number of arguments, function.
pub(super) const FUNCTIONS: &[(&str, u8, Function)] = &[
    ("crypto.md5", 1, |a| Ok(hex(Md5::digest(text(a, 0)?)))),
    ("crypto.sha1", 1, |a| Ok(hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text(a, 0)?)))),
    ("crypto.sha256", 1, |a| Ok(hex(digest::digest(&digest::SHA256, text(a, 0)?)))),
    ("crypto.hmac.md5", 2, hmac_md5),
    ("crypto.hmac.sha1", 2, |a| authenticate(ring_hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, a)),
    ("crypto.hmac.sha256", 2, |a| authenticate(ring_hmac::HMAC_SHA256, a)),
    ("crypto.hmac.sha512", 2, |a| authenticate(ring_hmac::HMAC_SHA512, a)),
    ("crypto.hmac.equal", 2, equal),
];

/// An argument that must be a string.
pub(super) fn text(arguments: &[Value], at: usize) -> Result<&[u8], Failure> {
    match arguments.get(at) {
        Some(Value::String(text)) => Ok(text.as_bytes()),
        _ => Err(format!("argument {} must be a string", at + 1)),
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> Value {
    Value::from(bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The text comes first, the key second.
fn authenticate(algorithm: ring_hmac::Algorithm, arguments: &[Value]) -> Result<Value, Failure> {
    let key = ring_hmac::Key::new(algorithm, text(arguments, 1)?);
    Ok(hex(ring_hmac::sign(&key, text(arguments, 0)?)))
}

fn hmac_md5(arguments: &[Value]) -> Result<Value, Failure> {
    let mut mac = Hmac::<Md5>::new_from_slice(text(arguments, 1)?).map_err(|_| "the key cannot be used".to_owned())?;
    mac.update(text(arguments, 0)?);
    Ok(hex(mac.finalize().into_bytes()))
}

/// In constant time: both are authenticated under a key of the comparison's own, and the tags are compared.
fn equal(arguments: &[Value]) -> Result<Value, Failure> {
    let key = ring_hmac::Key::new(ring_hmac::HMAC_SHA256, b"crypto.hmac.equal");
    let tag = ring_hmac::sign(&key, text(arguments, 0)?);
    Ok(Value::from(ring_hmac::verify(&key, text(arguments, 1)?, tag.as_ref()).is_ok()))
}
