//! What went wrong, with PostgreSQL's codes (its documentation, "PostgreSQL Error Codes").

use postgres::{ParameterError, Report, Severity};
use search::{EngineError, SqlError, Stopped};

pub(super) fn report(severity: Severity, code: &'static str, message: impl Into<String>) -> Report {
    Report { severity, code, message: message.into(), hint: None, position: None }
}

/// That what was asked is not done.
pub(super) fn error(code: &'static str, message: impl Into<String>) -> Report {
    report(Severity::Error, code, message)
}

/// That the connection ends.
pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Report {
    report(Severity::Fatal, code, message)
}

pub(super) fn with_hint(report: Report, hint: &str) -> Report {
    Report { hint: Some(hint.to_owned()), ..report }
}

pub(super) fn of_parameter(parameter: &ParameterError) -> Report {
    let code = match parameter {
        ParameterError::Value { .. } => "22P02",
        ParameterError::Type { .. } => "0A000",
    };
    error(code, parameter.to_string())
}

/// What the engine says of a statement.
pub(super) fn of_engine(engine: &EngineError, statement: &str) -> Report {
    let message = engine.to_string();
    match engine {
        EngineError::Sql(sql) => of_sql(sql, statement),
        EngineError::Query(_) | EngineError::Page(_) => error("42601", message),
        EngineError::Deadline(_) | EngineError::Stopped(Stopped::Cancelled) => error("57014", message),
        EngineError::Stopped(Stopped::TooMany) => error("53000", message),
        EngineError::Memory => error("53200", message),
        EngineError::Failed(_) => error(of_values(&message).unwrap_or("XX000"), message),
        EngineError::Io(..) | EngineError::Follow(_) => error("58030", message),
    }
}

pub(super) fn of_sql(sql: &SqlError, statement: &str) -> Report {
    let message = sql.to_string();
    match sql {
        SqlError::TooLong(_) => error("54000", message),
        SqlError::TooDeep | SqlError::TooManyOperators | SqlError::TooManyTables => error("54001", message),
        SqlError::Count(_) => error("42601", message),
        SqlError::NotAQuery => error("25006", message),
        SqlError::ExplainsMore => error("42501", message),
        SqlError::Invalid(said) => invalid(said, statement),
    }
}

/// What is wrong with a value that something was made of.
fn of_values(message: &str) -> Option<&'static str> {
    let said = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match () {
        () if has(&["divide by zero"]) => Some("22012"),
        () if has(&["unrecognized configuration parameter"]) => Some("42704"),
        () if has(&["cannot cast", "cast error", "error parsing"]) => Some("22P02"),
        () if has(&["overflow", "out of range"]) => Some("22003"),
        () => None,
    }
}

/// A statement that is not SQL, or names something that is not there, and where that is.
fn invalid(said: &str, statement: &str) -> Report {
    let lower = said.to_ascii_lowercase();
    let named = |begin: &str| {
        let name = said.get(lower.find(begin)? + begin.len()..)?;
        let name = name.trim_start_matches(['\'', '"', ' ']);
        let end = name.find(['\'', '"', ' ', ',', '(']).unwrap_or(name.len());
        // Of a name with parts the last one is what is written.
        name.get(..end)?.trim_end_matches('.').rsplit('.').next().filter(|name| !name.is_empty())
    };
    let (code, position) = if let Some(at) = line_and_column(said) {
        ("42601", place_of_line(statement, at))
    } else if lower.contains("no field named") {
        ("42703", named("no field named").and_then(|name| place_of_word(statement, name)))
    } else if lower.contains("invalid function") {
        ("42883", named("invalid function").and_then(|name| place_of_word(statement, name)))
    } else if lower.contains("table '") && lower.contains("not found") {
        ("42P01", named("table '").and_then(|name| place_of_word(statement, name)))
    } else if lower.contains("parsererror") || lower.contains("tokenizererror") || lower.contains("unterminated") {
        ("42601", None)
    } else {
        (of_values(said).unwrap_or("42000"), None)
    };
    let message = said.trim_start_matches("Schema error: ");
    let message = message.strip_prefix("ParserError(\"").and_then(|rest| rest.strip_suffix("\")")).unwrap_or(message);
    Report { position, ..error(code, message) }
}

/// `… at Line: 1, Column: 8`
fn line_and_column(said: &str) -> Option<(usize, usize)> {
    let (_, rest) = said.rsplit_once("Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    Some((digits(line)?, digits(column)?))
}

/// The place of a line and column in letters from 1.
fn place_of_line(statement: &str, (line, column): (usize, usize)) -> Option<usize> {
    let before: usize =
        statement.split_inclusive('\n').take(line.checked_sub(1)?).map(|line| line.chars().count()).sum();
    let place = before + column;
    (place <= statement.chars().count() + 1).then_some(place)
}

/// The place where a word stands alone for the first time.
fn place_of_word(statement: &str, word: &str) -> Option<usize> {
    let (statement, word) = (statement.to_lowercase(), word.to_lowercase());
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let stands_alone = |at: &usize| {
        let before = statement.get(..*at).and_then(|text| text.chars().next_back());
        let after = statement.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_of_word) && !after.is_some_and(is_of_word)
    };
    let at = statement.match_indices(&word).map(|(at, _)| at).find(stands_alone)?;
    Some(statement.get(..at)?.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_code_and_its_place() {
        let said = |said: &str, statement: &str| {
            let report = invalid(said, statement);
            (report.code, report.position)
        };
        let parser = "ParserError(\"Expected: an expression, found: FROM at Line: 2, Column: 1\")";
        assert_eq!(said(parser, "SELECT ü,\nFROM x"), ("42601", Some(11)));
        let field = "Schema error: No field named modl. Did you mean 'records.model'?";
        assert_eq!(said(field, "SELECT modls, modl FROM records"), ("42703", Some(15)));
        assert_eq!(said("No field named r.modl.", "SELECT r.modl FROM records r"), ("42703", Some(10)));
        assert_eq!(said("table 'testimony.public.nowhere' not found", "SELECT 1 FROM Nowhere"), ("42P01", Some(15)));
        assert_eq!(said("Invalid function 'f'.", "SELECT f(1)"), ("42883", Some(8)));
        assert_eq!(said("something else", "SELECT 1"), ("42000", None));
    }
}
