//! Entries of the ledger to Arrow rows.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, MapBuilder,
    MapFieldNames, RecordBatch, StringBuilder, StringViewBuilder, TimestampMicrosecondArray, UInt64Array,
};
use datafusion::arrow::error::ArrowError;
use record::{Content, Envelope};

use crate::columns::{COLUMNS, CONTENT_COLUMNS, From, Row, SCHEMA, plain};

/// Why an entry is not a row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("record {0}: {1}")]
    Leaf(u64, record::EnvelopeError),
    #[error("record {0}: {1}")]
    Content(u64, record::ContentError),
    #[error("rows do not fit the columns: {0}")]
    Arrow(#[from] ArrowError),
}

/// Reads an entry: its leaf, and its content in stored form.
pub(crate) fn read_row<'a>(index: u64, leaf: &'a [u8], content: &[u8]) -> Result<Row<'a>, RowError> {
    let envelope = Envelope::parse(leaf).map_err(|error| RowError::Leaf(index, error))?;
    let content = Content::decode(content).map_err(|error| RowError::Content(index, error))?;
    Ok(Row { index, envelope, content })
}

/// Rows as one Arrow batch with all columns.
pub(crate) fn build(rows: &[Row<'_>]) -> Result<RecordBatch, ArrowError> {
    let arrays = COLUMNS.iter().map(|column| build_column(&column.from, rows)).collect::<Result<_, _>>()?;
    RecordBatch::try_new(SCHEMA.clone(), arrays)
}

pub(crate) fn build_column(from: &From, rows: &[Row<'_>]) -> Result<ArrayRef, ArrowError> {
    Ok(match from {
        From::Text(text) => texts(rows, text),
        From::TextAttribute(key) => texts(rows, |row| row.text_attribute(key)),
        From::Content(name) => texts(rows, |row| row.content_text(name).map(Into::into)),
        From::Number(number) => Arc::new(rows.iter().map(number).collect::<UInt64Array>()),
        From::Time(micros) => {
            let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(micros(row))).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        From::IntAttribute(key) => {
            let mut builder = Int64Builder::with_capacity(rows.len());
            rows.iter().for_each(|row| builder.append_option(row.int_attribute(key)));
            Arc::new(builder.finish())
        }
        From::FloatAttribute(key) => {
            let mut builder = Float64Builder::with_capacity(rows.len());
            rows.iter().for_each(|row| builder.append_option(row.float_attribute(key)));
            Arc::new(builder.finish())
        }
        From::BoolAttribute(key) => {
            let mut builder = BooleanBuilder::with_capacity(rows.len());
            rows.iter().for_each(|row| builder.append_option(row.bool_attribute(key)));
            Arc::new(builder.finish())
        }
        From::Attributes => attributes(rows)?,
        From::OtherContent => {
            let mut builder = BinaryViewBuilder::with_capacity(rows.len());
            rows.iter().for_each(|row| builder.append_option(other_content(row)));
            Arc::new(builder.finish())
        }
        From::Seed => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(rows.len(), 32);
            for row in rows {
                match &row.content {
                    Some(content) => builder.append_value(content.seed)?,
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
    })
}

/// Whether a column of numbers or facts has no value in any of the rows. Texts are compared where they lie.
pub(crate) fn is_absent(from: &From, rows: &[Row<'_>]) -> bool {
    match from {
        From::IntAttribute(key) => rows.iter().all(|row| row.int_attribute(key).is_none()),
        From::FloatAttribute(key) => rows.iter().all(|row| row.float_attribute(key).is_none()),
        From::BoolAttribute(key) => rows.iter().all(|row| row.bool_attribute(key).is_none()),
        _ => false,
    }
}

fn texts<'r, 'd: 'r>(rows: &'r [Row<'d>], text: impl Fn(&'r Row<'d>) -> Option<std::borrow::Cow<'r, str>>) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(rows.len());
    rows.iter().for_each(|row| builder.append_option(text(row)));
    Arc::new(builder.finish())
}

fn attributes(rows: &[Row<'_>]) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.envelope.attributes.iter() {
            builder.keys().append_value(key);
            builder.values().append_value(plain(value));
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// The fields that no text column holds, in the stored form after the seed.
fn other_content(row: &Row<'_>) -> Option<Vec<u8>> {
    let content = row.content.as_ref()?;
    let has_column = |name: &str| CONTENT_COLUMNS.iter().any(|(field, _)| *field == name);
    let fields = content
        .fields
        .iter()
        .filter(|field| !has_column(&field.name) || std::str::from_utf8(&field.bytes).is_err())
        .cloned()
        .collect::<Vec<_>>();
    let stored = Content { seed: content.seed, fields }.encode();
    stored.get(32..).filter(|fields| !fields.is_empty()).map(<[u8]>::to_vec)
}
