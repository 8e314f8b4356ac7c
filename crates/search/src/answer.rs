//! The rows of an answer, and the forms in which they leave.

use std::io::Write as _;
use std::str::FromStr;

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::columnar;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object: `columns`, `rows` (an object each), `truncated`, and `next` where a search has more.
    Json,
    /// One object a line.
    JsonLines,
    /// Comma-separated values with a head, safe for spreadsheets.
    Csv,
    /// A Parquet file.
    Parquet,
    /// Arrow's IPC stream.
    Arrow,
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a format: choose json, jsonl, csv, parquet or arrow")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        match word {
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            "arrow" => Ok(Self::Arrow),
            _ => Err(UnknownFormat(word.to_owned())),
        }
    }
}

impl Format {
    /// The media type of an answer in this form.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// The rows that a query gave.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) truncated: bool,
    /// The cursor of the page after this one.
    pub(crate) next: Option<String>,
}

impl Answer {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there were more rows than the limits let out.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The cursor of the page after this one, if a search has more.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The answer in a form.
    ///
    /// # Errors
    /// When a column has a type that the form cannot say.
    pub fn write(&self, format: Format) -> Result<Vec<u8>, ArrowError> {
        match format {
            Format::JsonLines => json_lines(&self.batches),
            Format::Json => self.write_json(),
            Format::Csv => self.write_csv(),
            Format::Parquet => columnar::parquet(self),
            Format::Arrow => columnar::arrow_stream(self),
        }
    }

    fn write_json(&self) -> Result<Vec<u8>, ArrowError> {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut out = Vec::new();
        let head = serde_json::to_string(&columns).map_err(|error| ArrowError::JsonError(error.to_string()))?;
        write!(out, "{{\"columns\":{head},\"truncated\":{},", self.truncated)?;
        // Hexadecimal digits: nothing in it needs to be escaped.
        self.next.iter().try_for_each(|next| write!(out, "\"next\":\"{next}\","))?;
        out.extend_from_slice(b"\"rows\":[");
        let rows = json_lines(&self.batches)?;
        for (nth, line) in rows.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b"]}\n");
        Ok(out)
    }

    fn write_csv(&self) -> Result<Vec<u8>, ArrowError> {
        let mut out = Vec::new();
        let names: Vec<String> = self.schema.fields().iter().map(|field| csv_cell(field.name(), false)).collect();
        writeln!(out, "{}", names.join(","))?;
        let options = FormatOptions::default().with_null("");
        for batch in &self.batches {
            let columns = batch
                .columns()
                .iter()
                .map(|column| Ok((is_text(column.data_type()), ArrayFormatter::try_new(column.as_ref(), &options)?)))
                .collect::<Result<Vec<_>, ArrowError>>()?;
            for row in 0..batch.num_rows() {
                let cells: Vec<String> =
                    columns.iter().map(|(text, column)| csv_cell(&column.value(row).to_string(), *text)).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
        }
        Ok(out)
    }

    /// The texts of a column of one row, for whoever needs a single fact.
    #[must_use]
    pub fn text(&self, row: usize, column: &str) -> Option<String> {
        let mut before = 0;
        for batch in &self.batches {
            if row < before + batch.num_rows() {
                let values = batch.column_by_name(column)?;
                let texts = values.as_string_view_opt()?;
                let at = row - before;
                return texts.is_valid(at).then(|| texts.value(at).to_owned());
            }
            before += batch.num_rows();
        }
        None
    }
}

/// Rows as JSON, one object a line, columns in their order, nothing for what is not there.
pub(crate) fn json_lines(batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = WriterBuilder::new().build::<_, LineDelimited>(Vec::new());
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner())
}

fn is_text(data_type: &DataType) -> bool {
    !data_type.is_numeric()
}

/// A cell, quoted where it must be. A text that a spreadsheet would take for a formula gets a `'` in front
/// (OWASP, "CSV injection").
fn csv_cell(text: &str, is_text: bool) -> String {
    let formula = is_text && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_looks_like_a_formula_is_defused_and_a_number_is_not() {
        assert_eq!(csv_cell("=HYPERLINK(1)", true), "'=HYPERLINK(1)");
        assert_eq!(csv_cell("-1", false), "-1");
        assert_eq!(csv_cell("a \"b\", c", true), "\"a \"\"b\"\", c\"");
    }
}
