//! What must be refused before a file is even parsed.

use regorus::unstable::{Lexer, Source, Token, TokenKind};

use crate::check::Place;
use crate::engine::LoadError;

/// How many operators may stand in one expression: `a + b + c` is a tree as deep as it is long.
const OPERATORS_MAX: usize = 100;
/// How many brackets may be open at once.
const BRACKETS_MAX: usize = 32;
/// The largest exponent of a number, of either sign. The evaluator writes large numbers out in full.
const EXPONENT_MAX: u32 = 400;
/// The most digits of a number.
const DIGITS_MAX: usize = 400;

/// Whether a number is written with more digits or a larger exponent than is read here.
pub(crate) fn is_oversized_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.trim_start_matches(['+', '-']);
    mantissa.len() > DIGITS_MAX
        || exponent.parse::<u32>().map_or(!exponent.is_empty(), |exponent| exponent > EXPONENT_MAX)
}

/// Looks at the tokens of a file. What is no token is left to the parser, which says it better.
pub(crate) fn check_tokens(path: &str, text: &str) -> Result<(), LoadError> {
    let Ok(source) = Source::from_contents(path.to_owned(), text.to_owned()) else { return Ok(()) };
    let mut lexer = Lexer::new(&source);
    // One count for each bracket that is open, and what is outside all.
    let mut counts: Vec<usize> = vec![0];
    let (mut line, mut continues) = (0, false);
    while let Ok(Token(kind, span)) = lexer.next_token() {
        let refuse = |what: &str| {
            let place = Place { path: path.to_owned(), line: span.line };
            Err(LoadError::Rule { place: place.to_string(), what: what.to_owned() })
        };
        let word = span.text();
        let operator =
            kind == TokenKind::Symbol && !matches!(word, "(" | ")" | "[" | "]" | "{" | "}" | "," | ";" | "." | ":");
        let statement_ends = span.line != line && !continues && !operator;
        match kind {
            TokenKind::Eof => break,
            TokenKind::Number if is_oversized_number(word) => return refuse("a number of more than 400 digits"),
            TokenKind::Symbol if matches!(word, "(" | "[" | "{") => {
                counts.push(0);
                if counts.len() > BRACKETS_MAX + 1 {
                    return refuse("brackets nested more than 32 deep");
                }
            }
            TokenKind::Symbol if matches!(word, ")" | "]" | "}") && counts.len() > 1 => {
                counts.pop();
            }
            _ => {}
        }
        if let Some(count) = counts.last_mut() {
            if statement_ends || matches!(word, "," | ";") {
                *count = 0;
            }
            *count += usize::from(operator || matches!(word, "not" | "in"));
            if *count > OPERATORS_MAX {
                return refuse("an expression of more than 100 operators");
            }
        }
        (line, continues) = (span.line, operator);
    }
    Ok(())
}
