use super::*;
use crate::Limits;
use crate::decision::Obligation;
use crate::input::Actor;

fn policy(rules: &str) -> Policy {
    let text = format!("package testimony.request\n{rules}");
    Policy::from_files(&[("a.rego".to_owned(), text.into_bytes())], &Limits::patient()).unwrap()
}

fn recorded(old: &Policy) -> Vec<Recorded> {
    let ids = ["alice", "bob", "carol", "alice"].into_iter().enumerate();
    let records = ids.map(|(at, id)| {
        let actor = Actor { kind: "user".to_owned(), id: id.to_owned(), ..Actor::default() };
        let input = Input { actor, ..Input::default() };
        Recorded { id: format!("r{at}"), point: Point::Request, decision: old.decide(Point::Request, &input), input }
    });
    records.collect()
}

#[test]
fn the_same_policy_changes_nothing() {
    let old = policy("allow if input.actor.id == \"alice\"");
    let replay = Replay::run(&old, recorded(&old));
    assert_eq!(replay, Replay { decisions: 4, ..Replay::default() });
}

#[test]
fn changes_are_counted_by_rule_reason_and_actor() {
    let old = policy("allow if input.actor.id != \"bob\"\ndeny contains \"bob is out\" if input.actor.id == \"bob\"");
    let new = policy(
        "allow if input.actor.id != \"alice\"\nreasons contains \"alice is out\" if input.actor.id == \"alice\"\n\
         obligations contains {\"type\": \"flag\", \"label\": \"c\"} if input.actor.id == \"carol\"",
    );
    let replay = Replay::run(&new, recorded(&old));
    assert_eq!(replay.changes, Changes { denied: 2, allowed: 1, obligations: 1 });
    assert_eq!(replay.by_actor["user:alice"], Changes { denied: 2, ..Changes::default() });
    assert_eq!(replay.by_reason["alice is out"].denied, 2);
    assert_eq!(replay.by_reason["bob is out"].allowed, 1);
    assert_eq!(replay.by_rule["data.testimony.request.allow"], Changes { denied: 2, allowed: 1, obligations: 0 });
    assert_eq!(replay.by_rule["data.testimony.request.obligations"].obligations, 1);
    assert_eq!(
        (replay.denied_ids, replay.allowed_ids),
        (vec!["r0".to_owned(), "r3".to_owned()], vec!["r1".to_owned()])
    );
    assert_eq!(replay.obligation_ids, ["r2"]);
}

#[test]
fn parts_merged_are_the_whole() {
    let (old, new) = (policy("allow := true"), policy("allow if input.actor.id == \"bob\""));
    let all = recorded(&old);
    let (first, second) = all.split_at(2);
    let parts = Replay::run(&new, first.to_vec()).merge(Replay::run(&new, second.to_vec()));
    assert_eq!(parts, Replay::run(&new, all));
}

#[test]
fn a_candidate_that_fails_denies_and_is_counted() {
    let (old, new) = (policy("allow := true"), policy("allow if to_number(input.actor.id) > 0"));
    let replay = Replay::run(&new, recorded(&old));
    assert_eq!((replay.errors, replay.changes.denied), (4, 4));
}

#[test]
fn what_is_counted_apart_is_bounded() {
    let mut counts = BTreeMap::new();
    (0..COUNTED_MAX + 5).for_each(|n| add_to(&mut counts, &n.to_string(), Change::Denied));
    assert_eq!(counts.len(), COUNTED_MAX + 1);
    assert_eq!(counts[OTHERS].denied, 5);
}

#[test]
fn obligations_compare_in_a_fixed_order() {
    let flags = ["b", "a"].map(|label| Obligation::Flag { label: label.to_owned() });
    assert!(flags[1] < flags[0]);
}
