use super::*;
use crate::{Input, Limits, Point, Policy, input::Time};
use proptest::prelude::*;

fn vectors() -> Map<String, Value> {
    serde_json::from_str(include_str!("../../tests/data/tokens.json")).unwrap()
}

fn vector(name: &str) -> String {
    vectors()[name].as_str().unwrap().to_owned()
}

fn verifies(algorithm: Algorithm, key: &str, token: &str) -> bool {
    let token = Token::parse(vector(token).as_bytes()).unwrap();
    Keys::parse(algorithm, key.as_bytes()).is_ok_and(|keys| keys.verify(&token))
}

#[test]
fn tokens_of_another_program_verify_under_every_form_of_their_key() {
    for key in ["rsa_public", "rsa_pkcs1", "rsa_cert", "keys"] {
        assert!(verifies(Algorithm::Rs256, &vector(key), "rs256"), "{key}");
        assert!(verifies(Algorithm::Rs512, &vector(key), "rs512"), "{key}");
    }
    for key in ["ec_public", "ec_cert", "keys"] {
        assert!(verifies(Algorithm::Es256, &vector(key), "es256"), "{key}");
    }
    for key in ["ec384_public", "ec384_cert"] {
        assert!(verifies(Algorithm::Es384, &vector(key), "es384"), "{key}");
    }
    assert!(verifies(Algorithm::Hs256, "secret", "hs256"));
    assert!(verifies(Algorithm::Hs512, "secret", "hs512"));
    assert!(verifies(Algorithm::Ps256, &vector("ps_public"), "ps256"));
    assert!(verifies(Algorithm::Ps512, &vector("ps_public"), "ps512"));
}

#[test]
fn a_key_of_another_kind_verifies_nothing() {
    assert!(!verifies(Algorithm::Hs256, "other", "hs256"));
    assert!(!verifies(Algorithm::Rs256, &vector("ec_public"), "rs256"));
    assert!(!verifies(Algorithm::Es256, &vector("rsa_public"), "es256"));
    assert!(!verifies(Algorithm::Es256, &vector("ec384_public"), "es256"));
    assert!(!verifies(Algorithm::Rs512, &vector("rsa_public"), "rs256"));
    assert!(!verifies(Algorithm::Rs256, &vector("ps_public"), "ps256"));
    assert!(!verifies(Algorithm::Ps512, &vector("ps_public"), "ps256"));
    assert!(!verifies(Algorithm::Ps256, &vector("rsa_public"), "ps256"));
    assert!(!verifies(Algorithm::Ps256, &vector("rsa_public"), "rs256"));
    // An attacker who knows the public key signs with it as if it were a secret.
    assert!(!verifies(Algorithm::Rs256, &vector("rsa_public"), "confused"));
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256] {
        assert!(!verifies(algorithm, &vector("rsa_public"), "none"));
    }
}

#[test]
fn what_is_no_token_or_key_is_said() {
    for token in ["", "a.b", "a.b.c.d", "e30.e30.=", "e30.W10.AA", "e30.e30.\u{e9}"] {
        assert!(Token::parse(token.as_bytes()).is_err(), "{token}");
    }
    for key in
        ["", "x", "{}", "{\"keys\": 1}", "{\"keys\": []}", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
    {
        assert!(Keys::parse(Algorithm::Rs256, key.as_bytes()).is_err(), "{key}");
    }
}

/// A token of our own under the key `secret`.
fn made(header: &Value, payload: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[test]
fn a_token_within_a_token_is_read() {
    let plain = serde_json::json!({"alg": "HS256"});
    let around = serde_json::json!({"alg": "HS256", "cty": "JWT"});
    let mut token = made(&plain, br#"{"sub": "alice"}"#);
    for depth in 0..=NESTED_MAX {
        assert_eq!(Token::innermost(token.as_bytes()).is_ok(), depth < NESTED_MAX, "{depth}");
        token = made(&around, if depth % 2 == 0 { token } else { format!("\"{token}\"") }.as_bytes());
    }
    let once = made(&around, made(&plain, br#"{"sub": "alice"}"#).as_bytes());
    assert_eq!(Token::innermost(once.as_bytes()).unwrap().payload["sub"], "alice");
    // Whoever verifies is given what was signed, not what is within.
    assert!(Token::parse(once.as_bytes()).is_err());
}

#[test]
fn what_is_encrypted_is_not_taken_for_what_is_signed() {
    let token = made(&serde_json::json!({"alg": "HS256", "enc": "A256GCM"}), br#"{"sub": "alice"}"#);
    assert!(Token::parse(token.as_bytes()).is_err_and(|error| error.contains("encrypted")));
    assert!(Token::innermost(token.as_bytes()).is_err());
}

#[test]
fn times_of_our_days_are_compared_to_the_fraction() {
    let claims = br#"{"sub": "alice", "nbf": 1790000000, "exp": 1800000000.5}"#;
    let token = Value::from(made(&serde_json::json!({"alg": "HS256"}), claims));
    let check = |time: Value, now_ns: i64| {
        let mut constraints = serde_json::json!({"secret": "secret"});
        if !time.is_null() {
            constraints["time"] = time;
        }
        decode_verify_token(&token, &constraints, now_ns).unwrap()
    };
    for (at, valid) in [
        (1_789_999_999_000_000_000_i64, false),
        (1_790_000_000_000_000_000, true),
        (1_795_425_242_123_456_789, true),
        (1_800_000_000_400_000_000, true),
        (1_800_000_000_500_000_000, false),
        (1_900_000_000_000_000_000, false),
    ] {
        assert_eq!(check(Value::Null, at), valid, "now is {at}");
        assert_eq!(check(at.into(), 0), valid, "the constraint is {at}");
    }
    assert!(check(1_790_000_000_000_000_000.25.into(), 0));
}

/// Whether `[valid, header, payload]` is valid under constraints, as a rule sees it; an error when the rule fails.
fn decode_verify(token: &str, constraints: &Value, now_ns: i64) -> Result<bool, String> {
    decode_verify_token(&Value::from(vector(token)), constraints, now_ns)
}

fn decode_verify_token(token: &Value, constraints: &Value, now_ns: i64) -> Result<bool, String> {
    let constraints = constraints.to_string();
    let rules = format!(
        "package testimony.request\nallow if {{ [valid, _, claims] := io.jwt.decode_verify({token},\n{}); valid; claims.sub == \"alice\" }}",
        constraints.replace(",\"", ",\n\"")
    );
    // Certificates and tokens make lines longer than the parser takes, so they come in as data.
    let data = serde_json::json!({"t": token, "c": serde_json::from_str::<Value>(&constraints).unwrap()});
    let rules = if rules.lines().any(|line| line.len() > 1000) {
        "package testimony.request\nallow if { [valid, _, claims] := io.jwt.decode_verify(data.t, data.c); valid; claims.sub == \"alice\" }".to_owned()
    } else {
        rules
    };
    let files = [("a.rego".to_owned(), rules.into_bytes()), ("data.json".to_owned(), data.to_string().into_bytes())];
    let policy = Policy::from_files(&files, &Limits::patient()).unwrap();
    let time = Time { unix_ns: now_ns, ..Time::default() };
    let decision = policy.decide(Point::Request, &Input { time, ..Input::default() });
    decision.error.map_or(Ok(decision.allow), Err)
}

#[test]
fn constraints_hold_or_the_token_is_not_valid() {
    let now = 1_500_000_000_000;
    let check = |token: &str, constraints: &Value, now: i64| decode_verify(token, constraints, now).unwrap();
    let good = serde_json::json!({"secret": "secret", "aud": "testimony", "iss": "issuer.example"});
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        changed
    };
    assert!(check("hs256", &good, now));
    assert!(check("hs256", &with("alg", "HS256".into()), now));
    assert!(check("hs256", &with("time", 1_500_000_000_000_i64.into()), 0));
    assert!(!check("hs256", &good, 2_000_000_000_000), "ended");
    assert!(!check("hs256", &good, 999_000_000_000), "not begun");
    assert!(!check("hs256", &with("time", 2_500_000_000_000_i64.into()), now));
    assert!(!check("hs256", &with("secret", "other".into()), now));
    assert!(!check("hs256", &with("aud", "someone".into()), now));
    assert!(!check("hs256", &with("iss", "someone".into()), now));
    assert!(!check("hs256", &with("alg", "HS512".into()), now));
    assert!(!check("hs256", &serde_json::json!({"secret": "secret"}), now), "an audience that nobody asked for");
    assert!(!check("crit", &good, now));
    assert!(!check("none", &good, now));
    let cert = serde_json::json!({"cert": vector("rsa_cert"), "aud": "other"});
    assert!(check("rs256", &cert, now));
    assert!(!check("confused", &serde_json::json!({"cert": vector("rsa_public"), "aud": "other"}), now));
    assert!(!check("none", &cert, now));
    assert!(!check("hs256", &cert, now));
    decode_verify("hs256", &serde_json::json!({}), now).unwrap_err();
    decode_verify("hs256", &with("cert", vector("rsa_cert").into()), now).unwrap_err();
    decode_verify("hs256", &with("unknown", "x".into()), now).unwrap_err();
}

proptest! {
    #[test]
    fn no_bytes_make_reading_a_key_or_token_panic(bytes in any::<Vec<u8>>(), text in "[-A-Za-z0-9 =+/\\.{}\":\\[\\]]{0,80}") {
        let _ = der::certificate_key(&bytes);
        let _ = der::public_key(&bytes);
        let _ = Token::parse(&bytes);
        let _ = Token::parse(text.as_bytes());
        let _ = Keys::parse(Algorithm::Es256, text.as_bytes());
    }

    #[test]
    fn a_changed_token_does_not_verify(at in 0_usize..300, bit in 0_u8..6) {
        let mut bytes = vector("hs256").into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let keys = Keys::parse(Algorithm::Hs256, b"secret").unwrap();
        let valid = Token::parse(&bytes).is_ok_and(|token| keys.verify(&token));
        prop_assert!(!valid);
    }
}
