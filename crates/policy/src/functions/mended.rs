//! What the evaluator has otherwise than OPA, and would say wrongly without a word.

use regorus::Value;

use super::account::afford;
use super::crypto::text;
use super::{Failure, Function, failure};

/// Name, number of arguments, function.
pub(super) const FUNCTIONS: &[(&str, u8, Function)] =
    &[("json.is_valid", 1, is_valid), ("strings.count", 2, count), ("strings.replace_n", 2, replace_n)];

/// The evaluator's own function.
type Evaluator<'a> = dyn Fn(&[Value]) -> Result<Value, anyhow::Error> + 'a;

/// What is done around a function of the evaluator.
pub(super) type Around = fn(&[Value], &Evaluator<'_>) -> Result<Value, anyhow::Error>;

/// Name, what is done around it.
pub(super) const AROUND: &[(&str, Around)] = &[("glob.match", glob_match), ("json.match_schema", match_schema)];

/// How many bytes are compared in the time in which one is built.
const COMPARED_AT_ONCE: usize = 16;

/// What is not a string is not JSON, rather than an error.
fn is_valid(arguments: &[Value]) -> Result<Value, Failure> {
    let json = text(arguments, 0).map(serde_json::from_slice::<serde::de::IgnoredAny>);
    Ok(Value::from(matches!(json, Ok(Ok(_)))))
}

fn string(arguments: &[Value], at: usize) -> Result<&str, Failure> {
    std::str::from_utf8(text(arguments, at)?).map_err(|error| error.to_string())
}

/// How often a text is in another without overlapping; the empty one is before and after every character.
fn count(arguments: &[Value]) -> Result<Value, Failure> {
    Ok(Value::from(string(arguments, 0)?.matches(string(arguments, 1)?).count()))
}

/// Replaces in one pass, so that nothing is replaced in what was put in. Where more than one key matches, the first in order
/// does; the empty one once between two characters.
fn replace_n(arguments: &[Value]) -> Result<Value, Failure> {
    let fields = arguments.first().and_then(|value| value.as_object().ok()).ok_or("argument 1 must be an object")?;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (old, new) in fields.iter_sorted() {
        let (Value::String(old), Value::String(new)) = (old, new) else {
            return Err("argument 1 must have strings as keys and values".to_owned());
        };
        pairs.push((old.as_ref(), new.as_ref()));
    }
    let text = string(arguments, 1)?;
    let compared: usize = pairs.iter().map(|(old, _)| 1 + old.len() / COMPARED_AT_ONCE).sum();
    afford((text.len() as u64).saturating_mul(compared as u64))?;
    let (mut made, mut rest, mut was_empty) = (String::new(), text, false);
    loop {
        let found = pairs.iter().find(|(old, _)| rest.starts_with(old) && !(was_empty && old.is_empty()));
        was_empty = found.is_some_and(|(old, _)| old.is_empty());
        if let Some((old, new)) = found {
            made.push_str(new);
            rest = &rest[old.len()..];
            afford(made.len() as u64)?;
        } else if let Some(next) = rest.chars().next() {
            made.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            return Ok(Value::from(made));
        }
    }
}

/// A document may be given as text, which the evaluator would take for a string; and errors are an array of objects. Only the
/// first is given.
fn match_schema(arguments: &[Value], call: &Evaluator<'_>) -> Result<Value, anyhow::Error> {
    let fail = |what: &str| failure("json.match_schema", what);
    let mut arguments = arguments.to_vec();
    if let Some(document) = arguments.first_mut()
        && let Value::String(text) = document
    {
        let parsed: serde_json::Value = serde_json::from_str(text).map_err(|_| fail("the document is not JSON"))?;
        *document = Value::from(parsed);
    }
    let value = call(&arguments)?;
    let errors = match &value[1] {
        Value::String(error) => vec![Value::from(serde_json::json!({"desc": error.as_ref(), "error": error.as_ref()}))],
        _ => Vec::new(),
    };
    Ok(Value::from(vec![value[0].clone(), Value::from(errors)]))
}

/// A glob with an empty alternative (`{www.,}example.com`) would match as if that were not there.
fn glob_match(arguments: &[Value], call: &Evaluator<'_>) -> Result<Value, anyhow::Error> {
    check_glob(arguments).map_err(|what| failure("glob.match", &what))?;
    call(arguments)
}

fn check_glob(arguments: &[Value]) -> Result<(), Failure> {
    let (mut open, mut is_class, mut before) = (0_usize, false, ' ');
    for character in string(arguments, 0)?.chars() {
        let is_end = matches!(character, ',' | '}') && open > 0;
        match character {
            _ if before == '\\' => {}
            ']' if is_class => is_class = false,
            _ if is_class => {}
            '[' => is_class = true,
            _ if is_end && matches!(before, '{' | ',') => return Err("an empty alternative is not read".to_owned()),
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        // What stands after a backslash is an ordinary character, another backslash too.
        before = if before == '\\' { ' ' } else { character };
    }
    Ok(())
}
