//! How an API key is written: `tsm_<8 characters: its identifier>_<43 characters: 256 random bits><6 characters: checksum>`.
//!
//! All but the prefix and the two `_` is of `0-9A-Za-z`, so that a double click takes all of it. The checksum is the CRC-32 of all
//! before it (IEEE 802.3, as zlib has it), so that a scanner for secrets can tell a key from what only looks like one without
//! asking anybody, and a mistyped key is told from a foreign one.

use std::fmt;

/// How every API key begins.
pub const KEY_PREFIX: &str = "tsm_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 8;
/// 62⁴³ is more than 2²⁵⁶, 62⁴² is not.
const RANDOM_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const KEY_LENGTH: usize = KEY_PREFIX.len() + ID_LENGTH + 1 + RANDOM_LENGTH + CHECKSUM_LENGTH;

/// A secret that is shown once. Printing it for debugging does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that is one.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one who asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An API key's text from its identifier and randomness.
pub(crate) fn write(id: &str, random: &[u8; 32]) -> Secret {
    let head = format!("{KEY_PREFIX}{id}_{}", base62(random, RANDOM_LENGTH));
    let checksum = checksum(&head);
    Secret(head + &checksum)
}

/// An identifier from randomness.
pub(crate) fn key_id(random: &[u8; 5]) -> String {
    base62(random, ID_LENGTH)
}

/// Whether a text is an API key by its form and checksum. Whether there is such a key is for the store to say.
#[must_use]
pub fn is_well_formed(text: &str) -> bool {
    let Some((head, tail)) = text.split_at_checked(KEY_LENGTH - CHECKSUM_LENGTH) else { return false };
    let Some((id, random)) = head.strip_prefix(KEY_PREFIX).and_then(|rest| rest.split_once('_')) else { return false };
    let is_of_alphabet = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    id.len() == ID_LENGTH && is_of_alphabet(id) && is_of_alphabet(random) && checksum(head) == tail
}

fn checksum(head: &str) -> String {
    base62(&crc32(head.as_bytes()).to_be_bytes(), CHECKSUM_LENGTH)
}

/// A number in base 62 with leading zeros, by dividing as on paper. What does not fit in `length` is lost.
fn base62(number: &[u8], length: usize) -> String {
    let mut number = number.to_vec();
    let mut out = vec![b'0'; length];
    for place in out.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            rest = value % 62;
        }
        *place = usize::try_from(rest).ok().and_then(|rest| ALPHABET.get(rest)).copied().unwrap_or(b'0');
    }
    out.into_iter().map(char::from).collect()
}

/// CRC-32 of IEEE 802.3. Bit by bit: it is for 56 bytes, and not on the way of a good key.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn the_largest_number_fits() {
        assert_eq!(base62(&[0xff; 32], RANDOM_LENGTH).len(), RANDOM_LENGTH);
        assert_ne!(base62(&[0xff; 32], RANDOM_LENGTH).as_bytes()[0], b'0');
        assert_eq!(base62(&[0, 61], 2), "0z");
        assert_eq!(base62(&[0, 62], 2), "10");
        assert_eq!(base62(&[1, 0], 3), "048");
    }

    /// Computed with Python's own integers and zlib.
    #[test]
    fn the_form_of_a_key_never_changes() {
        let key = write("0123abXY", &[7; 32]);
        assert_eq!(key.expose(), "tsm_0123abXY_1fJjkkpe9PiTw9KSulA8Ghct30vZz4HpdQ5c5b9cPF13Yksva");
        assert_eq!(format!("{key:?}"), "Secret(…)");
    }

    proptest! {
        #[test]
        fn a_mistyped_key_is_noticed(random in any::<[u8; 32]>(), id in any::<[u8; 5]>(), at in 0..KEY_LENGTH, to in "[0-9A-Za-z_]") {
            let key = write(&key_id(&id), &random);
            prop_assert!(is_well_formed(key.expose()));
            prop_assert_eq!(key.expose().len(), KEY_LENGTH);
            let mut mistyped = key.expose().to_owned();
            mistyped.replace_range(at..=at, &to);
            prop_assert_eq!(is_well_formed(&mistyped), mistyped == key.expose());
        }

        #[test]
        fn no_text_makes_reading_panic(text in "(tsm_)?\\PC{0,80}") {
            let _ = is_well_formed(&text);
        }
    }
}
