//! What a policy answers: the documented rules of a point's package, published as `schema/result.json`.

use regorus::Value;
use serde::{Deserialize, Serialize};

use crate::point::Point;

/// How many reasons, denials or obligations a decision may have, each.
const ENTRIES_MAX: usize = 64;
/// How long a reason or a name in an obligation may be, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// The rules of a point's package that are asked.
pub(crate) const RULES: [&str; 4] = ["allow", "deny", "obligations", "reasons"];

/// What was decided, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it may go on. Never true together with an error.
    pub allow: bool,
    /// The sentences of `deny` and `reasons`, or ours when the policy gives none for a denial.
    pub reasons: Vec<String>,
    /// What must be done if it goes on, in a fixed order.
    pub obligations: Vec<Obligation>,
    /// The asked rules that held: `allow` when true, the others when not empty, as paths (`data.testimony.request.allow`).
    pub rules: Vec<String>,
    /// Why the policy could not be evaluated; the decision is then a denial, and the caller may know of a route that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something that must be done to a call that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Obligation {
    /// Mask what a guardrail finds, or what a pattern matches; exactly one of the two is given.
    Redact {
        /// The guardrail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// The regular expression; whoever carries the obligation out compiles it, and denies when it is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
    },
    /// Ask the model for at most so many tokens.
    Cap {
        /// At least 1.
        max_tokens: u64,
    },
    /// Send the call to another route.
    Route {
        /// The route's name.
        to: String,
    },
    /// Put a label on the record.
    Flag {
        /// The label.
        label: String,
    },
    /// Refuse the call unless it has a header.
    RequireHeader {
        /// The header's name.
        name: String,
    },
}

impl Obligation {
    /// What the schema says beyond the shape.
    fn check(self) -> Result<Self, String> {
        let texts: Vec<&String> = match &self {
            Self::Redact { check, pattern } => check.iter().chain(pattern).collect(),
            Self::Cap { max_tokens: 0 } => return Err("a cap of 0 tokens".to_owned()),
            Self::Cap { .. } => return Ok(self),
            Self::Route { to: text } | Self::Flag { label: text } | Self::RequireHeader { name: text } => vec![text],
        };
        match texts.as_slice() {
            [text] if text.is_empty() => Err("an empty text".to_owned()),
            [text] if text.len() > TEXT_BYTES_MAX => Err(format!("a text of more than {TEXT_BYTES_MAX} bytes")),
            [_] => Ok(self),
            _ => Err("not exactly one of check and pattern".to_owned()),
        }
    }
}

impl Decision {
    /// A denial since nothing could be decided.
    pub(crate) fn failed(error: String) -> Self {
        Self { reasons: vec![error.clone()], error: Some(error), ..Self::default() }
    }

    /// A denial since there are no rules for the point.
    pub(crate) fn silent(point: Point) -> Self {
        let reason = format!("the policy says nothing of a {point}: there is no rule {}.allow", point.package());
        Self { reasons: vec![reason], ..Self::default() }
    }

    /// Reads the set of pairs of rule and value that our own rules ask for; whatever is not as documented makes the decision
    /// a failed one.
    pub(crate) fn read(point: Point, asked: &Value) -> Self {
        let Ok(pairs) = asked.as_set() else { return Self::failed("the policy gave no answer".to_owned()) };
        let rules = pairs.iter_sorted().filter_map(|pair| match &pair[0] {
            Value::String(name) => Some((name.as_ref(), &pair[1])),
            _ => None,
        });
        Self::try_read(point, rules).unwrap_or_else(Self::failed)
    }

    /// Reads a point's whole package as JSON, in which sets are arrays, as [`Decision::read`] does. Rules that are not asked
    /// are passed over.
    pub(crate) fn read_package(point: Point, package: serde_json::Value) -> Self {
        let serde_json::Value::Object(mut package) = package else {
            return Self::failed(format!("{} is not an object", point.package()));
        };
        let rules = RULES.into_iter().filter_map(|name| Some((name, Value::from(package.remove(name)?))));
        let rules: Vec<(&str, Value)> = rules.collect();
        Self::try_read(point, rules.iter().map(|(name, value)| (*name, value))).unwrap_or_else(Self::failed)
    }

    /// The one reading of the documented rules, by name.
    fn try_read<'a>(point: Point, rules: impl Iterator<Item = (&'a str, &'a Value)>) -> Result<Self, String> {
        let mut decision = Self::default();
        let (mut allowed, mut denials) = (false, Vec::new());
        for (name, value) in rules {
            let path = format!("{}.{name}", point.package());
            let holds = match name {
                "allow" => {
                    allowed = *value.as_bool().map_err(|_| format!("{path} is not a boolean"))?;
                    allowed
                }
                "deny" => {
                    denials = texts(&path, value)?;
                    !denials.is_empty()
                }
                "reasons" => {
                    decision.reasons = texts(&path, value)?;
                    !decision.reasons.is_empty()
                }
                _ => {
                    decision.obligations = obligations(&path, value)?;
                    !decision.obligations.is_empty()
                }
            };
            if holds {
                decision.rules.push(path);
            }
        }
        decision.allow = allowed && denials.is_empty();
        decision.reasons = denials.into_iter().chain(decision.reasons).collect();
        if !decision.allow && decision.reasons.is_empty() {
            decision.reasons.push(format!("{}.allow is not true", point.package()));
        }
        Ok(decision)
    }
}

/// The entries of a set or an array.
fn entries<'a>(path: &str, value: &'a Value) -> Result<Vec<&'a Value>, String> {
    let entries: Vec<&Value> = match value {
        Value::Set(set) => set.iter_sorted().collect(),
        Value::Array(array) => array.iter().collect(),
        _ => return Err(format!("{path} is neither a set nor an array")),
    };
    if entries.len() > ENTRIES_MAX {
        return Err(format!("{path} has {} entries, more than {ENTRIES_MAX}", entries.len()));
    }
    Ok(entries)
}

fn texts(path: &str, value: &Value) -> Result<Vec<String>, String> {
    let texts = entries(path, value)?.into_iter().map(|entry| match entry {
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => Ok(text.to_string()),
        Value::String(_) => Err(format!("{path} has a text of more than {TEXT_BYTES_MAX} bytes")),
        _ => Err(format!("{path} has an entry that is not a string")),
    });
    texts.collect()
}

fn obligations(path: &str, value: &Value) -> Result<Vec<Obligation>, String> {
    let obligations = entries(path, value)?.into_iter().map(|entry| {
        let fields = entry.as_object().map_err(|_| format!("{path} has an entry that is not an object"))?;
        // Only flat objects are obligations, so nothing deep is ever converted.
        if fields.values().any(|field| matches!(field, Value::Array(_) | Value::Set(_) | Value::Object(_))) {
            return Err(format!("{path} has an entry with a field that is not a plain value"));
        }
        let json =
            serde_json::to_value(entry).map_err(|error| format!("{path} has an entry that is not JSON: {error}"))?;
        let read: Obligation = serde_json::from_value(json)
            .map_err(|error| format!("{path} has an entry that is not a known obligation: {error}"))?;
        read.check().map_err(|what| format!("{path} has an obligation with {what}"))
    });
    let mut obligations = obligations.collect::<Result<Vec<_>, _>>()?;
    obligations.sort();
    obligations.dedup();
    Ok(obligations)
}

#[cfg(test)]
mod tests;
