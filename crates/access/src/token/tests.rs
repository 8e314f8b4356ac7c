use super::testing::{JWKS, TOKENS_NOW, claims, settings, sign, tokens, verifier};
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::json;

const ES256: &str = r#"{"alg":"ES256","kid":"p256-1"}"#;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_posix_seconds(TOKENS_NOW + seconds)
}

fn verify(token: &str) -> Result<String, TokenError> {
    verifier().verify(token, at(0)).map(|identity| identity.id.clone())
}

/// The result for the usual claims with some changed (or removed, when null), signed with ES256.
fn with(changes: Value) -> Result<String, TokenError> {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    verify(&sign(Algorithm::Es256, ES256, &all.to_string()))
}

fn with_header(header: &str) -> Result<String, TokenError> {
    verify(&sign(Algorithm::Es256, header, &claims().to_string()))
}

fn malformed(result: &Result<String, TokenError>) -> bool {
    matches!(result, Err(TokenError::Malformed(_)))
}

#[test]
fn what_another_library_has_signed_is_verified() {
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256, Rs512};
    let verifier = TokenVerifier::with_public_keys(settings(&[Rs256, Rs512, Ps256, Es256, Es384, EdDsa])).unwrap();
    assert_eq!(verifier.replace_keys(JWKS, at(0)), Ok(4));
    for name in ["rs256", "rs512", "ps256", "es256", "es384", "eddsa"] {
        let identity = verifier.verify(tokens(name), at(0)).unwrap();
        assert_eq!(
            (identity.id.as_str(), identity.groups.as_slice()),
            ("alice", ["support".into(), "auditors".into()].as_slice())
        );
        assert_eq!(identity.grants.len(), 1, "{name}");
        // The clocks may be a minute apart.
        assert_eq!(identity.expires_at, Some(Timestamp::parse("2036-11-21T00:01:00Z").unwrap()));
    }
}

#[test]
fn what_openssl_keys_sign_here_is_verified() {
    for (algorithm, header) in [
        (Algorithm::Rs256, r#"{"alg":"RS256","kid":"rsa-1","typ":"JWT"}"#),
        (Algorithm::Es256, r#"{"typ":"application/at+jwt","alg":"ES256","kid":"p256-1"}"#),
        (Algorithm::EdDsa, r#"{"alg":"EdDSA","kid":"ed25519-1"}"#),
        (Algorithm::EdDsa, r#"{"alg":"Ed25519","kid":"ed25519-1"}"#),
    ] {
        // The last is the name of RFC 9864, which a key that is said to be for EdDSA takes too.
        assert_eq!(verify(&sign(algorithm, header, &claims().to_string())), Ok("alice".into()), "{header}");
    }
}

#[test]
fn an_algorithm_that_is_not_configured_is_refused_though_the_signature_is_right() {
    for (token, name) in [("rs512", "RS512"), ("ps256", "PS256"), ("es384", "ES384"), ("hs256", "HS256")] {
        assert_eq!(verify(tokens(token)), Err(TokenError::Algorithm(name.into())));
    }
}

#[test]
fn none_is_no_algorithm_in_any_writing() {
    for name in ["none", "none-with-kid"] {
        assert_eq!(verify(tokens(name)), Err(TokenError::Algorithm("none".into())));
    }
    for name in ["None", "NONE", "nOnE", "", "es256", "ES256 "] {
        let header = json!({"alg": name, "kid": "p256-1"}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::Algorithm(name.into())));
    }
    assert!(malformed(&with_header(r#"{"kid":"p256-1"}"#)));
    assert!(malformed(&with_header(r#"{"alg":null,"kid":"p256-1"}"#)));
}

#[test]
fn a_public_key_is_never_a_secret() {
    // Signed with HMAC, the RSA public key's PEM file as the secret.
    assert_eq!(verify(tokens("confused")), Err(TokenError::Algorithm("HS256".into())));
    let Err(error) = TokenVerifier::with_public_keys(settings(&[Algorithm::Rs256, Algorithm::Hs256])) else { panic!() };
    assert_eq!(error, SettingsError::Algorithm(Algorithm::Hs256, "public keys"));
    let Err(error) = TokenVerifier::with_secret(settings(&Algorithm::DEFAULT), &[1; 32]) else { panic!() };
    assert_eq!(error, SettingsError::Algorithm(Algorithm::Rs256, "a shared secret"));
    // A key set with a secret in it has none that could be used.
    let jwks = json!({"keys": [{"kty": "oct", "kid": "rsa-1", "alg": "HS256", "k": "AAAA"}]}).to_string();
    assert_eq!(verifier().replace_keys(jwks.as_bytes(), at(0)), Err(KeySetError::NoneUsable));
}

#[test]
fn a_shared_secret_verifies_hs256_and_only_that() {
    let verifier =
        TokenVerifier::with_secret(settings(&[Algorithm::Hs256]), b"0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(verifier.verify(tokens("hs256"), at(0)).unwrap().id, "alice");
    assert_eq!(verifier.verify(tokens("confused"), at(0)), Err(TokenError::Signature));
    assert_eq!(verifier.verify(tokens("rs256"), at(0)), Err(TokenError::Algorithm("RS256".into())));
    assert_eq!(verifier.verify(tokens("none"), at(0)), Err(TokenError::Algorithm("none".into())));
    assert_eq!(verifier.replace_keys(JWKS, at(0)), Ok(0));
    assert!(!verifier.needs_keys(at(0)));
    let short = TokenVerifier::with_secret(settings(&[Algorithm::Hs256]), b"secret");
    assert_eq!(short.err(), Some(SettingsError::Secret(6)));
}

#[test]
fn a_key_verifies_only_what_it_is_for() {
    let signed = |algorithm, header: &str| verify(&sign(algorithm, header, &claims().to_string()));
    // The algorithm of one key with the name of another.
    assert_eq!(
        signed(Algorithm::Es256, r#"{"alg":"ES256","kid":"rsa-1"}"#),
        Err(TokenError::Algorithm("ES256".into()))
    );
    assert_eq!(
        signed(Algorithm::Rs256, r#"{"alg":"RS256","kid":"p256-1"}"#),
        Err(TokenError::Algorithm("RS256".into()))
    );
    assert_eq!(signed(Algorithm::Rs256, r#"{"alg":"EdDSA","kid":"ed25519-1"}"#), Err(TokenError::Signature));
    // The set says that the RSA key is for PS256.
    let mut set: Value = serde_json::from_slice(JWKS).unwrap();
    set["keys"][0]["alg"] = "PS256".into();
    let verifier = TokenVerifier::with_public_keys(settings(&[Algorithm::Rs256, Algorithm::Ps256])).unwrap();
    verifier.replace_keys(set.to_string().as_bytes(), at(0)).unwrap();
    assert_eq!(verifier.verify(tokens("rs256"), at(0)), Err(TokenError::Algorithm("RS256".into())));
    verifier.verify(tokens("ps256"), at(0)).unwrap();
}

#[test]
fn a_missing_key_name_is_refused_unless_there_is_one_key() {
    let token = sign(Algorithm::Es256, r#"{"alg":"ES256"}"#, &claims().to_string());
    assert_eq!(verify(&token), Ok("alice".into()));
    let mut set: Value = serde_json::from_slice(JWKS).unwrap();
    let mut second = set["keys"][1].clone();
    second["kid"] = "p256-2".into();
    set["keys"].as_array_mut().unwrap().push(second);
    let verifier = verifier();
    verifier.replace_keys(set.to_string().as_bytes(), at(0)).unwrap();
    assert_eq!(verifier.verify(&token, at(0)), Err(TokenError::NoKeyId));
    set["keys"][4]["kid"] = "p256-2".into();
    set["keys"][5]["kid"] = "p256-1".into();
    let repeated = verifier.replace_keys(set.to_string().as_bytes(), at(0));
    assert_eq!(repeated, Err(KeySetError::Repeated("p256-1".into())));
}

#[test]
fn an_unknown_key_has_the_keys_fetched_once_a_minute_at_most() {
    let verifier = TokenVerifier::with_public_keys(settings(&Algorithm::DEFAULT)).unwrap();
    assert_eq!(verifier.verify(tokens("es256"), at(0)), Err(TokenError::UnknownKey("p256-1".into())));
    assert!(verifier.needs_keys(at(0)));
    assert!(!verifier.needs_keys(at(1)), "somebody is fetching them");
    verifier.replace_keys(JWKS, at(1)).unwrap();
    verifier.verify(tokens("es256"), at(1)).unwrap();
    assert!(!verifier.needs_keys(at(600)));
    let strange = sign(Algorithm::Es256, r#"{"alg":"ES256","kid":"x"}"#, &claims().to_string());
    assert_eq!(verifier.verify(&strange, at(600)), Err(TokenError::UnknownKey("x".into())));
    assert!(verifier.needs_keys(at(600)));
    verifier.verify(&strange, at(659)).unwrap_err();
    assert!(!verifier.needs_keys(at(659)));
    assert!(verifier.needs_keys(at(660)));
    verifier.replace_keys(JWKS, at(661)).unwrap();
    assert!(!verifier.needs_keys(at(661 + 3_599)));
    assert!(verifier.needs_keys(at(661 + 3_600)));
}

#[test]
fn a_key_that_is_withdrawn_takes_its_tokens_with_it() {
    let verifier = verifier();
    verifier.verify(tokens("es256"), at(0)).unwrap();
    let mut set: Value = serde_json::from_slice(JWKS).unwrap();
    set["keys"].as_array_mut().unwrap().remove(1);
    verifier.replace_keys(set.to_string().as_bytes(), at(1)).unwrap();
    assert_eq!(verifier.verify(tokens("es256"), at(1)), Err(TokenError::UnknownKey("p256-1".into())));
}

#[test]
fn a_key_set_that_cannot_be_used_leaves_the_old_one() {
    let verifier = verifier();
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[7]}"#] {
        verifier.replace_keys(bad.as_bytes(), at(0)).unwrap_err();
    }
    let large = vec![b' '; (256 << 10) + 1];
    assert_eq!(verifier.replace_keys(&large, at(0)), Err(KeySetError::TooLarge(large.len())));
    verifier.verify(tokens("es256"), at(0)).unwrap();
}

#[test]
fn keys_that_are_too_short_or_for_something_else_are_passed_over() {
    // 1,024 bits.
    assert_eq!(verify(tokens("short")), Err(TokenError::UnknownKey("short-1".into())));
    let set: Value = serde_json::from_slice(JWKS).unwrap();
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES384")),
        ("crv", json!("P-521")),
        ("x", json!("AAAA")),
    ] {
        let mut key = set["keys"][1].clone();
        key[name] = value;
        let alone = json!({ "keys": [key] }).to_string();
        assert_eq!(verifier().replace_keys(alone.as_bytes(), at(0)), Err(KeySetError::NoneUsable), "{name}");
    }
}

#[test]
fn where_a_header_says_that_keys_are_is_not_read() {
    let set: Value = serde_json::from_slice(JWKS).unwrap();
    let header = |kid: &str| {
        json!({"alg": "ES256", "kid": kid, "jku": "http://evil.example/", "x5u": "http://evil.example/",
            "jwk": set["keys"][1], "x5c": ["AAAA"]})
    };
    assert_eq!(with_header(&header("p256-1").to_string()), Ok("alice".into()));
    assert_eq!(with_header(&header("mine").to_string()), Err(TokenError::UnknownKey("mine".into())));
}

#[test]
fn critical_parameters_and_other_types_are_refused() {
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!(null)] {
        let header = json!({"alg": "ES256", "kid": "p256-1", "crit": crit, "b64": false}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::Critical));
    }
    for typ in ["logout+jwt", "dpop+jwt", "JOSE", "application/x/jwt", ""] {
        let header = json!({"alg": "ES256", "kid": "p256-1", "typ": typ}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::Type(typ.into())));
    }
    assert!(malformed(&with_header(r#"{"alg":"ES256","kid":7}"#)));
    let long = json!({"alg": "ES256", "kid": "k".repeat(257)}).to_string();
    assert!(malformed(&with_header(&long)));
}

#[test]
fn a_token_is_good_from_its_beginning_to_its_end_and_a_minute_around() {
    assert_eq!(with(json!({"exp": TOKENS_NOW - 59})), Ok("alice".into()));
    assert_eq!(with(json!({"exp": TOKENS_NOW - 60})), Err(TokenError::Expired));
    assert_eq!(with(json!({"exp": 0})), Err(TokenError::Expired));
    assert_eq!(with(json!({"exp": null})), Err(TokenError::Claim("exp".into())));
    for begins in ["nbf", "iat"] {
        assert_eq!(with(json!({begins: TOKENS_NOW + 60})), Ok("alice".into()));
        assert_eq!(with(json!({begins: TOKENS_NOW + 61})), Err(TokenError::NotYetValid));
    }
    // Seconds may have a fraction, and are numbers.
    assert_eq!(with(json!({"exp": 1_800_000_001.5})), Ok("alice".into()));
    for exp in [json!("1800003600"), json!(-1), json!(-1.5), json!(1e300), json!([1_800_003_600_u64]), json!(true)] {
        assert!(matches!(with(json!({"exp": exp})), Err(TokenError::Claim(_))), "{exp}");
    }
    assert_eq!(with(json!({"exp": u64::MAX})), Ok("alice".into()));
}

#[test]
fn a_token_for_somebody_else_is_refused() {
    assert_eq!(with(json!({"aud": "Testimony"})), Err(TokenError::Audience));
    assert_eq!(with(json!({"aud": null})), Err(TokenError::Audience));
    assert_eq!(with(json!({"aud": []})), Err(TokenError::Audience));
    assert_eq!(with(json!({"aud": ["x", "testimony"]})), Ok("alice".into()));
    assert_eq!(with(json!({"aud": {"testimony": 1}})), Err(TokenError::Audience));
    assert_eq!(with(json!({"iss": "https://issuer.example/"})), Err(TokenError::Issuer));
    assert_eq!(with(json!({"iss": null})), Err(TokenError::Issuer));
    assert_eq!(with(json!({"sub": null})), Err(TokenError::Claim("sub".into())));
}

#[test]
fn repeated_names_are_refused_wherever_they_stand() {
    let twice = claims().to_string().replacen("\"sub\":\"alice\"", "\"sub\":\"alice\",\"sub\":\"root\"", 1);
    assert!(malformed(&verify(&sign(Algorithm::Es256, ES256, &twice))));
    let nested = claims().to_string().replacen("\"sub\"", "\"x\":{\"a\":1,\"a\":1},\"sub\"", 1);
    assert!(malformed(&verify(&sign(Algorithm::Es256, ES256, &nested))));
    assert!(malformed(&with_header(r#"{"alg":"none","kid":"p256-1","alg":"ES256"}"#)));
}

#[test]
fn what_is_not_exactly_three_parts_of_base64url_is_refused() {
    let token = tokens("es256");
    let parts: Vec<&str> = token.split('.').collect();
    for bad in [
        String::new(),
        "..".to_owned(),
        parts[..2].join("."),
        format!("{token}."),
        format!("{token}.AAAA.AAAA"),
        format!("{token}="),
        format!("{token}\n"),
        format!(" {token}"),
        token.replace('.', ". "),
        format!("{}+.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.é", parts[0], parts[1]),
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode("[]"), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode("\"x\""), parts[2]),
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(b"{\"sub\":\"\xff\"}"), parts[2]),
    ] {
        assert!(malformed(&verify(&bad)), "{bad:?}");
    }
    // 64 bytes leave four bits to spare in the last character: with others it would be another text for the same signature.
    let last = token.len() - 1;
    let others = ['A', 'Q', 'g', 'w'].map(|c| format!("{}{c}", &token[..last]));
    for other in others.iter().filter(|other| *other != token) {
        assert_eq!(verify(other), Err(TokenError::Signature));
    }
    assert!(malformed(&verify(&format!("{}B", &token[..last]))));
}

#[test]
fn a_large_token_is_not_read() {
    let token = sign(Algorithm::Es256, ES256, &json!({"x": "y".repeat(TOKEN_BYTES_MAX)}).to_string());
    assert_eq!(verify(&token), Err(TokenError::TooLarge(token.len())));
}

#[test]
fn a_token_that_is_remembered_still_ends() {
    let verifier = verifier();
    let token = sign(Algorithm::Es256, ES256, &claims().to_string());
    verifier.verify(&token, at(0)).unwrap();
    assert!(verifier.remembered(&token, at(3_659)).unwrap().is_ok());
    assert_eq!(verifier.verify(&token, at(3_660)), Err(TokenError::Expired));
    // ECDSA's signatures are random, so `A` may be what is there.
    let other = if token.ends_with('A') { "Q" } else { "A" };
    let forged = format!("{}{other}", &token[..token.len() - 1]);
    assert!(verifier.remembered(&forged, at(0)).is_none());
}

#[test]
fn many_tokens_take_bounded_memory() {
    let verifier = TokenVerifier::with_public_keys(settings(&Algorithm::DEFAULT)).unwrap();
    verifier.replace_keys(JWKS, at(0)).unwrap();
    for number in 0..REMEMBERED_MAX + 10 {
        let header = r#"{"alg":"EdDSA","kid":"ed25519-1"}"#;
        let mut all = claims();
        all["jti"] = number.into();
        verifier.verify(&sign(Algorithm::EdDsa, header, &all.to_string()), at(0)).unwrap();
    }
    assert_eq!(verifier.remembered.lock().unwrap().len(), REMEMBERED_MAX);
}

#[test]
fn settings_that_would_let_everybody_in_are_refused() {
    for change in [
        |settings: &mut TokenSettings| settings.issuer.clear(),
        |settings: &mut TokenSettings| settings.audiences.clear(),
        |settings: &mut TokenSettings| settings.audiences.push(String::new()),
        |settings: &mut TokenSettings| settings.algorithms.clear(),
    ] {
        let mut changed = settings(&Algorithm::DEFAULT);
        change(&mut changed);
        assert_eq!(TokenVerifier::with_public_keys(changed).err(), Some(SettingsError::Incomplete));
    }
}

proptest! {
    #[test]
    fn a_changed_token_is_never_accepted(name in "rs256|es256|eddsa", at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let token = tokens(&name);
        let at = at.index(token.len());
        let mut changed = token.to_owned();
        changed.replace_range(at..=at, &to);
        prop_assert_eq!(verify(&changed).is_ok(), changed == token);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "(eyJ[A-Za-z0-9_-]{0,40}\\.){0,3}\\PC{0,40}") {
        prop_assert!(verify(&text).is_err());
    }

    #[test]
    fn no_key_set_makes_reading_panic(at in 0..JWKS.len(), byte in any::<u8>()) {
        let mut changed = JWKS.to_vec();
        changed[at] = byte;
        let verifier = verifier();
        let _ = verifier.replace_keys(&changed, Timestamp::from_posix_seconds(0));
        let _ = verifier.verify(tokens("es256"), Timestamp::from_posix_seconds(TOKENS_NOW));
    }
}

#[test]
fn the_minute_of_leeway_counts_to_its_end_wherever_the_end_is_looked_at() {
    let verifier = TokenVerifier::with_public_keys(settings(&[Algorithm::Rs256])).unwrap();
    verifier.replace_keys(JWKS, at(0)).unwrap();
    let end = Timestamp::parse("2036-11-21T00:00:59.999Z").unwrap();
    let over = Timestamp::parse("2036-11-21T00:01:00Z").unwrap();
    // The first time by its signature, the second from memory.
    for _ in 0..2 {
        let identity = verifier.verify(tokens("rs256"), end).unwrap();
        assert!(!identity.has_ended(end) && identity.has_ended(over));
    }
    assert_eq!(verifier.verify(tokens("rs256"), over).unwrap_err(), TokenError::Expired);
}
