//! A parser that follows the grammar of `docs/search.md` rule by rule, and gives words back if they lead nowhere.

/// A filter, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Read {
    All(Vec<Read>),
    Any(Vec<Read>),
    Not(Box<Read>),
    Field(String, Condition),
    Text(Vec<Char>),
}

/// A character, and whether it stands for itself alone: in quotes, or after a backslash.
pub(super) type Char = (char, bool);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Exists,
    /// A value, whether it was in quotes.
    Is(Vec<Char>, bool),
    Compare(&'static str, String),
    Between(String, String),
}

pub(super) fn plain(chars: &[Char]) -> String {
    chars.iter().map(|(c, _)| c).collect()
}

/// Reads a filter after which nothing comes.
pub(super) fn read(text: &str) -> Result<Read, String> {
    let chars: Vec<char> = text.chars().collect();
    let (read, rest) = filter(&chars, 0)?;
    if spaceless(rest).is_empty() { Ok(read) } else { Err(format!("left over: {rest:?}")) }
}

type Rest<'t> = &'t [char];

fn spaceless(rest: Rest<'_>) -> Rest<'_> {
    let spaces = rest.iter().take_while(|c| c.is_whitespace()).count();
    &rest[spaces..]
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "()\"|".contains(c)
}

/// The rest after a word of the language, if it comes next.
fn keyword<'t>(word: &str, rest: Rest<'t>) -> Option<Rest<'t>> {
    let rest = spaceless(rest);
    let after = rest.get(word.len()..)?;
    let is_it = rest.iter().take(word.len()).copied().eq(word.chars());
    (is_it && after.first().is_none_or(|c| ends_word(*c))).then_some(after)
}

fn filter(rest: Rest<'_>, depth: usize) -> Result<(Read, Rest<'_>), String> {
    let ends = |rest: Rest<'_>| matches!(spaceless(rest).first(), None | Some(')' | '|'));
    if ends(rest) {
        return Ok((Read::All(Vec::new()), rest));
    }
    let (first, mut rest) = all(rest, depth)?;
    let mut any = vec![first];
    while let Some(after) = keyword("OR", rest) {
        let (next, after) = all(after, depth)?;
        any.push(next);
        rest = after;
    }
    Ok((Read::Any(any), rest))
}

fn all(rest: Rest<'_>, depth: usize) -> Result<(Read, Rest<'_>), String> {
    let (first, mut rest) = unary(rest, depth)?;
    let mut terms = vec![first];
    loop {
        let after = match keyword("AND", rest) {
            Some(after) => after,
            None if keyword("OR", rest).is_some() || matches!(spaceless(rest).first(), None | Some(')' | '|')) => break,
            None => rest,
        };
        let (next, after) = unary(after, depth)?;
        terms.push(next);
        rest = after;
    }
    Ok((Read::All(terms), rest))
}

fn unary(rest: Rest<'_>, depth: usize) -> Result<(Read, Rest<'_>), String> {
    if depth > 50 {
        return Err("too deep".into());
    }
    let rest = spaceless(rest);
    let negated = keyword("NOT", rest).or_else(|| rest.strip_prefix(&['-']));
    if let Some(after) = negated {
        let (inner, rest) = unary(after, depth + 1)?;
        return Ok((Read::Not(Box::new(inner)), rest));
    }
    if let Some(after) = rest.strip_prefix(&['(']) {
        let (inner, rest) = filter(after, depth + 1)?;
        let rest = spaceless(rest).strip_prefix(&[')']).ok_or("a bracket is not closed")?;
        return Ok((inner, rest));
    }
    if ["AND", "OR", "NOT"].iter().any(|word| keyword(word, rest).is_some()) {
        return Err("a word of the language is not looked for".into());
    }
    term(rest)
}

fn term(rest: Rest<'_>) -> Result<(Read, Rest<'_>), String> {
    if rest.first() == Some(&'"') {
        let (text, rest) = quoted(rest)?;
        return Ok((Read::Text(text), rest));
    }
    let (text, after) = word(rest, &[':']);
    if text.is_empty() {
        return Err(format!("no word: {after:?}"));
    }
    match after.strip_prefix(&[':']) {
        None => Ok((Read::Text(text), after)),
        Some(after) => {
            let (condition, rest) = condition(after)?;
            Ok((Read::Field(plain(&text), condition), rest))
        }
    }
}

fn condition(rest: Rest<'_>) -> Result<(Condition, Rest<'_>), String> {
    for sign in [">=", "<=", ">", "<"] {
        let signs: Vec<char> = sign.chars().collect();
        if let Some(after) = rest.strip_prefix(signs.as_slice()) {
            let (value, _, rest) = value(after)?;
            return Ok((Condition::Compare(sign, plain(&value)), rest));
        }
    }
    if let Some(after) = rest.strip_prefix(&['[']) {
        let (from, after) = word(spaceless(after), &[']']);
        let after = keyword("TO", after).ok_or("no TO")?;
        let (to, after) = word(spaceless(after), &[']']);
        let rest = spaceless(after).strip_prefix(&[']']).ok_or("no ]")?;
        return Ok((Condition::Between(plain(&from), plain(&to)), rest));
    }
    let (value, is_quoted, rest) = value(rest)?;
    let is_star = !is_quoted && value == [('*', false)];
    Ok((if is_star { Condition::Exists } else { Condition::Is(value, is_quoted) }, rest))
}

fn value(rest: Rest<'_>) -> Result<(Vec<Char>, bool, Rest<'_>), String> {
    if rest.first() == Some(&'"') {
        let (text, rest) = quoted(rest)?;
        return Ok((text, true, rest));
    }
    let (text, rest) = word(rest, &[]);
    if text.is_empty() { Err("no value".into()) } else { Ok((text, false, rest)) }
}

/// A word, which ends before any of these too.
fn word<'t>(rest: Rest<'t>, ends: &[char]) -> (Vec<Char>, Rest<'t>) {
    let (mut text, mut at) = (Vec::new(), 0);
    while let Some(c) = rest.get(at) {
        match (c, rest.get(at + 1)) {
            ('\\', Some(next)) => {
                text.push((*next, true));
                at += 2;
            }
            (c, _) if ends_word(*c) || ends.contains(c) => break,
            (c, _) => {
                text.push((*c, false));
                at += 1;
            }
        }
    }
    (text, &rest[at..])
}

fn quoted(rest: Rest<'_>) -> Result<(Vec<Char>, Rest<'_>), String> {
    let (mut text, mut at) = (Vec::new(), 1);
    loop {
        match (rest.get(at), rest.get(at + 1)) {
            (None, _) => return Err("a quote is not closed".into()),
            (Some('"'), _) => return Ok((text, &rest[at + 1..])),
            (Some('\\'), Some(next)) => {
                text.push((*next, true));
                at += 2;
            }
            (Some(c), _) => {
                text.push((*c, false));
                at += 1;
            }
        }
    }
}
