//! Decision logs of an OPA: the body of what it posts to its decision log service (a list), or its console's lines.
//!
//! The format: <https://www.openpolicyagent.org/docs/management-decision-logs>. Compression is undone by whoever received it.
//! Attributes are named as in the records of calls that a policy decided, so that a decision that the gateway had an OPA make
//! and that OPA's own log of it share `testimony.policy.decision_id`.

mod verdict;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use record::{Draft, Field, Kind, Outcome, Trace, Value, is_hex_id};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::verdict::Verdict;
use crate::fitting::{Fitting, NAME_BYTES_MAX, TEXT_BYTES_MAX, thousandths};

use crate::records::{split, wrong};
use crate::{Arrival, Form, RECORDS_MAX, Rejected, credentials, nesting};

/// The longest identifier of a decision, in bytes.
const DECISION_ID_BYTES_MAX: usize = 1_024;
/// How long OPA took to answer, in nanoseconds; without a server in front, how long the evaluation took.
const TIMERS: [&str; 2] = ["timer_server_handler_ns", "timer_rego_query_eval_ns"];

/// A decision as OPA logs it.
#[derive(Deserialize)]
struct Decision<'a> {
    labels: Option<BTreeMap<String, String>>,
    decision_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    bundles: Option<BTreeMap<String, Bundle>>,
    /// Of an OPA that is configured with the one bundle of old.
    revision: Option<String>,
    path: Option<String>,
    query: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    mapped_result: Option<&'a RawValue>,
    #[serde(borrow)]
    intermediate_results: Option<&'a RawValue>,
    #[serde(borrow)]
    nd_builtin_cache: Option<&'a RawValue>,
    #[serde(borrow)]
    custom: Option<&'a RawValue>,
    erased: Option<Vec<String>>,
    masked: Option<Vec<String>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    requested_by: Option<String>,
    request_context: Option<RequestContext>,
    timestamp: Option<String>,
    metrics: Option<BTreeMap<String, serde_json::Value>>,
    req_id: Option<u64>,
}

#[derive(Deserialize)]
struct Bundle {
    revision: Option<String>,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Http {
    headers: Option<BTreeMap<String, Vec<String>>>,
}

/// What went wrong, as OPA's errors say it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Failure {
    code: String,
    message: String,
}

/// Reads decision logs: for each decision a draft, or why it is none. [`Form::Json`] is what OPA posts, [`Form::Lines`] what it
/// writes to its console. A decision is known by its `decision_id`, so that one that is sent again is the same record.
#[must_use]
pub fn read(body: &[u8], form: Form, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
    match split(body, form) {
        Ok(texts) if texts.len() > RECORDS_MAX => vec![Err(Rejected::TooMany)],
        Ok(texts) => texts.into_iter().map(|text| draft(text, arrival)).collect(),
        Err(rejected) => vec![Err(rejected)],
    }
}

fn draft(text: &str, arrival: &Arrival<'_>) -> Result<Draft, Rejected> {
    nesting::check(text)?;
    let decision: Decision<'_> = serde_json::from_str(text).map_err(|error| Rejected::Malformed(error.to_string()))?;
    let decision_id = decision.decision_id.as_deref().unwrap_or_default();
    if decision_id.is_empty() || decision_id.len() > DECISION_ID_BYTES_MAX {
        return Err(wrong("decision_id", format!("it must have 1 to {DECISION_ID_BYTES_MAX} bytes")));
    }
    let mut fitting = Fitting::new();
    fitting.text("testimony.policy.decision_id", decision_id, NAME_BYTES_MAX);
    let time = fitting.time(decision.timestamp.as_deref(), arrival.received);
    let id = arrival.id(Some(&format!("opa/{decision_id}")));
    let mut draft = Draft::new(id, time, Kind::PolicyDecision, Arc::new(arrival.source.clone()));
    draft.trace = trace(&decision);
    draft.outcome = Some(set_verdict(&mut fitting, &decision));
    set_policy(&mut fitting, &decision);
    set_asker(&mut fitting, &decision);
    set_metrics(&mut fitting, &decision);
    draft.attributes = fitting.done();
    draft.content = content(&decision);
    Ok(draft)
}

/// OPA's own span, within the trace of whoever asked.
fn trace(decision: &Decision<'_>) -> Trace {
    let id = |text: &Option<String>, digits| text.clone().filter(|text| is_hex_id(text, digits));
    let trace_id = id(&decision.trace_id, 32);
    let span_id = trace_id.as_ref().and_then(|_| id(&decision.span_id, 16));
    Trace { trace_id, span_id, parent_span_id: None }
}

fn set_verdict(fitting: &mut Fitting, decision: &Decision<'_>) -> Outcome {
    if let Some(error) = decision.error {
        // An error is an object of OPA's, or the sentence alone.
        let failure: Failure = serde_json::from_str(error.get()).unwrap_or_else(|_| {
            let message = serde_json::from_str(error.get()).unwrap_or_else(|_| error.get().to_owned());
            Failure { message, ..Failure::default() }
        });
        fitting.name("error.type", Some(if failure.code.is_empty() { "_OTHER" } else { &failure.code }));
        fitting.text("testimony.policy.error", &failure.message, TEXT_BYTES_MAX);
    }
    let path = decision.path.as_deref().unwrap_or_default();
    let verdict = decision.result.map(|result| Verdict::of(path, result.get())).unwrap_or_default();
    if let Some(allow) = verdict.allow {
        fitting.set("testimony.decision", if allow { "allow" } else { "deny" });
    }
    fitting.names("testimony.decision.reasons", verdict.reasons.iter().map(String::as_str));
    match (decision.error, verdict.allow) {
        (Some(_), _) => Outcome::Failed,
        (None, Some(true)) => Outcome::Allowed,
        (None, Some(false)) => Outcome::Denied,
        (None, None) => Outcome::Completed,
    }
}

fn set_policy(fitting: &mut Fitting, decision: &Decision<'_>) {
    let path = decision.path.as_deref().unwrap_or_default();
    fitting.name("testimony.policy.path", Some(path.trim_start_matches('/')));
    let revision = |bundle: &Bundle| bundle.revision.clone().unwrap_or_default();
    let bundles: Vec<(&str, String)> =
        decision.bundles.iter().flatten().map(|(name, bundle)| (name.as_str(), revision(bundle))).collect();
    fitting.map("testimony.policy.bundles", bundles.iter().map(|(name, revision)| (*name, revision.clone().into())));
    // One text for all of them, written as the gateway writes it of an OPA that it asked.
    let named = bundles.iter().map(|(name, revision)| match revision.is_empty() {
        true => (*name).to_owned(),
        false => format!("{name}@{revision}"),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let revision = if named.is_empty() { decision.revision.as_deref().unwrap_or_default() } else { &named };
    fitting.text("testimony.policy.revision", revision, NAME_BYTES_MAX);
    fitting.names("testimony.opa.erased", decision.erased.iter().flatten().map(String::as_str));
    fitting.names("testimony.opa.masked", decision.masked.iter().flatten().map(String::as_str));
}

fn set_asker(fitting: &mut Fitting, decision: &Decision<'_>) {
    let asker = decision.requested_by.as_deref().unwrap_or_default();
    match (asker.parse::<SocketAddr>(), asker.parse::<IpAddr>()) {
        (Ok(address), _) => {
            fitting.set("client.address", address.ip().to_canonical().to_string());
            fitting.set("client.port", address.port());
        }
        (_, Ok(ip)) => fitting.set("client.address", ip.to_canonical().to_string()),
        _ => fitting.name("client.address", Some(asker)),
    }
    if let Some(number) = decision.req_id {
        fitting.set("testimony.opa.request_id", i64::try_from(number).unwrap_or(i64::MAX));
    }
    let headers = decision.request_context.iter().filter_map(|context| context.http.as_ref()?.headers.as_ref());
    for (header, values) in headers.flatten() {
        // A name that is none would make a name of an attribute that nobody can ask for.
        let is_name = header.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if is_name && !header.is_empty() && header.len() <= 64 && !credentials::is_credential(header) {
            let name = format!("http.request.header.{}", header.to_ascii_lowercase());
            fitting.names(&name, values.iter().map(String::as_str));
        }
    }
}

fn set_metrics(fitting: &mut Fitting, decision: &Decision<'_>) {
    let labels = decision.labels.iter().flatten();
    fitting.map("testimony.opa.labels", labels.map(|(name, label)| (name.as_str(), label.clone().into())));
    let metrics = || decision.metrics.iter().flatten();
    let number = |value: &serde_json::Value| match value.as_i64() {
        Some(number) => Some(Value::Int(number)),
        None => value.as_f64().map(Value::Float),
    };
    let numbers = metrics().filter_map(|(name, value)| Some((name.as_str(), number(value)?)));
    fitting.map("testimony.opa.metrics", numbers);
    let timer = |timer: &&str| decision.metrics.as_ref()?.get(*timer)?.as_u64();
    if let Some(nanos) = TIMERS.iter().find_map(timer) {
        fitting.set("testimony.policy.duration_us", thousandths(nanos));
    }
}

fn content(decision: &Decision<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    for (name, raw) in [
        ("testimony.policy.input", decision.input),
        ("testimony.policy.result", decision.result),
        ("testimony.opa.mapped_result", decision.mapped_result),
        ("testimony.opa.intermediate_results", decision.intermediate_results),
        ("testimony.opa.nd_builtin_cache", decision.nd_builtin_cache),
        ("testimony.opa.custom", decision.custom),
        ("testimony.opa.error", decision.error),
    ] {
        if let Some(raw) = raw {
            let bytes = credentials::removed(raw.get()).into_owned().into_bytes();
            fields.push(Field { name: name.into(), media: "application/json".into(), bytes });
        }
    }
    if let Some(query) = decision.query.as_deref().filter(|query| !query.is_empty()) {
        let bytes = query.as_bytes().to_vec();
        fields.push(Field { name: "testimony.policy.query".into(), media: "text/plain".into(), bytes });
    }
    fields
}

#[cfg(test)]
mod tests;
