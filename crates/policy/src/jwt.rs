//! JSON Web Tokens (RFC 7515, 7519) and the keys that verify them.

mod der;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use ring::{hmac, signature::RsaParameters};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest token that is read, in bytes.
const TOKEN_BYTES_MAX: usize = 1024 * 1024;
/// How many tokens may be within one another.
const NESTED_MAX: usize = 8;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// HMAC with SHA-256: the key is shared.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA PKCS #1 v1.5 with SHA-256, at least 2048 bits.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256, at least 2048 bits.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
}

impl Algorithm {
    /// The algorithm under its name in a token's header. `none` is not one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            ("HS256", Self::Hs256),
            ("HS384", Self::Hs384),
            ("HS512", Self::Hs512),
            ("RS256", Self::Rs256),
            ("RS384", Self::Rs384),
            ("RS512", Self::Rs512),
            ("PS256", Self::Ps256),
            ("PS384", Self::Ps384),
            ("PS512", Self::Ps512),
            ("ES256", Self::Es256),
            ("ES384", Self::Es384),
        ];
        all.into_iter().find_map(|(known, algorithm)| (known == name).then_some(algorithm))
    }

    /// Whether whoever verifies could also sign.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    const fn curve(self) -> Option<(&'static str, &'static dyn VerificationAlgorithm)> {
        match self {
            Self::Es256 => Some(("P-256", &signature::ECDSA_P256_SHA256_FIXED)),
            Self::Es384 => Some(("P-384", &signature::ECDSA_P384_SHA384_FIXED)),
            _ => None,
        }
    }

    const fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            _ => None,
        }
    }

    fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }
}

/// A token taken apart. Nothing is verified by that.
pub(crate) struct Token {
    pub(crate) header: Map<String, Value>,
    pub(crate) payload: Map<String, Value>,
    pub(crate) signature: Vec<u8>,
    signed: Vec<u8>,
}

impl Token {
    /// Takes the compact form apart, or says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        Parts::read(bytes)?.token()
    }

    /// The same, of the innermost when a token is the content of another (RFC 7519, section 5.2).
    pub(crate) fn innermost(bytes: &[u8]) -> Result<Self, String> {
        let mut parts = Parts::read(bytes)?;
        for _ in 0..NESTED_MAX {
            let content = parts.header.get("cty").and_then(Value::as_str);
            if !content.is_some_and(|content| content.eq_ignore_ascii_case("JWT")) {
                return parts.token();
            }
            // Some write it as a JSON string.
            let content = parts.payload.as_slice();
            parts =
                Parts::read(content.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(content))?;
        }
        Err(format!("more than {NESTED_MAX} tokens are within one another"))
    }
}

/// A token of which the content is not read yet.
struct Parts {
    header: Map<String, Value>,
    payload: Vec<u8>,
    signature: Vec<u8>,
    signed: Vec<u8>,
}

impl Parts {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(format!("the token is longer than {TOKEN_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "the token is not UTF-8")?;
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the token does not have three parts".to_owned());
        };
        let decode =
            |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of the token is not base64url".to_owned());
        let signed = text.as_bytes()[..header.len() + 1 + payload.len()].to_vec();
        let header = object(&decode(header)?)?;
        // RFC 7516, section 4.1.2: only what is encrypted says how.
        if header.contains_key("enc") {
            return Err("the token is encrypted (JWE), which is not read".to_owned());
        }
        Ok(Self { header, payload: decode(payload)?, signature: decode(signature)?, signed })
    }

    fn token(self) -> Result<Token, String> {
        let payload = object(&self.payload)?;
        Ok(Token { header: self.header, payload, signature: self.signature, signed: self.signed })
    }
}

fn object(json: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(json).map_err(|_| "a part of the token is not a JSON object".to_owned())
}

enum Key {
    Shared(hmac::Key),
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    /// A key in the form that its algorithm reads.
    Plain(UnparsedPublicKey<Vec<u8>>),
}

/// The keys of which one must have signed.
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a shared secret, a certificate or public key in PEM, or a JSON Web Key or set of them.
    pub(crate) fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, String> {
        if let Some(hmac) = algorithm.hmac() {
            return Ok(Self(vec![Key::Shared(hmac::Key::new(hmac, bytes))]));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "the key is not UTF-8")?.trim();
        let keys = if text.starts_with('{') { web_keys(algorithm, text)? } else { vec![pem_key(algorithm, text)?] };
        if keys.is_empty() { Err("there is no key for the algorithm".to_owned()) } else { Ok(Self(keys)) }
    }

    /// Whether one of them has signed the token.
    pub(crate) fn verify(&self, token: &Token) -> bool {
        self.0.iter().any(|key| match key {
            Key::Shared(key) => hmac::verify(key, &token.signed, &token.signature).is_ok(),
            Key::Rsa(parameters, key) => key.verify(parameters, &token.signed, &token.signature).is_ok(),
            Key::Plain(key) => key.verify(&token.signed, &token.signature).is_ok(),
        })
    }
}

fn pem_key(algorithm: Algorithm, text: &str) -> Result<Key, String> {
    let wrong = "the key is not a certificate or public key in PEM that fits the algorithm";
    let body = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")).ok_or(wrong)?;
    let (label, rest) = body;
    let encoded: String = rest.split("-----END ").next().unwrap_or_default().split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| wrong)?;
    let (rsa, key) = match label {
        "CERTIFICATE" => der::certificate_key(&bytes).ok_or(wrong)?,
        "PUBLIC KEY" => der::public_key(&bytes).ok_or(wrong)?,
        "RSA PUBLIC KEY" => (true, bytes),
        _ => return Err(wrong.to_owned()),
    };
    match (rsa, algorithm.rsa(), algorithm.curve()) {
        (true, Some(parameters), _) => Ok(Key::Plain(UnparsedPublicKey::new(parameters, key))),
        (false, _, Some((_, curve))) => Ok(Key::Plain(UnparsedPublicKey::new(curve, key))),
        _ => Err(wrong.to_owned()),
    }
}

/// The keys of a set that fit the algorithm; others are passed over, as RFC 7517 says.
fn web_keys(algorithm: Algorithm, text: &str) -> Result<Vec<Key>, String> {
    let json: Value = serde_json::from_str(text).map_err(|_| "the key is not a JSON Web Key")?;
    let keys = match json.get("keys") {
        Some(Value::Array(keys)) => keys.clone(),
        Some(_) => return Err("the key set has no list of keys".to_owned()),
        None => vec![json],
    };
    Ok(keys.iter().filter_map(|key| web_key(algorithm, key)).collect())
}

fn web_key(algorithm: Algorithm, key: &Value) -> Option<Key> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    match text("kty")? {
        "RSA" => Some(Key::Rsa(algorithm.rsa()?, RsaPublicKeyComponents { n: bytes("n")?, e: bytes("e")? })),
        "EC" => {
            let (name, curve) = algorithm.curve().filter(|(name, _)| text("crv") == Some(*name))?;
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            // An uncompressed point; a coordinate may not be shortened.
            let length = if name == "P-256" { 65 } else { 97 };
            (point.len() == length).then(|| Key::Plain(UnparsedPublicKey::new(curve, point)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
