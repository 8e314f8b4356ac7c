use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A checkpoint's text, what `openssl ts -query -data message -sha256 -cert` asked of it and what `openssl ts -reply`
/// (3.0.19) answered.
const MESSAGE: &[u8] = include_bytes!("testdata/message");
const REQUEST: &[u8] = include_bytes!("testdata/request.tsq");
const RESPONSE: &[u8] = include_bytes!("testdata/response.tsr");
const NONCE: u64 = 0x6cf8_7e17_d93f_6360;
/// 2026-11-23 23:09:47 UTC.
const TIME: u64 = 1_795_475_387;

fn token() -> Vec<u8> {
    response(RESPONSE, MESSAGE, NONCE).unwrap().der
}

/// The bytes with the only place where `from` stands changed into `to`.
fn edited(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert_eq!(places.len(), 1, "{from:x?} is at {places:?}");
    [&bytes[..places[0]], to, &bytes[places[0] + from.len()..]].concat()
}

fn malformed_as(verdict: Result<Token, TimestampError>) -> String {
    match verdict {
        Err(TimestampError::Malformed(what)) => what,
        other => panic!("it should be malformed: {other:?}"),
    }
}

#[test]
fn we_ask_what_openssl_asks() {
    assert_eq!(request(MESSAGE, NONCE), REQUEST);
}

#[test]
fn a_nonce_is_written_in_as_few_bytes_as_it_takes() {
    let check = |nonce, expect: &[u8]| assert_eq!(unsigned(nonce), expect, "{nonce}");
    check(0, &[0]);
    check(0x7f, &[0x7f]);
    check(0x80, &[0, 0x80]);
    check(0x100, &[1, 0]);
    check(0xff00, &[0, 0xff, 0]);
    check(u64::MAX, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn an_answer_of_openssl_is_read_and_its_token_kept_as_it_came() {
    let read = response(RESPONSE, MESSAGE, NONCE).unwrap();
    assert_eq!(read.time, TIME);
    assert!(RESPONSE.ends_with(&read.der));
    assert_eq!(Token::parse(&read.der, MESSAGE), Ok(read));
}

#[test]
fn a_token_granted_with_changes_is_a_token() {
    let changed = edited(RESPONSE, &[0x30, 3, 2, 1, 0], &[0x30, 3, 2, 1, 1]);
    assert_eq!(response(&changed, MESSAGE, NONCE).map(|token| token.time), Ok(TIME));
}

#[test]
fn an_answer_to_another_request_is_refused() {
    assert_eq!(response(RESPONSE, MESSAGE, NONCE + 1), Err(TimestampError::OtherNonce));
    let granted = element(SEQUENCE, &[&element(INTEGER, &[&[0]])]);
    for (nonce, expect) in [(Some(NONCE), None), (None, Some(TimestampError::OtherNonce))] {
        let made = Made { nonce, ..Made::default() }.token();
        assert_eq!(Token::parse(&made, MESSAGE).unwrap().time, 0);
        assert_eq!(response(&element(SEQUENCE, &[&granted, &made]), MESSAGE, NONCE).err(), expect);
    }
}

#[test]
fn no_bit_of_the_imprint_can_be_flipped() {
    let token = token();
    let imprint = &REQUEST[5..56];
    let start = (0..token.len()).find(|at| token[*at..].starts_with(imprint)).unwrap();
    for at in start..start + imprint.len() {
        for bit in 0..8 {
            let mut changed = token.clone();
            changed[at] ^= 1 << bit;
            let verdict = Token::parse(&changed, MESSAGE);
            assert!(verdict.is_err(), "bit {bit} of byte {at} changed nothing");
            let is_of_hash = at >= start + imprint.len() - 32;
            assert!(!is_of_hash || verdict == Err(TimestampError::OtherMessage), "{verdict:?}");
        }
    }
}

#[test]
fn another_message_is_refused() {
    assert_eq!(Token::parse(&token(), b"another"), Err(TimestampError::OtherMessage));
    assert_eq!(response(RESPONSE, b"another", NONCE), Err(TimestampError::OtherMessage));
    assert_eq!(Token::parse(&token(), &[MESSAGE, b"\n"].concat()), Err(TimestampError::OtherMessage));
}

#[test]
fn a_refusal_says_why() {
    let check = |response_hex: &str, expect: &str| {
        let error = response(&unhex(response_hex), MESSAGE, NONCE).unwrap_err();
        assert!(matches!(error, TimestampError::Refused { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("the time-stamp authority gave no token ({expect}"));
    };
    // Both are answers of `openssl ts -reply`: to a query that is none, and to one with a digest that it does not take.
    check(
        "3030302e02010230250c23426164207265717565737420666f726d6174206f722073797374656d206572726f722e03020204",
        "rejection): \"Bad request format or system error.\", badDataFormat",
    );
    check(
        "30373035020102302c0c2a4d6573736167652064696765737420616c676f726974686d2069\
         73206e6f7420737570706f727465642e03020780",
        "rejection): \"Message digest algorithm is not supported.\", badAlg",
    );
    check("30053003020102", "rejection): it says no reason");
    check("30053003020103", "waiting): it says no reason");
    check("30053003020109", "unknown status): it says no reason");
    check("300c300a02010203050600000040", "rejection): systemFailure");
    check("300f300d02010230080c01610c03621b5b", "rejection): \"a; b\\u{1b}[\"");
    // Its words are not as they should be; that it is a refusal is still told.
    check("300730050201023009", "rejection): it says no reason");
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_long_refusal_is_cut() {
    let text = element(UTF8_STRING, &[&[b'a'; 60_000]]);
    let info = element(SEQUENCE, &[&element(INTEGER, &[&[2]]), &element(SEQUENCE, &[&text])]);
    let Err(TimestampError::Refused { text, .. }) = response(&element(SEQUENCE, &[&info]), MESSAGE, NONCE) else {
        panic!("it should be refused")
    };
    assert_eq!(text.len(), TEXT_CHARS_MAX);
}

#[test]
fn times_are_posix_seconds() {
    let check = |text: &str, expect| assert_eq!(posix_seconds(text.as_bytes()), expect, "{text}");
    check("19700101000000Z", Some(0));
    check("19990609001326.34352Z", Some(928_887_206));
    check("20000229000000Z", Some(951_782_400));
    check("20261123230947.500Z", Some(TIME));
    check("99991231235959Z", Some(253_402_300_799));
    let wrong = "19691231235959Z 19000229000000Z 20230229000000Z 21000229000000Z 20260001000000Z 20261301000000Z \
                 20269901000000Z 20260100000000Z 20260132000000Z 20260431000000Z 20261123240000Z 20261123236000Z \
                 20261123230960Z 20261123230947 202611232309Z 20261123230947.Z 20261123230947,5Z 20261123230947.5 \
                 20261123230947.5aZ 20261123230947+0000 20261123230947.5.5Z 2026112323094\u{661}Z +0261123230947Z Z";
    for text in wrong.split(' ').chain([""]) {
        check(text, None);
    }
}

#[test]
fn every_day_of_four_hundred_years_follows_the_day_before() {
    let mut days = 0;
    for year in 1970..=2400 {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (month, last) in
            [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().enumerate()
        {
            for day in 1..=*last {
                let text = format!("{year}{:02}{day:02}000000Z", month + 1);
                assert_eq!(posix_seconds(text.as_bytes()), Some(days * 86_400), "{text}");
                days += 1;
            }
        }
    }
}

/// A token made here: the least that is one. `TSTInfo` ends with what is `after` the nonce, and the element with the
/// name `overlong` with a NULL that does not belong there.
struct Made {
    time: &'static str,
    algorithm_end: Vec<u8>,
    nonce: Option<u64>,
    after: Vec<u8>,
    signers: usize,
    overlong: &'static str,
}

impl Default for Made {
    fn default() -> Self {
        let algorithm_end = vec![NULL, 0];
        Self { time: "19700101000000Z", algorithm_end, nonce: None, after: Vec::new(), signers: 1, overlong: "" }
    }
}

impl Made {
    fn token(&self) -> Vec<u8> {
        let one = element(INTEGER, &[&[1]]);
        let policy = element(OBJECT_IDENTIFIER, &[&[42, 3, 4]]);
        let time = element(GENERALIZED_TIME, &[self.time.as_bytes()]);
        let nonce = self.nonce.map(|nonce| element(INTEGER, &[&unsigned(nonce)])).unwrap_or_default();
        let info = [one.clone(), policy, self.imprint(), one.clone(), time, nonce, self.after.clone()].concat();
        let info = self.named("TSTInfo", SEQUENCE, &[&info]);
        let content = self.named("eContent", CONTEXT_0, &[&element(OCTET_STRING, &[&info])]);
        let content_type = element(OBJECT_IDENTIFIER, &[TST_INFO]);
        let content = self.named("encapContentInfo", SEQUENCE, &[&content_type, &content]);
        let signers = self.named("signerInfos", SET, &[&element(SEQUENCE, &[]).repeat(self.signers)]);
        let signed_data = self.named("SignedData", SEQUENCE, &[&one, &element(SET, &[]), &content, &signers]);
        let content = self.named("content", CONTEXT_0, &[&signed_data]);
        self.named("TimeStampToken", SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[SIGNED_DATA]), &content])
    }

    fn imprint(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[SHA256]), &self.algorithm_end]);
        self.named("messageImprint", SEQUENCE, &[&algorithm, &element(OCTET_STRING, &[&Sha256::digest(MESSAGE)])])
    }

    fn named(&self, name: &str, tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let end: &[u8] = if self.overlong == name { &[NULL, 0] } else { &[] };
        element(tag, &[parts, &[end]].concat())
    }
}

#[test]
fn a_token_has_one_signature() {
    for (signers, expect) in
        [(0, "there is no SignerInfo where it should be"), (2, "there is more in or after its signerInfos")]
    {
        assert_eq!(malformed_as(Token::parse(&Made { signers, ..Made::default() }.token(), MESSAGE)), expect);
    }
}

#[test]
fn what_may_be_left_out_may_be_left_out_and_nothing_else_may_come() {
    let parse = |made: Made| Token::parse(&made.token(), MESSAGE);
    assert!(parse(Made { algorithm_end: Vec::new(), ..Made::default() }).is_ok());
    assert_eq!(parse(Made { algorithm_end: vec![NULL, 1, 0], ..Made::default() }), Err(TimestampError::OtherMessage));
    let tail = [element(CONTEXT_0, &[]), element(CONTEXT_1, &[])];
    assert!(parse(Made { after: tail.concat(), ..Made::default() }).is_ok());
    assert!(parse(Made { after: [tail[1].clone(), tail[0].clone()].concat(), ..Made::default() }).is_err());
    let levels = "TimeStampToken content SignedData signerInfos encapContentInfo eContent TSTInfo messageImprint";
    for overlong in levels.split(' ') {
        let what = malformed_as(parse(Made { overlong, ..Made::default() }));
        assert_eq!(what, format!("there is more in or after its {overlong}"));
    }
    let what = malformed_as(parse(Made { time: "19691231235959Z", ..Made::default() }));
    assert_eq!(what, "its genTime is not YYYYMMDDhhmmss[.s…]Z from 1970 on");
}

#[test]
fn what_is_not_a_time_stamp_token_is_refused() {
    let token = token();
    let check = |from: &[u8], to: &[u8], expect: &str| {
        assert_eq!(malformed_as(Token::parse(&edited(&token, from, to), MESSAGE)), expect);
    };
    check(SIGNED_DATA, &[&SIGNED_DATA[..8], &[3]].concat(), "its token is not CMS SignedData");
    // The eContentType is named a second time, in the signature; the first is followed by [0].
    let [receipt, tst_info] = [1, 4].map(|last| [&TST_INFO[..10], &[last, CONTEXT_0]].concat());
    check(&tst_info, &receipt, "what is signed is not a TSTInfo");
    check(&[2, 1, 1, 6, 3, 42, 3, 4], &[2, 1, 2, 6, 3, 42, 3, 4], "its TSTInfo is not of version 1");
    check(b"20261123230947Z", b"20261123230960Z", "its genTime is not YYYYMMDDhhmmss[.s…]Z from 1970 on");
}

#[test]
fn only_der_is_read() {
    let check = |bytes: &[u8], expect: &str| assert_eq!(malformed_as(Token::parse(bytes, MESSAGE)), expect);
    let ber = "a length in it is cut off or not DER, perhaps BER";
    check(b"", "there is no TimeStampToken where it should be");
    check(b"<html>", "there is no TimeStampToken where it should be");
    check(&[0x30, 0x80, 0, 0], ber);
    check(&[0x30, 0x81, 0x7f], ber);
    check(&[0x30, 0x82, 0, 0x80], ber);
    check(&[0x30, 0x84, 0, 0, 0, 0], ber);
    check(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], ber);
    check(&[0x30, 5, 6], "an element is longer than what it is in");
    check(&vec![0x30; TIMESTAMP_BYTES_MAX + 1], "it is larger than 64 KiB");
    check(&[token(), vec![0]].concat(), "there is more in or after its TimeStampToken");
    let padded = edited(&token(), &[2, 8, 0x6c, 0xf8], &[2, 8, 0, 0x78]);
    check(&padded, "its nonce is not an INTEGER");
}

#[test]
fn nothing_that_was_cut_off_is_read() {
    for end in 0..RESPONSE.len() {
        assert!(response(&RESPONSE[..end], MESSAGE, NONCE).is_err(), "{end} bytes are enough");
    }
    let granted_and_no_token = [0x30, 5, 0x30, 3, 2, 1, 0];
    let what = malformed_as(response(&granted_and_no_token, MESSAGE, NONCE));
    assert_eq!(what, "there is no TimeStampToken where it should be");
}

#[test]
fn the_largest_element_is_written_and_read() {
    for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 65_532] {
        let written = element(SEQUENCE, &[&vec![7; length]]);
        assert_eq!(Reader::only_sequence(&written, "it").unwrap().left, vec![7; length]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(bytes in any::<Vec<u8>>(), nonce in any::<u64>()) {
        let _ = response(&bytes, MESSAGE, nonce);
        let _ = Token::parse(&bytes, MESSAGE);
    }

    #[test]
    fn no_damage_makes_parsing_panic(damage in prop::collection::vec((0..RESPONSE.len(), any::<u8>()), 1..8)) {
        let mut damaged = RESPONSE.to_vec();
        for (at, byte) in damage {
            damaged[at] = byte;
        }
        let _ = response(&damaged, MESSAGE, NONCE);
        let _ = Token::parse(&damaged[9..], MESSAGE);
    }

    #[test]
    fn no_bit_of_a_message_can_be_flipped(at in 0..MESSAGE.len(), bit in 0..8_u8) {
        let mut message = MESSAGE.to_vec();
        message[at] ^= 1 << bit;
        prop_assert_eq!(Token::parse(&token(), &message), Err(TimestampError::OtherMessage));
    }

    #[test]
    fn what_is_asked_for_is_what_is_read(nonce in any::<u64>(), other in any::<u64>()) {
        let granted = element(SEQUENCE, &[&element(INTEGER, &[&[0]])]);
        let answer = element(SEQUENCE, &[&granted, &Made { nonce: Some(nonce), ..Made::default() }.token()]);
        prop_assert!(response(&answer, MESSAGE, nonce).is_ok());
        prop_assert_eq!(response(&answer, MESSAGE, other).is_ok(), nonce == other);
    }
}

/// An authority with a certificate that it has signed itself, in a directory of its own.
struct Authority(TempDir);

/// As the authority of the tests end to end has it.
const AUTHORITY: &[u8] = include_bytes!("testdata/authority.cnf");

impl Authority {
    fn new() -> Self {
        let authority = Self(TempDir::new().unwrap());
        authority.write("openssl.cnf", AUTHORITY);
        authority.write("serial", b"01\n");
        authority.openssl(
            "req -config openssl.cnf -x509 -extensions leaf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out certificate",
        );
        authority
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        self.write("request", request);
        self.openssl(
            "ts -reply -config openssl.cnf -section tsa -queryfile request -inkey key -signer certificate -out response",
        );
        self.read("response")
    }

    /// What the documentation says that a person should run.
    fn verifies(&self, token: &[u8], message: &[u8]) -> bool {
        self.write("token", token);
        self.write("message", message);
        self.succeeds("ts -verify -data message -token_in -in token -CAfile certificate")
    }

    fn openssl(&self, arguments: &str) {
        assert!(self.succeeds(arguments), "openssl {arguments} failed; is it installed?");
    }

    fn succeeds(&self, arguments: &str) -> bool {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split(' ')).current_dir(&self.0).stdout(Stdio::null()).stderr(Stdio::null());
        openssl.status().unwrap().success()
    }

    #[expect(clippy::disallowed_methods, reason = "openssl reads and writes files")]
    fn write(&self, name: impl AsRef<Path>, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "openssl reads and writes files")]
    fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }
}

#[test]
fn openssl_answers_what_we_ask_and_verifies_what_we_keep() {
    let authority = Authority::new();
    for nonce in [0, 0x7f, 0x80, NONCE, u64::MAX] {
        let answer = authority.answer(&request(MESSAGE, nonce));
        let token = response(&answer, MESSAGE, nonce).unwrap();
        assert_eq!(response(&answer, MESSAGE, nonce ^ 1), Err(TimestampError::OtherNonce));
        assert_eq!(Token::parse(&token.der, MESSAGE).as_ref(), Ok(&token));
        assert!(authority.verifies(&token.der, MESSAGE));
        assert!(!authority.verifies(&token.der, b"another"));
    }
}

#[test]
fn a_refusal_of_openssl_is_told() {
    let other_digest = edited(&request(MESSAGE, NONCE), SHA256, &[&SHA256[..8], &[4]].concat());
    let refused = response(&Authority::new().answer(&other_digest), MESSAGE, NONCE);
    assert!(
        matches!(&refused, Err(TimestampError::Refused { status: "rejection", failures, .. }) if failures == &["badAlg"]),
        "{refused:?}"
    );
}

#[test]
fn a_forged_time_is_read_here_and_found_by_openssl() {
    let authority = Authority::new();
    let token = response(&authority.answer(&request(MESSAGE, NONCE)), MESSAGE, NONCE).unwrap();
    let start = (0..token.der.len()).find(|at| token.der[*at..].starts_with(&[GENERALIZED_TIME, 15])).unwrap() + 2;
    let mut forged = token.der.clone();
    forged[start..start + 15].copy_from_slice(b"20010101000000Z");
    assert_eq!(Token::parse(&forged, MESSAGE).unwrap().time, 978_307_200);
    assert!(authority.verifies(&token.der, MESSAGE));
    assert!(!authority.verifies(&forged, MESSAGE));
}
