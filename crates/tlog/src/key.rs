//! Keys as text (C2SP signed-note v1.0.0): vkeys and private keys, for each type of signature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::note::NoteError;

/// Signature type 0x01: plain Ed25519 over the note's text.
pub(crate) const ED25519: u8 = 0x01;
/// Signature type 0x04: Ed25519 over the note's text and a time (C2SP tlog-cosignature v1.0.1).
pub(crate) const COSIGNATURE: u8 = 0x04;

/// The public key of a log: it has signed a checkpoint.
pub type VerifierKey = PublicKey<ED25519>;
/// The private key of a log.
pub type SignerKey = SecretKey<ED25519>;
/// The public key of a witness: it has seen a checkpoint.
pub type WitnessKey = PublicKey<COSIGNATURE>;
/// The private key of a witness.
pub type CosignerKey = SecretKey<COSIGNATURE>;

/// A public key for one type of signature: `<name>+<8 hex key id>+base64(type || public key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey<const TYPE: u8> {
    name: String,
    key: VerifyingKey,
}

/// A private key: `PRIVATE+KEY+<name>+<8 hex key id>+base64(type || seed)`, as Go's `note` package writes it.
#[derive(Clone)]
pub struct SecretKey<const TYPE: u8> {
    public: PublicKey<TYPE>,
    key: SigningKey,
}

/// Whether a key may have this name: not empty, no Unicode space, no `+`.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

/// Splits `<name>+<8 hex>+<base64>` into name, hex and the 32 bytes after the type.
fn split(text: &str, kind: u8) -> Result<(&str, &str, [u8; 32]), NoteError> {
    let (name, rest) = text.split_once('+').ok_or(NoteError::Key("there is no '+' after its name"))?;
    let (id, encoded) = rest.split_once('+').ok_or(NoteError::Key("there is no '+' after its id"))?;
    if !is_key_name(name) {
        return Err(NoteError::Key("its name is empty or has a space"));
    }
    let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Key("it is not base64"))?;
    match bytes.split_first() {
        Some((found, key)) if *found == kind => {
            let key = key.try_into().map_err(|_| NoteError::Key("it does not have 32 bytes"))?;
            Ok((name, id, key))
        }
        Some((&ED25519, _)) => Err(NoteError::Key("it is a log's key (type 1), not a witness's (type 4)")),
        Some((&COSIGNATURE, _)) => Err(NoteError::Key("it is a witness's key (type 4), not a log's (type 1)")),
        _ if kind == ED25519 => Err(NoteError::Key("it is not an Ed25519 key (type 1)")),
        _ => Err(NoteError::Key("it is not the key of an Ed25519 witness (type 4)")),
    }
}

impl<const TYPE: u8> PublicKey<TYPE> {
    /// Reads a vkey.
    ///
    /// # Errors
    /// When it is not one, or its id is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, bytes) = split(text.trim(), TYPE)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NoteError::Key("it is not a point on the curve"))?;
        let parsed = Self { name: name.to_owned(), key };
        if parsed.hex_id() == id {
            Ok(parsed)
        } else {
            Err(NoteError::Key("its id is not that of its name and key: was it copied whole?"))
        }
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The 32 bytes of the key itself. Two keys that share them are the same, whatever they are called.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// `SHA-256(name || 0x0A || type || public key)[:4]`.
    pub(crate) fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', TYPE]).chain_update(self.key.as_bytes());
        let mut id = [0; 4];
        id.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        id
    }

    fn hex_id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id()))
    }

    pub(crate) const fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [[TYPE].as_slice(), self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, self.hex_id(), STANDARD.encode(bytes))
    }
}

impl<const TYPE: u8> fmt::Debug for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const TYPE: u8> SecretKey<TYPE> {
    /// A key from 32 secret random bytes.
    ///
    /// # Errors
    /// When the name is not fit for a key.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::Key("its name is empty or has a space or '+'"));
        }
        let key = SigningKey::from_bytes(&seed);
        let public = PublicKey { name: name.to_owned(), key: key.verifying_key() };
        Ok(Self { public, key })
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// When it is not one, or its id is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest =
            text.trim().strip_prefix("PRIVATE+KEY+").ok_or(NoteError::Key("it does not begin with PRIVATE+KEY+"))?;
        let (name, id, seed) = split(rest, TYPE)?;
        let secret = Self::from_seed(name, seed)?;
        if secret.public.hex_id() == id {
            Ok(secret)
        } else {
            Err(NoteError::Key("its id is not that of its name and key: the file is damaged"))
        }
    }

    /// The private key as text. It is a secret.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        let bytes = [[TYPE].as_slice(), self.key.as_bytes()].concat();
        format!("PRIVATE+KEY+{}+{}+{}", self.public.name, self.public.hex_id(), STANDARD.encode(bytes))
    }

    /// The 32 secret bytes that the key is made of.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &PublicKey<TYPE> {
        &self.public
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The line under a note that holds this key's signature.
    pub(crate) fn line(&self, signature: &[u8]) -> String {
        let bytes = [self.public.id().as_slice(), signature].concat();
        format!("\u{2014} {} {}\n", self.public.name, STANDARD.encode(bytes))
    }
}

impl<const TYPE: u8> fmt::Debug for SecretKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, secret)", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's example key.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn the_specifications_vkey_reads_and_writes() {
        assert_eq!(VerifierKey::parse(VKEY).unwrap().to_string(), VKEY);
        VerifierKey::parse(&VKEY.replace("530d903a", "530d903b")).unwrap_err();
        WitnessKey::parse(VKEY).unwrap_err();
    }

    #[test]
    fn the_private_key_survives_its_text() {
        let signer = SignerKey::from_seed("example.com/log", [5; 32]).unwrap();
        let again = SignerKey::parse(&signer.to_secret_text()).unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        assert!(!format!("{signer:?}").contains("PRIVATE"));
        let cosigner = CosignerKey::from_seed("example.com/log", [5; 32]).unwrap();
        assert_eq!(CosignerKey::parse(&cosigner.to_secret_text()).unwrap().verifier(), cosigner.verifier());
        assert_ne!(cosigner.verifier().to_string(), signer.verifier().to_string());
    }
}
