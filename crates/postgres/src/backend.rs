//! What a server sends.

use crate::types::{Format, Type, Value};

/// Whether a transaction is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// None is.
    Idle,
    /// One is.
    Open,
    /// One is, in which something went wrong.
    Failed,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is wrong.
    Warning,
    /// What was asked is not done.
    Error,
    /// The connection ends.
    Fatal,
}

/// What is said to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How bad it is.
    pub severity: Severity,
    /// SQLSTATE, as PostgreSQL has it.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the statement, in characters, from 1.
    pub position: Option<usize>,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub kind: Type,
}

/// Messages that are on their way, one after the other.
#[derive(Debug, Default)]
pub struct Out(Vec<u8>);

impl Out {
    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what waits.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    fn message(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.push(kind);
        counted(&mut self.0, 4, write);
    }

    /// That it is known who asks.
    pub fn authenticated(&mut self) {
        self.message(b'R', |body| body.extend(0_u32.to_be_bytes()));
    }

    /// The question for a password, as it is.
    pub fn ask_password(&mut self) {
        self.message(b'R', |body| body.extend(3_u32.to_be_bytes()));
    }

    /// That no newer minor version than 0 is spoken, and which settings of the protocol are not known.
    pub fn negotiate(&mut self, unknown: &[&str]) {
        self.message(b'v', |body| {
            body.extend((3_u32 << 16).to_be_bytes());
            body.extend(u32::try_from(unknown.len()).unwrap_or(0).to_be_bytes());
            unknown.iter().for_each(|name| text(body, name));
        });
    }

    /// What a setting is.
    pub fn setting(&mut self, name: &str, value: &str) {
        self.message(b'S', |body| {
            text(body, name);
            text(body, value);
        });
    }

    /// By what this connection can have its statements ended.
    pub fn key(&mut self, process: u32, secret: u32) {
        self.message(b'K', |body| {
            body.extend(process.to_be_bytes());
            body.extend(secret.to_be_bytes());
        });
    }

    /// That the next question may come.
    pub fn ready(&mut self, status: Status) {
        let word = match status {
            Status::Idle => b'I',
            Status::Open => b'T',
            Status::Failed => b'E',
        };
        self.message(b'Z', |body| body.push(word));
    }

    /// That a statement is prepared.
    pub fn parsed(&mut self) {
        self.message(b'1', |_| {});
    }

    /// That it has its parameters.
    pub fn bound(&mut self) {
        self.message(b'2', |_| {});
    }

    /// That it is forgotten.
    pub fn closed(&mut self) {
        self.message(b'3', |_| {});
    }

    /// That there are no rows to come.
    pub fn no_rows(&mut self) {
        self.message(b'n', |_| {});
    }

    /// That there was no statement.
    pub fn empty(&mut self) {
        self.message(b'I', |_| {});
    }

    /// That there are more rows.
    pub fn suspended(&mut self) {
        self.message(b's', |_| {});
    }

    /// That a statement is done.
    pub fn done(&mut self, tag: &str) {
        self.message(b'C', |body| text(body, tag));
    }

    /// The types of parameters.
    pub fn parameters(&mut self, types: &[u32]) {
        self.message(b't', |body| {
            body.extend(count(types.len()));
            types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        });
    }

    /// The columns of rows to come.
    pub fn columns(&mut self, columns: &[Column], formats: &[Format]) {
        self.message(b'T', |body| {
            body.extend(count(columns.len()));
            for (nth, column) in columns.iter().enumerate() {
                text(body, &column.name);
                // Of no table that has a number, and no column of one.
                body.extend([0; 6]);
                body.extend(column.kind.oid().to_be_bytes());
                body.extend(column.kind.bytes().to_be_bytes());
                body.extend((-1_i32).to_be_bytes());
                body.extend(formats.get(nth).copied().unwrap_or(Format::Text).code().to_be_bytes());
            }
        });
    }

    /// A row.
    pub fn row<'v>(&mut self, values: impl ExactSizeIterator<Item = (Value<'v>, Format)>) {
        self.message(b'D', |body| {
            body.extend(count(values.len()));
            for (value, format) in values {
                match value {
                    Value::Null => body.extend((-1_i32).to_be_bytes()),
                    value => counted(body, 0, |body| value.write(format, body)),
                }
            }
        });
    }

    /// Something that is said to a person.
    pub fn report(&mut self, report: &Report) {
        let (kind, word) = match report.severity {
            Severity::Warning => (b'N', "WARNING"),
            Severity::Error => (b'E', "ERROR"),
            Severity::Fatal => (b'E', "FATAL"),
        };
        let position = report.position.map(|at| at.to_string());
        let fields = [
            (b'S', Some(word)),
            (b'V', Some(word)),
            (b'C', Some(report.code)),
            (b'M', Some(report.message.as_str())),
            (b'H', report.hint.as_deref()),
            (b'P', position.as_deref()),
        ];
        self.message(kind, |body| {
            for (field, said) in fields {
                if let Some(said) = said {
                    body.push(field);
                    text(body, said);
                }
            }
            body.push(0);
        });
    }
}

/// A text with the zero that ends it; a zero within it would end it too.
fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.push(0);
}

/// As many as fit; what there are more of is refused before it comes here: a statement has 64 KiB.
fn count(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes()
}

/// Writes something after its length, which counts so many bytes more.
fn counted(body: &mut Vec<u8>, more: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let at = body.len();
    body.extend([0; 4]);
    write(body);
    let length = body.len() - at - 4 + more;
    if let Some(place) = body.get_mut(at..at + 4) {
        place.copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_the_protocol_has_them() {
        let mut out = Out::default();
        out.ask_password();
        out.ready(Status::Failed);
        assert_eq!(out.take(), b"R\0\0\0\x08\0\0\0\x03Z\0\0\0\x05E");
        out.columns(&[Column { name: "n".to_owned(), kind: Type::Int8 }], &[Format::Binary]);
        assert_eq!(out.take(), b"T\0\0\0\x1a\0\x01n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\x01");
        out.row([(Value::Null, Format::Text), (Value::Text("ab".into()), Format::Text)].into_iter());
        assert_eq!(out.take(), b"D\0\0\0\x10\0\x02\xff\xff\xff\xff\0\0\0\x02ab");
        out.report(&Report {
            severity: Severity::Error,
            code: "42601",
            message: "a\0b".to_owned(),
            hint: None,
            position: Some(7),
        });
        assert_eq!(out.take(), b"E\0\0\0\x21SERROR\0VERROR\0C42601\0Mab\0P7\0\0");
        assert!(out.is_empty());
    }
}
