//! Rows of comma-separated values (RFC 4180), read as their bytes come.

use csv_core::{ReadRecordResult, Reader};
use serde_json::{Map, Value};

use super::stream::{Body, DOCUMENT_BYTES_MAX, too_large};
use super::wrong;
use crate::Rejected;

/// The most columns that a table may have.
const COLUMNS_MAX: usize = 1_024;
/// How many bytes of a row are read before more room is made.
const ROW_BYTES_FIRST: usize = 64 << 10;

/// A table under way.
pub(super) struct Rows {
    reader: Reader,
    /// The names of its columns; the first row.
    columns: Option<Vec<String>>,
    /// The bytes of the row's fields, one after the other.
    bytes: Vec<u8>,
    byte_count: usize,
    /// Where each field ends in them.
    ends: Vec<usize>,
    end_count: usize,
    /// What is too large is read to its end, and not kept.
    is_too_large: bool,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            columns: None,
            bytes: vec![0; ROW_BYTES_FIRST],
            byte_count: 0,
            ends: vec![0; COLUMNS_MAX],
            end_count: 0,
            is_too_large: false,
        }
    }
}

impl Rows {
    /// Takes bytes up to the end of a row: the row, if there is one that is not the names, and how many bytes were taken.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (Option<Result<Body, Rejected>>, usize) {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let (result, read) = self.step(rest);
            used += read;
            if result == ReadRecordResult::Record {
                return (self.row(), used);
            }
        }
        (None, used)
    }

    /// The row that ends with the file.
    pub(super) fn end(&mut self) -> Option<Result<Body, Rejected>> {
        loop {
            match self.step(&[]).0 {
                ReadRecordResult::Record => return self.row(),
                ReadRecordResult::End | ReadRecordResult::InputEmpty => return None,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    fn step(&mut self, input: &[u8]) -> (ReadRecordResult, usize) {
        let bytes = self.bytes.get_mut(self.byte_count..).unwrap_or_default();
        let ends = self.ends.get_mut(self.end_count..).unwrap_or_default();
        let (result, read, written, ended) = self.reader.read_record(input, bytes, ends);
        self.byte_count += written;
        self.end_count += ended;
        match result {
            ReadRecordResult::OutputFull if !self.is_too_large && self.bytes.len() < DOCUMENT_BYTES_MAX => {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                (self.byte_count, self.end_count, self.is_too_large) = (0, 0, true);
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::Record | ReadRecordResult::End => {}
        }
        (result, read)
    }

    fn row(&mut self) -> Option<Result<Body, Rejected>> {
        let (byte_count, end_count) = (std::mem::take(&mut self.byte_count), std::mem::take(&mut self.end_count));
        if std::mem::take(&mut self.is_too_large) {
            self.bytes = vec![0; ROW_BYTES_FIRST];
            // Names that cannot be kept leave every row after them without any.
            self.columns.get_or_insert_default();
            return Some(Err(too_large()));
        }
        let bytes = self.bytes.get(..byte_count).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.columns.get_or_insert_default();
            return Some(Err(Rejected::Malformed("the row is not UTF-8".into())));
        };
        let mut from = 0;
        let fields = self.ends.iter().take(end_count).map(|end| {
            let field = text.get(from..*end).unwrap_or_default();
            from = *end;
            field
        });
        let Some(columns) = &self.columns else {
            self.columns = Some(fields.map(|field| field.trim().to_owned()).collect());
            return None;
        };
        if end_count != columns.len() {
            let what = format!("it has {end_count} fields, and the first line names {} columns", columns.len());
            return Some(Err(wrong("row", what)));
        }
        let named = columns.iter().zip(fields).filter(|(_, field)| !field.is_empty());
        let row: Map<String, Value> = named.map(|(name, field)| (name.clone(), Value::from(field))).collect();
        if self.bytes.len() > ROW_BYTES_FIRST {
            self.bytes = vec![0; ROW_BYTES_FIRST];
        }
        Some(Ok(Body::Row(row)))
    }
}
