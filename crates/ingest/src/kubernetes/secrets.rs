//! Objects that hold credentials by their nature: of those, only what names them is kept.

use serde_json::{Map, Value};

/// Kinds of such objects, wherever in a document they stand.
const KINDS: [&str; 4] = ["Secret", "SecretList", "TokenReview", "TokenRequest"];
/// The same as they are written, unless with escapes. A pod speaks of `imagePullSecrets` and is none.
const QUOTED: [&str; 4] = ["\"Secret\"", "\"SecretList\"", "\"TokenReview\"", "\"TokenRequest\""];
/// Members of such an object that are kept, when they are plain.
const KEPT: [&str; 10] =
    ["apiVersion", "kind", "type", "status", "reason", "code", "name", "namespace", "uid", "resourceVersion"];
/// Members of its metadata that are kept, when they are plain. Annotations are not: `kubectl apply` leaves the whole object there.
const KEPT_METADATA: [&str; 7] =
    ["name", "generateName", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"];

/// Whether requests for this resource carry credentials.
pub(super) fn is_secret(resource: &str, subresource: &str) -> bool {
    matches!((resource, subresource), ("secrets" | "tokenreviews", _) | ("serviceaccounts", "token"))
}

/// The same JSON with only what names an object that holds credentials, when there is such an object in it. `is_whole` says
/// that all of it is one: a patch says of no kind what it changes. `null` when nothing is left.
pub(super) fn without(json: &str, is_whole: bool) -> Option<String> {
    let is_suspect = QUOTED.iter().any(|kind| json.contains(kind)) || json.contains("\\u");
    if !is_whole && !is_suspect {
        return None;
    }
    // What cannot be read (half of a surrogate pair, a number beyond all) may hide one.
    let Ok(mut value) = serde_json::from_str::<Value>(json) else { return Some("null".to_owned()) };
    let is_changed = if is_whole {
        let named = names(&value);
        let is_changed = named != value;
        value = named;
        is_changed
    } else {
        reduce(&mut value)
    };
    is_changed.then(|| value.to_string())
}

/// Reduces every object of such a kind within a value; whether there was one.
fn reduce(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => {
            let kind = members.get("kind").and_then(Value::as_str);
            if kind.is_some_and(|kind| KINDS.contains(&kind)) {
                *value = names(value);
                return true;
            }
            members.values_mut().fold(false, |changed, member| reduce(member) | changed)
        }
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| reduce(item) | changed),
        _ => false,
    }
}

/// What names an object: of a list what names its items, of a JSON patch (RFC 6902) what it does where.
fn names(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut kept = plain(members, &KEPT);
            if let Some(Value::Object(metadata)) = members.get("metadata") {
                let mut named = plain(metadata, &KEPT_METADATA);
                if let Some(Value::Object(labels)) = metadata.get("labels") {
                    let labels = labels.iter().filter(|(_, label)| label.is_string());
                    let labels = labels.map(|(name, label)| (name.clone(), label.clone()));
                    named.insert("labels".into(), Value::Object(labels.collect()));
                }
                kept.insert("metadata".into(), Value::Object(named));
            }
            if let Some(Value::Array(items)) = members.get("items") {
                kept.insert("items".into(), items.iter().map(names).collect());
            }
            Value::Object(kept)
        }
        Value::Array(steps) => {
            let step = |step: &Value| step.as_object().map(|step| plain(step, &["op", "path", "from"]));
            steps.iter().filter_map(step).map(Value::Object).collect()
        }
        _ => Value::Null,
    }
}

fn plain(members: &Map<String, Value>, kept: &[&str]) -> Map<String, Value> {
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    let member = |name: &&str| members.get(*name).filter(|value| is_plain(value)).cloned();
    kept.iter().filter_map(|name| Some(((*name).to_owned(), member(name)?))).collect()
}
