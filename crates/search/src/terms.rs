//! Where in a segment a word stands, and whether an identifier does: a file beside the segment that can be made again at any time.
//!
//! `<first>-<last>.terms`, integers little-endian:
//!
//! ```text
//! "tstterm2" | u32 rows | i64 earliest, i64 latest time (µs) | u32 bytes of filter | u32 bytes of directory
//!             | u32 CRC-32C of all this, filter and directory
//! filter      a split-block Bloom filter (Parquet's) over all words and over the values of KEY_COLUMNS
//! directory   a leaf each: varint bytes of its first word, the word, varint bytes of the leaf
//! leaves      words in order, LEAF_WORDS a leaf: u32 CRC-32C, and for each word
//!             varint bytes shared with the word before | varint bytes of the rest, the rest | the blocks it stands in
//! ```
//!
//! A *block* is [`BLOCK_ROWS`] rows of the segment. Blocks are written as varint (count << 1) and the distance of each from the one
//! before, or, where that is shorter, as varint (count << 1 | 1) and a bit each.
//!
//! Filter and directory stay in memory: most segments are passed over without a file being opened, and of the others a leaf or two is
//! read. A word leads to blocks that may have what is looked for; their rows are looked at all the same.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::parquet::bloom_filter::Sbbf;
use world::Disk;

use crate::words::{Reader, stands_alone};

/// Rows that a word is said to stand in together.
pub(crate) const BLOCK_ROWS: usize = 1_024;
const MAGIC: &[u8; 8] = b"tstterm2";
const HEAD_BYTES: usize = 40;
const LEAF_WORDS: usize = 64;
/// What is kept of a word: longer ones that begin alike are held for each other.
const WORD_BYTES_MAX: usize = 48;
/// The filter of a segment before it is folded: 16 bits for each of 32 terms a row, of which most rows have far fewer that no other row has.
const FILTER_BYTES_A_ROW: usize = 64;
/// Few rows can have many words.
const FILTER_BYTES_MIN: usize = 1 << 20;
/// How often the filter may say that something is there which is not.
const FALSE_SHARE: f64 = 0.01;
/// The most leaves that are read for the words that begin in one way.
const PREFIX_LEAVES_MAX: usize = 32;

/// Why the terms of a segment cannot be used: it is looked through as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TermsError {
    #[error("could not read {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is damaged: delete it, and it is made again")]
    Damaged(PathBuf),
}

/// Blocks of a segment, in their order.
pub(crate) type Blocks = Vec<usize>;

/// The terms of rows that come in the segment's order.
pub(crate) struct Builder {
    words: HashMap<Box<str>, Blocks>,
    /// Of keys; words follow at the end.
    filter: Sbbf,
    rows: usize,
    earliest: i64,
    latest: i64,
}

/// Takes the words of one text into a block.
struct Entering<'b> {
    words: &'b mut HashMap<Box<str>, Blocks>,
    block: usize,
    /// The word before, if it stands alone, and its place: two such words are a term together, which is far rarer than each.
    before: Option<(String, usize)>,
}

impl Reader for Entering<'_> {
    fn word(&mut self, word: &str, place: usize) -> ControlFlow<()> {
        enter(self.words, cut(word), self.block);
        let alone = word.chars().next().is_some_and(stands_alone);
        if let Some((before, at)) = self.before.take()
            && alone
            && place == at + 1
        {
            enter(self.words, &format!("{before}{word}"), self.block);
        }
        self.before = alone.then(|| (word.to_owned(), place));
        ControlFlow::Continue(())
    }
}

fn enter(words: &mut HashMap<Box<str>, Blocks>, word: &str, block: usize) {
    match words.get_mut(word) {
        Some(blocks) if blocks.last() == Some(&block) => {}
        Some(blocks) => blocks.push(block),
        None => {
            words.insert(word.into(), vec![block]);
        }
    }
}

/// What the index keeps of a word.
pub(crate) fn cut(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_BYTES_MAX)]
}

impl Builder {
    /// Of about so many rows.
    pub(crate) fn of_rows(rows: usize) -> Self {
        // More than what is mostly needed: what is too much is folded away at the end.
        let filter = Sbbf::new_with_num_of_bytes((rows * FILTER_BYTES_A_ROW).max(FILTER_BYTES_MIN));
        Self { words: HashMap::new(), filter, rows: 0, earliest: 0, latest: 0 }
    }

    /// Begins the next row, of a time in microseconds.
    pub(crate) fn begin_row(&mut self, time: i64) {
        let is_first = self.rows == 0;
        self.earliest = if is_first { time } else { self.earliest.min(time) };
        self.latest = if is_first { time } else { self.latest.max(time) };
        self.rows += 1;
    }

    /// Takes in what a column of content says in the row begun last.
    pub(crate) fn content(&mut self, text: &str) {
        let block = self.rows.saturating_sub(1) / BLOCK_ROWS;
        crate::words::read_content(text, &mut Entering { words: &mut self.words, block, before: None });
    }

    /// Takes in an identifier of the row begun last.
    pub(crate) fn key(&mut self, key: &str) {
        self.filter.insert(key);
    }

    /// The file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.words.keys().for_each(|word| self.filter.insert(word.as_ref()));
        self.filter.fold_to_target_fpp(FALSE_SHARE);
        let mut filter_bytes = Vec::new();
        // Writing into memory does not fail.
        let _ = self.filter.write_bitset(&mut filter_bytes);
        let mut words: Vec<(Box<str>, Blocks)> = self.words.into_iter().collect();
        words.sort_unstable();
        let (mut directory, mut leaves) = (Vec::new(), Vec::new());
        for leaf in words.chunks(LEAF_WORDS) {
            let bytes = leaf_bytes(leaf, self.rows.div_ceil(BLOCK_ROWS));
            let first = leaf.first().map_or("", |(word, _)| word);
            put_varint(&mut directory, first.len());
            directory.extend_from_slice(first.as_bytes());
            put_varint(&mut directory, bytes.len());
            leaves.extend_from_slice(&bytes);
        }
        let mut file = Vec::with_capacity(HEAD_BYTES + filter_bytes.len() + directory.len() + leaves.len());
        file.extend_from_slice(MAGIC);
        let counted = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        file.extend_from_slice(&counted(self.rows));
        file.extend_from_slice(&self.earliest.to_le_bytes());
        file.extend_from_slice(&self.latest.to_le_bytes());
        for length in [filter_bytes.len(), directory.len()] {
            file.extend_from_slice(&counted(length));
        }
        let crc = [&file, &filter_bytes, &directory].iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        file.extend_from_slice(&crc.to_le_bytes());
        [filter_bytes, directory, leaves].iter().for_each(|part| file.extend_from_slice(part));
        file
    }
}

fn leaf_bytes(words: &[(Box<str>, Blocks)], blocks_all: usize) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    let mut before = "";
    for (word, blocks) in words {
        let shared = before.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
        put_varint(&mut bytes, shared);
        put_varint(&mut bytes, word.len() - shared);
        bytes.extend_from_slice(&word.as_bytes()[shared..]);
        put_blocks(&mut bytes, blocks, blocks_all);
        before = word;
    }
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn put_blocks(bytes: &mut Vec<u8>, blocks: &Blocks, blocks_all: usize) {
    let bits = blocks_all.div_ceil(8);
    if blocks.len() <= bits {
        put_varint(bytes, blocks.len() << 1);
        let mut before = 0;
        for block in blocks {
            put_varint(bytes, block - before);
            before = *block;
        }
    } else {
        put_varint(bytes, blocks.len() << 1 | 1);
        let start = bytes.len();
        bytes.resize(start + bits, 0);
        for block in blocks {
            bytes[start + block / 8] |= 1 << (block % 8);
        }
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7F);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// The terms of a segment, as far as they stay in memory.
#[derive(Debug)]
pub(crate) struct Terms {
    path: PathBuf,
    /// How many rows the segment has.
    pub(crate) rows: usize,
    /// The earliest and the latest time in it, in microseconds.
    pub(crate) times: (i64, i64),
    filter: Sbbf,
    /// The first words of all leaves, one behind the other.
    firsts: String,
    leaves: Vec<Leaf>,
}

#[derive(Debug, Clone, Copy)]
struct Leaf {
    /// Where its first word ends in `firsts`.
    first_end: usize,
    offset: u64,
    bytes: usize,
}

/// The file of terms beside a segment.
pub(crate) fn path_beside(segment: &Path) -> PathBuf {
    segment.with_extension("terms")
}

impl Terms {
    /// Reads what stays in memory.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Arc<Self>, TermsError> {
        let io = |error| TermsError::Io(path.to_owned(), error);
        let damaged = || TermsError::Damaged(path.to_owned());
        let whole_head = disk.read_part(path, 0, HEAD_BYTES).map_err(io)?;
        let mut head = Bytes(&whole_head);
        if head.take(8) != Some(MAGIC) {
            return Err(damaged());
        }
        let rows = head.u32().ok_or_else(damaged)? as usize;
        let times = head.i64().zip(head.i64()).ok_or_else(damaged)?;
        let (filter_bytes, directory_bytes) = head.u32().zip(head.u32()).ok_or_else(damaged)?;
        let crc = head.u32().ok_or_else(damaged)?;
        let length = filter_bytes as usize + directory_bytes as usize;
        let kept = disk.read_part(path, HEAD_BYTES as u64, length).map_err(io)?;
        let summed = whole_head.get(..HEAD_BYTES - 4).unwrap_or_default();
        if kept.len() != length || crc32c::crc32c_append(crc32c::crc32c(summed), &kept) != crc {
            return Err(damaged());
        }
        let (filter, directory) = kept.split_at(filter_bytes as usize);
        let (firsts, leaves) = read_directory(directory, (HEAD_BYTES + length) as u64).ok_or_else(damaged)?;
        Ok(Arc::new(Self { path: path.to_owned(), rows, times, filter: Sbbf::new(filter), firsts, leaves }))
    }

    /// Whether a word or an identifier may be in the segment; if not, it is not.
    pub(crate) fn may_have(&self, term: &str) -> bool {
        self.filter.check(term)
    }

    /// The blocks that a word stands in.
    pub(crate) fn blocks(&self, disk: &dyn Disk, word: &str) -> Result<Blocks, TermsError> {
        let Some(at) = self.leaf_of(word) else { return Ok(Blocks::new()) };
        let mut found = Blocks::new();
        self.read_leaf(disk, at, &mut |entry, blocks| {
            if entry == word.as_bytes() {
                found = blocks.all();
            }
        })?;
        Ok(found)
    }

    /// The blocks of the words that begin like this; none when there are too many of them to say.
    pub(crate) fn blocks_of_prefix(&self, disk: &dyn Disk, prefix: &str) -> Result<Option<Blocks>, TermsError> {
        let from = self.leaf_of(prefix).unwrap_or(0);
        let mut found = Blocks::new();
        for at in from..self.leaves.len() {
            let first = self.first(at);
            if first > prefix && !first.starts_with(prefix) {
                break;
            }
            if at - from >= PREFIX_LEAVES_MAX {
                return Ok(None);
            }
            self.read_leaf(disk, at, &mut |entry, blocks| {
                if entry.starts_with(prefix.as_bytes()) {
                    found.extend(blocks.all());
                }
            })?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(Some(found))
    }

    fn first(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.leaves.get(before)).map_or(0, |leaf| leaf.first_end);
        self.leaves.get(at).and_then(|leaf| self.firsts.get(start..leaf.first_end)).unwrap_or_default()
    }

    /// The leaf that a word would stand in.
    fn leaf_of(&self, word: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.leaves.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.first(middle) <= word { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    fn read_leaf(
        &self,
        disk: &dyn Disk,
        at: usize,
        entry: &mut dyn FnMut(&[u8], Listed<'_>),
    ) -> Result<(), TermsError> {
        let Some(leaf) = self.leaves.get(at) else { return Ok(()) };
        let bytes = disk
            .read_part(&self.path, leaf.offset, leaf.bytes)
            .map_err(|error| TermsError::Io(self.path.clone(), error))?;
        let blocks_all = self.rows.div_ceil(BLOCK_ROWS);
        let is_whole = bytes.split_first_chunk::<4>().is_some_and(|(crc, rest)| {
            crc32c::crc32c(rest) == u32::from_le_bytes(*crc) && read_entries(rest, blocks_all, entry).is_some()
        });
        if is_whole { Ok(()) } else { Err(TermsError::Damaged(self.path.clone())) }
    }
}

fn read_directory(directory: &[u8], first_offset: u64) -> Option<(String, Vec<Leaf>)> {
    let mut rest = Bytes(directory);
    let (mut firsts, mut leaves, mut offset) = (String::new(), Vec::new(), first_offset);
    while !rest.0.is_empty() {
        let length = rest.varint()?;
        firsts.push_str(std::str::from_utf8(rest.take(length)?).ok()?);
        let bytes = rest.varint()?;
        leaves.push(Leaf { first_end: firsts.len(), offset, bytes });
        offset += bytes as u64;
    }
    Some((firsts, leaves))
}

fn read_entries(leaf: &[u8], blocks_all: usize, entry: &mut dyn FnMut(&[u8], Listed<'_>)) -> Option<()> {
    let mut rest = Bytes(leaf);
    let mut word = Vec::new();
    while !rest.0.is_empty() {
        let shared = rest.varint()?;
        let length = rest.varint()?;
        word.truncate(shared);
        word.extend_from_slice(rest.take(length)?);
        let said = rest.varint()?;
        let (count, is_bits) = (said >> 1, said & 1 == 1);
        let listed = if is_bits {
            Listed::Bits(rest.take(blocks_all.div_ceil(8))?)
        } else {
            let start = rest.0;
            for _ in 0..count {
                rest.varint()?;
            }
            Listed::Distances(&start[..start.len() - rest.0.len()])
        };
        entry(&word, listed);
    }
    Some(())
}

/// The blocks of a word as they are written.
enum Listed<'l> {
    Distances(&'l [u8]),
    Bits(&'l [u8]),
}

impl Listed<'_> {
    fn all(&self) -> Blocks {
        match self {
            Self::Distances(bytes) => {
                let (mut rest, mut at, mut blocks) = (Bytes(bytes), 0, Blocks::new());
                while let Some(distance) = rest.varint() {
                    at += distance;
                    blocks.push(at);
                }
                blocks
            }
            Self::Bits(bytes) => {
                let is_set = |at: &usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
                (0..bytes.len() * 8).filter(is_set).collect()
            }
        }
    }
}

/// Bytes that are taken from the front.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn varint(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
