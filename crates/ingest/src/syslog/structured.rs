//! Structured data (RFC 5424, section 6.3): `-`, or `[id name="value" …][id …]`.

use std::borrow::Cow;

/// One element: an identifier and its parameters, names as often as they were there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Element<'a> {
    pub(super) id: &'a str,
    pub(super) parameters: Vec<(&'a str, Cow<'a, str>)>,
}

/// Reads structured data at the beginning of a text; what follows it stands beside it. A header that ends without any is taken for
/// one with none.
pub(super) fn parse(text: &str) -> Option<(Vec<Element<'_>>, &str)> {
    if text.is_empty() {
        return Some((Vec::new(), text));
    }
    if let Some(rest) = text.strip_prefix('-') {
        return (rest.is_empty() || rest.starts_with(' ')).then_some((Vec::new(), rest));
    }
    let (mut rest, mut elements) = (text, Vec::new());
    while let Some(inside) = rest.strip_prefix('[') {
        let (element, after) = Element::parse(inside)?;
        elements.push(element);
        rest = after;
    }
    let is_whole = !elements.is_empty() && (rest.is_empty() || rest.starts_with(' '));
    is_whole.then_some((elements, rest))
}

impl<'a> Element<'a> {
    /// Reads an element after its opening bracket.
    fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        let (id, mut rest) = name(text)?;
        let mut parameters = Vec::new();
        loop {
            if let Some(after) = rest.strip_prefix(']') {
                return Some((Self { id, parameters }, after));
            }
            let (name, after) = name(rest.strip_prefix(' ')?.trim_start_matches(' '))?;
            let (value, after) = value(after.strip_prefix("=\"")?)?;
            parameters.push((name, value));
            rest = after;
        }
    }
}

/// `SD-NAME`: printable, without `=`, space, `]` and `"`. Longer than the 32 characters of the RFC is taken too.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| matches!(c, '=' | ' ' | ']' | '"') || c.is_control())?;
    (end > 0).then(|| text.split_at(end))
}

/// `PARAM-VALUE` up to and with its closing quote. A backslash before anything but `"`, `\` and `]` is itself (section 6.3.3).
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut plain = String::new();
    let mut from = 0;
    let mut marks = text.match_indices(['"', '\\', ']']);
    while let Some((at, mark)) = marks.next() {
        match mark {
            "\"" => {
                let last = text.get(from..at)?;
                let rest = text.get(at + 1..)?;
                let whole = if plain.is_empty() { Cow::Borrowed(last) } else { Cow::Owned(plain + last) };
                return Some((whole, rest));
            }
            "\\" if text.get(at + 1..)?.starts_with(['"', '\\', ']']) => {
                marks.next();
                plain.push_str(text.get(from..at)?);
                plain.push_str(text.get(at + 1..at + 2)?);
                from = at + 2;
            }
            // A `]` that is not escaped is none of the RFC's; the quotes say where the value ends.
            _ => {}
        }
    }
    None
}
