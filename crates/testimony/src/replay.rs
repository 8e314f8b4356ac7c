//! A candidate policy over recorded calls. Each is put to it as it was put to the policy of its time: the question is made from the
//! record alone.

use anyhow::Context as _;
use gateway::Question;
use policy::{Actor, Changes, Decision, Obligation, Point, Policy, Recorded, Replay};
use record::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Client, runtime};
use crate::terminal::escaped;

/// Calls that are fetched at once.
const PAGE_ROWS: usize = 2_000;
/// Lines of each list that are printed.
const LINES_MAX: usize = 20;

/// What of a record of a request a question is made from.
#[derive(Deserialize)]
struct Row {
    log_index: u64,
    id: String,
    time: String,
    decision: Option<String>,
    actor_type: Option<String>,
    actor_id: Option<String>,
    actor_auth: Option<String>,
    actor_ip: Option<String>,
    model: Option<String>,
    environment: Option<String>,
    service: Option<String>,
    input: Option<String>,
    parameters: Option<String>,
    role: Option<String>,
    groups: Option<String>,
    findings: Option<String>,
    reasons: Option<String>,
    obligations: Option<String>,
    rules: Option<String>,
}

const COLUMNS: &str = "log_index, id, time, decision, actor_type, actor_id, actor_auth, actor_ip, model, environment, service, \
    input, parameters, attributes['testimony.actor.role'] AS role, attributes['testimony.actor.groups'] AS groups, \
    attributes['testimony.guardrails'] AS findings, attributes['testimony.decision.reasons'] AS reasons, \
    attributes['testimony.policy.obligations'] AS obligations, attributes['testimony.policy.rules'] AS rules";

/// Asks the candidate about every recorded call since a moment.
pub(crate) fn run(candidate: &Policy, client: &Client, since: &str, query: &str) -> anyhow::Result<Replay> {
    let runtime = runtime()?;
    let (mut replay, mut next) = (Replay::default(), 0);
    loop {
        // A call that guardrails withheld was never put to a policy.
        let statement = format!(
            "SELECT {COLUMNS} FROM records WHERE kind = 'inference.request' AND operation = 'chat' \
             AND (outcome = 'allowed' OR error_type = 'policy_denied') AND log_index >= {next} ORDER BY log_index"
        );
        let body = json!({"query": statement, "limit": PAGE_ROWS, "where": query, "since": since});
        let page = runtime.block_on(client.post("/api/v1/sql?format=jsonl", &body))?;
        let page = std::str::from_utf8(&page)?;
        let rows: Vec<Row> =
            page.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("a recorded call")?;
        let Some(last) = rows.last() else { return Ok(replay) };
        next = last.log_index + 1;
        replay = decide(candidate, rows.into_iter().map(Row::recorded).collect(), replay);
    }
}

/// Decides a page on every core.
fn decide(candidate: &Policy, mut recorded: Vec<Recorded>, mut so_far: Replay) -> Replay {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = recorded.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        while !recorded.is_empty() {
            let part = recorded.split_off(recorded.len().saturating_sub(share));
            workers.push(scope.spawn(move || Replay::run(candidate, part)));
        }
        // They were cut off from the end; records are named in the order of the log.
        for worker in workers.into_iter().rev() {
            if let Ok(part) = worker.join() {
                so_far = std::mem::take(&mut so_far).merge(part);
            }
        }
    });
    so_far
}

impl Row {
    fn recorded(self) -> Recorded {
        let list = |text: &Option<String>| -> Vec<String> {
            text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        let obligation = |text: &String| serde_json::from_str::<Obligation>(text).ok();
        let decision = Decision {
            allow: self.decision.as_deref() == Some("allow"),
            reasons: list(&self.reasons),
            obligations: list(&self.obligations).iter().filter_map(obligation).collect(),
            rules: list(&self.rules),
            error: None,
        };
        let question = Question {
            actor: self.actor(list(&self.groups)),
            model: self.model.as_deref(),
            environment: self.environment.as_deref(),
            service: self.service.as_deref(),
            parameters: self.parameters.as_deref().unwrap_or_default(),
            messages: self.input.as_deref().unwrap_or_default(),
            findings: findings(self.findings.as_deref()),
            time: Timestamp::parse(&self.time).unwrap_or(Timestamp::from_micros(0)),
        };
        let input = question.input();
        Recorded { id: self.id, point: Point::Request, input, decision }
    }

    /// Whoever had not shown who they are was nobody to the policy, whatever the record tells of their claims.
    fn actor(&self, groups: Vec<String>) -> Actor {
        let shown = matches!(self.actor_auth.as_deref(), Some("api_key" | "jwt" | "mtls"));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (kind, id, auth) = match shown {
            true => (text(&self.actor_type), text(&self.actor_id), text(&self.actor_auth)),
            false => ("anonymous".to_owned(), "anonymous".to_owned(), "none".to_owned()),
        };
        Actor { kind, id, groups, role: self.role.clone(), auth: Some(auth), ip: self.actor_ip.clone() }
    }
}

/// What the guardrails found, as the policy was told of it.
fn findings(recorded: Option<&str>) -> Vec<policy::Finding> {
    let verdicts: Vec<Value> = recorded.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let of = |verdict: &Value| {
        let rules = verdict.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
        let finding = |rule: &Value| policy::Finding {
            check: text(verdict, "check"),
            rule: rule.as_str().unwrap_or_default().to_owned(),
            action: text(verdict, "action"),
            score: verdict.get("score").and_then(Value::as_f64),
        };
        rules.iter().map(finding).collect::<Vec<_>>()
    };
    verdicts.iter().flat_map(of).collect()
}

/// The replay as people read it.
pub(crate) fn story(replay: &Replay) -> String {
    let Changes { denied, allowed, obligations } = replay.changes;
    let mut text = format!(
        "{} recorded decisions\n\n  would be denied        {denied}\n  would be allowed       {allowed}\n  \
         other obligations      {obligations}\n  could not be decided   {}\n",
        replay.decisions, replay.errors
    );
    for (what, counts) in [("reason", &replay.by_reason), ("rule", &replay.by_rule), ("actor", &replay.by_actor)] {
        if counts.is_empty() {
            continue;
        }
        text.push_str(&format!("\nby {what}\n"));
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(_, changes)| std::cmp::Reverse(changes.denied + changes.allowed + changes.obligations));
        for (name, changes) in counts.into_iter().take(LINES_MAX) {
            let Changes { denied, allowed, obligations } = changes;
            text.push_str(&format!(
                "  {denied:>7} denied  {allowed:>7} allowed  {obligations:>7} otherwise  {}\n",
                escaped(name)
            ));
        }
    }
    for (what, ids) in
        [("denied", &replay.denied_ids), ("allowed", &replay.allowed_ids), ("otherwise", &replay.obligation_ids)]
    {
        let shown = ids.iter().take(LINES_MAX);
        if !ids.is_empty() {
            text.push_str(&format!("\n{what}, the first of them (testimony show ID)\n"));
        }
        shown.for_each(|id| text.push_str(&format!("  {}\n", escaped(id))));
    }
    text
}
