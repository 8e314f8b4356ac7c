//! The public keys of an issuer (RFC 7517), each with what it can verify.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::{TokenError, unique};

/// The largest key set that is read.
const SET_BYTES_MAX: usize = 256 << 10;
/// The most keys of a set that are looked at.
const KEYS_MAX: usize = 64;
/// RSA moduli, as ring takes them: 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1). There is no `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256: a secret that both sides have.
    Hs256,
}

const NAMES: [(Algorithm, &str); 10] = [
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::EdDsa, "EdDSA"),
    (Algorithm::Hs256, "HS256"),
];

/// Bytes that are no key set, or none that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Too large.
    #[error("the key set has {0} bytes, more than the {SET_BYTES_MAX} that are read")]
    TooLarge(usize),
    /// Not a JWK set.
    #[error("the key set is not JSON with a list of keys")]
    Malformed,
    /// Two keys of one name: which one has signed could not be told.
    #[error("two keys of the set have the identifier {0:?}")]
    Repeated(String),
    /// Nothing in it can verify a signature.
    #[error("the key set has no key that could be used")]
    NoneUsable,
}

/// Keys that can be used.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

/// One key. It decides with which algorithms it is used; a token only chooses among those.
pub(super) struct Key {
    id: Option<String>,
    /// The one algorithm that its issuer has it for, if said.
    only: Option<Algorithm>,
    public: Public,
}

enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys of a kind that is not known, or too short, are passed over (RFC 7517 §5).
    pub(super) fn parse(jwks: &[u8]) -> Result<Self, KeySetError> {
        if jwks.len() > SET_BYTES_MAX {
            return Err(KeySetError::TooLarge(jwks.len()));
        }
        let mut set = unique::object(jwks).map_err(|_| KeySetError::Malformed)?;
        let Some(Value::Array(keys)) = set.remove("keys") else { return Err(KeySetError::Malformed) };
        let keys = keys.into_iter().take(KEYS_MAX).filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok());
        let keys: Vec<Key> = keys.filter_map(Key::from_jwk).collect();
        for (at, key) in keys.iter().enumerate() {
            if let Some(id) = &key.id
                && keys.iter().take(at).any(|before| before.id.as_ref() == Some(id))
            {
                return Err(KeySetError::Repeated(id.chars().take(64).collect()));
            }
        }
        if keys.is_empty() { Err(KeySetError::NoneUsable) } else { Ok(Self(keys)) }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of that name; without a name, the only one that it can be.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, TokenError> {
        let Some(id) = id else {
            let mut able = self.0.iter().filter(|key| key.can(algorithm));
            return match (able.next(), able.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(TokenError::NoKeyId),
            };
        };
        let key = self.0.iter().find(|key| key.id.as_deref() == Some(id));
        let key = key.ok_or_else(|| TokenError::UnknownKey(id.to_owned()))?;
        if key.can(algorithm) { Ok(key) } else { Err(TokenError::Algorithm(algorithm.to_string())) }
    }
}

impl Key {
    fn from_jwk(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !is_for_signatures {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?.trim_end_matches('=')).ok();
        let point = |length: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            // Uncompressed (SEC 1 §2.3.3); ring checks that it is on the curve.
            (x.len() == length && y.len() == length).then(|| [vec![4], x, y].concat())
        };
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let n: Vec<u8> = bytes(&jwk.n)?.into_iter().skip_while(|byte| *byte == 0).collect();
                let components = RsaPublicKeyComponents { n, e: bytes(&jwk.e)? };
                MODULUS_BYTES.contains(&components.n.len()).then_some(Public::Rsa(components))?
            }
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes(&jwk.x).filter(|x| x.len() == 32)?),
            // Also `oct`: a secret that is published is none.
            _ => return None,
        };
        let only = match jwk.alg {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        let key = Self { id: jwk.kid, only, public };
        // A key that is said to be for what it cannot do is for nothing.
        key.only.is_none_or(|only| key.can(only)).then_some(key)
    }

    fn can(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let is_of_kind = match self.public {
            Public::Rsa(_) => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Public::P256(_) => algorithm == Es256,
            Public::P384(_) => algorithm == Es384,
            Public::Ed25519(_) => algorithm == EdDsa,
        };
        is_of_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether a signature is right. False for an algorithm that is not this key's.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let plain = |with: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(with, key).verify(message, signature).is_ok()
        };
        if !self.can(algorithm) {
            return false;
        }
        match &self.public {
            Public::Rsa(key) => {
                let with = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa | Algorithm::Hs256 => return false,
                };
                key.verify(with, message, signature).is_ok()
            }
            Public::P256(key) => plain(&ECDSA_P256_SHA256_FIXED, key),
            Public::P384(key) => plain(&ECDSA_P384_SHA384_FIXED, key),
            Public::Ed25519(key) => plain(&ED25519, key),
        }
    }
}

impl Algorithm {
    /// What is taken when nothing is said: what providers use, and what has no parameters to get wrong.
    pub const DEFAULT: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(algorithm, _)| algorithm == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Algorithm {
    type Err = TokenError;

    /// Exactly as written there (RFC 7515 §4.1.1: names are case-sensitive), and `Ed25519` of RFC 9864 for EdDSA.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let named = NAMES.iter().find(|(_, name)| *name == text).map(|(algorithm, _)| *algorithm);
        let named = named.or_else(|| (text == "Ed25519").then_some(Self::EdDsa));
        named.ok_or_else(|| TokenError::Algorithm(text.chars().take(64).collect()))
    }
}
