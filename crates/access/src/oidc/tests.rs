use super::*;
use crate::Algorithm;
use crate::token::TokenSettings;
use crate::token::testing::{self, JWKS, TOKENS_NOW, claims, sign};
use proptest::prelude::*;
use serde_json::json;
use world::SeededEntropy;

const ISSUER: &str = "https://issuer.example";

fn now() -> Timestamp {
    Timestamp::from_posix_seconds(TOKENS_NOW)
}

fn login(secret: Option<&str>) -> OidcLogin {
    let settings = TokenSettings { audiences: vec!["testimony".into()], ..testing::settings(&[Algorithm::Rs256]) };
    let verifier = TokenVerifier::with_public_keys(settings).unwrap();
    verifier.replace_keys(JWKS, now()).unwrap();
    let settings = OidcSettings {
        issuer: ISSUER.into(),
        client_id: "testimony".into(),
        client_secret: secret.map(|secret| Secret::new(secret.into())),
        redirect: "https://log.example/login/callback".into(),
        scopes: vec!["openid".into(), "email".into()],
    };
    OidcLogin::new(settings, Arc::new(verifier))
}

fn document(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut document = json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://issuer.example/authorize?tenant=a",
        "token_endpoint": "https://issuer.example/token",
        "jwks_uri": "https://issuer.example/keys",
    });
    change(&mut document);
    document.to_string().into_bytes()
}

fn provider() -> Provider {
    Provider::parse(&document(|_| {}), ISSUER).unwrap()
}

fn begun(login: &OidcLogin, seed: u64) -> (String, Vec<(String, String)>) {
    let begun = login.begin(&provider(), &SeededEntropy::new(seed));
    let query = begun.location.split_once('?').unwrap().1.to_owned();
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    let pairs = pairs.map(|(name, value)| (name.to_owned(), decoded(value).unwrap())).collect();
    (begun.seed.expose().to_owned(), pairs)
}

#[track_caller]
fn of<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    &pairs.iter().find(|(known, _)| known == name).unwrap().1
}

#[test]
fn a_browser_goes_with_a_challenge_and_its_verifier_stays() {
    let login = login(None);
    let (seed, pairs) = begun(&login, 1);
    assert_eq!(of(&pairs, "tenant"), "a");
    assert_eq!(of(&pairs, "scope"), "openid email");
    assert_eq!(of(&pairs, "redirect_uri"), "https://log.example/login/callback");
    let query = format!("code=a%2Bb&state={}&iss={}", of(&pairs, "state"), encoded(ISSUER));
    let request = login.answered(&provider(), &query, Some(&seed)).unwrap();
    let body = request.body.expose();
    let verifier = only(body, "code_verifier").unwrap().unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())), of(&pairs, "code_challenge"));
    assert_eq!((only(body, "code"), only(body, "client_id")), (Ok(Some("a+b".into())), Ok(Some("testimony".into()))));
    assert!(!pairs.iter().any(|(_, value)| value.contains(&verifier) || value.contains(&seed)));
    let with_secret = self::login(Some("s:%")).answered(&provider(), &query, Some(&seed)).unwrap();
    let basic = with_secret.authorization.unwrap();
    assert_eq!(STANDARD.decode(basic.expose().strip_prefix("Basic ").unwrap()).unwrap(), b"testimony:s%3A%25");
    assert_eq!(only(with_secret.body.expose(), "client_id"), Ok(None));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let login = login(None);
    let ((seed, pairs), (other, _)) = (begun(&login, 1), begun(&login, 2));
    let state = of(&pairs, "state");
    let answered = |query: &str, seed| login.answered(&provider(), query, seed).map(|_| ()).unwrap_err();
    let good = format!("code=c&state={state}");
    assert_eq!(answered(&good, None), OidcError::NotBegun);
    assert_eq!(answered(&good, Some(&other)), OidcError::State);
    assert_eq!(answered("code=c", Some(&seed)), OidcError::State);
    assert_eq!(answered("code=c&state=", Some("")), OidcError::State);
    assert_eq!(answered(&format!("{good}&iss=https://other.example"), Some(&seed)), OidcError::Issuer);
    assert_eq!(answered(&format!("{good}&state={state}"), Some(&seed)), OidcError::Malformed);
    assert_eq!(answered(&format!("{good}&code=d"), Some(&seed)), OidcError::Malformed);
    assert_eq!(answered(&format!("state={state}"), Some(&seed)), OidcError::Malformed);
    let denied = answered(&format!("state={state}&error=access_denied%3Cscript%3E"), Some(&seed));
    assert_eq!(denied, OidcError::Denied("access_deniedscript".into()));
    login.answered(&provider(), &good, Some(&seed)).unwrap();
    assert_eq!(answered(&good, Some(&seed)), OidcError::NotBegun, "a sign-in comes back once");
}

#[test]
fn a_provider_that_says_who_it_is_must_always_do_so() {
    let login = login(None);
    let (seed, pairs) = begun(&login, 1);
    let says = document(|document| document["authorization_response_iss_parameter_supported"] = true.into());
    let provider = Provider::parse(&says, ISSUER).unwrap();
    let query = format!("code=c&state={}", of(&pairs, "state"));
    assert_eq!(login.answered(&provider, &query, Some(&seed)), Err(OidcError::Issuer));
    login.answered(&provider, &format!("{query}&iss={ISSUER}"), Some(&seed)).unwrap();
}

#[test]
fn an_id_token_is_for_this_sign_in_alone() {
    let login = login(None);
    let (seed, pairs) = begun(&login, 1);
    let exchange = |change: fn(&mut Value)| {
        let mut claims = claims();
        claims["nonce"] = of(&pairs, "nonce").into();
        change(&mut claims);
        let token = sign(Algorithm::Rs256, r#"{"alg":"RS256","kid":"rsa-1"}"#, &claims.to_string());
        login.exchanged(json!({"id_token": token}).to_string().as_bytes(), &seed, now())
    };
    let identity = exchange(|_| {}).unwrap();
    assert_eq!((identity.id.as_str(), identity.expires_at), ("alice", None));
    exchange(|claims| claims["azp"] = "testimony".into()).unwrap();
    assert_eq!(exchange(|claims| claims["nonce"] = "x".into()), Err(OidcError::Nonce));
    assert_eq!(exchange(|claims| drop(claims.as_object_mut().unwrap().remove("nonce"))), Err(OidcError::Nonce));
    assert_eq!(exchange(|claims| claims["azp"] = "other".into()), Err(OidcError::AuthorizedParty));
    assert_eq!(exchange(|claims| claims["azp"] = 1.into()), Err(OidcError::AuthorizedParty));
    assert_eq!(exchange(|claims| claims["aud"] = json!(["testimony", "b"])), Err(OidcError::AuthorizedParty));
    assert_eq!(exchange(|claims| claims["aud"] = "other".into()), Err(OidcError::Token(TokenError::Audience)));
    assert_eq!(exchange(|claims| claims["iss"] = "x".into()), Err(OidcError::Token(TokenError::Issuer)));
    assert_eq!(exchange(|claims| claims["exp"] = (TOKENS_NOW - 61).into()), Err(OidcError::Token(TokenError::Expired)));
    for nothing in ["{}", "[]", "x", r#"{"id_token":1}"#] {
        assert_eq!(login.exchanged(nothing.as_bytes(), &seed, now()), Err(OidcError::NoToken));
    }
}

#[test]
fn a_document_of_another_issuer_or_without_tls_is_refused() {
    let refused = |change: fn(&mut Value)| Provider::parse(&document(change), ISSUER).unwrap_err();
    for wrong in [
        refused(|document| document["issuer"] = "https://issuer.example/".into()),
        refused(|document| document["token_endpoint"] = "http://issuer.example/token".into()),
        refused(|document| document["authorization_endpoint"] = "javascript:alert(1)".into()),
        refused(|document| document["authorization_endpoint"] = "https://a\r\nset-cookie: b".into()),
        refused(|document| document["jwks_uri"] = Value::Null),
    ] {
        assert!(matches!(wrong, OidcError::Discovery(_)));
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_as_it_was(text in any::<String>()) {
        prop_assert_eq!(decoded(&encoded(&text)), Some(text.clone()));
        prop_assert_eq!(only(&form(&[("a", "x"), ("b", &text)]), "b"), Ok(Some(text)));
    }

    #[test]
    fn no_query_is_too_odd(query in any::<String>()) {
        let login = login(None);
        let (seed, _) = begun(&login, 1);
        prop_assert!(login.answered(&provider(), &query, Some(&seed)).is_err());
    }
}
