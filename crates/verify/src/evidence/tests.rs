use record::{Draft, Field, Kind, Source, Timestamp};
use tlog::{Checkpoint, Frontier, SignerKey};

use super::*;

const INPUT: &str = "gen_ai.input.messages";

fn key() -> SignerKey {
    SignerKey::from_seed("audit.example/edge-7", [5; 32]).unwrap()
}

fn trust() -> TrustPolicy {
    TrustPolicy::of_log(key().verifier().clone())
}

/// A record with two fields of content, second in a log of three.
fn evidence(disclose: &[&str]) -> Evidence {
    let text =
        |name: &str, bytes: &str| Field { name: name.into(), media: "application/json".into(), bytes: bytes.into() };
    let source = Source {
        service: "support-bot".into(),
        environment: "staging".into(),
        host: "edge-7".into(),
        origin: "audit.example/edge-7".into(),
        producer: "gateway".into(),
    };
    let now = Timestamp::parse("2026-11-23T09:14:02.118231Z").unwrap();
    let mut draft = Draft::new(record::uuid_v7(now, &[7; 10]), now, Kind::InferenceResponse, source.into());
    draft.content = vec![text(INPUT, "[\"a\u{1b}b\"]"), text("gen_ai.output.messages", "[]")];
    let sealed = draft.seal([3; 32]).unwrap();
    let mut leaf = Vec::new();
    sealed.write_leaf(now, 7, &mut leaf);
    let content = Content::decode(sealed.content()).unwrap().unwrap();
    let mut frontier = Frontier::default();
    let before = frontier.push_entry(b"before it");
    frontier.push_entry(&leaf);
    let after = frontier.push_entry(b"after it");
    let checkpoint = Checkpoint { origin: "audit.example/edge-7".into(), size: 3, root: frontier.root() }.sign(&key());
    let disclosed = disclose.iter().map(|name| Disclosed::of(&content, name).unwrap()).collect();
    Evidence::new(1, vec![before, after], checkpoint, String::from_utf8(leaf).unwrap(), disclosed, Vec::new())
}

#[test]
fn evidence_reads_back_and_holds() {
    for disclose in [[].as_slice(), &[INPUT], &[INPUT, "gen_ai.output.messages"]] {
        let written = evidence(disclose);
        let read = Evidence::parse(written.to_string().as_bytes()).unwrap();
        assert_eq!(read, written);
        let checked = read.check(&trust()).unwrap();
        assert_eq!((checked.index, checked.disclosed.len()), (1, disclose.len()));
        assert_eq!(checked.undisclosed.len(), 2 - disclose.len());
    }
}

#[test]
fn what_a_person_is_told() {
    insta::assert_snapshot!(evidence(&[INPUT]).check(&trust()).unwrap().to_string());
}

#[test]
fn a_field_that_was_changed_is_not_what_was_committed_to() {
    let whole = evidence(&[INPUT]);
    let change = |change: &dyn Fn(&mut Disclosed)| {
        let mut changed = whole.clone();
        change(&mut changed.disclosed[0]);
        changed.check(&trust()).unwrap_err()
    };
    let mismatch = EvidenceError::Content(ContentError::Mismatch(INPUT.into()));
    assert_eq!(change(&|field| field.bytes[0] ^= 1), mismatch);
    assert_eq!(change(&|field| field.salt[31] ^= 1), mismatch);
    assert_eq!(change(&|field| field.media.push('x')), mismatch);
    assert_eq!(change(&|field| field.name.push('x')), EvidenceError::NoField(format!("{INPUT}x")));
}

/// Whoever changes one bit anywhere in the file has no evidence any more, or evidence that says exactly the same.
#[test]
fn one_changed_bit_proves_nothing_else() {
    let file = evidence(&[INPUT]).to_string().into_bytes();
    let said = evidence(&[INPUT]).check(&trust()).unwrap().to_string();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            let verdict = Evidence::parse(&changed).and_then(|evidence| evidence.check(&trust()));
            assert!(
                verdict.is_err() || verdict.unwrap().to_string() == said,
                "bit {bit} of byte {at} says something else"
            );
        }
    }
}

#[test]
fn what_is_no_evidence_says_why() {
    let plain = ProofFile { extra: Vec::new(), ..evidence(&[]).proof };
    let other = ProofFile { extra: br#"{"format":"x","leaf":""}"#.to_vec(), ..evidence(&[]).proof };
    for file in [plain, other] {
        assert!(matches!(Evidence::parse(file.to_string().as_bytes()), Err(EvidenceError::Extra(_))));
    }
}

#[test]
fn a_time_stamp_of_something_else_is_refused() {
    const MESSAGE: &[u8] = include_bytes!("../../../tlog/src/timestamp/testdata/message");
    const RESPONSE: &[u8] = include_bytes!("../../../tlog/src/timestamp/testdata/response.tsr");
    let token = tlog::timestamp_response(RESPONSE, MESSAGE, 0x6cf8_7e17_d93f_6360).unwrap().der;
    let stamped = |checkpoint: String| {
        let mut evidence = evidence(&[]);
        let hashes = evidence.proof.hashes.clone();
        evidence.stamps = vec![Stamp { checkpoint, hashes, token: token.clone() }];
        evidence.check(&trust()).unwrap_err()
    };
    assert_eq!(stamped(evidence(&[]).proof.checkpoint), EvidenceError::Timestamp(TimestampError::OtherMessage));
    // What the token is of is no checkpoint of this log.
    let other = String::from_utf8(MESSAGE.to_vec()).unwrap();
    assert!(matches!(stamped(other), EvidenceError::Proof(ProofFileError::Policy(_))));
}
