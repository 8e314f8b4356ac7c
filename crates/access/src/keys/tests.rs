use super::*;
use world::{RealDisk, SeededEntropy};

const DAY: i64 = 86_400_000_000;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + micros)
}

fn new(name: &str) -> NewKey {
    let scope = "env=staging".parse().unwrap();
    NewKey { name: name.into(), role: Role::Reader, scope, expires_at: Some(at(90 * DAY)), created_by: "root".into() }
}

fn in_memory() -> KeyStore {
    KeyStore::open(State::in_memory().unwrap()).unwrap()
}

fn create(store: &KeyStore, name: &str, entropy: u64) -> (Secret, ApiKey) {
    store.create(new(name), at(0), &SeededEntropy::new(entropy)).unwrap()
}

#[test]
fn a_key_says_who_holds_it_and_what_they_may() {
    let store = in_memory();
    let (secret, key) = create(&store, "ci", 1);
    assert!(secret.expose().starts_with(&format!("tsm_{}_", key.id)));
    let identity = store.verify(secret.expose(), at(1)).unwrap();
    assert_eq!((identity.id.as_str(), identity.key_id.as_deref()), ("ci", Some(key.id.as_str())));
    assert_eq!(identity.grants, [Grant { role: Role::Reader, scope: "env=staging".parse().unwrap() }]);
    assert_eq!((identity.method, identity.expires_at), (Method::ApiKey, Some(at(90 * DAY))));
}

#[test]
fn unknown_mistyped_expired_and_revoked_are_told_apart() {
    let store = in_memory();
    let (secret, key) = create(&store, "ci", 1);
    let foreign = create(&in_memory(), "ci", 2).0;
    let refusal = |secret: &str, time| store.verify(secret, time).unwrap_err();
    assert_eq!(refusal(foreign.expose(), at(1)), KeyRefusal::Unknown);
    assert_eq!(refusal(&secret.expose().to_lowercase(), at(1)), KeyRefusal::Malformed);
    assert_eq!(refusal("", at(1)), KeyRefusal::Malformed);
    store.verify(secret.expose(), at(90 * DAY - 1)).unwrap();
    assert_eq!(refusal(secret.expose(), at(90 * DAY)), KeyRefusal::Expired);
    let revoked = store.revoke(&key.id, at(2)).unwrap();
    assert_eq!(revoked.revoked_at, Some(at(2)));
    assert_eq!(refusal(secret.expose(), at(3)), KeyRefusal::Revoked);
    // Revoked is what it is also after its time would have been over.
    assert_eq!(refusal(secret.expose(), at(90 * DAY)), KeyRefusal::Revoked);
}

#[test]
fn a_name_is_free_again_after_its_key_was_revoked() {
    let store = in_memory();
    let (old, _) = create(&store, "ci", 1);
    let again = || store.create(new("ci"), at(1), &SeededEntropy::new(2));
    assert!(matches!(again(), Err(KeyError::Taken(name)) if name == "ci"));
    store.revoke("ci", at(1)).unwrap();
    assert!(matches!(store.revoke("ci", at(1)), Err(KeyError::NotFound(_))));
    let (fresh, _) = again().unwrap();
    assert_eq!(store.verify(old.expose(), at(2)), Err(KeyRefusal::Revoked));
    store.verify(fresh.expose(), at(2)).unwrap();
    assert_eq!(store.list().len(), 2);
}

#[test]
fn a_name_that_is_an_identifier_is_taken() {
    let store = in_memory();
    let (_, key) = create(&store, "ci", 1);
    let result = store.create(new(&key.id), at(1), &SeededEntropy::new(2));
    assert!(matches!(result, Err(KeyError::Taken(_))));
}

#[test]
fn what_makes_no_sense_is_not_made() {
    let store = in_memory();
    for name in ["", "a b", "a\n", "é", &"a".repeat(65)] {
        let result = store.create(new(name), at(0), &SeededEntropy::new(1));
        assert!(matches!(result, Err(KeyError::Name(_))), "{name:?}");
    }
    let result = store.create(new("late"), at(90 * DAY), &SeededEntropy::new(1));
    assert!(matches!(result, Err(KeyError::EndsBeforeItBegins)));
    assert_eq!(store.list(), []);
}

/// A source that gives the same bytes again and again.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

#[test]
fn randomness_that_repeats_makes_no_second_key() {
    let store = in_memory();
    let (secret, _) = store.create(new("one"), at(0), &Stuck).unwrap();
    assert!(matches!(store.create(new("two"), at(0), &Stuck), Err(KeyError::Randomness)));
    assert_eq!(store.verify(secret.expose(), at(1)).unwrap().id, "one");
}

#[test]
fn keys_survive_a_restart_and_their_secrets_are_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let (kept, revoked) = {
        let store = KeyStore::open(State::open(&path, &RealDisk).unwrap()).unwrap();
        let (kept, revoked) = (create(&store, "kept", 1).0, create(&store, "revoked", 2).0);
        store.revoke("revoked", at(5)).unwrap();
        store.verify(kept.expose(), at(61_000_000)).unwrap();
        assert_eq!(store.write_last_used().unwrap(), 1);
        (kept, revoked)
    };
    let store = KeyStore::open(State::open(&path, &RealDisk).unwrap()).unwrap();
    assert_eq!(store.verify(kept.expose(), at(6)).unwrap().id, "kept");
    assert_eq!(store.verify(revoked.expose(), at(6)), Err(KeyRefusal::Revoked));
    let key = store.list().into_iter().find(|key| key.name == "kept").unwrap();
    assert_eq!(key.last_used_at, Some(at(60_000_000)));
    assert_eq!(
        (key.scope.to_string().as_str(), key.created_at, key.expires_at),
        ("env=staging", at(0), Some(at(90 * DAY)))
    );
    let bytes = world::Disk::read(&RealDisk, &path).unwrap();
    let random = &kept.expose().as_bytes()[13..];
    assert!(bytes.windows(4).any(|window| window == b"kept"));
    assert!(!bytes.windows(random.len()).any(|window| window == random));
}

#[test]
fn last_use_is_written_once_a_minute_and_for_all_keys_at_once() {
    let store = in_memory();
    let secrets = [create(&store, "a", 1).0, create(&store, "b", 2).0, create(&store, "c", 3).0];
    assert_eq!(store.write_last_used().unwrap(), 0);
    for micros in 0..1_000 {
        store.verify(secrets[0].expose(), at(micros)).unwrap();
        store.verify(secrets[1].expose(), at(micros)).unwrap();
    }
    assert_eq!(store.write_last_used().unwrap(), 2);
    store.verify(secrets[0].expose(), at(59_000_000)).unwrap();
    assert_eq!(store.write_last_used().unwrap(), 0);
    store.verify(secrets[0].expose(), at(60_000_000)).unwrap();
    // A clock that goes back does not take a use back.
    store.verify(secrets[0].expose(), at(0)).unwrap();
    assert_eq!(store.write_last_used().unwrap(), 1);
    let used: Vec<_> =
        ["a", "b", "c"].map(|name| store.list().into_iter().find(|key| key.name == name).unwrap().last_used_at).into();
    assert_eq!(used, [Some(at(60_000_000)), Some(at(0)), None]);
}

#[test]
fn a_refused_key_does_not_count_as_used() {
    let store = in_memory();
    let (secret, _) = create(&store, "a", 1);
    store.verify(secret.expose(), at(90 * DAY)).unwrap_err();
    store.revoke("a", at(1)).unwrap();
    store.verify(secret.expose(), at(2)).unwrap_err();
    assert_eq!(store.write_last_used().unwrap(), 0);
}
