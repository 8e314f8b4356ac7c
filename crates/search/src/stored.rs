//! The content of records as segments and the live tail hold it.

use datafusion::arrow::array::{
    Array as _, AsArray as _, BinaryViewArray, FixedSizeBinaryArray, RecordBatch, StringViewArray,
};
use datafusion::arrow::datatypes::UInt64Type;
use record::{Content, Envelope, Field, FieldRef, Seed, check_fields, decode_fields};

use crate::columns::CONTENT_COLUMNS;

/// A record that was looked up by its identifier.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    row: RecordBatch,
    /// Its index in the log.
    pub index: u64,
}

impl StoredRecord {
    /// The rows of a batch with all columns.
    pub(crate) fn all(batch: &RecordBatch) -> impl Iterator<Item = Self> {
        let index = batch.column_by_name("log_index").and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let indexes = index.into_iter().flat_map(|index| index.values().iter().copied()).enumerate();
        indexes.map(|(row, index)| Self { index, row: batch.slice(row, 1) })
    }

    /// Its content, if it has some that has not been erased. Media types are taken from the leaf.
    ///
    /// # Errors
    /// A sentence that says how the stored form is damaged.
    pub fn content(&self, leaf: &Envelope<'_>) -> Result<Option<Content>, String> {
        let stored = StoredContent::of(&self.row)?;
        let Some((seed, fields)) = stored.fields(0, leaf)? else { return Ok(None) };
        Ok(Some(content(seed, fields)))
    }
}

/// Content by itself.
pub(crate) fn content(seed: Seed, fields: Vec<FieldRef<'_>>) -> Content {
    let owned = |field: FieldRef<'_>| Field {
        name: field.name.to_owned(),
        media: field.media.to_owned(),
        bytes: field.bytes.to_vec(),
    };
    Content { seed, fields: fields.into_iter().map(owned).collect() }
}

/// The columns in which content is held.
pub(crate) struct StoredContent<'b> {
    /// Those that there are: a segment that is older than a column does not have it.
    texts: Vec<(&'static str, &'b StringViewArray)>,
    other: &'b BinaryViewArray,
    seeds: &'b FixedSizeBinaryArray,
}

impl<'b> StoredContent<'b> {
    pub(crate) fn of(batch: &'b RecordBatch) -> Result<Self, String> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"));
        let mut texts = Vec::new();
        for (field, name) in CONTENT_COLUMNS {
            if let Some(column) = batch.column_by_name(name) {
                texts.push((field, column.as_string_view_opt().ok_or_else(|| format!("column {name} is no text"))?));
            }
        }
        let other = column("other_content")?.as_binary_view_opt().ok_or("column other_content is not binary")?;
        let seeds = column("content_seed")?.as_fixed_size_binary_opt().ok_or("column content_seed is not binary")?;
        Ok(Self { texts, other, seeds })
    }

    /// The seed and the fields of one row, sorted by name; nothing when it has no content.
    pub(crate) fn fields<'a>(
        &'a self,
        row: usize,
        leaf: &'a Envelope<'_>,
    ) -> Result<Option<(Seed, Vec<FieldRef<'a>>)>, String> {
        if self.seeds.is_null(row) {
            return Ok(None);
        }
        let seed = self.seeds.value(row).try_into().map_err(|_| "its seed is not one of 32 bytes")?;
        let other = if self.other.is_valid(row) { self.other.value(row) } else { &[] };
        let mut fields = decode_fields(other).map_err(|error| error.to_string())?;
        for (name, texts) in self.texts.iter().filter(|(_, texts)| texts.is_valid(row)) {
            // A text column has no media type of its own: the leaf's is taken, and is checked by the leaf's hash.
            let media = leaf.commitments().find(|(field, _)| field == name);
            let media = media.map_or("", |(_, commitment)| commitment.media.as_ref());
            fields.push(FieldRef { name, media, bytes: texts.value(row).as_bytes() });
        }
        fields.sort_unstable_by_key(|field| field.name);
        Ok(Some((seed, fields)))
    }

    /// Holds the content of one row against what its leaf commits to; none is right where it may be erased.
    pub(crate) fn check(&self, row: usize, leaf: &Envelope<'_>, is_erasable: bool) -> Result<(), String> {
        match self.fields(row, leaf)? {
            Some((seed, fields)) => check_fields(&seed, &fields, leaf.commitments()).map_err(|error| error.to_string()),
            None if is_erasable || leaf.commitments().len() == 0 => Ok(()),
            None => Err("its content is missing".into()),
        }
    }
}
