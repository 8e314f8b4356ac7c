//! What a statement is, of those that the engine does not run: what clients say around their questions.

use std::time::Duration;

use search::{Limits, setting};

/// What a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Something that the engine answers, or refuses.
    Ask,
    /// How something is set.
    Show(String),
    /// That something be set.
    Set(String, String),
    /// That a transaction begin.
    Begin,
    /// That it end.
    Commit,
    /// That it have been for nothing.
    Rollback,
    /// Nothing that there is here; this is said.
    Nothing(&'static str),
    /// To forget a prepared statement, or all of them.
    Deallocate(Option<String>),
    /// To forget all that is kept of a connection.
    Discard,
    /// What is not offered; this is what to do.
    NotOffered(&'static str),
}

impl Command {
    /// Reads it in the words of a statement.
    pub(super) fn of(words: &[String]) -> Self {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["begin" | "start", ..] => Self::Begin,
            ["commit" | "end", ..] => Self::Commit,
            ["rollback" | "abort", rest @ ..] if rest.contains(&"to") => Self::Nothing("ROLLBACK"),
            ["rollback" | "abort", ..] => Self::Rollback,
            ["savepoint", ..] => Self::Nothing("SAVEPOINT"),
            ["release", ..] => Self::Nothing("RELEASE"),
            ["set", "session" | "local", rest @ ..] | ["set", rest @ ..] => Self::setting(rest),
            ["reset", ..] => Self::Nothing("RESET"),
            ["discard", "all"] => Self::Discard,
            ["discard", ..] => Self::Nothing("DISCARD"),
            ["deallocate", "all" | "prepare"] => Self::Deallocate(None),
            ["deallocate", "prepare", name] | ["deallocate", name] => {
                Self::Deallocate(Some(name.trim_matches('"').to_owned()))
            }
            ["unlisten", ..] => Self::Nothing("UNLISTEN"),
            ["show", "time", "zone"] => Self::Show("timezone".to_owned()),
            ["show", "transaction", "isolation", "level"] => Self::Show("transaction_isolation".to_owned()),
            ["show", name @ ..] => Self::Show(name.concat()),
            ["declare" | "fetch" | "move" | "close", ..] => {
                Self::NotOffered("there are no cursors by name: have rows in portions by the protocol")
            }
            ["prepare" | "execute", ..] => Self::NotOffered("prepare by the protocol, as drivers do"),
            ["copy", ..] => Self::NotOffered("there is no COPY: POST /api/v1/sql gives rows as CSV, Parquet or Arrow"),
            ["listen" | "notify", ..] => {
                Self::NotOffered("nothing is told to those who listen: GET /api/v1/tail follows the log")
            }
            _ => Self::Ask,
        }
    }

    fn setting(words: &[&str]) -> Self {
        match words {
            ["transaction" | "characteristics" | "constraints" | "authorization" | "role", ..] => Self::Nothing("SET"),
            ["time", "zone", value @ ..] => Self::Set("timezone".to_owned(), value.concat()),
            ["names", value @ ..] => Self::Set("client_encoding".to_owned(), value.concat()),
            words => {
                let at = words.iter().position(|word| matches!(*word, "=" | "to"));
                let (name, value) = words.split_at(at.unwrap_or(words.len()));
                Self::Set(name.concat(), value.get(1..).unwrap_or_default().concat())
            }
        }
    }

    /// What is said when it is done.
    pub(super) const fn tag(&self) -> &'static str {
        match self {
            Self::Ask => "SELECT",
            Self::Show(_) => "SHOW",
            Self::Set(..) => "SET",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Nothing(tag) => tag,
            Self::Deallocate(_) => "DEALLOCATE",
            Self::Discard => "DISCARD ALL",
            Self::NotOffered(_) => "",
        }
    }

    /// Whether it has rows.
    pub(super) const fn has_rows(&self) -> bool {
        matches!(self, Self::Ask | Self::Show(_))
    }
}

/// How one connection has things set.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What it calls itself.
    pub(super) application: String,
    /// How long its statements may run.
    pub(super) deadline: Duration,
}

impl Settings {
    pub(super) fn new() -> Self {
        Self { application: String::new(), deadline: Limits::default().deadline }
    }

    /// How something is set.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        match name.to_ascii_lowercase().as_str() {
            "application_name" => Some(self.application.clone()),
            "statement_timeout" => Some(format!("{}ms", self.deadline.as_millis())),
            name => setting(name).map(str::to_owned),
        }
    }

    /// Sets something, or says why not. What changes nothing about answers is as it was before, and nobody is the worse for it.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        // Some clients send the quotes of SQL with what they begin with.
        let value = value.trim_matches('\'');
        let is_one_of = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(value));
        let only =
            |is_right: bool, what: &str| if is_right { Ok(()) } else { Err(format!("{name} is always {what} here")) };
        match name.to_ascii_lowercase().as_str() {
            "application_name" => {
                self.application = value.chars().filter(|letter| !letter.is_control()).take(63).collect();
                Ok(())
            }
            "statement_timeout" => {
                let asked = duration(value).ok_or_else(|| format!("{value:?} is no time, such as 5000 or 5s"))?;
                let most = Limits::default().deadline;
                self.deadline = if asked.is_zero() { most } else { asked.min(most) };
                Ok(())
            }
            "client_encoding" => only(is_one_of(&["utf8", "utf-8", "unicode", "sql_ascii", "default"]), "UTF8"),
            "standard_conforming_strings" => only(is_one_of(&["on", "true", "yes", "1", "default"]), "on"),
            "datestyle" => only(value.to_ascii_lowercase().starts_with("iso") || is_one_of(&["default"]), "ISO"),
            "intervalstyle" => only(is_one_of(&["postgres", "default"]), "postgres"),
            "default_transaction_read_only" | "transaction_read_only" => {
                only(is_one_of(&["on", "true", "yes", "1", "default"]), "on")
            }
            _ => Ok(()),
        }
    }
}

/// A number of milliseconds, or with a unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return if text == "default" { Some(Duration::ZERO) } else { None },
    };
    Some(Duration::from_millis(number.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command {
        Command::of(search::Statement::all(text).unwrap()[0].words())
    }

    #[test]
    fn commands_are_read_like_this() {
        let set = |name: &str, value: &str| Command::Set(name.to_owned(), value.to_owned());
        assert_eq!(command("SET extra_float_digits = 3"), set("extra_float_digits", "3"));
        assert_eq!(command("SET SESSION DateStyle TO 'ISO, MDY'"), set("datestyle", "ISO, MDY"));
        assert_eq!(command("set local time zone 'Europe/Berlin'"), set("timezone", "Europe/Berlin"));
        assert_eq!(command("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"), Command::Nothing("SET"));
        assert_eq!(command("START TRANSACTION READ ONLY"), Command::Begin);
        assert_eq!(command("ROLLBACK TO SAVEPOINT a"), Command::Nothing("ROLLBACK"));
        assert_eq!(command("SHOW transaction isolation level"), Command::Show("transaction_isolation".to_owned()));
        assert_eq!(command("DEALLOCATE \"_pg3_0\""), Command::Deallocate(Some("_pg3_0".to_owned())));
        assert_eq!(command("-- SET x\nSELECT 1"), Command::Ask);
        assert_eq!(command("\"set\""), Command::Ask);
    }

    #[test]
    fn what_would_change_answers_is_not_set() {
        let mut settings = Settings::new();
        for (name, value) in [
            ("client_encoding", "LATIN1"),
            ("standard_conforming_strings", "off"),
            ("DateStyle", "German"),
            ("transaction_read_only", "off"),
            ("statement_timeout", "soon"),
        ] {
            assert!(settings.set(name, value).is_err(), "{name}");
        }
        for (name, value) in [("client_encoding", "'utf-8'"), ("DateStyle", "ISO, DMY"), ("work_mem", "1TB")] {
            assert_eq!(settings.set(name, value), Ok(()));
        }
        settings.set("statement_timeout", "1500").unwrap();
        assert_eq!(settings.value("statement_timeout").unwrap(), "1500ms");
        settings.set("statement_timeout", "1h").unwrap();
        assert_eq!(settings.deadline, Limits::default().deadline);
        assert_eq!(settings.value("TimeZone").as_deref(), Some("UTC"));
        assert_eq!(settings.value("no_such"), None);
    }
}
