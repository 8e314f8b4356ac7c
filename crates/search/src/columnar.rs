//! Answers in the forms of those who go on with columns: a Parquet file, a stream of Arrow.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use crate::answer::Answer;

/// What the schema says of an answer that a limit has cut: a file is kept longer than the headers that it came with.
const TRUNCATED: &str = "testimony.truncated";

/// One Parquet file.
pub(crate) fn parquet(answer: &Answer) -> Result<Vec<u8>, ArrowError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(concat!("testimony ", env!("CARGO_PKG_VERSION")).to_owned());
    let schema = schema_of(answer);
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.build()))?;
    for batch in &answer.batches {
        writer.write(&batch_in(&schema, batch)?)?;
    }
    Ok(writer.into_inner()?)
}

/// Arrow's IPC stream, uncompressed, since not all readers have a decoder.
pub(crate) fn arrow_stream(answer: &Answer) -> Result<Vec<u8>, ArrowError> {
    let schema = schema_of(answer);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    for batch in &answer.batches {
        writer.write(&batch_in(&schema, batch)?)?;
    }
    writer.into_inner()
}

/// The columns of an answer. Each may lack a value: a plan's promise that none does is of no use to a reader.
fn schema_of(answer: &Answer) -> SchemaRef {
    let fields = answer.schema.fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), widely_read(field.data_type()), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let truncated = answer.truncated.then(|| (TRUNCATED.to_owned(), "true".to_owned()));
    Arc::new(schema.with_metadata(HashMap::from_iter(truncated)))
}

fn batch_in(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

/// The type in which readers of every age take a column: Arrow's views are younger than many of them.
fn widely_read(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(within(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(within).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(within(entries), *is_sorted),
        other => other.clone(),
    }
}

fn within(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(widely_read(field.data_type())))
}
