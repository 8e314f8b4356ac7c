//! Text to [`Query`], by recursive descent.

use super::{Comparison, Condition, Query, QueryError, Span};

/// The longest query, in bytes.
const QUERY_BYTES_MAX: usize = 16_384;
/// The most fields and texts that are asked for: planning takes the square of how many there are.
const TERMS_MAX: usize = 500;
/// The deepest nesting of parentheses and negations.
const DEPTH_MAX: usize = 50;

const ONLY_A_FILTER: &str =
    "only a search ends in a stage, and here is a filter; to look for the text |, put it in quotes";

/// Reads a filter, after which nothing may come.
pub(crate) fn parse(text: &str) -> Result<Query, QueryError> {
    match parse_filter(text)? {
        (query, None) => Ok(query),
        (_, Some(stage)) => Err(stage.error(stage.at - 1, stage.at, ONLY_A_FILTER)),
    }
}

/// Reads a filter, and gives a parser that stands behind the `|` after it, where there is one.
pub(super) fn parse_filter(text: &str) -> Result<(Query, Option<Parser<'_>>), QueryError> {
    let mut parser = Parser { text, at: 0, terms: 0 };
    if text.len() > QUERY_BYTES_MAX {
        return Err(parser.error(0, 0, format!("the query has more than {QUERY_BYTES_MAX} bytes")));
    }
    let query = parser.either(0)?;
    parser.skip_space();
    match parser.peek() {
        None => Ok((query, None)),
        Some('|') => {
            parser.at += 1;
            Ok((query, Some(parser)))
        }
        Some(_) => Err(parser.error(parser.at, parser.at + 1, "this ')' closes nothing")),
    }
}

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
    terms: usize,
}

impl<'t> Parser<'t> {
    pub(super) fn error(&self, start: usize, end: usize, what: impl Into<String>) -> QueryError {
        QueryError { query: self.text.to_owned(), span: Span { start, end }, what: what.into() }
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    /// Takes a word such as `AND`, when it stands alone.
    fn take_word(&mut self, word: &str) -> bool {
        let after = self.rest().strip_prefix(word);
        let alone = after.is_some_and(|after| after.is_empty() || after.starts_with(ends_word));
        self.at += if alone { word.len() } else { 0 };
        alone
    }

    fn either(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut terms = vec![self.all(depth)?];
        loop {
            self.skip_space();
            if !self.take_word("OR") {
                break;
            }
            self.expect_term("OR")?;
            terms.push(self.all(depth)?);
        }
        Ok(single_or(terms, Query::Or))
    }

    fn all(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut terms = Vec::new();
        loop {
            self.skip_space();
            if !terms.is_empty() && self.take_word("AND") {
                self.expect_term("AND")?;
            } else if self.peek().is_none_or(|c| c == ')' || c == '|') || !terms.is_empty() && self.at("OR") {
                break;
            }
            terms.push(self.unary(depth)?);
        }
        Ok(if terms.is_empty() { Query::All } else { single_or(terms, Query::And) })
    }

    fn at(&self, word: &str) -> bool {
        Parser { text: self.text, at: self.at, terms: 0 }.take_word(word)
    }

    fn expect_term(&mut self, after: &str) -> Result<(), QueryError> {
        self.skip_space();
        match self.peek() {
            None | Some(')' | '|') => {
                Err(self.error(self.at.saturating_sub(1), self.at, format!("something must follow {after}")))
            }
            Some(_) => Ok(()),
        }
    }

    fn unary(&mut self, depth: usize) -> Result<Query, QueryError> {
        if depth > DEPTH_MAX {
            return Err(self.error(self.at, self.at + 1, format!("the query is nested more than {DEPTH_MAX} deep")));
        }
        let start = self.at;
        if self.take_word("NOT") || self.take("-") {
            self.skip_space();
            if self.peek().is_none() {
                return Err(self.error(start, self.at, "something must follow a negation"));
            }
            return Ok(Query::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.either(depth + 1)?;
            self.skip_space();
            return if self.take(")") {
                Ok(inner)
            } else {
                Err(self.error(start, start + 1, "this '(' is never closed"))
            };
        }
        if let Some(word) = ["AND", "OR"].into_iter().find(|word| self.at(word)) {
            let what = format!("something must stand before {word}; to look for the word, put it in quotes");
            return Err(self.error(start, start + word.len(), what));
        }
        self.term()
    }

    fn term(&mut self) -> Result<Query, QueryError> {
        let start = self.at;
        self.terms += 1;
        if self.terms > TERMS_MAX {
            return Err(self.error(start, start, format!("the query has more than {TERMS_MAX} terms")));
        }
        if self.peek() == Some('"') {
            let text = self.quoted()?;
            return Ok(Query::Text(text, Span { start, end: self.at }));
        }
        let word = self.word(true);
        if word.is_empty() {
            return Err(self.error(start, start + 1, "a value or a field is missing here"));
        }
        if !self.take(":") {
            return Ok(Query::Text(word, Span { start, end: self.at }));
        }
        let name_span = Span { start, end: self.at - 1 };
        let condition = self.condition()?;
        Ok(Query::Field { name: word, name_span, condition, span: Span { start, end: self.at } })
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        let start = self.at;
        for (sign, comparison) in [
            (">=", Comparison::GreaterOrEqual),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            ("<", Comparison::Less),
        ] {
            if self.take(sign) {
                return Ok(Condition::Compare(comparison, self.value()?));
            }
        }
        if self.take("[") {
            return self.range(start);
        }
        if self.peek() == Some('"') {
            return Ok(Condition::Is(self.quoted()?));
        }
        let (from, value) = (self.at, self.value()?);
        let parts = between_stars(self.text.get(from..self.at).unwrap_or_default());
        Ok(match parts.as_slice() {
            [_] => Condition::Is(value),
            [before, after] if before.is_empty() && after.is_empty() => Condition::Exists,
            _ => Condition::Like(parts),
        })
    }

    fn range(&mut self, start: usize) -> Result<Condition, QueryError> {
        let unfinished = |parser: &Self| parser.error(start, parser.at, "a range is written [from TO to]");
        self.skip_space();
        let from = self.range_end();
        self.skip_space();
        if !self.take_word("TO") {
            return Err(unfinished(self));
        }
        self.skip_space();
        let to = self.range_end();
        self.skip_space();
        if from.is_empty() || to.is_empty() || !self.take("]") {
            return Err(unfinished(self));
        }
        Ok(Condition::Between(from, to))
    }

    fn range_end(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || c == ']').unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default().to_owned()
    }

    fn value(&mut self) -> Result<String, QueryError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let start = self.at;
        let word = self.word(false);
        if word.is_empty() {
            return Err(self.error(start.saturating_sub(1), start, "a value is missing after this"));
        }
        Ok(word)
    }

    /// A run of characters without spaces, parentheses and `|`; a backslash takes the next character as it is.
    fn word(&mut self, ends_at_colon: bool) -> String {
        let mut word = String::new();
        while let Some(c) = self.peek() {
            if ends_word(c) || (c == ':' && ends_at_colon) {
                break;
            }
            self.at += c.len_utf8();
            match (c, self.peek()) {
                ('\\', Some(next)) => {
                    self.at += next.len_utf8();
                    word.push(next);
                }
                _ => word.push(c),
            }
        }
        word
    }

    pub(super) fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match (c, self.peek()) {
                ('"', _) => return Ok(text),
                ('\\', Some(next)) => {
                    self.at += next.len_utf8();
                    text.push(next);
                }
                _ => text.push(c),
            }
        }
        Err(self.error(start, start + 1, "this quote is never closed"))
    }
}

/// What no word has in it, but behind a backslash.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '"' | '|')
}

/// The parts of a word as it is written between the stars that stand for anything, which one behind a backslash does not.
fn between_stars(word: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(chars.next().unwrap_or(c)),
            other => part.push(other),
        }
    }
    parts.push(part);
    parts
}

fn single_or(mut terms: Vec<Query>, join: fn(Vec<Query>) -> Query) -> Query {
    match (terms.len(), terms.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            terms.extend(last);
            join(terms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A query in a form that is easy to compare.
    fn shape(query: &Query) -> String {
        let list = |terms: &[Query]| terms.iter().map(shape).collect::<Vec<_>>().join(" ");
        match query {
            Query::All => "all".into(),
            Query::And(terms) => format!("(and {})", list(terms)),
            Query::Or(terms) => format!("(or {})", list(terms)),
            Query::Not(inner) => format!("(not {})", shape(inner)),
            Query::Text(text, _) => format!("{text:?}"),
            Query::Field { name, condition, .. } => format!("{name}:{condition:?}"),
        }
    }

    #[track_caller]
    fn check(query: &str, expect: &str) {
        assert_eq!(parse(query).map(|query| shape(&query)), Ok(expect.to_owned()));
    }

    #[test]
    fn queries_read_as_people_mean_them() {
        check("", "all");
        check("refund", r#""refund""#);
        check(r#"model:gemma* "refund policy""#, r#"(and model:Like(["gemma", ""]) "refund policy")"#);
        check("a b OR c d", r#"(or (and "a" "b") (and "c" "d"))"#);
        check("a AND (b OR NOT c)", r#"(and "a" (or "b" (not "c")))"#);
        check("-user:alice", r#"(not user:Is("alice"))"#);
        check("status:>=500", r#"status:Compare(GreaterOrEqual, "500")"#);
        check("status:[400 TO 499]", r#"status:Between("400", "499")"#);
        check("error_type:*", "error_type:Exists");
        check(r#"user:"a b""#, r#"user:Is("a b")"#);
        check("time:>2026-11-23T09:00:00Z", r#"time:Compare(Greater, "2026-11-23T09:00:00Z")"#);
        check("ORDER NOTHING ANDY", r#"(and "ORDER" "NOTHING" "ANDY")"#);
        check(r"a\:b", r#""a:b""#);
        check(r"model:a\*b user:\*", r#"(and model:Is("a*b") user:Is("*"))"#);
        check(r"model:a\*b*", r#"model:Like(["a*b", ""])"#);
        assert!(parse(&"a ".repeat(TERMS_MAX)).is_ok() && parse(&"a ".repeat(TERMS_MAX + 1)).is_err());
        check("(a OR\"b\") AND(NOT\"c\")", r#"(and (or "a" "b") (not "c"))"#);
        check(r#""a | b" c\|d user:"|""#, r#"(and "a | b" "c|d" user:Is("|"))"#);
    }

    #[test]
    fn an_error_points_at_the_place() {
        insta::assert_snapshot!(
            [
                "(a b",
                "a OR",
                "a)",
                "\"open",
                "user:",
                "status:[1 2]",
                "NOT",
                "a | top model",
                "(a | b)",
                "a OR | b",
                "-|",
                "OR a",
                "a OR AND b",
                "a AND OR b",
                "(a OR)",
                "NOT OR a"
            ]
            .map(|q| parse(q).unwrap_err().to_string())
            .join("\n\n")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in any::<String>()) {
            let _ = parse(&text).map_err(|error| error.to_string());
        }

        #[test]
        fn no_sequence_of_tokens_makes_parsing_panic(tokens in prop::collection::vec("[-()\":*<>=\\[\\]a ]|AND|OR|NOT|TO|é", 0..40)) {
            let _ = parse(&tokens.concat()).map_err(|error| error.to_string());
        }
    }
}
