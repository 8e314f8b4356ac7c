//! The text is JSON of a certain form.
//!
//! Only the whole text can be judged. With `block` a stream therefore keeps everything back until its end; with `flag` it flows on and
//! only the verdict tells.

use std::borrow::Cow;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use crate::Action;
use crate::check::{Candidate, Check, Judgement, Reading, Window};
use crate::settings::{JsonSchemaSettings, SettingsError, whole_action};

/// The check.
#[derive(Debug)]
pub(crate) struct JsonSchema {
    action: Action,
    validator: Validator,
    bytes_max: usize,
}

impl JsonSchema {
    pub(crate) fn new(settings: &JsonSchemaSettings) -> Result<Self, SettingsError> {
        let action = whole_action("json_schema", settings.action)?;
        let parsed;
        let schema = match &settings.schema {
            Value::String(text) => {
                parsed =
                    serde_json::from_str(text).map_err(|error| SettingsError::Schema { fault: error.to_string() })?;
                &parsed
            }
            schema => schema,
        };
        // The crate is built without its resolvers, so a reference that leads elsewhere is an error here. Patterns run on an engine
        // without backtracking.
        let validator = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(schema)
            .map_err(|error| SettingsError::Schema { fault: error.to_string() })?;
        Ok(Self { action, validator, bytes_max: settings.bytes_max })
    }
}

impl Check for JsonSchema {
    fn name(&self) -> &'static str {
        "json_schema"
    }

    fn span_bytes_max(&self) -> usize {
        0
    }

    fn ends_with_words(&self) -> bool {
        true
    }

    fn finds_places(&self) -> bool {
        false
    }

    fn holds_everything(&self) -> bool {
        self.action == Action::Block
    }

    fn begin(self: Arc<Self>) -> Box<dyn Reading> {
        Box::new(JsonReading { check: self, text: String::new(), is_too_long: false })
    }
}

#[derive(Debug)]
struct JsonReading {
    check: Arc<JsonSchema>,
    text: String,
    is_too_long: bool,
}

impl JsonReading {
    fn candidate(&self, rule: &'static str, end: usize, explanation: String) -> Candidate {
        let explanation = Cow::Owned(explanation);
        Candidate { rule: Cow::Borrowed(rule), action: self.check.action, range: 0..end, score: 1.0, explanation }
    }
}

impl Reading for JsonReading {
    fn read(&mut self, window: &Window<'_>, found: &mut Vec<Candidate>) {
        let fresh = window.fresh();
        if self.is_too_long {
            return;
        }
        if self.text.len() + fresh.len() > self.check.bytes_max {
            self.is_too_long = true;
            self.text = String::new();
            let sentence =
                format!("the text is longer than the {} bytes that are judged as JSON", self.check.bytes_max);
            found.push(self.candidate("too-long", self.check.bytes_max, sentence));
            return;
        }
        self.text.push_str(fresh);
    }

    fn finish(&mut self, found: &mut Vec<Candidate>) -> Judgement {
        if self.is_too_long {
            return Judgement::default();
        }
        match serde_json::from_str::<Value>(&self.text) {
            Err(error) => {
                let sentence = format!("the text is not JSON: line {}, column {}", error.line(), error.column());
                found.push(self.candidate("not-json", self.text.len(), sentence));
            }
            Ok(value) => {
                if let Err(error) = self.check.validator.validate(&value) {
                    // The schema is ours; the place in the text and what stands there may be secret.
                    let sentence = format!("the text does not meet the schema at {}", error.schema_path());
                    found.push(self.candidate("schema", self.text.len(), sentence));
                }
            }
        }
        Judgement::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Guardrails, Side};

    const SCHEMA: &str = r#"
        [json_schema]
        action = "block"
        bytes_max = 64
        [json_schema.schema]
        type = "object"
        required = ["answer"]
        properties = { answer = { type = "integer", maximum = 9 } }
    "#;

    fn guardrails() -> Guardrails {
        Guardrails::new(&toml::from_str::<Side>(SCHEMA).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, rule: Option<&str>) {
        let examination = guardrails().examine(text);
        assert_eq!(examination.verdicts[0].rules.first().map(AsRef::as_ref), rule);
        let explanation = &examination.verdicts[0].explanation;
        assert!(!explanation.contains("12345"), "{explanation}");
    }

    #[test]
    fn a_text_has_to_meet_the_schema() {
        check(r#"{"answer": 3}"#, None);
        check(r#"{"answer": 12345}"#, Some("schema"));
        check(r#"{"Answer": 3}"#, Some("schema"));
        check("the answer is 12345", Some("not-json"));
        check(&format!("{{\"answer\": {}3}}", " ".repeat(64)), Some("too-long"));
    }

    #[test]
    fn a_schema_that_leads_elsewhere_is_refused() {
        for schema in [r#"{"$ref": "http://127.0.0.1/schema"}"#, r#"{"type": 3}"#, "{"] {
            let toml = format!("[json_schema]\naction = \"flag\"\nschema = '{schema}'");
            assert!(Guardrails::new(&toml::from_str::<Side>(&toml).unwrap()).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_blocking_schema_keeps_a_stream_back() {
        assert_eq!(guardrails().held_bytes_max(), None);
        let mut stream = guardrails().stream();
        assert_eq!(stream.push("{\"answer\": ").text, "");
        assert_eq!(stream.push("3}   ").text, "");
        let finished = stream.finish();
        assert_eq!((finished.text.as_str(), finished.blocked), ("{\"answer\": 3}   ", None));
        let mut stream = guardrails().stream();
        stream.push("no JSON");
        let finished = stream.finish();
        assert_eq!(finished.text, "");
        assert_eq!(finished.blocked.unwrap().rule, "not-json");
    }
}
