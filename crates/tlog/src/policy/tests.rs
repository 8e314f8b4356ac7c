use super::*;
use crate::key::{CosignerKey, SignerKey};
use crate::{Frontier, Hash};
use proptest::prelude::*;

fn log() -> SignerKey {
    SignerKey::from_seed("audit.example/edge-7", [5; 32]).unwrap()
}

fn witness(seed: u8) -> CosignerKey {
    CosignerKey::from_seed(&format!("witness.example/{seed}"), [seed; 32]).unwrap()
}

/// A checkpoint cosigned by these witnesses, each at the time of its number.
fn checkpoint(witnesses: &[u8]) -> String {
    let mut frontier = Frontier::default();
    frontier.push_entry(b"what was said");
    let note = Checkpoint { origin: "audit.example/edge-7".into(), size: 1, root: frontier.root() }.sign(&log());
    let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    witnesses.iter().fold(note, |note, seed| note + &witness(*seed).cosign(&text, u64::from(*seed)))
}

/// The example of the specification, with keys.
fn example() -> String {
    let mut text = format!("# whom we trust\n\nlog {} https://log.example/\n", log().verifier());
    for (name, seed) in [("X1", 1), ("X2", 2), ("X3", 3), ("Y1", 4), ("Y2", 5), ("Y3", 6)] {
        text.push_str(&format!("  witness\t{name} {}  \n", witness(seed).verifier()));
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
            group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

#[test]
fn the_specifications_example_asks_for_two_of_x_and_one_of_y() {
    let policy = TrustPolicy::parse(example().as_bytes()).unwrap();
    for chosen in 0_u8..64 {
        let witnesses: Vec<u8> = (0..6).filter(|bit| chosen >> bit & 1 == 1).map(|bit| bit + 1).collect();
        let verdict = policy.vouch(checkpoint(&witnesses).as_bytes());
        let (x, y) =
            (witnesses.iter().filter(|seed| **seed <= 3).count(), witnesses.iter().filter(|seed| **seed > 3).count());
        assert_eq!(verdict.is_ok(), x >= 2 && y >= 1, "{witnesses:?}: {verdict:?}");
        if let Ok(vouched) = verdict {
            let times: Vec<u64> = vouched.cosigned.iter().map(|(_, seconds)| *seconds).collect();
            assert_eq!(times, witnesses.iter().map(|seed| u64::from(*seed)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn one_key_asks_for_no_witness_and_takes_no_other_log() {
    let note = checkpoint(&[1]);
    let vouched = TrustPolicy::of_log(log().verifier().clone()).vouch(note.as_bytes()).unwrap();
    assert_eq!((vouched.checkpoint.size, vouched.cosigned.len()), (1, 0));
    let other = SignerKey::from_seed("audit.example/edge-7", [6; 32]).unwrap();
    let refused = TrustPolicy::of_log(other.verifier().clone()).vouch(note.as_bytes());
    assert!(matches!(refused, Err(PolicyError::NoLog { .. })), "{refused:?}");
}

#[test]
fn a_wrong_signature_of_a_known_witness_spoils_the_note() {
    let policy = format!("log {}\nwitness w {}\nquorum none\n", log().verifier(), witness(1).verifier());
    let policy = TrustPolicy::parse(policy.as_bytes()).unwrap();
    let forged = checkpoint(&[]) + &witness(1).cosign("another text\n", 1);
    assert!(policy.vouch(checkpoint(&[]).as_bytes()).is_ok());
    assert!(matches!(policy.vouch(forged.as_bytes()), Err(PolicyError::Checkpoint(_))));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let key = witness(1).verifier().to_string();
    let (log_key, other) = (log().verifier().to_string(), witness(2).verifier().to_string());
    let cases = [
        String::new(),
        "quorum none\nquorum none\n".into(),
        "quorum w\n".into(),
        format!("witness none {key}\nquorum none\n"),
        format!("witness w {key}\nwitness v {key}\nquorum none\n"),
        format!("witness w {key}\nwitness w {other}\nquorum none\n"),
        format!("witness w {log_key}\nquorum none\n"),
        format!("log {key}\nquorum none\n"),
        format!("log {log_key}\nlog {log_key}\nquorum none\n"),
        format!("witness w {key}\ngroup g 2 w\nquorum g\n"),
        format!("witness w {key}\ngroup g 0 w\nquorum g\n"),
        format!("witness w {key}\ngroup g 01 w\nquorum g\n"),
        format!("witness w {key}\ngroup g any\nquorum g\n"),
        format!("witness w {key}\ngroup g any w\ngroup h any w\nquorum g\n"),
        format!("group g any w\nwitness w {key}\nquorum g\n"),
        "quorum none\u{b}\n".into(),
        "trust everybody\n".into(),
    ];
    let said: Vec<String> =
        cases.iter().map(|case| TrustPolicy::parse(case.as_bytes()).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(said.join("\n"));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
        let _ = TrustPolicy::parse(&bytes);
        let _ = TrustPolicy::of_log(log().verifier().clone()).vouch(&bytes);
    }

    #[test]
    fn a_group_is_met_by_its_threshold(members in 1_usize..6, threshold in 1_usize..6, seen in 0_u8..32) {
        prop_assume!(threshold <= members);
        let mut text = format!("log {}\n", log().verifier());
        let names: Vec<String> = (1..=members).map(|seed| format!("w{seed}")).collect();
        for (name, seed) in names.iter().zip(1..) {
            text.push_str(&format!("witness {name} {}\n", witness(seed).verifier()));
        }
        text.push_str(&format!("group g {threshold} {}\nquorum g", names.join(" ")));
        let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
        let chosen: Vec<u8> = (1..=5).filter(|seed| seen >> (seed - 1) & 1 == 1).collect();
        let counted = chosen.iter().filter(|seed| usize::from(**seed) <= members).count();
        prop_assert_eq!(policy.vouch(checkpoint(&chosen).as_bytes()).is_ok(), counted >= threshold);
        prop_assert_ne!(policy.logs[0].bytes(), &Hash::of_empty_tree().0);
    }
}
