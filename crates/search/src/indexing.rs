//! From a sealed segment to its terms.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::parquet::arrow::ProjectionMask;
use world::Disk;

use crate::columns::CONTENT_COLUMNS;
use crate::parts::FileInParts;
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
pub(crate) fn index(disk: &Arc<dyn Disk>, dir: &Path, segment: &Segment) -> Result<Arc<Terms>, IndexError> {
    let file = dir.join(&segment.path);
    let terms = FileInParts::open(disk, &file).map_err(|error| error.to_string()).and_then(terms_of);
    let terms = terms.map_err(|error| IndexError::Read(file, error))?;
    keep(disk.as_ref(), dir, segment, terms)
}

/// Puts the terms of a segment beside it, and reads of them what stays in memory.
pub(crate) fn keep(disk: &dyn Disk, dir: &Path, segment: &Segment, terms: Builder) -> Result<Arc<Terms>, IndexError> {
    let path = path_beside(&dir.join(&segment.path));
    // Not durable at once: what is damaged or gone is made again.
    disk.replace(&path, &terms.finish()).map_err(|error| IndexError::Write(path.clone(), error))?;
    Ok(Terms::open(disk, &path)?)
}

fn terms_of(segment: FileInParts) -> Result<Builder, String> {
    let reader = segment.rows().map_err(|error| error.to_string())?;
    let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).map_err(|error| error.to_string())?;
    let contents = CONTENT_COLUMNS.iter().map(|(_, column)| *column);
    let wanted = contents.chain(KEY_COLUMNS).chain(["time"]);
    let mask = ProjectionMask::columns(reader.parquet_schema(), wanted);
    let reader = reader.with_projection(mask).with_batch_size(BLOCK_ROWS).build().map_err(|error| error.to_string())?;
    let mut builder = Builder::of_rows(rows);
    for rows in reader {
        enter(&mut builder, &rows.map_err(|error| error.to_string())?)?;
    }
    Ok(builder)
}

/// Takes in rows that come next. A column that the segment is too old to have is as one without values.
pub(crate) fn enter(builder: &mut Builder, rows: &RecordBatch) -> Result<(), String> {
    let times = rows.column_by_name("time").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let texts = |name: &str| rows.column_by_name(name).and_then(|column| column.as_string_view_opt());
    let contents: Vec<_> = CONTENT_COLUMNS.iter().filter_map(|(_, column)| texts(column)).collect();
    let keys: Vec<_> = KEY_COLUMNS.iter().filter_map(|column| texts(column)).collect();
    for (row, time) in times.ok_or("it has no column time")?.values().iter().enumerate() {
        builder.begin_row(*time);
        contents.iter().filter(|texts| !texts.is_null(row)).for_each(|texts| builder.content(texts.value(row)));
        keys.iter().filter(|texts| !texts.is_null(row)).for_each(|texts| builder.key(texts.value(row)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
