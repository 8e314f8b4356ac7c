//! Identifiers of records: ours, and those that follow from what a producer calls a record.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::Timestamp;

/// Makes a version 7 UUID (RFC 9562, section 5.7) from a time and ten random bytes.
#[must_use]
pub fn uuid_v7(time: Timestamp, random: &[u8; 10]) -> Uuid {
    let millis = u64::try_from(time.as_micros() / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid()
}

/// The identifier of a record that its producer may send again: the same for the same key (an idempotency key, or the id
/// that an event has elsewhere) within a name space. A version 8 UUID over SHA-256 (RFC 9562, section 5.8 and appendix B.2).
#[must_use]
pub fn once_id(namespace: &str, key: &str) -> Uuid {
    let mut hash = Sha256::new();
    for part in ["testimony/v1/once", namespace] {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.update(key.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Whether a text is a trace or span identifier: so many lower-case hexadecimal digits, not all of them 0 (W3C Trace Context,
/// section 3.2.2).
#[must_use]
pub fn is_hex_id(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && text.bytes().any(|byte| byte != b'0')
}

/// Whether a record with this identifier is stored once however often it comes.
#[must_use]
pub fn is_once(id: Uuid) -> bool {
    id.get_version_num() == 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_is_the_same_record_within_its_name_space_only() {
        let id = once_id("records", "order-7");
        assert_eq!(id.to_string(), "1580a4c6-7877-883a-aa8f-69b2507ff202");
        assert_eq!(id, once_id("records", "order-7"));
        assert_ne!(id, once_id("otlp", "order-7"));
        assert_ne!(id, once_id("records", "order-8"));
        assert!(is_once(id));
        assert!(!is_once(uuid_v7(Timestamp::from_micros(1), &[7; 10])));
    }
}
