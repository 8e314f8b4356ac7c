//! Prints what it costs to say who is calling: an API key among 10,000, and tokens that are seen for the first time and again.
//!
//! `cargo run --release --example cost`

use std::hint::black_box;
use std::time::{Duration, Instant};

use access::{Algorithm, ClaimMapping, KEYS_MAX, KeyStore, NewKey, Role, Scope, State, TokenSettings, TokenVerifier};
use record::Timestamp;
use world::SeededEntropy;

const JWKS: &[u8] = include_bytes!("../testdata/jwks.json");
const TOKENS: &str = include_str!("../testdata/tokens.txt");
const KEYS: usize = KEYS_MAX / 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now = Timestamp::from_posix_seconds(1_800_000_000);
    let store = KeyStore::open(State::in_memory()?)?;
    let entropy = SeededEntropy::new(1);
    let mut secrets = Vec::new();
    for number in 0..KEYS {
        let (role, scope, name) = (Role::Caller, Scope::everything(), format!("key-{number}"));
        let new = NewKey { name, role, scope, expires_at: None, created_by: "cost".to_owned() };
        secrets.push(store.create(new, now, &entropy)?.0);
    }
    let mut next = secrets.iter().cycle();
    show(&format!("API key, one of {KEYS}"), 1_000_000, || {
        if let Some(secret) = next.next() {
            let _ = black_box(store.verify(secret.expose(), now));
        }
    });
    show("API key that there is not", 1_000_000, || {
        let _ = black_box(store.verify("tsm_0123abXY_1fJjkkpe9PiTw9KSulA8Ghct30vZz4HpdQ5c5b9cPF13Yksva", now));
    });

    let settings = TokenSettings {
        issuer: "https://issuer.example".to_owned(),
        audiences: vec!["testimony".to_owned()],
        algorithms: Algorithm::DEFAULT.into(),
        mapping: ClaimMapping { groups: Some("groups".to_owned()), ..ClaimMapping::default() },
    };
    let verifier = TokenVerifier::with_public_keys(settings)?;
    for (name, token) in TOKENS.lines().filter_map(|line| line.split_once(' ')) {
        if !["rs256", "es256", "eddsa"].contains(&name) {
            continue;
        }
        verifier.replace_keys(JWKS, now)?;
        let fresh = median(10_000, || {
            // Which empties the memory of verified tokens; its own cost is taken off.
            let _ = black_box(verifier.replace_keys(JWKS, now));
            let _ = black_box(verifier.verify(token, now));
        });
        let emptying = median(10_000, || {
            let _ = black_box(verifier.replace_keys(JWKS, now));
        });
        print(&format!("{name} token, first time"), fresh.saturating_sub(emptying));
        verifier.verify(token, now)?;
        show(&format!("{name} token, again"), 1_000_000, || {
            let _ = black_box(verifier.verify(token, now));
        });
    }
    Ok(())
}

/// Prints the mean of so many runs.
fn show(what: &str, runs: u32, mut run: impl FnMut()) {
    let begun = Instant::now();
    (0..runs).for_each(|_| run());
    print(what, begun.elapsed() / runs);
}

fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut took: Vec<Duration> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took.get(runs / 2).copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn print(what: &str, took: Duration) {
    println!("{what:<32} {:>8.2} µs", took.as_secs_f64() * 1e6);
}
