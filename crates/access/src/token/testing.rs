//! Tokens for tests: vectors that PyJWT has made (`testdata/make.py`), and tokens with any claims, signed by openssl's keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::{Algorithm, ClaimMapping, GroupGrant, TokenSettings, TokenVerifier};
use crate::role::Role;
use crate::scope::Scope;
use record::Timestamp;

pub(crate) const JWKS: &[u8] = include_bytes!("../../testdata/jwks.json");
const TOKENS: &str = include_str!("../../testdata/tokens.txt");
const RSA: &[u8] = include_bytes!("../../testdata/rsa.pkcs8");
const P256: &[u8] = include_bytes!("../../testdata/p256.pkcs8");
const ED25519: &[u8] = include_bytes!("../../testdata/ed25519.pkcs8");

/// A moment at which the vectors are valid: they begin at 1795478400 and end at 2110838400.
pub(crate) const TOKENS_NOW: u64 = 1_800_000_000;

/// A vector by its name.
#[track_caller]
pub(crate) fn tokens(name: &str) -> &'static str {
    TOKENS.lines().find_map(|line| line.split_once(' ').filter(|(known, _)| *known == name)).unwrap().1
}

pub(crate) fn settings(algorithms: &[Algorithm]) -> TokenSettings {
    let group = |group: &str, role| GroupGrant { group: group.into(), role, scope: Scope::everything() };
    TokenSettings {
        issuer: "https://issuer.example".into(),
        audiences: vec!["other".into(), "testimony".into()],
        algorithms: algorithms.into(),
        mapping: ClaimMapping {
            groups: Some("groups".into()),
            group_grants: vec![group("auditors", Role::Auditor)],
            ..ClaimMapping::default()
        },
    }
}

pub(crate) fn verifier() -> TokenVerifier {
    let verifier = TokenVerifier::with_public_keys(settings(&Algorithm::DEFAULT)).unwrap();
    verifier.replace_keys(JWKS, Timestamp::from_posix_seconds(TOKENS_NOW)).unwrap();
    verifier
}

/// The claims of the vectors.
pub(crate) fn claims() -> Value {
    json!({"iss": "https://issuer.example", "aud": "testimony", "sub": "alice", "exp": TOKENS_NOW + 3_600})
}

/// Signs a header and a payload, as they stand.
pub(crate) fn sign(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let (bytes, random) = (message.as_bytes(), SystemRandom::new());
    let signature = match algorithm {
        Algorithm::Rs256 => {
            let key = RsaKeyPair::from_pkcs8(RSA).unwrap();
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).unwrap();
            signature
        }
        Algorithm::Es256 => {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, P256, &random).unwrap();
            key.sign(&random, bytes).unwrap().as_ref().to_vec()
        }
        Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(ED25519).unwrap().sign(bytes).as_ref().to_vec(),
        other => panic!("no key for {other}"),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
