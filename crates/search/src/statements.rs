//! Statements as a client of a database sends them: several at once, with places for parameters. They are taken apart by the tokenizer of the
//! parser that reads them afterwards, so that both see the same.

use std::ops::Range;

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::sql::{SQL_BYTES_MAX, SqlError, invalid};

/// The most parameters of a statement.
pub(crate) const PARAMETERS_MAX: usize = 1_000;

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    text: String,
    /// Its words and signs, without what stands between them; words that are not quoted in small letters.
    words: Vec<String>,
    /// Where parameters are to be put, in order, and which.
    places: Vec<(Range<usize>, usize)>,
}

impl Statement {
    /// The statements of a text, those without anything in them left out.
    ///
    /// # Errors
    /// When it is too long, or cannot be taken apart.
    pub fn all(text: &str) -> Result<Vec<Self>, SqlError> {
        if text.len() > SQL_BYTES_MAX {
            return Err(SqlError::TooLong(text.len()));
        }
        let (mut statements, mut begin) = (Vec::new(), 0);
        let mut current = Self::begun();
        for (token, range) in tokens(text)? {
            match token {
                Token::SemiColon => {
                    statements.extend(current.ended(text, begin, range.start));
                    begin = range.end;
                    current = Self::begun();
                }
                Token::Placeholder(name) => {
                    let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
                    let number = number.filter(|number| (1..=PARAMETERS_MAX).contains(number));
                    let number = number.ok_or_else(|| {
                        SqlError::Invalid(format!("{name} is no parameter: they are $1 to ${PARAMETERS_MAX}"))
                    })?;
                    current.places.push((range.start - begin..range.end - begin, number));
                    current.words.push(name);
                }
                Token::Whitespace(_) | Token::EOF => {}
                Token::Word(word) if word.quote_style.is_none() => current.words.push(word.value.to_ascii_lowercase()),
                Token::SingleQuotedString(said) => current.words.push(said),
                other => current.words.push(other.to_string()),
            }
        }
        statements.extend(current.ended(text, begin, text.len()));
        Ok(statements)
    }

    const fn begun() -> Self {
        Self { text: String::new(), words: Vec::new(), places: Vec::new() }
    }

    fn ended(self, text: &str, begin: usize, end: usize) -> Option<Self> {
        let text = text.get(begin..end).unwrap_or_default().to_owned();
        (!self.words.is_empty()).then_some(Self { text, ..self })
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its words and signs: words that are not quoted in small letters, texts without their quotes.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// How many parameters it has.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.places.iter().map(|(_, number)| *number).max().unwrap_or(0)
    }

    /// It with its parameters in their places. What is missing stays as it is, and is no statement then.
    #[must_use]
    pub fn with(&self, literals: &[String]) -> String {
        let (mut out, mut from) = (String::with_capacity(self.text.len()), 0);
        for (place, number) in &self.places {
            let Some(literal) = literals.get(number - 1) else { continue };
            out.push_str(self.text.get(from..place.start).unwrap_or_default());
            out.push_str(literal);
            from = place.end;
            // Not so that one may grow without end where it stands often.
            if out.len() > SQL_BYTES_MAX {
                break;
            }
        }
        out.push_str(self.text.get(from..).unwrap_or_default());
        out
    }
}

/// What a text is made of, and where each stands in it, in bytes.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token, Range<usize>)>, SqlError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(invalid)?;
    let mut place = Place { rest: text, line: 1, column: 1, at: 0 };
    let mut found = Vec::with_capacity(tokens.len());
    for TokenWithSpan { token, span } in tokens {
        let start = place.go_to(span.start.line, span.start.column);
        let end = place.go_to(span.end.line, span.end.column);
        found.push((token, start..end));
    }
    Ok(found)
}

/// Where a line and a column are in a text, counted by letters as the tokenizer does. Only onwards.
struct Place<'t> {
    rest: &'t str,
    line: u64,
    column: u64,
    at: usize,
}

impl Place<'_> {
    fn go_to(&mut self, line: u64, column: u64) -> usize {
        while (self.line, self.column) < (line, column) {
            let Some(letter) = self.rest.chars().next() else { break };
            if letter == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
            self.at += letter.len_utf8();
            self.rest = self.rest.get(letter.len_utf8()..).unwrap_or_default();
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<String> {
        Statement::all(text).unwrap().into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn statements_end_where_the_parser_ends_them() {
        assert_eq!(split("SELECT 1;; SELECT ';' -- ;\n, $$;$$ ;"), ["SELECT 1", " SELECT ';' -- ;\n, $$;$$ "]);
        assert_eq!(split(" ; -- nothing\n"), [""; 0]);
        assert_eq!(
            Statement::all("Select \"A\", 'b' FROM X").unwrap()[0].words,
            ["select", "\"A\"", ",", "b", "from", "x"]
        );
        assert!(Statement::all("SELECT 'open").is_err());
    }

    #[test]
    fn parameters_are_put_where_they_are_and_not_where_they_only_seem_to_be() {
        let [statement] = &Statement::all("SELECT '$1', \"$1\", ü, $2::text -- $1\n, $1 /* $2 */").unwrap()[..] else {
            panic!("one statement")
        };
        assert_eq!(statement.parameters(), 2);
        let with = statement.with(&["'a'".to_owned(), "7".to_owned()]);
        assert_eq!(with, "SELECT '$1', \"$1\", ü, 7::text -- $1\n, 'a' /* $2 */");
        assert!(Statement::all("SELECT $0").is_err());
        assert!(Statement::all("SELECT $1001").is_err());
    }

    #[test]
    fn a_parameter_that_stands_often_makes_no_statement_of_any_length() {
        let text = format!("SELECT 1{}", ", $1".repeat(10_000));
        let with = Statement::all(&text).unwrap()[0].with(&[format!("'{}'", "x".repeat(60_000))]);
        assert!((SQL_BYTES_MAX..SQL_BYTES_MAX * 3).contains(&with.len()), "{}", with.len());
    }

    proptest! {
        #[test]
        fn tokens_cover_a_text_without_gaps(text in "[Ea-z'\"$ü;\n\r 0-9/*\\\\-]{0,40}") {
            if let Ok(tokens) = tokens(&text) {
                let mut at = 0;
                for (_, range) in tokens {
                    prop_assert_eq!(range.start, at, "{:?}", text);
                    at = range.end;
                }
                prop_assert_eq!(at, text.len(), "{:?}", text);
            }
        }
    }
}
