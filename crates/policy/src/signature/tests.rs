use super::*;
use crate::bundle::tests::bundle;
use crate::{Limits, LoadError, Policy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

const RULES: &[u8] = b"package testimony.request\nallow := true";
const DATA: &[u8] = b"{ \"b\": [1.50, {\"z\": null, \"a\": \"<\\u00e9\\u2028\\n>\"}],\n \"a\": 1e3 }";
const CANONICAL: &str = "{\"a\":1e3,\"b\":[1.50,{\"a\":\"<é\\u2028\\n>\",\"z\":null}]}";

fn key() -> VerificationKey {
    VerificationKey { id: None, algorithm: Algorithm::Hs256, key: b"secret".to_vec(), scope: String::new() }
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn claims(scope: &str) -> serde_json::Value {
    let file = |name: &str, hash: String| serde_json::json!({"name": name, "hash": hash, "algorithm": "SHA-256"});
    let files = [file("request.rego", sha256(RULES)), file("data.json", sha256(CANONICAL.as_bytes()))];
    serde_json::json!({"files": files, "scope": scope})
}

fn token(algorithm: &str, claims: &serde_json::Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let header = serde_json::json!({"alg": algorithm, "kid": "k"}).to_string();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn shared(claims: &serde_json::Value) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
    token("HS256", claims, |signed| ring::hmac::sign(&key, signed).as_ref().to_vec())
}

fn load(tokens: &[String], files: &[(&str, &[u8])], key: &VerificationKey) -> Result<Policy, LoadError> {
    let signatures = serde_json::json!({"signatures": tokens}).to_string();
    let files: Vec<(&str, &[u8])> =
        files.iter().copied().chain([(".signatures.json", signatures.as_bytes())]).collect();
    Policy::from_bundle(&bundle(&files), Some(key), &Limits::patient())
}

fn refusal(tokens: &[String], files: &[(&str, &[u8])], key: &VerificationKey) -> SignatureError {
    match load(tokens, files, key) {
        Err(LoadError::Signature(error)) => error,
        other => panic!("{other:?}"),
    }
}

const FILES: [(&str, &[u8]); 2] = [("/request.rego", RULES), ("/data.json", DATA)];

#[test]
fn a_document_is_hashed_as_its_value_with_numbers_as_written() {
    let mut out = Vec::new();
    write_canonical(DATA, 0, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), CANONICAL);
}

#[test]
fn a_bundle_signed_with_the_key_is_loaded() {
    let signed = load(&[shared(&claims(""))], &FILES, &key()).unwrap();
    let plain = Policy::from_bundle(&bundle(&FILES), None, &Limits::patient()).unwrap();
    assert_eq!(signed.digest(), plain.digest());
    let named = VerificationKey { id: Some("k".to_owned()), ..key() };
    load(&[shared(&claims(""))], &FILES, &named).unwrap();
}

#[test]
fn a_bundle_signed_on_a_curve_is_loaded() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let signed = token("ES256", &claims(""), |signed| pair.sign(&random, signed).unwrap().as_ref().to_vec());
    let point = pair.public_key().as_ref();
    let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let web = serde_json::json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)});
    let key = VerificationKey { algorithm: Algorithm::Es256, key: web.to_string().into_bytes(), ..key() };
    load(&[signed], &FILES, &key).unwrap();
    assert!(matches!(refusal(&[shared(&claims(""))], &FILES, &key), SignatureError::Invalid));
}

#[test]
fn whatever_was_not_signed_is_refused() {
    let good = || vec![shared(&claims(""))];
    let unsigned = Policy::from_bundle(&bundle(&FILES), Some(&key()), &Limits::patient()).unwrap_err();
    assert_eq!(unsigned.to_string(), "the bundle is not signed");
    let other: &[u8] = b"package testimony.request\nallow := false";
    assert!(matches!(refusal(&good(), &[("request.rego", other), FILES[1]], &key()), SignatureError::File(_)));
    assert!(matches!(refusal(&good(), &[FILES[0], ("data.json", b"{}")], &key()), SignatureError::File(_)));
    assert!(matches!(refusal(&good(), &[FILES[0], FILES[1], ("b.rego", RULES)], &key()), SignatureError::Unsigned(_)));
    assert!(matches!(refusal(&good(), &FILES[..1], &key()), SignatureError::Absent(_)));
    assert!(matches!(refusal(&[], &FILES, &key()), SignatureError::Malformed(_)));
    assert!(matches!(refusal(&[good(), good()].concat(), &FILES, &key()), SignatureError::Malformed(_)));
    let wrong = VerificationKey { key: b"other".to_vec(), ..key() };
    assert!(matches!(refusal(&good(), &FILES, &wrong), SignatureError::Invalid));
    let named = VerificationKey { id: Some("other".to_owned()), ..key() };
    assert!(matches!(refusal(&good(), &FILES, &named), SignatureError::Invalid));
    let scoped = VerificationKey { scope: "write".to_owned(), ..key() };
    assert!(matches!(refusal(&good(), &FILES, &scoped), SignatureError::Scope(_)));
    assert!(matches!(refusal(&[shared(&claims("write"))], &FILES, &key()), SignatureError::Scope(_)));
    load(&[shared(&claims("write"))], &FILES, &scoped).unwrap();
    let none = token("none", &claims(""), |_| Vec::new());
    assert!(matches!(refusal(&[none], &FILES, &key()), SignatureError::Invalid));
}

#[test]
fn too_deep_a_document_is_refused() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    assert!(write_canonical(deep.as_bytes(), 0, &mut Vec::new()).is_none());
}
