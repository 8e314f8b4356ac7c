//! JSON that was read, without the credentials in it.

use serde_json::Value;

use super::document::surely_removed_from;
use super::names::{is_credential, is_describing, is_name_of_another, is_named_by_another, is_type_of_schema};

/// The value without members that are credentials, however deep they lie, and with texts that have none in them.
pub(crate) fn removed_from_value(mut value: Value) -> Value {
    remove(&mut value);
    value
}

fn remove(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_credential_named =
                members.iter().any(|(name, said)| is_name_of_another(name) && said.as_str().is_some_and(is_credential));
            members.retain(|name, value| {
                let is_one = is_credential(name) || is_credential_named && is_named_by_another(name);
                let is_kept = !is_one || is_schema(value);
                if is_kept {
                    remove(value);
                }
                is_kept
            });
        }
        Value::Array(items) => items.iter_mut().for_each(remove),
        Value::String(text) => {
            if let Some(clean) = surely_removed_from(text) {
                *text = clean;
            }
        }
        _ => {}
    }
}

/// Whether an object is a JSON Schema of a credential. It is one with what describes it alone.
fn is_schema(value: &mut Value) -> bool {
    let Value::Object(members) = value else { return false };
    let is_one = members.get("type").and_then(Value::as_str).is_some_and(is_type_of_schema);
    if is_one {
        members.retain(|name, said| is_describing(name) && said.is_string());
    }
    is_one
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_are_gone_wherever_they_stand() {
        let document = json!({"headers": [{"Authorization": "Bearer x", "Accept": "*"}], "API_KEY": "k",
            "url": "https://me:secret@host/v1?key=x", "authorization_mode": "basic"});
        let kept =
            json!({"headers": [{"Accept": "*"}], "url": "https://host/v1?key=removed", "authorization_mode": "basic"});
        assert_eq!(removed_from_value(document), kept);
    }

    #[test]
    fn credentials_are_taken_out_at_every_depth() {
        let value = json!({
            "Authorization": "Bearer sk-1", "api_key": "sk-2", "kept": [{"x-api-key": "sk-3", "n": 1}],
            "metadata": {"user_api_key": "sk-4", "user_api_key_alias": "team", "headers": {"Cookie": "sk-5"}}
        });
        let kept = removed_from_value(value);
        assert_eq!(kept, json!({"kept": [{"n": 1}], "metadata": {"user_api_key_alias": "team", "headers": {}}}));
    }

    #[test]
    fn texts_lose_them_whatever_they_are_called() {
        let value = json!({"a": ["Bearer x", "Basic bWU6cHc=", "Basic plan", "Bearer of news"],
            "b": "see https://me:pw@host/x, please", "c": "{\"password\": 1, \"n\": 1}", "d": "{'cookie': 'x'}"});
        let kept = json!({"a": ["Bearer removed", "Basic removed", "Basic plan", "Bearer of news"],
            "b": "see https://host/x, please", "c": "{\"password\": \"removed\", \"n\": 1}", "d": "{'cookie': ''}"});
        assert_eq!(removed_from_value(value), kept);
    }

    #[test]
    fn names_of_every_door_are_gone_and_what_another_member_names() {
        let value = json!({"x-vault-token": "x", "aws_session_token": "x", "headers.secret": ["x"], "private-key": {"a": 1},
            "env": [{"name": "PASSWORD", "value": "x"}, {"name": "A", "value": "b"}, {"key": "cookie", "values": ["x"]}]});
        let kept = json!({"env": [{"name": "PASSWORD"}, {"name": "A", "value": "b"}, {"key": "cookie"}]});
        assert_eq!(removed_from_value(value), kept);
    }

    #[test]
    fn counts_of_tokens_stay_and_so_do_tools_that_want_a_credential() {
        let value = json!({"max_tokens": 5, "usage": {"total_tokens": 1, "completion_tokens": 2}, "key": "k", "token": "t",
            "tools": [{"parameters": {"properties": {"password": {"type": "string", "description": "whose"}}}}]});
        assert_eq!(removed_from_value(value.clone()), value);
        let schema = json!({"api_key": {"type": "string", "default": "x", "enum": ["x"], "title": {"a": "x"}}});
        assert_eq!(removed_from_value(schema), json!({"api_key": {"type": "string"}}));
    }
}
