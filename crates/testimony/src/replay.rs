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

/// What of the records of a call a question is made from.
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
    route: Option<String>,
    environment: Option<String>,
    service: Option<String>,
    input: Option<String>,
    parameters: Option<String>,
    output: Option<String>,
    role: Option<String>,
    groups: Option<String>,
    findings: Option<String>,
    reasons: Option<String>,
    obligations: Option<String>,
    rules: Option<String>,
}

/// What is asked about a request. A call that guardrails withheld was never put to a policy.
const REQUESTS: &str = "SELECT log_index, id, time, decision, actor_type, actor_id, actor_auth, actor_ip, model, environment, \
    service, input, parameters, CASE WHEN attributes['testimony.route.by'] = 'policy' THEN attributes['testimony.route.asked'] \
    ELSE attributes['testimony.route'] END AS route, attributes['testimony.actor.role'] AS role, actor_groups AS groups, \
    attributes['testimony.guardrails'] AS findings, attributes['testimony.decision.reasons'] AS reasons, \
    attributes['testimony.policy.obligations'] AS obligations, attributes['testimony.policy.rules'] AS rules FROM records \
    WHERE kind = 'inference.request' AND operation = 'chat' AND (outcome = 'allowed' OR error_type = 'policy_denied')";

/// What is asked about an answer: the question about its request, with what the model said.
const ANSWERS: &str = "SELECT a.log_index, a.id, q.time, a.decision, q.actor_type, q.actor_id, q.actor_auth, q.actor_ip, \
    q.model, q.environment, q.service, q.input, q.parameters, a.output, CASE WHEN q.attributes['testimony.route.by'] = 'policy' \
    THEN q.attributes['testimony.route.asked'] ELSE q.attributes['testimony.route'] END AS route, q.attributes['testimony.actor.role'] AS role, \
    q.actor_groups AS groups, a.attributes['testimony.guardrails'] AS findings, \
    a.attributes['testimony.decision.reasons'] AS reasons, a.attributes['testimony.policy.obligations'] AS obligations, \
    a.attributes['testimony.policy.rules'] AS rules FROM records a JOIN records q ON a.call_id = q.call_id \
    WHERE a.kind = 'inference.response' AND q.kind = 'inference.request' AND q.outcome = 'allowed' \
    AND a.output IS NOT NULL AND (a.outcome = 'completed' OR a.error_type = 'policy_denied')";

/// Asks the candidate about every recorded call since a moment, and about every answer where it has rules for answers.
pub(crate) fn run(candidate: &Policy, client: &Client, since: &str, query: &str) -> anyhow::Result<Replay> {
    let mut replay = put(candidate, client, (Point::Request, REQUESTS, "log_index"), since, query)?;
    if candidate.answers(Point::Response) {
        let answers = put(candidate, client, (Point::Response, ANSWERS, "a.log_index"), since, query)?;
        replay = replay.merge(answers);
    }
    Ok(replay)
}

fn put(
    candidate: &Policy,
    client: &Client,
    (point, rows, index): (Point, &str, &str),
    since: &str,
    query: &str,
) -> anyhow::Result<Replay> {
    let runtime = runtime()?;
    let (mut replay, mut next) = (Replay::default(), 0);
    loop {
        let statement = format!("{rows} AND {index} >= {next} ORDER BY {index}");
        let body = json!({"query": statement, "limit": PAGE_ROWS, "where": query, "since": since});
        let page = runtime.block_on(client.post("/api/v1/sql?format=jsonl", &body))?;
        let page = std::str::from_utf8(&page)?;
        let rows: Vec<Row> =
            page.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("a recorded call")?;
        let Some(last) = rows.last() else { return Ok(replay) };
        next = last.log_index + 1;
        replay = decide(candidate, rows.into_iter().map(|row| row.recorded(point)).collect(), replay);
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
    fn recorded(self, point: Point) -> Recorded {
        let list = |text: &Option<String>| -> Vec<String> {
            text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        let obligation = |text: &String| serde_json::from_str::<Obligation>(text).ok();
        let decision = Decision {
            // An answer that nobody was asked about was released.
            allow: self.decision.as_deref().map_or(point == Point::Response, |decision| decision == "allow"),
            reasons: list(&self.reasons),
            obligations: list(&self.obligations).iter().filter_map(obligation).collect(),
            rules: list(&self.rules),
            error: None,
        };
        let question = Question {
            actor: self.actor(list(&self.groups)),
            model: self.model.as_deref(),
            route: self.route.as_deref().filter(|route| !route.is_empty()),
            environment: self.environment.as_deref(),
            service: self.service.as_deref(),
            parameters: self.parameters.as_deref().unwrap_or_default(),
            messages: self.input.as_deref().unwrap_or_default(),
            output: self.output.as_deref(),
            findings: findings(self.findings.as_deref()),
            time: Timestamp::parse(&self.time).unwrap_or(Timestamp::from_micros(0)),
        };
        let input = question.input();
        Recorded { id: self.id, point, input, decision }
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
