//! Signed notes (C2SP signed-note v1.0.0) with Ed25519 signatures (type 0x01).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// Signature type 0x01: plain Ed25519 over the note's text.
const ED25519: u8 = 0x01;
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

/// A public key: `<name>+<8 hex key id>+base64(type || public key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

/// A private key: `PRIVATE+KEY+<name>+<8 hex key id>+base64(type || seed)`, as Go's `note` package writes it.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
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

/// Whether a key may have this name: not empty, no Unicode space, no `+`.
fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

/// `SHA-256(name || 0x0A || type || public key)[:4]`.
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest =
        Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize();
    let mut id = [0; 4];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    id
}

fn hex(bytes: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(bytes))
}

/// Splits `<name>+<8 hex>+<base64>` into name, hex and the 32 bytes after the type.
fn split_key(text: &str) -> Result<(&str, &str, [u8; 32]), NoteError> {
    let (name, rest) = text.split_once('+').ok_or(NoteError::Key("there is no '+' after its name"))?;
    let (id, encoded) = rest.split_once('+').ok_or(NoteError::Key("there is no '+' after its id"))?;
    if !is_key_name(name) {
        return Err(NoteError::Key("its name is empty or has a space"));
    }
    let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Key("it is not base64"))?;
    match bytes.split_first() {
        Some((&ED25519, key)) => {
            let key = key.try_into().map_err(|_| NoteError::Key("it does not have 32 bytes"))?;
            Ok((name, id, key))
        }
        _ => Err(NoteError::Key("it is not an Ed25519 key (type 1)")),
    }
}

impl VerifierKey {
    /// Reads a vkey.
    ///
    /// # Errors
    /// When it is not one, or its id is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, bytes) = split_key(text.trim())?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NoteError::Key("it is not a point on the curve"))?;
        if hex(key_id(name, &key)) != id {
            return Err(NoteError::Key("its id is not that of its name and key: was it copied whole?"));
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, hex(key_id(&self.name, &self.key)), STANDARD.encode(bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SignerKey {
    /// A key from 32 secret random bytes.
    ///
    /// # Errors
    /// When the name is not fit for a key.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::Key("its name is empty or has a space or '+'"));
        }
        let key = SigningKey::from_bytes(&seed);
        let verifier = VerifierKey { name: name.to_owned(), key: key.verifying_key() };
        Ok(Self { verifier, key })
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// When it is not one, or its id is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest =
            text.trim().strip_prefix("PRIVATE+KEY+").ok_or(NoteError::Key("it does not begin with PRIVATE+KEY+"))?;
        let (name, id, seed) = split_key(rest)?;
        let signer = Self::from_seed(name, seed)?;
        if hex(key_id(name, &signer.verifier.key)) != id {
            return Err(NoteError::Key("its id is not that of its name and key: the file is damaged"));
        }
        Ok(signer)
    }

    /// The private key as text. It is a secret.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        let id = hex(key_id(&self.verifier.name, &self.verifier.key));
        format!("PRIVATE+KEY+{}+{id}+{}", self.verifier.name, STANDARD.encode(bytes))
    }

    /// The 32 secret bytes that the key is made of.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a text of lines: the note is the text, an empty line and one signature line.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut bytes = key_id(&self.verifier.name, &self.verifier.key).to_vec();
        bytes.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey({}, secret)", self.verifier)
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
        let id = key_id(&key.name, &key.key);
        let mut signed = false;
        for signature in self.signatures.iter().filter(|s| s.name == key.name && s.key_id == id) {
            let bad = || NoteError::BadSignature(key.name.clone());
            let bytes = Signature::from_slice(&signature.bytes).map_err(|_| bad())?;
            key.key.verify_strict(self.text.as_bytes(), &bytes).map_err(|_| bad())?;
            signed = true;
        }
        if signed { Ok(self.text) } else { Err(NoteError::NotSigned(key.name.clone())) }
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

    /// The specification's example key and note.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const TEXT: &str = "This is an example message.\n";

    #[test]
    fn the_specifications_vkey_reads_and_writes() {
        assert_eq!(VerifierKey::parse(VKEY).unwrap().to_string(), VKEY);
        VerifierKey::parse(&VKEY.replace("530d903a", "530d903b")).unwrap_err();
    }

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

    #[test]
    fn the_private_key_survives_its_text() {
        let signer = SignerKey::from_seed("example.com/log", [5; 32]).unwrap();
        let again = SignerKey::parse(&signer.to_secret_text()).unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        assert!(!format!("{signer:?}").contains("PRIVATE"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in any::<Vec<u8>>()) {
            let _ = Note::parse(&bytes);
        }
    }
}
