//! A segment's file as Parquet's readers want it, read in parts: in the background no segment is ever in memory as a whole.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::metadata::PageIndexPolicy;
use datafusion::parquet::file::reader::{ChunkReader, Length};
use world::Disk;

/// Bytes that are read at a time where nobody says how many are needed.
const PART_BYTES: usize = 64 << 10;

/// A file that is read in parts.
#[derive(Clone)]
pub(crate) struct FileInParts {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    length: u64,
}

impl FileInParts {
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        Ok(Self { length: disk.length(path)?, disk: disk.clone(), path: path.to_owned() })
    }

    /// The rows of a segment, of which the caller says which.
    pub(crate) fn rows(self) -> Result<ParquetRecordBatchReaderBuilder<Self>> {
        // With the places of pages each page is read by itself; without, byte by byte until one ends.
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        ParquetRecordBatchReaderBuilder::try_new_with_options(self, options)
    }
}

impl Length for FileInParts {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for FileInParts {
    type T = Onward;

    fn get_read(&self, start: u64) -> Result<Onward> {
        Ok(Onward { file: self.clone(), offset: start, part: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.disk.read_part(&self.path, start, length)?;
        if bytes.len() == length { Ok(bytes.into()) } else { Err(ParquetError::EOF("the file ends early".into())) }
    }
}

/// A file from an offset on.
pub(crate) struct Onward {
    file: FileInParts,
    offset: u64,
    part: Bytes,
}

impl Read for Onward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() {
            self.part = self.file.disk.read_part(&self.file.path, self.offset, PART_BYTES)?.into();
            self.offset += self.part.len() as u64;
        }
        let taken = self.part.split_to(self.part.len().min(buffer.len()));
        let (filled, _) = buffer.split_at_mut(taken.len());
        filled.copy_from_slice(&taken);
        Ok(taken.len())
    }
}
