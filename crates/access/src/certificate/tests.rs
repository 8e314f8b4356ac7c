use super::*;
use proptest::prelude::*;

/// Made by openssl (`testdata/make.sh`), good for ten years.
const COMMON_NAME_ONLY: &[u8] = include_bytes!("../../testdata/common-name.der");
const ALTERNATIVES: &[u8] = include_bytes!("../../testdata/alternatives.der");
const NOBODY: &[u8] = include_bytes!("../../testdata/nobody.der");

fn now() -> Timestamp {
    Timestamp::parse("2030-01-01T00:00:00Z").unwrap()
}

fn rule(kind: NameKind, pattern: &str, role: Role, scope: &str) -> CertificateRule {
    let (pattern, scope) = (Glob::parse(pattern).unwrap(), scope.parse().unwrap());
    CertificateRule { kind, pattern, actor: ActorKind::Service, role, scope }
}

fn identity(certificate: &[u8], rules: Vec<CertificateRule>) -> Result<Identity, CertificateError> {
    CertificateMapping { rules }.identity(certificate, now())
}

#[test]
fn all_names_of_a_certificate_are_read() {
    let names = CertificateNames::parse(ALTERNATIVES).unwrap();
    let expected = [
        (NameKind::Uri, "spiffe://example/ns/prod/sa/support-bot"),
        (NameKind::Dns, "bot.example"),
        (NameKind::Email, "bot@example.org"),
        (NameKind::CommonName, "ignored"),
    ];
    assert_eq!(names.names, expected.map(|(kind, name)| (kind, name.to_owned())));
    let names = CertificateNames::parse(COMMON_NAME_ONLY).unwrap();
    assert_eq!(names.names, [(NameKind::CommonName, "support-bot".to_owned())]);
    assert_eq!(CertificateNames::parse(NOBODY).unwrap().names, []);
    assert!(names.expires_at > now(), "{}", names.expires_at);
}

#[test]
fn the_first_rule_names_the_holder_and_all_that_fit_the_name_grant() {
    let rules = vec![
        rule(NameKind::Email, "*@other.org", Role::Admin, "*"),
        rule(NameKind::Uri, "spiffe://example/ns/prod/*", Role::Caller, "env=prod"),
        rule(NameKind::Dns, "*", Role::Admin, "*"),
        rule(NameKind::Uri, "*/support-bot", Role::Ingest, "*"),
    ];
    let identity = identity(ALTERNATIVES, rules).unwrap();
    assert_eq!((identity.id.as_str(), identity.method), ("spiffe://example/ns/prod/sa/support-bot", Method::Mtls));
    let roles: Vec<Role> = identity.grants.iter().map(|grant| grant.role).collect();
    assert_eq!(roles, [Role::Caller, Role::Ingest]);
    assert!(identity.expires_at.is_some());
}

#[test]
fn a_name_counts_only_where_the_rule_says_it_stands() {
    let rules = vec![rule(NameKind::Dns, "support-bot", Role::Admin, "*")];
    assert_eq!(identity(COMMON_NAME_ONLY, rules), Err(CertificateError::NoRule("support-bot".into())));
    assert_eq!(
        identity(NOBODY, vec![rule(NameKind::CommonName, "*", Role::Reader, "*")]),
        Err(CertificateError::NoRule(String::new()))
    );
    let told = identity(ALTERNATIVES, vec![]).unwrap_err().to_string();
    assert!(
        told.ends_with(": spiffe://example/ns/prod/sa/support-bot, bot.example, bot@example.org, ignored"),
        "{told}"
    );
}

#[test]
fn a_certificate_ends_also_on_a_connection_that_stays() {
    let mapping = CertificateMapping { rules: vec![rule(NameKind::CommonName, "*", Role::Reader, "*")] };
    let end = CertificateNames::parse(COMMON_NAME_ONLY).unwrap().expires_at;
    mapping.identity(COMMON_NAME_ONLY, end).unwrap();
    let after = Timestamp::from_micros(end.as_micros() + 1);
    assert_eq!(mapping.identity(COMMON_NAME_ONLY, after), Err(CertificateError::Expired));
}

#[test]
fn both_forms_of_time_are_read() {
    let read = |tag, text: &str| time((tag, text.as_bytes())).map(|time| time.to_string());
    assert_eq!(read(der::UTC_TIME, "491231235959Z").unwrap(), "2049-12-31T23:59:59.000000Z");
    assert_eq!(read(der::UTC_TIME, "500101000000Z").unwrap(), "1950-01-01T00:00:00.000000Z");
    assert_eq!(read(der::GENERALIZED_TIME, "99991231235959Z").unwrap(), "9999-12-31T23:59:59.000000Z");
    for bad in ["4912312359Z", "491231235959+0100", "491331235959Z", "49123123595éZ", ""] {
        assert_eq!(read(der::UTC_TIME, bad), None, "{bad}");
    }
}

#[test]
fn a_name_with_a_nul_is_nobodys() {
    assert_eq!(text(b"admin\0.example"), None);
    assert_eq!(text(b""), None);
    assert_eq!(text(b"\xff"), None);
    assert_eq!(text("é".as_bytes()), Some("é".to_owned()));
}

#[test]
fn a_certificate_that_is_cut_off_anywhere_is_none() {
    for end in 0..ALTERNATIVES.len() {
        CertificateNames::parse(&ALTERNATIVES[..end]).unwrap_err();
    }
    CertificateNames::parse(&[ALTERNATIVES, &[0]].concat()).unwrap_err();
    CertificateNames::parse(&vec![0x30; CERTIFICATE_BYTES_MAX + 1]).unwrap_err();
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(at in 0..ALTERNATIVES.len(), byte in any::<u8>(), bytes in any::<Vec<u8>>()) {
        let mut changed = ALTERNATIVES.to_vec();
        changed[at] = byte;
        let _ = CertificateNames::parse(&changed);
        let _ = CertificateNames::parse(&bytes);
    }
}
