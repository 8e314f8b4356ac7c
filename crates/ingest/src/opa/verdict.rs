//! Whether a result allows, and why: OPA itself does not know what its results mean.

use serde_json::Value;

/// What a result says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Nothing, where the result is not of a form that says it.
    pub(super) allow: Option<bool>,
    pub(super) reasons: Vec<String>,
}

impl Verdict {
    /// Reads a result: a fact (of a rule that denies, the other way around), or an object with `allow` or `allowed`, also within
    /// `response` as an admission review has it.
    pub(super) fn of(path: &str, result: &str) -> Self {
        let Ok(result) = serde_json::from_str::<Value>(result) else { return Self::default() };
        let rule = path.rsplit(['/', '.']).next().unwrap_or_default();
        let denies = matches!(rule, "deny" | "denied");
        if let Some(fact) = fact(&result) {
            return Self { allow: Some(fact != denies), reasons: Vec::new() };
        }
        let answer = result.get("response").filter(|response| response.get("allowed").is_some()).unwrap_or(&result);
        Self {
            allow: ["allow", "allowed"].into_iter().find_map(|name| fact(answer.get(name)?)),
            reasons: reasons(answer),
        }
    }
}

/// OPA's documentation shows a result that is the text `true`.
fn fact(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(fact) => Some(*fact),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn reasons(answer: &Value) -> Vec<String> {
    let mut reasons = Vec::new();
    let said = ["reasons", "reason", "deny"].map(|name| answer.get(name));
    let status = answer.get("status").map(|status| status.get("message").or_else(|| status.get("reason")));
    for value in said.into_iter().chain([status.flatten()]).flatten() {
        match value {
            Value::String(reason) if !reason.is_empty() => reasons.push(reason.clone()),
            Value::Array(list) => reasons.extend(list.iter().filter_map(Value::as_str).map(str::to_owned)),
            _ => {}
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_the_usual_forms_say_whether_they_allow_and_why() {
        for (path, result, allow, reasons) in [
            ("http/authz/allow", "true", Some(true), vec![]),
            ("http/authz/allow", "\"true\"", Some(true), vec![]),
            ("/http/authz/deny", "true", Some(false), vec![]),
            ("http/authz/deny", "false", Some(true), vec![]),
            ("a", r#"{"allow":false,"reasons":["r",7],"deny":["d"]}"#, Some(false), vec!["r", "d"]),
            ("a", r#"{"allowed":true,"headers":{}}"#, Some(true), vec![]),
            ("a", r#"{"response":{"allowed":false,"status":{"message":"m"}}}"#, Some(false), vec!["m"]),
            ("a", r#"{"allow":"perhaps","reason":"r"}"#, None, vec!["r"]),
            ("a", "[true]", None, vec![]),
            ("a", "7", None, vec![]),
            ("a", "null", None, vec![]),
        ] {
            let verdict = Verdict { allow, reasons: reasons.into_iter().map(str::to_owned).collect() };
            assert_eq!(Verdict::of(path, result), verdict, "{path} {result}");
        }
    }
}
