//! How long a decision takes with a policy of fifty rules, and how many two threads make in a minute.

use std::time::{Duration, Instant};

use policy::{Actor, Finding, Input, Limits, Message, Point, Policy, Recorded, Replay, Time};

const DECISIONS: usize = 50_000;
const DECISIONS_MADE: f64 = 50_000.0;

pub(crate) fn run() -> anyhow::Result<()> {
    let files = [("fifty.rego".to_owned(), include_bytes!("../../crates/policy/examples/fifty.rego").to_vec())];
    let policy = Policy::from_files(&files, &Limits::default())?;
    let inputs: Vec<Input> = (0..64).map(input).collect();
    let mut times: Vec<Duration> = Vec::with_capacity(DECISIONS);
    for round in 0..DECISIONS + 1000 {
        let started = Instant::now();
        let decision = policy.decide(Point::Request, question(&inputs, round));
        let time = started.elapsed();
        anyhow::ensure!(decision.error.is_none(), "{decision:?}");
        if round >= 1000 {
            times.push(time);
        }
    }
    let plain = [("plain.rego".to_owned(), b"package testimony.request\nallow := true".to_vec())];
    let plain = Policy::from_files(&plain, &Limits::default())?;
    let started = Instant::now();
    for round in 0..DECISIONS {
        anyhow::ensure!(plain.decide(Point::Request, question(&inputs, round)).allow);
    }
    println!(
        "policy, one rule     mean {:.1} µs, which is what is not evaluation",
        started.elapsed().as_secs_f64() * 1e6 / DECISIONS_MADE
    );
    times.sort_unstable();
    let micros = |share: usize| times.get(DECISIONS * share / 1000).copied().unwrap_or_default().as_secs_f64() * 1e6;
    println!(
        "policy, 50 rules, some 2 kB of prompt: p50 {:.1} µs  p99 {:.1} µs  p99.9 {:.1} µs",
        micros(500),
        micros(990),
        micros(999)
    );

    let recorded: Vec<Recorded> = (0..DECISIONS)
        .map(|at| {
            let input = question(&inputs, at).clone();
            Recorded {
                id: at.to_string(),
                point: Point::Request,
                decision: policy.decide(Point::Request, &input),
                input,
            }
        })
        .collect();
    let started = Instant::now();
    let replay = std::thread::scope(|scope| {
        let halves =
            recorded.chunks(DECISIONS / 2).map(|half| scope.spawn(|| Replay::run(&policy, half.iter().cloned())));
        let halves: Vec<_> = halves.collect();
        halves.into_iter().filter_map(|half| half.join().ok()).fold(Replay::default(), Replay::merge)
    });
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!(replay.changes == policy::Changes::default(), "the same policy decides otherwise");
    println!(
        "two threads  {:.0} decisions a minute ({} in {seconds:.2} s)",
        60.0 * DECISIONS_MADE / seconds,
        replay.decisions
    );
    Ok(())
}

fn question(inputs: &[Input], number: usize) -> &Input {
    &inputs[number % inputs.len()]
}

/// A call of some 2 kB of text, by one of many callers.
fn input(number: usize) -> Input {
    let groups = ["support", "engineering", "contractors"];
    let text = "My router drops the connection every evening at about the same time, and I have restarted it twice. "
        .repeat(10);
    let finding = Finding {
        check: "personal".to_owned(),
        rule: "email".to_owned(),
        action: "redact".to_owned(),
        score: Some(0.9),
    };
    Input {
        actor: Actor {
            kind: if number.is_multiple_of(5) { "service" } else { "user" }.to_owned(),
            id: format!("caller-{number}"),
            groups: vec![groups.get(number % 3).copied().unwrap_or_default().to_owned(), "everyone".to_owned()],
            role: Some("caller".to_owned()),
            auth: Some("jwt".to_owned()),
            ip: Some("10.0.0.8".to_owned()),
        },
        model: Some("support-bot".to_owned()),
        route: Some("support".to_owned()),
        environment: Some(if number.is_multiple_of(2) { "staging" } else { "production" }.to_owned()),
        service: Some("support-bot".to_owned()),
        parameters: serde_json::json!({"temperature": 0.2, "max_tokens": 2048})
            .as_object()
            .cloned()
            .unwrap_or_default(),
        messages: vec![
            Message { role: "system".to_owned(), text: "You help customers of a telephone company.".to_owned() },
            Message { role: "user".to_owned(), text: text.clone() },
            Message { role: "assistant".to_owned(), text: "Which router is it?".to_owned() },
            Message { role: "user".to_owned(), text },
        ],
        tools: vec!["search".to_owned(), "ticket".to_owned()],
        time: Time { rfc3339: "2026-11-23T12:00:00Z".to_owned(), unix_ns: 1_795_435_200_000_000_000 },
        findings: vec![finding],
        ..Input::default()
    }
}
