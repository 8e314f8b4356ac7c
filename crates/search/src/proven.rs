//! A row of an answer against the leaf of its record: what anybody can hold against each other who has both, without the
//! engine that gave the answer.

use record::Envelope;
use serde_json::{Map, Value};

use crate::answer::json_lines;
use crate::columns::{COLUMNS, From, Row, VISIBLE};
use crate::rows::build;

/// Holds a row of an answer, with all its columns, against the leaf that stands at its index. Of content a leaf has how many
/// bytes there are and a commitment, which cannot be checked without the salt: the number is.
///
/// # Errors
/// A sentence that says what the row has otherwise than the leaf.
pub fn check_row(row: &Map<String, Value>, index: u64, leaf: &[u8]) -> Result<(), String> {
    let envelope = Envelope::parse(leaf).map_err(|error| format!("its leaf cannot be read: {error}"))?;
    let recorded = Row { index, envelope, content: None };
    let expected = columns(&recorded)?;
    // What a wrong index shows first is that it is another record.
    let named = COLUMNS.iter().take(VISIBLE).map(|column| (column.name, &column.from));
    let (mut columns, others): (Vec<_>, Vec<_>) = named.partition(|(name, _)| *name == "id");
    columns.extend(others);
    for (name, from) in &columns {
        let said = row.get(*name).filter(|value| !value.is_null());
        match from {
            From::Content(field) => check_content(&recorded.envelope, name, field, said)?,
            _ => check_column(name, said, expected.get(*name))?,
        }
    }
    // That content is kept no longer is nothing that a leaf could say.
    let beside = ["content", "content_removed"];
    let is_known = |name: &str| beside.contains(&name) || columns.iter().any(|(column, _)| *column == name);
    if let Some(unknown) = row.keys().find(|name| !is_known(name)) {
        return Err(format!("{unknown:?} is no column of a record"));
    }
    let others = row.get("content").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    others.into_iter().try_for_each(|field| commitment(&recorded.envelope, field).map(drop))
}

/// The columns of a record but for its content, as an answer has them.
fn columns(recorded: &Row<'_>) -> Result<Map<String, Value>, String> {
    let batch =
        build(std::slice::from_ref(recorded)).and_then(|batch| batch.project(&(0..VISIBLE).collect::<Vec<_>>()));
    let line = batch.and_then(|batch| json_lines(&[batch])).map_err(|error| error.to_string())?;
    serde_json::from_slice(&line).map_err(|error| error.to_string())
}

fn check_column(name: &str, said: Option<&Value>, recorded: Option<&Value>) -> Result<(), String> {
    match (said, recorded) {
        (said, recorded) if said == recorded => Ok(()),
        (Some(said), Some(recorded)) => Err(format!("the answer says {name} {said}, its leaf says {recorded}")),
        (Some(said), None) => Err(format!("the answer says {name} {said}, its leaf has none")),
        (None, recorded) => {
            Err(format!("the answer leaves out {name}, which is {} in its leaf", recorded.unwrap_or(&Value::Null)))
        }
    }
}

fn check_content(leaf: &Envelope<'_>, name: &str, field: &str, said: Option<&Value>) -> Result<(), String> {
    // Content may be erased: that it is not there says nothing.
    let Some(said) = said else { return Ok(()) };
    let text = said.as_str().ok_or_else(|| format!("{name} is no text"))?;
    let committed = commitment(leaf, field)?;
    if text.len() as u64 == committed {
        return Ok(());
    }
    Err(format!("the answer has {} bytes of {name}, its leaf commits to {committed}", text.len()))
}

/// How many bytes of content a leaf commits to under a name.
fn commitment(leaf: &Envelope<'_>, field: &str) -> Result<u64, String> {
    let committed = leaf.commitments().find(|(name, _)| *name == field).map(|(_, commitment)| commitment.bytes);
    committed.ok_or_else(|| format!("the answer has the content {field:?}, to which its leaf does not commit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use record::{Actor, Draft, Field, Kind, Source, Timestamp, uuid_v7};
    use serde_json::json;

    fn leaf(nth: u8) -> Vec<u8> {
        let time = Timestamp::parse("2026-11-23T09:14:02.118231Z").unwrap();
        let text = |text: &str| text.to_owned();
        let source = Source {
            service: text("bot"),
            environment: text("staging"),
            host: text("here"),
            origin: text("example.com/log"),
            producer: text("gateway"),
        };
        let mut draft = Draft::new(uuid_v7(time, &[nth; 10]), time, Kind::InferenceResponse, Arc::new(source));
        draft.actor = Some(Actor { kind: text("user"), id: Some(text("alice")), ..Actor::default() });
        draft.attributes.set("gen_ai.request.temperature", 1_i64);
        draft.attributes.set("http.response.status_code", 200_i64);
        let content =
            |name: &str, text: &str| Field { name: name.into(), media: "text/plain".into(), bytes: text.into() };
        draft.content = vec![content("gen_ai.output.messages", "é!"), content("testimony.note", "n")];
        let mut leaf = Vec::new();
        draft.seal([7; 32]).unwrap().write_leaf(time, u64::from(nth), &mut leaf);
        leaf
    }

    fn row(leaf: &[u8]) -> Map<String, Value> {
        let envelope = Envelope::parse(leaf).unwrap();
        let mut row = columns(&Row { index: 41, envelope, content: None }).unwrap();
        row.insert("output".into(), "é!".into());
        row.insert("content".into(), json!({"testimony.note": "n"}));
        row
    }

    #[test]
    fn a_row_is_what_its_leaf_says_and_nothing_else() {
        let (leaf, other) = (leaf(1), leaf(2));
        let good = row(&leaf);
        assert_eq!(good["temperature"], 1.0);
        assert_eq!(check_row(&good, 41, &leaf), Ok(()));
        assert!(check_row(&good, 41, &other).unwrap_err().starts_with("the answer says id \""));
        assert!(check_row(&good, 40, &leaf).unwrap_err().contains("log_index 41, its leaf says 40"));
        let changed = |name: &str, value: Value| {
            let mut row = good.clone();
            row.insert(name.into(), value);
            check_row(&row, 41, &leaf).unwrap_err()
        };
        assert_eq!(changed("actor_id", "bob".into()), "the answer says actor_id \"bob\", its leaf says \"alice\"");
        assert_eq!(changed("status", Value::Null), "the answer leaves out status, which is 200 in its leaf");
        assert_eq!(changed("outcome", "denied".into()), "the answer says outcome \"denied\", its leaf has none");
        assert!(changed("attributes", json!({"a": "b"})).starts_with("the answer says attributes {\"a\":\"b\"}"));
        assert_eq!(changed("output", "e!".into()), "the answer has 2 bytes of output, its leaf commits to 3");
        assert!(changed("input", "x".into()).contains("does not commit"));
        assert!(changed("content", json!({"other": "n"})).contains("\"other\", to which its leaf does not commit"));
        assert_eq!(changed("verdict", "good".into()), "\"verdict\" is no column of a record");
        let mut erased = good.clone();
        erased.remove("output");
        assert_eq!(check_row(&erased, 41, &leaf), Ok(()));
        assert!(check_row(&good, 41, b"{}").unwrap_err().starts_with("its leaf cannot be read"));
    }
}
