//! Statements about the catalogue as clients send them, in words that the parser here knows: `OPERATOR(pg_catalog.~)` is `~`. Others stay
//! as they are, letter for letter.

use std::borrow::Cow;
use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::tables;
use crate::sql::SqlError;
use crate::statements::tokens;

/// Types of PostgreSQL that are texts or numbers here.
const TEXT_TYPES: [&str; 6] = ["regtype", "regproc", "regclass", "regnamespace", "name", "sql_identifier"];

/// A statement as it can be read here.
pub(crate) fn understood(statement: &str) -> Result<Cow<'_, str>, SqlError> {
    let lower = statement.to_ascii_lowercase();
    if !["pg_", "information_schema", "::reg"].iter().any(|word| lower.contains(word)) {
        return Ok(Cow::Borrowed(statement));
    }
    let found = Tokens::of(statement)?;
    let (mut out, mut from, mut at) = (String::with_capacity(statement.len()), 0, 0);
    while at < found.0.len() {
        let Some((count, instead)) = found.replaced(at) else {
            at += 1;
            continue;
        };
        let (start, end) = (found.place(at).start, found.place(at + count - 1).end);
        out.push_str(statement.get(from..start).unwrap_or_default());
        out.push_str(&instead);
        (from, at) = (end, at + count);
    }
    out.push_str(statement.get(from..).unwrap_or_default());
    Ok(Cow::Owned(out))
}

/// What a text is made of, without what stands between.
struct Tokens(Vec<(Token, Range<usize>)>);

impl Tokens {
    fn of(text: &str) -> Result<Self, SqlError> {
        let is_something = |(token, _): &(Token, _)| !matches!(token, Token::Whitespace(_) | Token::EOF);
        Ok(Self(tokens(text)?.into_iter().filter(is_something).collect()))
    }

    fn place(&self, at: usize) -> Range<usize> {
        self.0.get(at).map_or(0..0, |(_, place)| place.clone())
    }

    fn token(&self, at: usize) -> Option<&Token> {
        self.0.get(at).map(|(token, _)| token)
    }

    /// A word, in any case, quoted or not.
    fn word(&self, at: usize) -> Option<String> {
        match self.token(at)? {
            Token::Word(word) => Some(word.value.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.word(at).is_some_and(|found| found == word)
    }

    /// Whether it is a word of the language, which nobody has put between quotes.
    fn is_keyword(&self, at: usize, word: &str) -> bool {
        matches!(self.token(at), Some(Token::Word(found)) if found.quote_style.is_none()) && self.is_word(at, word)
    }

    fn is_in_catalog(&self, at: usize) -> bool {
        self.is_word(at, "pg_catalog") && self.token(at + 1) == Some(&Token::Period)
    }

    /// How many tokens from one on are to be replaced, and by what.
    fn replaced(&self, at: usize) -> Option<(usize, String)> {
        if at > 0 && self.is_keyword(at - 1, "in") && self.begins_query(at) {
            return self.of_search_path(at);
        }
        if self.is_keyword(at, "operator") && self.token(at + 1) == Some(&Token::LParen) && self.is_in_catalog(at + 2) {
            return Some((6, format!(" {} ", self.token(at + 4)?)));
        }
        if self.is_keyword(at, "collate") {
            return Some((if self.is_in_catalog(at + 1) { 4 } else { 2 }, String::new()));
        }
        if let (Some(Token::SingleQuotedString(name)), Some(Token::DoubleColon)) = (self.token(at), self.token(at + 1))
        {
            let of_catalog = if self.is_in_catalog(at + 2) { 2 } else { 0 };
            if self.is_word(at + 2 + of_catalog, "regclass") {
                let number = name.trim_matches('"');
                let number = tables::view(number).unwrap_or(if is_number(number) { number } else { "0" });
                return Some((3 + of_catalog, number.to_owned()));
            }
        }
        if self.token(at) == Some(&Token::DoubleColon) {
            let of_catalog = if self.is_in_catalog(at + 1) { 2 } else { 0 };
            let kind = self.word(at + 1 + of_catalog)?;
            if kind == "oid" {
                return Some((2 + of_catalog, "::int".to_owned()));
            }
            let is_text = TEXT_TYPES.contains(&kind.as_str()) || kind == "char";
            return (is_text || of_catalog > 0)
                .then(|| (2 + of_catalog, format!("::{}", if is_text { "text" } else { kind.as_str() })));
        }
        self.empty(at).or_else(|| self.is_in_catalog(at).then(|| (2, String::new())))
    }

    /// What comes of a table that has nothing in it, where it is asked for each row of another: the parser's planner has no way to do that.
    fn empty(&self, at: usize) -> Option<(usize, String)> {
        // Appended to a list: the list stays as it is.
        if self.token(at) == Some(&Token::StringConcat) && self.is_keyword(at + 1, "array") && self.begins_query(at + 2)
        {
            return Some((2 + self.bracketed(at + 2)?, String::new()));
        }
        if self.is_keyword(at, "array") && self.begins_query(at + 1) {
            return Some((1 + self.bracketed(at + 1)?, "NULL".to_owned()));
        }
        let is_value = !["from", "join", "in", "exists"].iter().any(|word| at > 0 && self.is_keyword(at - 1, word));
        if !is_value || !self.begins_query(at) {
            return None;
        }
        let count = self.bracketed(at)?;
        let mut inside = at + 2..at + count;
        let from = inside.clone().find(|at| self.is_keyword(*at, "from"))?;
        let table = self.word(if self.is_in_catalog(from + 1) { from + 3 } else { from + 1 })?;
        let is_plain = !inside.any(|at| self.is_keyword(at, "count") || self.is_keyword(at, "union"));
        (tables::is_empty(&table) && is_plain).then(|| (count, "NULL".to_owned()))
    }

    fn begins_query(&self, at: usize) -> bool {
        self.token(at) == Some(&Token::LParen) && self.is_keyword(at + 1, "select")
    }

    /// How many tokens there are from a bracket to the one that closes it.
    fn bracketed(&self, at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (nth, (token, _)) in self.0.get(at..)?.iter().enumerate() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(nth + 1);
            }
        }
        None
    }

    /// A query for the schemas in the path of its user, however it takes the setting apart: there is one.
    fn of_search_path(&self, at: usize) -> Option<(usize, String)> {
        let count = self.bracketed(at)?;
        let asks = |at: usize| matches!(self.token(at), Some(Token::SingleQuotedString(name)) if name == "search_path");
        (at..at + count).any(asks).then(|| (count, "('public')".to_owned()))
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
