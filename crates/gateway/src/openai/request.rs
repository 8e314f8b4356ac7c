//! A request to `/v1/chat/completions`, read beside its bytes, which stay as they came.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// The most members that a request may have.
const MEMBERS_MAX: usize = 256;

/// The deepest nesting of lists and objects.
const DEPTH_MAX: usize = 128;

/// What a record says of a request, and the body that it was read from.
#[derive(Debug, Clone)]
pub(crate) struct ChatRequest {
    body: Bytes,
    pub(crate) model: String,
    /// Where the member `messages` lies in the body.
    messages: Range<usize>,
    /// Every other member and where it lies, in the order in which they came.
    others: Vec<(String, Range<usize>)>,
}

impl ChatRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// A refusal that names the member at fault. What a model server may judge differently is left to it.
    pub(crate) fn read(body: Bytes) -> Result<Self, Refusal> {
        let malformed = |error: serde_json::Error| {
            Refusal::invalid(
                StatusCode::BAD_REQUEST,
                "malformed_json",
                format!("the body is not a JSON object: {error}"),
            )
        };
        if nesting(&body) > DEPTH_MAX {
            let message = format!("the body is nested deeper than {DEPTH_MAX} levels");
            return Err(Refusal::invalid(StatusCode::BAD_REQUEST, "malformed_json", message));
        }
        let mut reader = serde_json::Deserializer::from_slice(&body);
        let members = Members.deserialize(&mut reader).map_err(malformed)?;
        reader.end().map_err(malformed)?;
        let wrong = |param: &str, message: &str| {
            Err(Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_member", message).param(param))
        };
        let (mut messages, mut others) = (None, Vec::with_capacity(members.len()));
        for (nth, (name, raw)) in members.iter().enumerate() {
            if members.iter().take(nth).any(|(earlier, _)| earlier == name) {
                // Two readers could take two different ones, and the record would show what was not asked.
                return wrong(name, &format!("the member {name:?} is there twice"));
            }
            // The member's text is a part of the body: where it stands follows from where both begin.
            let start = raw.as_ptr().addr() - body.as_ptr().addr();
            let place = start..start + raw.len();
            match name.as_str() {
                "messages" => messages = Some(place),
                _ => others.push((name.clone(), place)),
            }
        }
        let mut request = Self { body: body.clone(), model: String::new(), messages: 0..0, others };
        match request.other("model").map(serde_json::from_str::<String>) {
            Some(Ok(model)) if !model.is_empty() => request.model = model,
            Some(_) => return wrong("model", "\"model\" must be a text that is not empty"),
            None => return wrong("model", "\"model\" is missing: name the model that is to answer"),
        }
        let Some(messages) = messages else {
            return wrong("messages", "\"messages\" is missing: give a list of messages");
        };
        request.messages = messages;
        if !request.messages().starts_with('[') {
            return wrong("messages", "\"messages\" must be a list of messages");
        }
        Ok(request)
    }

    /// What another body asks for; the same one is not read again.
    ///
    /// # Errors
    /// As [`ChatRequest::read`].
    pub(crate) fn with_body(self, body: &Bytes) -> Result<Self, Refusal> {
        let is_same = (self.body.as_ptr(), self.body.len()) == (body.as_ptr(), body.len());
        if is_same { Ok(self) } else { Self::read(body.clone()) }
    }

    /// The body, as it is to go on.
    pub(crate) const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The member `messages`, byte for byte.
    pub(crate) fn messages(&self) -> &str {
        self.text(&self.messages)
    }

    fn text(&self, place: &Range<usize>) -> &str {
        let bytes = self.body.get(place.clone()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn other(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(other, _)| other == name).map(|(_, place)| self.text(place))
    }

    /// A member read as a type; nothing where it is missing or of another type.
    pub(crate) fn member<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.other(name)?).ok()
    }

    /// Whether the answer is asked for as a stream.
    pub(crate) fn stream(&self) -> bool {
        self.member("stream").unwrap_or(false)
    }

    /// Everything but the messages, as a JSON object.
    pub(crate) fn parameters(&self) -> String {
        let member = |(name, place): &(String, Range<usize>)| {
            format!("{}:{}", serde_json::Value::from(name.as_str()), self.text(place))
        };
        let members: Vec<String> = self.others.iter().map(member).collect();
        format!("{{{}}}", members.join(","))
    }

    /// The body asking for at most so many tokens; nothing when it asks for no more already.
    pub(crate) fn capped(&self, tokens_max: u64) -> Option<Vec<u8>> {
        let named =
            self.others.iter().filter(|(name, _)| matches!(name.as_str(), "max_tokens" | "max_completion_tokens"));
        let mut edits: Vec<(usize, usize, String)> = Vec::new();
        let mut is_said = false;
        for (_, place) in named {
            is_said = true;
            if serde_json::from_str::<u64>(self.text(place)).is_ok_and(|asked| asked <= tokens_max) {
                continue;
            }
            edits.push((place.start, place.end, tokens_max.to_string()));
        }
        if !is_said {
            let start = self.body.iter().position(|byte| *byte == b'{')? + 1;
            edits.push((start, start, format!("\"max_tokens\":{tokens_max},")));
        }
        if edits.is_empty() {
            return None;
        }
        edits.sort_unstable();
        self.edited(edits)
    }

    /// The body asking for another model, with every other byte as it was.
    pub(crate) fn renamed(&self, model: &str) -> Option<Vec<u8>> {
        let (_, place) = self.others.iter().find(|(name, _)| name == "model")?;
        self.edited(vec![(place.start, place.end, serde_json::Value::from(model).to_string())])
    }

    /// The body with other texts at places, which are in order.
    fn edited(&self, edits: Vec<(usize, usize, String)>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.body.len() + 32);
        let mut from = 0;
        for (start, end, text) in edits {
            out.extend_from_slice(self.body.get(from..start)?);
            out.extend_from_slice(text.as_bytes());
            from = end;
        }
        out.extend_from_slice(self.body.get(from..)?);
        Some(out)
    }
}

/// How deep lists and objects are nested, counted without recursion.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads an object into its members without reading their values.
struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Vec<(String, &'de str)>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de str)>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if members.len() == MEMBERS_MAX {
                return Err(A::Error::custom(format!("it has more than {MEMBERS_MAX} members")));
            }
            members.push((name, raw.get()));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_byte_for_byte_and_the_rest_stays_whole() {
        let body =
            br#"{"model":"m", "messages": [ {"role":"user","content":"\u00e9"} ],"temperature":0.70,"stream":true}"#;
        let request = ChatRequest::read(Bytes::from_static(body)).unwrap();
        assert_eq!(request.messages(), r#"[ {"role":"user","content":"\u00e9"} ]"#);
        assert_eq!(request.parameters(), r#"{"model":"m","temperature":0.70,"stream":true}"#);
        assert_eq!((request.model.as_str(), request.stream(), request.member("temperature")), ("m", true, Some(0.7)));
    }

    #[test]
    fn a_cap_changes_the_tokens_asked_for_and_no_other_byte() {
        let check = |body: &str, expected: Option<&str>| {
            let request = ChatRequest::read(body.to_owned().into()).unwrap();
            let capped = request.capped(64).map(|body| String::from_utf8(body).unwrap());
            assert_eq!(capped.as_deref(), expected, "{body}");
        };
        check(
            r#"{"model":"m", "messages":[ ],"max_tokens" : 4096,"n":1}"#,
            Some(r#"{"model":"m", "messages":[ ],"max_tokens" : 64,"n":1}"#),
        );
        check(
            r#"{"model":"m","messages":[],"max_completion_tokens":null}"#,
            Some(r#"{"model":"m","messages":[],"max_completion_tokens":64}"#),
        );
        check(r#" {"model":"m","messages":[]}"#, Some(r#" {"max_tokens":64,"model":"m","messages":[]}"#));
        check(r#"{"model":"m","messages":[],"max_tokens":64}"#, None);
    }

    #[test]
    fn another_model_changes_its_name_and_no_other_byte() {
        for (body, expected) in [
            (
                r#" { "model" : "support-bot" ,"messages":[ {"role":"user","content":"support-bot \u00e9"} ]}"#,
                r#" { "model" : "gemma3:270m" ,"messages":[ {"role":"user","content":"support-bot \u00e9"} ]}"#,
            ),
            (r#"{"messages":[],"mod\u0065l":"a\u0062"}"#, r#"{"messages":[],"mod\u0065l":"gemma3:270m"}"#),
        ] {
            let request = ChatRequest::read(body.to_owned().into()).unwrap();
            assert_eq!(String::from_utf8(request.renamed("gemma3:270m").unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn nesting_counts_brackets_outside_of_texts() {
        assert_eq!(nesting(br#"{"a":["[[[\"[[",{}]}"#), 3);
        assert_eq!(nesting(b"]]]["), 1);
    }

    #[test]
    fn a_refusal_names_the_member() {
        for (body, param) in [
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":1,"messages":[]}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("messages")),
            (r#"{"model":"m","messages":"hi"}"#, Some("messages")),
            (r#"{"model":"m","messages":[],"messages":[]}"#, Some("messages")),
            (r#"{"model":"m","#, None),
            ("[]", None),
            ("", None),
            (r#"{"model":"m","messages":[]} x"#, None),
        ] {
            let refusal = ChatRequest::read(body.to_owned().into()).unwrap_err();
            assert_eq!(refusal.param.as_deref(), param, "{body}: {}", refusal.message);
        }
        let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(ChatRequest::read(deep.into()).unwrap_err().code, "malformed_json");
    }
}
