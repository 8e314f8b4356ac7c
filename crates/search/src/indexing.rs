//! From a sealed segment to its terms.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use world::Disk;

use crate::columns::CONTENT_COLUMNS;
use crate::pruning::KEY_COLUMNS;
use crate::segment::Segment;
use crate::terms::{BLOCK_ROWS, Builder, Terms, TermsError, path_beside};

/// Why a segment has no terms. It is looked through as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("could not index {0}: {1}")]
    Read(PathBuf, String),
    #[error("could not write {0}")]
    Write(PathBuf, #[source] std::io::Error),
    #[error(transparent)]
    Terms(#[from] TermsError),
}

/// Makes the terms of a segment, puts them beside it, and reads of them what stays in memory.
pub(crate) fn index(disk: &dyn Disk, dir: &Path, segment: &Segment) -> Result<Arc<Terms>, IndexError> {
    let file = dir.join(&segment.path);
    let path = path_beside(&file);
    let terms = disk.read(&file).map_err(|error| error.to_string()).and_then(terms_of);
    let terms = terms.map_err(|error| IndexError::Read(file, error))?;
    // Not durable at once: what is damaged or gone is made again.
    disk.replace(&path, &terms).map_err(|error| IndexError::Write(path.clone(), error))?;
    Ok(Terms::open(disk, &path)?)
}

fn terms_of(segment: Vec<u8>) -> Result<Vec<u8>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(segment)).map_err(|error| error.to_string())?;
    let contents = CONTENT_COLUMNS.iter().map(|(_, column)| *column);
    let wanted = contents.chain(KEY_COLUMNS).chain(["time"]);
    let mask = ProjectionMask::columns(reader.parquet_schema(), wanted);
    let reader = reader.with_projection(mask).with_batch_size(BLOCK_ROWS).build().map_err(|error| error.to_string())?;
    let mut builder = Builder::default();
    for rows in reader {
        enter(&mut builder, &rows.map_err(|error| error.to_string())?)?;
    }
    Ok(builder.finish())
}

fn enter(builder: &mut Builder, rows: &RecordBatch) -> Result<(), String> {
    let times = rows.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let texts = |name: &str| rows.column_by_name(name).and_then(|column| column.as_string_view_opt());
    let contents: Vec<_> = CONTENT_COLUMNS.iter().filter_map(|(_, column)| texts(column)).collect();
    let keys: Vec<_> = KEY_COLUMNS.iter().filter_map(|column| texts(column)).collect();
    if contents.len() != CONTENT_COLUMNS.len() || keys.len() != KEY_COLUMNS.len() {
        return Err("it lacks a column of texts".to_owned());
    }
    for (row, time) in times.ok_or("it has no column time")?.values().iter().enumerate() {
        builder.begin_row(*time);
        contents.iter().filter(|texts| !texts.is_null(row)).for_each(|texts| builder.content(texts.value(row)));
        keys.iter().filter(|texts| !texts.is_null(row)).for_each(|texts| builder.key(texts.value(row)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
