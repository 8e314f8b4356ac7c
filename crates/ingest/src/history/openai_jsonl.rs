//! Lines of OpenAI's files: batches (input, output and error files), fine-tuning, and plain pairs of request and response.
//!
//! A line of a batch's output names the request that it answers by `custom_id` alone, which means something within one batch only. So the
//! input file comes first, its requests wait here, and each goes out with its answer.

use std::collections::HashMap;

use record::{Attributes, Draft, Outcome, Timestamp};
use serde_json::{Map, Value};

use super::call::{Call, Part, Times, Told, claimed_user};
use super::members::{count, cut, field, json, member, moment, name, number, removed, set, text};
use super::{Origin, openai, wrong};
use crate::{Arrival, Rejected};

/// The most bytes of requests that wait for their answers: two of the largest batches (200 MB each).
const WAITING_BYTES_MAX: usize = 400 << 20;

/// The requests of a batch whose answers have not come yet.
#[derive(Default)]
pub(super) struct Waiting {
    /// The lines of requests by their `custom_id`. Texts take a fifth of the room of what they say.
    lines: HashMap<String, String>,
    bytes: usize,
}

impl Waiting {
    /// Reads one document.
    pub(super) fn read(&mut self, document: Value, arrival: &Arrival<'_>) -> Vec<Result<Draft, Rejected>> {
        match self.call(document) {
            Ok(Some(call)) => call.drafts(arrival).into_iter().map(Ok).collect(),
            Ok(None) => Vec::new(),
            Err(rejected) => vec![Err(rejected)],
        }
    }

    /// The requests that no answer came for, in the order of their names.
    pub(super) fn unanswered(&mut self, arrival: &Arrival<'_>) -> Vec<Draft> {
        self.bytes = 0;
        let mut lines: Vec<(String, String)> = std::mem::take(&mut self.lines).into_iter().collect();
        lines.sort();
        let calls = lines.into_iter().map(|(custom_id, line)| {
            let told = told("batch", line.clone(), Some(&custom_id));
            asked(told, read_back(&line))
        });
        calls.flat_map(|call| call.drafts(arrival)).collect()
    }

    fn call(&mut self, document: Value) -> Result<Option<Call>, Rejected> {
        let key = document.to_string();
        let Value::Object(mut members) = document else {
            return Err(wrong("document", "it must be a JSON object"));
        };
        let custom_id = members.get("custom_id").and_then(Value::as_str).map(str::to_owned);
        if members.contains_key("request") && members.contains_key("response") {
            return pair(&mut members, key).map(Some);
        }
        match (custom_id, members.get("response"), members.get("error")) {
            (Some(custom_id), None, None) => self.wait(custom_id, key, &members).map(|()| None),
            (Some(custom_id), ..) => Ok(Some(self.answered(&custom_id, &Value::Object(members), key))),
            (None, ..) if members.get("messages").is_some_and(Value::is_array) => Ok(Some(example(members, key))),
            _ => Err(wrong(
                "document",
                "it is neither a line of a batch (custom_id with body, response or error), nor of fine-tuning (messages), nor a pair \
                 (request and response)",
            )),
        }
    }

    /// A request of a batch.
    fn wait(&mut self, custom_id: String, line: String, members: &Map<String, Value>) -> Result<(), Rejected> {
        if !members.get("body").is_some_and(Value::is_object) {
            return Err(wrong("body", "it must be the JSON object of the request"));
        }
        if self.lines.contains_key(&custom_id) {
            let what = format!(
                "{:?} is asked twice; give each batch's output right after its input, since custom_id means something in one batch only",
                cut(&custom_id)
            );
            return Err(wrong("custom_id", what));
        }
        let bytes = self.bytes + custom_id.len() + line.len();
        if bytes > WAITING_BYTES_MAX {
            let what = format!(
                "more than {WAITING_BYTES_MAX} bytes of requests wait for their answers; give each batch's output right after its input"
            );
            return Err(wrong("document", what));
        }
        self.bytes = bytes;
        self.lines.insert(custom_id, line);
        Ok(())
    }

    /// A line of a batch's output, with its request if that waits.
    fn answered(&mut self, custom_id: &str, document: &Value, line: String) -> Call {
        let request = self.lines.remove(custom_id);
        if let Some(request) = &request {
            self.bytes -= custom_id.len() + request.len();
        }
        // The `id` of a line is the API's own, and unique; who writes such files without one is told apart by all of the line.
        let key = text(document, &["id"]).map_or(line, |id| format!("{id}/{custom_id}"));
        let mut told = told("batch", key, Some(custom_id));
        let response = member(document, &["response"]).unwrap_or(&Value::Null);
        set(&mut told.attributes, "testimony.imported.request_id", name(response, &["request_id"]));
        let body = json(response, &["body"]);
        let mut call = match request {
            Some(request) => asked(told, read_back(&request)),
            None => Call { told, times: Times::default(), asked: None, said: None },
        };
        let status = count(response, &["status_code"]);
        answer(&mut call, body.as_ref(), status, member(document, &["error"]));
        call
    }
}

/// Something told of in a file of this form.
fn told(form: &'static str, key: String, id: Option<&str>) -> Told {
    let mut told = Told::new(Origin::OpenaiJsonl, key);
    told.attributes.set("testimony.imported.form", form);
    set(&mut told.attributes, "testimony.imported.id", id.map(cut));
    told
}

/// A line that waited, which was JSON when it came.
fn read_back(line: &str) -> Map<String, Value> {
    serde_json::from_str(line).unwrap_or_default()
}

/// The request of a line of a batch's input.
fn asked(mut told: Told, mut line: Map<String, Value>) -> Call {
    let url = line.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = match removed(&mut line, "body") {
        Some(Value::Object(body)) => body,
        _ => Map::new(),
    };
    let request = openai::request(body);
    set_asked(&mut told, &request, operation_of(&url));
    let mut part = request.part;
    if !url.is_empty() {
        let path = record::without_credentials(&url);
        part.attributes.set("url.path", cut(path.split('?').next().unwrap_or_default()));
    }
    set(&mut part.attributes, "http.request.method", name(&Value::Object(line), &["method"]));
    Call { told, times: Times::default(), asked: Some(part), said: None }
}

fn set_asked(told: &mut Told, request: &openai::Request, operation: &'static str) {
    told.attributes.set("gen_ai.operation.name", operation);
    set(&mut told.attributes, "gen_ai.request.model", request.model.clone());
    told.actor = claimed_user(request.user.clone());
}

/// The operation of a path of the API.
fn operation_of(url: &str) -> &'static str {
    let path = url.trim_end_matches('/');
    match () {
        () if path.ends_with("/embeddings") => "embeddings",
        () if path.ends_with("/completions") && !path.ends_with("/chat/completions") => "text_completion",
        () => "chat",
    }
}

/// How the call ended.
fn answer(call: &mut Call, body: Option<&Value>, status: Option<i64>, error: Option<&Value>) {
    let mut part = body.map(openai::response).unwrap_or_default();
    let error_type = error.and_then(|error| name(error, &["code", "type"])).or_else(|| openai::error_type(body?));
    let is_failed = error.is_some() || error_type.is_some() || status.is_some_and(|status| status >= 400);
    set(&mut part.attributes, "http.response.status_code", status);
    if is_failed {
        part.attributes.set("error.type", error_type.or_else(|| Some(status?.to_string())).unwrap_or("_OTHER".into()));
        part.content.extend(error.map(|error| field(record::content_names::RESPONSE_BODY, error)));
    }
    // The one time that a file of a batch holds is that of its answers.
    let made = body.and_then(|body| moment(body, &["created", "created_at"]));
    call.times.ended = call.times.ended.or(made);
    call.said = Some((if is_failed { Outcome::Failed } else { Outcome::Completed }, part));
}

/// A pair of request and response, with what else its writer put beside them.
fn pair(members: &mut Map<String, Value>, key: String) -> Result<Call, Rejected> {
    let (request, response) = (removed(members, "request"), removed(members, "response"));
    // Some write the body alone, some the whole call.
    let request = match request.as_ref().and_then(|request| json(request, &["body"])).or(request) {
        Some(Value::Object(request)) => openai::request(request),
        _ => return Err(wrong("request", "it must be the JSON object of a request")),
    };
    let response = response.unwrap_or_default();
    let beside = Value::Object(std::mem::take(members));
    let id = text(&beside, &["id", "request_id", "requestId"]);
    let mut told = told("pair", id.clone().unwrap_or(key), id.as_deref());
    set_asked(&mut told, &request, operation_of(&text(&beside, &["url", "path"]).unwrap_or_default()));
    if let Some(user) = name(&beside, &["user", "user_id", "userId"]) {
        told.actor = claimed_user(Some(user));
    }
    set_beside(&mut told.attributes, &beside);
    let times = Times {
        started: moment(&beside, &["started", "start_time", "startTime", "time", "timestamp", "created_at"]),
        first_chunk: None,
        ended: moment(&beside, &["ended", "end_time", "endTime"]),
    };
    let mut call = Call { told, times, asked: Some(request.part), said: None };
    let status = count(&response, &["status_code", "status"]).or_else(|| count(&beside, &["status_code"]));
    let body = json(&response, &["body"]).unwrap_or(response);
    if !body.is_null() {
        answer(&mut call, Some(&body), status, member(&beside, &["error"]));
        // In one of the two records only, so that costs can be added up.
        if let Some((_, said)) = &mut call.said {
            set(&mut said.attributes, "testimony.cost_usd", number(&beside, &["cost", "cost_usd"]));
        }
        // Answers count whole seconds.
        let started: Option<Timestamp> = call.times.started;
        call.times.ended = call.times.ended.filter(|ended| started.is_none_or(|started| started <= *ended));
    }
    Ok(call)
}

fn set_beside(attributes: &mut Attributes<'static>, beside: &Value) {
    let conversation = name(beside, &["conversation_id", "conversation", "session_id", "sessionId"]);
    set(attributes, "gen_ai.conversation.id", conversation);
    set(attributes, "gen_ai.provider.name", name(beside, &["provider"]));
}

/// An example of fine-tuning: the last message is the answer if the assistant gave it.
fn example(mut members: Map<String, Value>, key: String) -> Call {
    let said = match members.get_mut("messages").and_then(Value::as_array_mut) {
        Some(messages) if messages.last().is_some_and(|last| last["role"] == "assistant") => messages.pop(),
        _ => None,
    };
    let request = openai::request(members);
    let mut told = told("fine-tuning", key, None);
    set_asked(&mut told, &request, "chat");
    let said = said.map(|message| {
        let output = field(record::content_names::OUTPUT, &Value::Array(vec![message]));
        (Outcome::Completed, Part { attributes: Attributes::default(), content: vec![output] })
    });
    Call { told, times: Times::default(), asked: Some(request.part), said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_that_wait_are_bounded_and_make_room_when_they_are_answered() {
        let request = |id: &str| json!({"custom_id": id, "body": {"model": "m", "messages": []}});
        let mut waiting = Waiting::default();
        assert!(waiting.call(request("a")).unwrap().is_none());
        let bytes = waiting.bytes;
        waiting.bytes = WAITING_BYTES_MAX;
        assert!(waiting.call(request("b")).err().unwrap().to_string().contains("419430400 bytes"));
        waiting.bytes = bytes;
        let answer = json!({"custom_id": "a", "id": "1", "response": {"status_code": 200, "body": {"choices": []}}});
        assert!(waiting.call(answer).unwrap().unwrap().asked.is_some());
        assert_eq!((waiting.bytes, waiting.lines.len()), (0, 0));
    }
}
