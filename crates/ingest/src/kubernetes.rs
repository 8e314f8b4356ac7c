//! Audit events of a Kubernetes API server: the body of its webhook (an `EventList`), and its log files (one `Event` a line).
//!
//! The format: <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>. `audit.k8s.io/v1beta1`, which servers
//! before 1.24 may still be set to write, has the same members.

mod event;
mod secrets;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use record::{Actor, Draft, Field, Kind, Outcome, Timestamp, Trace, Value};

use self::event::{Event, Object, User, events};
use crate::fitting::{Fitting, NAME_BYTES_MAX, TEXT_BYTES_MAX, thousandths};
use crate::records::{split, wrong};
use crate::{Arrival, Form, RECORDS_MAX, Rejected, credentials, nesting};

/// The versions of the format that are read.
const VERSIONS: [&str; 2] = ["audit.k8s.io/v1", "audit.k8s.io/v1beta1"];
/// The longest audit identifier, in bytes.
const AUDIT_ID_BYTES_MAX: usize = 256;
/// The longest that a request (a watch) is believed to have taken, in microseconds: 30 days.
const DURATION_MICROS_MAX: u64 = 30 * 86_400 * 1_000_000;
/// Audit annotations that say whether and why the request was authorized.
const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";
/// Requests whose query holds what a person typed or sent.
const TYPED: [&str; 3] = ["exec", "attach", "proxy"];

/// Resources that OpenTelemetry has names of their own for (`k8s.pod.name`, `k8s.pod.uid`).
const NAMED: [(&str, &str); 13] = [
    ("pods", "pod"),
    ("nodes", "node"),
    ("deployments", "deployment"),
    ("replicasets", "replicaset"),
    ("statefulsets", "statefulset"),
    ("daemonsets", "daemonset"),
    ("jobs", "job"),
    ("cronjobs", "cronjob"),
    ("horizontalpodautoscalers", "hpa"),
    ("persistentvolumes", "persistentvolume"),
    ("persistentvolumeclaims", "persistentvolumeclaim"),
    ("replicationcontrollers", "replicationcontroller"),
    ("resourcequotas", "resourcequota"),
];

/// What an API server says of who calls by a token of a pod.
const CALLER: [(&str, &str); 5] = [
    ("authentication.kubernetes.io/pod-name", "testimony.kubernetes.user.pod.name"),
    ("authentication.kubernetes.io/pod-uid", "testimony.kubernetes.user.pod.uid"),
    ("authentication.kubernetes.io/node-name", "testimony.kubernetes.user.node.name"),
    ("authentication.kubernetes.io/node-uid", "testimony.kubernetes.user.node.uid"),
    ("authentication.kubernetes.io/credential-id", "testimony.kubernetes.user.credential_id"),
];

/// How far a request had come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Received,
    Started,
    Complete,
    Panic,
}

/// Reads audit events: for each a draft, or why it is none. [`Form::Json`] is the webhook's body, [`Form::Lines`] a log file.
/// An event is known by its `auditID` and stage, so that one that is sent again is the same record.
#[must_use]
pub fn read(body: &[u8], form: Form, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
    let texts = match split(body, form) {
        Ok(texts) => texts,
        Err(rejected) => return vec![Err(rejected)],
    };
    let events: Vec<_> = texts.into_iter().flat_map(events).collect();
    if events.len() > RECORDS_MAX {
        return vec![Err(Rejected::TooMany)];
    }
    events.into_iter().map(|event| event.and_then(|(text, version)| draft(text, version, arrival))).collect()
}

fn draft(text: &str, version: Option<String>, arrival: &Arrival<'_>) -> Result<Draft, Rejected> {
    nesting::check(text)?;
    let event: Event<'_> = serde_json::from_str(text).map_err(|error| Rejected::Malformed(error.to_string()))?;
    if event.kind.as_deref().unwrap_or("Event") != "Event" {
        return Err(wrong("kind", "an audit event is wanted: Event, or EventList with its items"));
    }
    let version = event.api_version.clone().or(version).unwrap_or_default();
    if !VERSIONS.contains(&version.as_str()) {
        return Err(wrong("apiVersion", format!("it must be {}", VERSIONS.join(" or "))));
    }
    let level = event.level.as_deref().unwrap_or_default();
    if !["Metadata", "Request", "RequestResponse"].contains(&level) {
        return Err(wrong("level", "it must be Metadata, Request or RequestResponse"));
    }
    let (stage, stage_name) = stage(event.stage.as_deref())?;
    let audit_id = event.audit_id.as_deref().unwrap_or_default();
    if audit_id.is_empty() || audit_id.len() > AUDIT_ID_BYTES_MAX {
        return Err(wrong("auditID", format!("it must have 1 to {AUDIT_ID_BYTES_MAX} bytes")));
    }

    let mut fitting = Fitting::new();
    for (name, text) in [
        ("testimony.kubernetes.audit_id", audit_id),
        ("testimony.kubernetes.level", level),
        ("testimony.kubernetes.stage", stage_name),
    ] {
        fitting.text(name, text, NAME_BYTES_MAX);
    }
    let time = fitting.time(event.stage_timestamp.as_deref(), arrival.received);
    set_duration(&mut fitting, &event, stage);
    let id = arrival.id(Some(&format!("kubernetes/{audit_id}/{stage_name}")));
    let mut draft = Draft::new(id, time, Kind::System, Arc::new(arrival.source.clone()));
    draft.outcome = outcome(stage, &event);
    draft.trace = trace(&event);
    // What may be long comes last: it is what is left out when there is too much.
    set_answer(&mut fitting, &event);
    set_object(&mut fitting, event.object_ref.as_ref());
    draft.content = content(&mut fitting, &event);
    set_request(&mut fitting, &event);
    draft.actor = actor(&mut fitting, &event);
    set_annotations(&mut fitting, &event);
    draft.attributes = fitting.done();
    Ok(draft)
}

fn set_duration(fitting: &mut Fitting, event: &Event<'_>, stage: Stage) {
    let read = |text: &Option<String>| text.as_deref().and_then(|text| Timestamp::parse(text).ok());
    let Some(began) = read(&event.request_received_timestamp) else { return };
    fitting.set("testimony.kubernetes.request_received", began.to_string());
    let Some(reached) = read(&event.stage_timestamp) else { return };
    // Of a clock that was set in between nobody knows how long it took.
    let took = u64::try_from(reached.as_micros().saturating_sub(began.as_micros()));
    if let (Stage::Complete | Stage::Panic, Ok(micros @ 0..=DURATION_MICROS_MAX)) = (stage, took) {
        fitting.set("testimony.duration_ms", thousandths(micros));
    }
}

fn stage(name: Option<&str>) -> Result<(Stage, &'static str), Rejected> {
    Ok(match name.unwrap_or_default() {
        "RequestReceived" => (Stage::Received, "RequestReceived"),
        "ResponseStarted" => (Stage::Started, "ResponseStarted"),
        "ResponseComplete" => (Stage::Complete, "ResponseComplete"),
        "Panic" => (Stage::Panic, "Panic"),
        _ => return Err(wrong("stage", "it must be RequestReceived, ResponseStarted, ResponseComplete or Panic")),
    })
}

/// Nothing is said of a request that is still under way.
fn outcome(stage: Stage, event: &Event<'_>) -> Option<Outcome> {
    let code = event.response_status.as_ref().and_then(|status| status.code).unwrap_or_default();
    match (stage, code) {
        (Stage::Panic, _) => Some(Outcome::Failed),
        (Stage::Received, _) => None,
        (_, 403) => Some(Outcome::Denied),
        (_, 400..) => Some(Outcome::Failed),
        (Stage::Started, _) => None,
        (Stage::Complete, _) => Some(Outcome::Completed),
    }
}

/// Who it was is what the API server found; here it is what a sender says.
fn actor(fitting: &mut Fitting, event: &Event<'_>) -> Option<Actor> {
    let addresses = event.source_ips.as_deref().unwrap_or_default();
    fitting.names("testimony.kubernetes.source_ips", addresses.iter().map(String::as_str));
    let user = event.user.as_ref()?;
    let name = user.username.as_deref().unwrap_or_default();
    let kind = match name {
        "" | "system:anonymous" => "anonymous",
        _ if name.starts_with("system:serviceaccount:") => "service",
        _ => "user",
    };
    fitting.name("user.name", user.username.as_deref());
    fitting.name("user.id", user.uid.as_deref());
    for (key, values) in user.extra.iter().flatten() {
        if let Some((_, attribute)) = CALLER.iter().find(|(known, _)| known == key) {
            fitting.name(attribute, values.first().map(String::as_str));
        }
    }
    if let Some(other) = &event.impersonated_user {
        fitting.name("testimony.kubernetes.impersonated_user.name", other.username.as_deref());
        fitting.name("testimony.kubernetes.impersonated_user.id", other.uid.as_deref());
        let groups = other.groups.iter().flatten().map(String::as_str);
        fitting.names("testimony.kubernetes.impersonated_user.groups", groups);
    }
    Some(Actor {
        kind: kind.to_owned(),
        id: (!name.is_empty()).then(|| fitting.cut("user.name", name, NAME_BYTES_MAX)),
        groups: user.groups.clone().unwrap_or_default(),
        auth: Some("claimed".into()),
        // All addresses but the last can be set by the client.
        ip: addresses.last().and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical().to_string()),
        fingerprint: None,
    })
}

fn set_request(fitting: &mut Fitting, event: &Event<'_>) {
    let verb = event.verb.as_deref().unwrap_or_default();
    fitting.name("testimony.kubernetes.verb", Some(verb));
    // Of a request for no resource the verb is the method.
    let methods = ["get", "head", "options", "post", "put", "patch", "delete"];
    if event.object_ref.is_none() && methods.contains(&verb) {
        fitting.set("http.request.method", verb.to_uppercase());
    }
    let (path, query) = address(event);
    fitting.text("url.path", &path, TEXT_BYTES_MAX);
    if !is_typed(event) {
        fitting.text("url.query", &query, TEXT_BYTES_MAX);
    }
    fitting.text("user_agent.original", event.user_agent.as_deref().unwrap_or_default(), NAME_BYTES_MAX);
}

/// Path and query of the request, without credentials.
fn address(event: &Event<'_>) -> (String, String) {
    let address = credentials::removed_from_address(event.request_uri.as_deref().unwrap_or_default());
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    (path.to_owned(), query.to_owned())
}

fn is_typed(event: &Event<'_>) -> bool {
    let subresource = event.object_ref.as_ref().and_then(|object| object.subresource.as_deref());
    subresource.is_some_and(|subresource| TYPED.contains(&subresource))
}

fn set_object(fitting: &mut Fitting, object: Option<&Object>) {
    let Some(object) = object else { return };
    let resource = object.resource.as_deref().unwrap_or_default();
    let (name, uid) = (object.name.as_deref(), object.uid.as_deref());
    for (attribute, text) in [
        ("k8s.namespace.name", object.namespace.as_deref()),
        ("testimony.kubernetes.resource", Some(resource)),
        ("testimony.kubernetes.subresource", object.subresource.as_deref()),
        ("testimony.kubernetes.name", name),
        ("testimony.kubernetes.uid", uid),
        ("testimony.kubernetes.api_group", object.api_group.as_deref()),
        ("testimony.kubernetes.api_version", object.api_version.as_deref()),
        ("testimony.kubernetes.resource_version", object.resource_version.as_deref()),
    ] {
        fitting.name(attribute, text);
    }
    if let Some((_, kind)) = NAMED.iter().find(|(known, _)| *known == resource) {
        fitting.name(&format!("k8s.{kind}.name"), name);
        fitting.name(&format!("k8s.{kind}.uid"), uid);
    }
}

fn set_answer(fitting: &mut Fitting, event: &Event<'_>) {
    let code = event.response_status.as_ref().and_then(|status| status.code).filter(|code| *code != 0);
    if let Some(code) = code {
        fitting.set("http.response.status_code", code);
    }
    let reason = event.response_status.as_ref().and_then(|status| status.reason.as_deref());
    if code.is_some_and(|code| code >= 400) {
        fitting.name("error.type", Some(reason.filter(|reason| !reason.is_empty()).unwrap_or("_OTHER")));
    }
    for (key, value) in event.annotations.iter().flatten() {
        match (key.as_str(), value.as_str()) {
            (DECISION, "allow") => fitting.set("testimony.decision", "allow"),
            (DECISION, "forbid") => fitting.set("testimony.decision", "deny"),
            (REASON, reason) if !reason.is_empty() => fitting.names("testimony.decision.reasons", [reason]),
            _ => {}
        }
    }
}

fn set_annotations(fitting: &mut Fitting, event: &Event<'_>) {
    let annotations = event.annotations.iter().flatten();
    let others = annotations.filter(|(key, _)| ![DECISION, REASON].contains(&key.as_str()));
    let kept = |key: &str, value: &str| {
        Value::from(if credentials::is_credential(key) { "removed" } else { value }.to_owned())
    };
    let others = others.map(|(key, value)| (key.as_str(), kept(key, value)));
    fitting.map("testimony.kubernetes.annotations", others);
}

/// Annotations are the one place that something in front of the API server has for it.
fn trace(event: &Event<'_>) -> Trace {
    let is_traceparent = |key: &str| key == "traceparent" || key.ends_with("/traceparent");
    let named = event.annotations.iter().flatten().find(|(key, _)| is_traceparent(key));
    named.and_then(|(_, text)| Trace::of_traceparent(text)).unwrap_or_default()
}

fn content(fitting: &mut Fitting, event: &Event<'_>) -> Vec<Field> {
    let object = event.object_ref.as_ref();
    let part = |part: fn(&Object) -> Option<&str>| object.and_then(part).unwrap_or_default();
    let is_secret = secrets::is_secret(part(|of| of.resource.as_deref()), part(|of| of.subresource.as_deref()));
    let mut fields = Vec::new();
    let mut removed = Vec::new();
    for (member, name, raw) in [
        ("requestObject", "testimony.kubernetes.request_object", event.request_object),
        ("responseObject", "testimony.kubernetes.response_object", event.response_object),
    ] {
        let Some(raw) = raw else { continue };
        let kept = secrets::without(raw.get(), is_secret);
        if let Some(kept) = &kept {
            removed.push(member);
            if kept == "null" {
                continue;
            }
        }
        let json = kept.as_deref().unwrap_or(raw.get());
        let bytes = credentials::removed(json).into_owned().into_bytes();
        fields.push(Field { name: name.into(), media: "application/json".into(), bytes });
    }
    // What the server says was wrong with a secret quotes it.
    let message = event.response_status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
    if !message.is_empty() && is_secret {
        removed.push("responseStatus.message");
    } else if !message.is_empty() {
        fields.push(plain("testimony.kubernetes.response_message", message));
    }
    let (_, query) = address(event);
    if is_typed(event) && !query.is_empty() {
        fields.push(plain("url.query", &query));
    }
    fields.extend(event.user.as_ref().and_then(extra));
    fitting.names("testimony.kubernetes.removed", removed);
    fields
}

/// What else whoever authenticated the caller knows of it: claims, scopes.
fn extra(user: &User) -> Option<Field> {
    let is_other = |key: &String| CALLER.iter().all(|(known, _)| known != key);
    let others: BTreeMap<_, _> = user.extra.iter().flatten().filter(|(key, _)| is_other(key)).collect();
    let json = serde_json::to_string(&others).ok().filter(|_| !others.is_empty())?;
    let bytes = credentials::removed(&json).into_owned().into_bytes();
    Some(Field { name: "testimony.kubernetes.user.extra".into(), media: "application/json".into(), bytes })
}

fn plain(name: &str, text: &str) -> Field {
    Field { name: name.into(), media: "text/plain".into(), bytes: text.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests;
