use super::*;
use crate::certificate::{CertificateError, CertificateRule, NameKind};
use crate::identity::{ActorKind, Method};
use crate::keys::{KeyRefusal, NewKey};
use crate::token::testing::{self, TOKENS_NOW, tokens};
use crate::{Glob, LINK_S_MAX, Role, Scope, Secret, State};
use world::SeededEntropy;

const HERE: &str = "127.0.0.1";
const ELSEWHERE: &str = "192.0.2.7";
const CERTIFICATE: &[u8] = include_bytes!("../../testdata/common-name.der");

struct Setup {
    authenticator: Authenticator,
    key: Secret,
    store: KeyStore,
    sessions: Arc<Sessions>,
}

fn now() -> Timestamp {
    Timestamp::from_posix_seconds(TOKENS_NOW)
}

fn setup() -> Setup {
    let store = KeyStore::open(State::in_memory().unwrap()).unwrap();
    let new = NewKey {
        name: "ci".into(),
        role: Role::Caller,
        scope: Scope::everything(),
        expires_at: None,
        created_by: "root".into(),
    };
    let (key, _) = store.create(new, now(), &SeededEntropy::new(1)).unwrap();
    let rule = CertificateRule {
        kind: NameKind::CommonName,
        pattern: Glob::parse("support-*").unwrap(),
        actor: ActorKind::Service,
        role: Role::Caller,
        scope: Scope::everything(),
    };
    let sessions = Arc::new(Sessions::new());
    let authenticator = Authenticator::new(FingerprintKey::new([1; 32]))
        .with_keys(store.clone())
        .with_tokens(Arc::new(testing::verifier()))
        .with_certificates(CertificateMapping { rules: vec![rule] })
        .with_sessions(sessions.clone(), SessionCookie::CLEAR)
        .with_anonymous(vec![Grant { role: Role::Reader, scope: Scope::everything() }]);
    Setup { authenticator, key, store, sessions }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

impl Setup {
    fn call(&self, pairs: &[(&'static str, &str)], peer: &str) -> Result<Method, Reason> {
        let found =
            self.authenticator.authenticate(&HttpMethod::GET, &headers(pairs), peer.parse().unwrap(), None, now());
        found.map(|identity| identity.method).map_err(|refused| refused.reason)
    }
}

#[test]
fn a_key_is_taken_from_each_header_that_clients_use() {
    let setup = setup();
    let key = setup.key.expose();
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer  {key} ")),
        ("x-api-key", key.to_owned()),
        ("api-key", key.to_owned()),
    ] {
        assert_eq!(setup.call(&[(name, &value)], ELSEWHERE), Ok(Method::ApiKey), "{name}");
    }
    let twice = [("authorization", format!("Bearer {key}")), ("api-key", key.to_owned())];
    assert_eq!(setup.call(&[("authorization", &twice[0].1), ("api-key", &twice[1].1)], ELSEWHERE), Ok(Method::ApiKey));
}

#[test]
fn two_different_credentials_are_refused_even_if_both_are_good() {
    let setup = setup();
    let (key, token) = (setup.key.expose(), tokens("rs256"));
    let bearer = format!("Bearer {token}");
    assert_eq!(setup.call(&[("authorization", &bearer)], ELSEWHERE), Ok(Method::Jwt));
    for pairs in [
        [("authorization", bearer.as_str()), ("x-api-key", key)],
        [("x-api-key", key), ("api-key", "x")],
        [("x-api-key", key), ("x-api-key", "")],
        [("authorization", &bearer), ("authorization", "Bearer x")],
    ] {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        let refused = setup
            .authenticator
            .authenticate(&HttpMethod::GET, &map, ELSEWHERE.parse().unwrap(), None, now())
            .unwrap_err();
        assert_eq!(refused.reason, Reason::TwoCredentials, "{pairs:?}");
    }
}

#[test]
fn anonymous_is_only_who_is_here_and_presents_nothing() {
    let setup = setup();
    for peer in [HERE, "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(setup.call(&[], peer), Ok(Method::Anonymous), "{peer}");
    }
    for peer in [ELSEWHERE, "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0"] {
        assert_eq!(setup.call(&[], peer), Err(Reason::NoCredential), "{peer}");
    }
    for proxy in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
        assert_eq!(setup.call(&[(proxy, "for=10.0.0.1")], HERE), Err(Reason::NoCredential), "{proxy}");
    }
    let nobody = Authenticator::new(FingerprintKey::new([1; 32]));
    let refused =
        nobody.authenticate(&HttpMethod::GET, &HeaderMap::new(), HERE.parse().unwrap(), None, now()).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.fingerprint), (401, None));
}

#[test]
fn a_bad_credential_is_never_as_if_there_were_none() {
    let setup = setup();
    let basic = [("authorization", "Basic YTpi")];
    assert_eq!(setup.call(&basic, HERE), Err(Reason::Scheme));
    for (header, value) in
        [("authorization", "Bearer "), ("x-api-key", ""), ("api-key", "EMPTY"), ("authorization", "Bearer sk-1")]
    {
        assert_eq!(setup.call(&[(header, value)], HERE), Err(Reason::Unrecognised), "{header}: {value}");
    }
    assert_eq!(setup.call(&[("authorization", "Bearer")], HERE), Err(Reason::Scheme));
    assert_eq!(setup.call(&[("api-key", "tsm_x")], HERE), Err(Reason::Key(KeyRefusal::Malformed)));
    setup.store.revoke("ci", now()).unwrap();
    assert_eq!(setup.call(&[("api-key", setup.key.expose())], HERE), Err(Reason::Key(KeyRefusal::Revoked)));
    assert_eq!(
        setup.call(&[("api-key", tokens("none"))], HERE),
        Err(Reason::Token(TokenError::Algorithm("none".into())))
    );
}

#[test]
fn a_certificate_counts_when_nothing_else_is_presented() {
    let setup = setup();
    let call = |pairs: &[(&'static str, &str)], certificate: &[u8]| {
        let found = setup.authenticator.authenticate(
            &HttpMethod::GET,
            &headers(pairs),
            HERE.parse().unwrap(),
            Some(certificate),
            now(),
        );
        found.map(|identity| (identity.method, identity.id.clone())).map_err(|refused| refused.reason)
    };
    assert_eq!(call(&[], CERTIFICATE), Ok((Method::Mtls, "support-bot".into())));
    let key = setup.key.expose();
    assert_eq!(call(&[("api-key", key)], CERTIFICATE), Ok((Method::ApiKey, "ci".into())));
    assert_eq!(call(&[("api-key", "x")], CERTIFICATE), Err(Reason::Unrecognised));
    // Nor is a certificate that is nobody's as if there were none.
    let nobody = include_bytes!("../../testdata/nobody.der");
    assert_eq!(call(&[], nobody), Err(Reason::Certificate(CertificateError::NoRule(String::new()))));
    let refused =
        setup.authenticator.authenticate(&HttpMethod::GET, &headers(&[]), HERE.parse().unwrap(), Some(nobody), now());
    assert_eq!(refused.unwrap_err().fingerprint, Some(FingerprintKey::new([1; 32]).fingerprint(nobody)));
}

#[test]
fn a_refusal_names_the_credential_by_its_fingerprint() {
    let setup = setup();
    let refused = |pairs: &[(&'static str, &str)]| {
        setup
            .authenticator
            .authenticate(&HttpMethod::GET, &headers(pairs), HERE.parse().unwrap(), None, now())
            .unwrap_err()
    };
    let expected = FingerprintKey::new([1; 32]).fingerprint(b"sk-1");
    assert_eq!(refused(&[("authorization", "Bearer sk-1")]).fingerprint.as_deref(), Some(expected.as_str()));
    assert_eq!(refused(&[("api-key", "sk-1")]).fingerprint, Some(expected));
    assert!(!format!("{:?}", refused(&[("api-key", "sk-1")])).contains("sk-1"));
}

#[test]
fn failures_are_slowed_down_and_good_keys_are_not() {
    let setup = setup();
    let bad = [("api-key", "tsm_x")];
    let bearer = |name| [("authorization", format!("Bearer {}", tokens(name)))];
    let known = bearer("rs256");
    let known = [(known[0].0, known[0].1.as_str())];
    assert_eq!(setup.call(&known, ELSEWHERE), Ok(Method::Jwt));
    for _ in 0..20 {
        assert_eq!(setup.call(&bad, ELSEWHERE), Err(Reason::Key(KeyRefusal::Malformed)));
    }
    let throttled = Err(Reason::Throttled { retry_after_s: 3 });
    assert_eq!(setup.call(&bad, ELSEWHERE), throttled);
    assert_eq!(setup.call(&bad, HERE), Err(Reason::Key(KeyRefusal::Malformed)));
    assert_eq!(setup.call(&[("api-key", setup.key.expose())], ELSEWHERE), Ok(Method::ApiKey));
    // A token that was seen before costs nothing; the signature of another is not looked at.
    assert_eq!(setup.call(&known, ELSEWHERE), Ok(Method::Jwt));
    let fresh = bearer("es256");
    assert_eq!(setup.call(&[(fresh[0].0, &fresh[0].1)], ELSEWHERE), throttled);
    assert_eq!(setup.call(&[(fresh[0].0, &fresh[0].1)], HERE), Ok(Method::Jwt));
    // Presenting nothing is one too: each refusal is a record.
    for _ in 0..20 {
        assert_eq!(setup.call(&[], "192.0.2.8"), Err(Reason::NoCredential));
    }
    assert_eq!(setup.call(&[], "192.0.2.8"), throttled);
}

#[test]
fn a_foreign_credential_keeps_no_certificate_from_a_model() {
    let mut setup = setup();
    setup.authenticator.anonymous = None;
    let call = |pairs: &[(&'static str, &str)], certificate| {
        let found =
            setup.authenticator.authenticate_call(&headers(pairs), ELSEWHERE.parse().unwrap(), certificate, now());
        found.map(|identity| identity.method).map_err(|refused| refused.reason)
    };
    let foreign = [("authorization", "Bearer sk-no-key")];
    assert_eq!(call(&foreign, Some(CERTIFICATE)), Ok(Method::Mtls));
    assert_eq!(call(&foreign, None), Err(Reason::Unrecognised));
    assert_eq!(call(&[("api-key", "tsm_nonsense")], Some(CERTIFICATE)), Err(Reason::Key(KeyRefusal::Malformed)));
    assert_eq!(call(&[("api-key", setup.key.expose())], Some(CERTIFICATE)), Ok(Method::ApiKey));
}

#[test]
fn a_foreign_credential_keeps_nobody_from_a_model_who_is_let_in_without_one() {
    let setup = setup();
    let call = |pairs: &[(&'static str, &str)], peer: &str| {
        let found = setup.authenticator.authenticate_call(&headers(pairs), peer.parse().unwrap(), None, now());
        found.map(|identity| identity.method).map_err(|refused| refused.reason)
    };
    for foreign in [("authorization", "Bearer sk-no-key"), ("authorization", "Basic YTpi"), ("api-key", "EMPTY")] {
        assert_eq!(call(&[foreign], HERE), Ok(Method::Anonymous), "{foreign:?}");
        assert_eq!(call(&[foreign], ELSEWHERE), Err(Reason::NoCredential), "{foreign:?}");
        assert!(setup.call(&[foreign], HERE).is_err(), "{foreign:?}");
    }
    // One of ours that is not good is not foreign.
    assert_eq!(call(&[("api-key", "tsm_nonsense")], HERE), Err(Reason::Key(KeyRefusal::Malformed)));
    assert_eq!(call(&[("api-key", setup.key.expose())], HERE), Ok(Method::ApiKey));
}

impl Setup {
    /// The cookie of a session of the key's holder.
    fn session(&self) -> String {
        let identity = self.store.verify(self.key.expose(), now()).unwrap();
        self.sessions.open(&identity, now(), &SeededEntropy::new(7)).cookie.expose().to_owned()
    }

    fn send(&self, method: &HttpMethod, pairs: &[(&'static str, &str)], peer: &str) -> Result<Method, Reason> {
        let found = self.authenticator.authenticate(method, &headers(pairs), peer.parse().unwrap(), None, now());
        found.map(|identity| identity.method).map_err(|refused| refused.reason)
    }
}

#[test]
fn a_session_reads_by_its_cookie_and_changes_only_with_its_token() {
    let setup = setup();
    let cookie = setup.session();
    let (pair, csrf) = (format!("testimony={cookie}"), Sessions::forgery_token(&cookie));
    for method in [HttpMethod::GET, HttpMethod::HEAD] {
        assert_eq!(setup.send(&method, &[("cookie", &pair)], ELSEWHERE), Ok(Method::Session), "{method}");
    }
    for method in [HttpMethod::POST, HttpMethod::DELETE, HttpMethod::PUT, HttpMethod::OPTIONS] {
        let send =
            |more: &[(&'static str, &str)]| setup.send(&method, &[&[("cookie", pair.as_str())], more].concat(), HERE);
        assert_eq!(send(&[]), Err(SessionRefusal::Forged.into()), "{method}");
        assert_eq!(send(&[("x-csrf-token", &cookie)]), Err(SessionRefusal::Forged.into()), "{method}");
        assert_eq!(send(&[("x-csrf-token", &csrf)]), Ok(Method::Session), "{method}");
    }
    // Whoever is here without a cookie is let in; with one that is not good they are not.
    assert_eq!(setup.call(&[("cookie", "testimony=x")], HERE), Err(SessionRefusal::Unknown.into()));
    assert_eq!(setup.call(&[("cookie", "another=x")], HERE), Ok(Method::Anonymous));
    assert_eq!(setup.call(&[("cookie", &pair), ("api-key", setup.key.expose())], ELSEWHERE), Ok(Method::ApiKey));
    assert_eq!(setup.call(&[("cookie", &pair), ("api-key", "x")], ELSEWHERE), Err(Reason::Unrecognised));
    let refused = setup.authenticator.authenticate(
        &HttpMethod::POST,
        &headers(&[("cookie", &pair)]),
        HERE.parse().unwrap(),
        None,
        now(),
    );
    assert_eq!(refused.unwrap_err().fingerprint, Some(FingerprintKey::new([1; 32]).fingerprint(cookie.as_bytes())));
}

#[test]
fn a_page_of_elsewhere_cannot_use_a_session() {
    let setup = setup();
    let pair = format!("testimony={}", setup.session());
    let send =
        |name, value| setup.send(&HttpMethod::GET, &[("cookie", &pair), ("host", "a:1"), (name, value)], ELSEWHERE);
    assert_eq!(send("origin", "http://b:1"), Err(SessionRefusal::Elsewhere.into()));
    assert_eq!(send("sec-fetch-site", "cross-site"), Err(SessionRefusal::Elsewhere.into()));
    assert_eq!(send("origin", "http://a:1"), Ok(Method::Session));
}

#[test]
fn no_cookie_calls_a_model() {
    let mut setup = setup();
    setup.authenticator.anonymous = None;
    let pair = format!("testimony={}", setup.session());
    let found =
        setup.authenticator.authenticate_call(&headers(&[("cookie", &pair)]), HERE.parse().unwrap(), None, now());
    assert_eq!(found.unwrap_err().reason, Reason::NoCredential);
}

#[test]
fn a_session_ends_with_its_key_even_if_nobody_closes_it() {
    let setup = setup();
    let pair = format!("testimony={}", setup.session());
    let link =
        setup.sessions.link(&setup.store.verify(setup.key.expose(), now()).unwrap(), now(), &SeededEntropy::new(8));
    setup.store.revoke("ci", now()).unwrap();
    assert_eq!(setup.call(&[("cookie", &pair)], ELSEWHERE), Err(SessionRefusal::Ended.into()));
    let refused = setup.authenticator.sign_in(
        link.token.expose(),
        &headers(&[]),
        HERE.parse().unwrap(),
        now(),
        &SeededEntropy::new(9),
    );
    assert_eq!(refused.unwrap_err().reason, SessionRefusal::Ended.into());
}

#[test]
fn a_link_signs_in_once_and_never_for_a_page_of_elsewhere() {
    let setup = setup();
    let entropy = SeededEntropy::new(3);
    let sign_in = |token: &str, pairs: &[(&'static str, &str)], peer: &str, time| {
        let signed_in = setup.authenticator.sign_in(token, &headers(pairs), peer.parse().unwrap(), time, &entropy);
        signed_in.map(|signed_in| signed_in.cookie.expose().to_owned()).map_err(|refused| refused.reason)
    };
    let key = setup.store.verify(setup.key.expose(), now()).unwrap();
    let link = setup.sessions.link(&key, now(), &entropy).token;
    assert_eq!(
        sign_in(link.expose(), &[("sec-fetch-site", "cross-site")], HERE, now()),
        Err(SessionRefusal::Elsewhere.into())
    );
    let cookie = sign_in(link.expose(), &[], ELSEWHERE, now()).unwrap();
    assert_eq!(setup.call(&[("cookie", &format!("testimony={cookie}"))], ELSEWHERE), Ok(Method::Session));
    assert_eq!(sign_in(link.expose(), &[], ELSEWHERE, now()), Err(SessionRefusal::Link.into()));
    let late = setup.sessions.link(&key, now(), &entropy).token;
    let later = Timestamp::from_micros(now().as_micros() + LINK_S_MAX * 1_000_000);
    assert_eq!(sign_in(late.expose(), &[], ELSEWHERE, later), Err(SessionRefusal::Link.into()));
}

#[test]
fn whoever_presented_nothing_has_a_session_on_this_machine_only() {
    let setup = setup();
    let (nobody, entropy) = (Identity::anonymous(Vec::new()), SeededEntropy::new(3));
    let sign_in = |peer: &str| {
        let token = setup.sessions.link(&nobody, now(), &entropy).token;
        setup.authenticator.sign_in(token.expose(), &headers(&[]), peer.parse().unwrap(), now(), &entropy)
    };
    let pair = format!("testimony={}", sign_in(HERE).unwrap().cookie.expose());
    assert_eq!(setup.call(&[("cookie", &pair)], HERE), Ok(Method::Session));
    assert_eq!(setup.call(&[("cookie", &pair)], ELSEWHERE), Err(Reason::NoCredential));
    assert_eq!(setup.call(&[("cookie", &pair), ("x-forwarded-for", "192.0.2.7")], HERE), Err(Reason::NoCredential));
    assert_eq!(sign_in(ELSEWHERE).unwrap_err().reason, Reason::NoCredential);
}

#[test]
fn links_are_not_guessed_for_free() {
    let setup = setup();
    let guess = || {
        setup.authenticator.sign_in("guess", &headers(&[]), ELSEWHERE.parse().unwrap(), now(), &SeededEntropy::new(1))
    };
    for _ in 0..20 {
        assert_eq!(guess().unwrap_err().reason, SessionRefusal::Link.into());
    }
    assert!(!guess().unwrap_err().is_worth_a_record());
}

#[test]
fn a_credential_is_new_until_the_log_knows_of_it() {
    let setup = setup();
    let first = |pairs: &[(&'static str, &str)], certificate: Option<&[u8]>| {
        let (headers, peer) = (headers(pairs), HERE.parse().unwrap());
        let identity = setup.authenticator.authenticate(&HttpMethod::GET, &headers, peer, certificate, now()).unwrap();
        setup.authenticator.first_use(&headers, certificate, &identity)
    };
    let bearer = format!("Bearer {}", tokens("rs256"));
    type Shown<'a> = (&'a [(&'static str, &'a str)], Option<&'a [u8]>, &'a [u8]);
    let credentials: [Shown<'_>; 3] = [
        (&[("api-key", setup.key.expose())], Some(CERTIFICATE), setup.key.expose().as_bytes()),
        (&[("authorization", &bearer)], None, tokens("rs256").as_bytes()),
        (&[], Some(CERTIFICATE), CERTIFICATE),
    ];
    for (pairs, certificate, credential) in credentials {
        let new = first(pairs, certificate).unwrap();
        assert_eq!(new.fingerprint, FingerprintKey::new([1; 32]).fingerprint(credential));
        assert_eq!(first(pairs, certificate), Some(new.clone()), "what was not recorded is still due");
        setup.authenticator.has_recorded(&new);
        assert_eq!(first(pairs, certificate), None);
    }
    assert_eq!(first(&[], None), None, "who presents nothing has no credential");
    assert_eq!(first(&[("cookie", &format!("testimony={}", setup.session()))], None), None);
}
