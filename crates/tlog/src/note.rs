//! Signed notes (C2SP signed-note v1.0.0) with Ed25519 signatures (type 0x01).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _};

use crate::key::{PublicKey, SignerKey, VerifierKey, is_key_name};

/// The most bytes of a note that are looked at.
const NOTE_BYTES_MAX: usize = 1_000_000;
/// The most signature lines that are looked at; the specification asks for at least 16.
const SIGNATURES_MAX: usize = 100;

/// What is wrong with a note or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a note.
    #[error("the note is malformed: {0}")]
    Malformed(&'static str),
    /// Not a key, or its hash does not fit.
    #[error("the key is malformed: {0}")]
    Key(&'static str),
    /// The trusted key's signature is there and wrong.
    #[error("the signature of {0} does not fit the note's text")]
    BadSignature(String),
    /// The trusted key has not signed.
    #[error("the note is not signed by {0}")]
    NotSigned(String),
}

/// A text and the signature lines under it, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature<'a> {
    name: &'a str,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

impl SignerKey {
    /// Signs a text of lines: the note is the text, an empty line and one signature line.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        format!("{text}\n{}", self.line(&self.key().sign(text.as_bytes()).to_bytes()))
    }
}

impl<'a> Note<'a> {
    /// Takes a note apart; nothing is verified yet.
    ///
    /// # Errors
    /// When the bytes are not a note.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Malformed("it is larger than a megabyte"));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if note.contains(|c: char| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Malformed("it has a control character"));
        }
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed("there is no empty line before the signatures"))?;
        let (text, rest) = note.split_at(at + 1);
        let lines = rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.ok_or(NoteError::Malformed("its last line is not ended"))?;
        let signatures =
            lines.split('\n').take(SIGNATURES_MAX + 1).map(NoteSignature::parse).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Malformed("it has more than 100 signatures"));
        }
        Ok(Self { text, signatures })
    }

    /// The text, whoever wrote it.
    #[must_use]
    pub const fn unverified_text(&self) -> &'a str {
        self.text
    }

    /// The text, once the key's signature on it has been verified. Signatures of other keys are passed over.
    ///
    /// # Errors
    /// When the key has not signed, or a signature under its name and id is wrong.
    pub fn verify(&self, key: &VerifierKey) -> Result<&'a str, NoteError> {
        let mut signed = false;
        for signature in self.signatures_of(key) {
            let bad = || NoteError::BadSignature(key.name().to_owned());
            let signature = Signature::from_slice(signature).map_err(|_| bad())?;
            key.key().verify_strict(self.text.as_bytes(), &signature).map_err(|_| bad())?;
            signed = true;
        }
        if signed { Ok(self.text) } else { Err(NoteError::NotSigned(key.name().to_owned())) }
    }

    /// What stands under a key's name and id.
    pub(crate) fn signatures_of<const TYPE: u8>(&self, key: &PublicKey<TYPE>) -> impl Iterator<Item = &[u8]> {
        let id = key.id();
        let of_key =
            self.signatures.iter().filter(move |signature| signature.key_id == id && signature.name == key.name());
        of_key.map(|signature| signature.bytes.as_slice())
    }
}

impl<'a> NoteSignature<'a> {
    fn parse(line: &'a str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed("a signature line is not '— name base64'");
        let (name, encoded) =
            line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or(malformed.clone())?;
        let bytes = STANDARD.decode(encoded).map_err(|_| malformed.clone())?;
        let (key_id, signature) = bytes.split_first_chunk::<4>().ok_or(malformed.clone())?;
        if !is_key_name(name) || signature.is_empty() {
            return Err(malformed);
        }
        Ok(Self { name, key_id: *key_id, bytes: signature.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The specification's example note.
    const TEXT: &str = "This is an example message.\n";

    #[test]
    fn our_notes_verify_in_signed_note_and_theirs_in_ours() {
        let signer = SignerKey::from_seed("example.com/log", [5; 32]).unwrap();
        let note = signer.sign(TEXT);
        let theirs = signed_note::StandardVerifier::new(&signer.verifier().to_string()).unwrap();
        let parsed = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
        parsed.verify(&signed_note::VerifierList::new(vec![Box::new(theirs)])).unwrap();

        let their_signer = signed_note::StandardSigner::new(&signer.to_secret_text()).unwrap();
        let mut their_note = signed_note::Note::new(TEXT.as_bytes(), &[]).unwrap();
        their_note.add_sigs(&[&their_signer]).unwrap();
        let bytes = their_note.to_bytes();
        assert_eq!(Note::parse(&bytes).unwrap().verify(signer.verifier()), Ok(TEXT));
        assert_eq!(bytes, note.as_bytes());
    }

    #[test]
    fn a_note_is_refused_when_anything_is_changed() {
        let signer = SignerKey::from_seed("example.com/log", [5; 32]).unwrap();
        let note = signer.sign(TEXT).into_bytes();
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut changed = note.clone();
                changed[at] ^= 1 << bit;
                let verdict = Note::parse(&changed).and_then(|note| note.verify(signer.verifier()).map(str::to_owned));
                assert!(verdict.is_err(), "bit {bit} of byte {at} changed nothing");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in any::<Vec<u8>>()) {
            let _ = Note::parse(&bytes);
        }
    }
}
