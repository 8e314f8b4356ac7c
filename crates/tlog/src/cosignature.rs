//! Cosignatures of witnesses (C2SP tlog-cosignature v1.0.1, Ed25519, type 0x04).
//!
//! A cosignature is `u64 POSIX seconds, big-endian || Ed25519 signature`. What is signed is
//! `cosignature/v1\\n` `time <seconds>\\n` and the note's text.

use ed25519_dalek::{Signature, Signer as _};

use crate::key::{CosignerKey, WitnessKey};
use crate::note::{Note, NoteError};

fn message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

impl CosignerKey {
    /// Says that at this time (POSIX seconds) the note with this text was the latest that was seen of its log. Gives the line
    /// to put under the note.
    #[must_use]
    pub fn cosign(&self, text: &str, seconds: u64) -> String {
        let signature = self.key().sign(message(text, seconds).as_bytes()).to_bytes();
        self.line(&[seconds.to_be_bytes().as_slice(), &signature].concat())
    }
}

impl Note<'_> {
    /// When a witness has seen this note, in POSIX seconds; the last time, if it has cosigned more than once.
    ///
    /// # Errors
    /// When the witness has not cosigned, or a cosignature under its name and id is wrong.
    pub fn cosigned(&self, witness: &WitnessKey) -> Result<u64, NoteError> {
        let mut last = None;
        for bytes in self.signatures_of(witness) {
            let bad = || NoteError::BadSignature(witness.name().to_owned());
            let (seconds, signature) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
            let seconds = u64::from_be_bytes(*seconds);
            let signature = Signature::from_slice(signature).map_err(|_| bad())?;
            let message = message(self.unverified_text(), seconds);
            witness.key().verify_strict(message.as_bytes(), &signature).map_err(|_| bad())?;
            last = last.max(Some(seconds));
        }
        last.ok_or_else(|| NoteError::NotSigned(witness.name().to_owned()))
    }
}

/// The lines of a witness's answer that are valid cosignatures of known witnesses on a note, each with its time. Everything
/// else in the answer is passed over, as the specification asks.
#[must_use]
pub fn known_cosignatures(note: &str, answer: &str, witness: &WitnessKey) -> Vec<(String, u64)> {
    let Some((text, _)) = note.rsplit_once("\n\n") else { return Vec::new() };
    let lines = answer.lines().take(100).map(|line| format!("{line}\n"));
    lines
        .filter_map(|line| {
            let candidate = format!("{text}\n\n{line}");
            let seconds = Note::parse(candidate.as_bytes()).ok()?.cosigned(witness).ok()?;
            Some((line, seconds))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SignerKey;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    const TEXT: &str = "example.com/log\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

    fn witness(name: &str) -> CosignerKey {
        CosignerKey::from_seed(name, [9; 32]).unwrap()
    }

    fn note() -> String {
        SignerKey::from_seed("example.com/log", [5; 32]).unwrap().sign(TEXT)
    }

    /// Built by hand as the specification says, byte by byte.
    #[test]
    fn a_cosignature_is_what_the_specification_says() {
        let witness = witness("example.com/witness");
        let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let signed = key.sign(format!("cosignature/v1\ntime 1780000000\n{TEXT}").as_bytes());
        let id = Sha256::digest([b"example.com/witness\n\x04".as_slice(), key.verifying_key().as_bytes()].concat());
        let bytes = [&id[..4], &1_780_000_000_u64.to_be_bytes(), &signed.to_bytes()].concat();
        let line = format!("\u{2014} example.com/witness {}\n", STANDARD.encode(bytes));
        assert_eq!(witness.cosign(TEXT, 1_780_000_000), line);
        let cosigned = note() + &line;
        assert_eq!(Note::parse(cosigned.as_bytes()).unwrap().cosigned(witness.verifier()), Ok(1_780_000_000));
    }

    #[test]
    fn one_changed_bit_is_no_cosignature() {
        let witness = witness("example.com/witness");
        let cosigned = format!("{TEXT}\n{}", witness.cosign(TEXT, 1_780_000_000)).into_bytes();
        for at in 0..cosigned.len() {
            for bit in 0..8 {
                let mut changed = cosigned.clone();
                changed[at] ^= 1 << bit;
                let verdict = Note::parse(&changed).and_then(|note| note.cosigned(witness.verifier()));
                assert!(verdict.is_err(), "bit {bit} of byte {at} changed nothing");
            }
        }
    }

    #[test]
    fn of_an_answer_only_what_is_good_is_kept() {
        let (known, stranger) = (witness("example.com/witness"), witness("example.com/stranger"));
        let good = known.cosign(TEXT, 7);
        let answer = format!(
            "{}{good}hello\n{}{}",
            stranger.cosign(TEXT, 8),
            known.cosign("another\n", 9),
            "\u{2014} example.com/witness AAAA\n"
        );
        assert_eq!(known_cosignatures(&note(), &answer, known.verifier()), [(good, 7)]);
    }
}
