//! Tiles (C2SP tlog-tiles v0.1.0): where they lie, what is in them, and how they fill.

use std::fmt;

use crate::checkpoint::parse_decimal;
use crate::{Frontier, Hash};

/// A full tile has this many hashes, a full bundle this many entries.
pub const TILE_WIDTH: u64 = 256;
/// The most bytes of an entry bundle: 256 entries of 65,535 bytes, each with its length before it.
pub const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH * (2 + 65_535);
/// Levels 0 to 63 can be named; a log of 2^64 leaves needs eight.
const LEVEL_MAX: u8 = 63;

/// What is wrong with a tile, a bundle or a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The path is not one that the specification allows.
    #[error("{0:?} is not the path of a tile")]
    Path(String),
    /// A bundle that ends in the middle of an entry.
    #[error("the entry bundle is cut short at byte {0}")]
    Truncated(usize),
    /// An entry that has no room in a bundle.
    #[error("an entry of {0} bytes does not fit a bundle: 65535 is the most")]
    EntrySize(usize),
}

/// The place of a hash tile: `tile/<L>/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    /// Its level: 0 holds leaf hashes.
    pub level: u8,
    /// Its number in the level.
    pub number: u64,
    /// How many hashes it has, 1 to 256.
    pub width: u16,
}

/// The place of an entry bundle: `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntriesPath {
    /// Its number.
    pub number: u64,
    /// How many entries it has, 1 to 256.
    pub width: u16,
}

/// Writes `x001/x234/067`, and `.p/<W>` when the tile is partial.
fn write_number(f: &mut fmt::Formatter<'_>, number: u64, width: u16) -> fmt::Result {
    let mut groups = vec![number % 1_000];
    let mut rest = number / 1_000;
    while rest > 0 {
        groups.push(rest % 1_000);
        rest /= 1_000;
    }
    for (left, group) in groups.iter().enumerate().rev() {
        if left > 0 { write!(f, "x{group:03}/")? } else { write!(f, "{group:03}")? }
    }
    if u64::from(width) < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_number(f, self.number, self.width)
    }
}

impl fmt::Display for EntriesPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_number(f, self.number, self.width)
    }
}

fn parse_number(text: &str) -> Option<(u64, u16)> {
    let (groups, width) = match text.split_once(".p/") {
        Some((groups, width)) => (groups, u16::try_from(parse_decimal(width)?).ok().filter(|w| (1..=255).contains(w))?),
        None => (text, 256),
    };
    let (leading, last) = groups.rsplit_once('/').map_or((None, groups), |(l, last)| (Some(l), last));
    let mut number = 0_u64;
    let leading = leading.into_iter().flat_map(|leading| leading.split('/')).map(|group| group.strip_prefix('x'));
    for (nth, group) in leading.chain([Some(last)]).enumerate() {
        let group = group.filter(|g| g.len() == 3 && g.bytes().all(|b| b.is_ascii_digit()))?;
        let value: u64 = group.parse().ok()?;
        if nth == 0 && value == 0 && groups.len() > 3 {
            return None;
        }
        number = number.checked_mul(1_000)?.checked_add(value)?;
    }
    Some((number, width))
}

impl TilePath {
    /// Reads a path as a client asks for it, by grammar.
    ///
    /// # Errors
    /// When it is not exactly what the specification writes.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let read = || {
            let (level, number) = path.strip_prefix("tile/")?.split_once('/')?;
            let level = u8::try_from(parse_decimal(level)?).ok().filter(|level| *level <= LEVEL_MAX)?;
            let (number, width) = parse_number(number)?;
            Some(Self { level, number, width })
        };
        read().ok_or_else(|| TileError::Path(path.to_owned()))
    }

    /// The tiles of a level in a tree of this size, in order: full ones, then a partial one if there is one.
    pub fn of_level(level: u8, size: u64) -> impl Iterator<Item = Self> {
        let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        widths(hashes).map(move |(number, width)| Self { level, number, width })
    }
}

impl EntriesPath {
    /// Reads a path as a client asks for it, by grammar.
    ///
    /// # Errors
    /// When it is not exactly what the specification writes.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let parts = path.strip_prefix("tile/entries/").and_then(parse_number);
        let (number, width) = parts.ok_or_else(|| TileError::Path(path.to_owned()))?;
        Ok(Self { number, width })
    }

    /// The bundles of a log of this size, in order.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        widths(size).map(|(number, width)| Self { number, width })
    }
}

fn widths(hashes: u64) -> impl Iterator<Item = (u64, u16)> {
    (0..hashes.div_ceil(TILE_WIDTH)).map(move |number| {
        let width = (hashes - number * TILE_WIDTH).min(TILE_WIDTH);
        (number, u16::try_from(width).unwrap_or(256))
    })
}

/// Appends one entry to a bundle: `uint16 big-endian length || entry`.
///
/// # Errors
/// When the entry is larger than 65,535 bytes.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntrySize(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, one after the other; an error ends them.
#[derive(Debug, Clone)]
pub struct Bundle<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Bundle<'a> {
    /// Reads a bundle's bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { whole: bytes.len(), rest: bytes }
    }
}

impl<'a> Iterator for Bundle<'a> {
    type Item = Result<&'a [u8], TileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self
            .rest
            .split_first_chunk::<2>()
            .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        match entry {
            Some((entry, after)) => {
                self.rest = after;
                Some(Ok(entry))
            }
            None => {
                let at = self.whole - self.rest.len();
                self.rest = &[];
                Some(Err(TileError::Truncated(at)))
            }
        }
    }
}

/// A tile that has just become full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// Where it lies.
    pub path: TilePath,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// The unfinished tile of every level: what is needed to write tiles as a log grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileLevels {
    /// For each level, how many of its tiles are full and the hashes of the one that is not.
    levels: Vec<(u64, Vec<Hash>)>,
}

impl TileLevels {
    /// Adds a leaf hash; every tile that it fills is handed out, lowest level first.
    pub fn push(&mut self, leaf: Hash) -> Vec<FullTile> {
        let mut filled = Vec::new();
        let mut hash = leaf;
        for level in 0..=LEVEL_MAX {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push((0, Vec::new()));
            }
            let Some((full, hashes)) = self.levels.get_mut(at) else { break };
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                break;
            }
            let tile = FullTile { path: TilePath { level, number: *full, width: 256 }, hashes: std::mem::take(hashes) };
            *full += 1;
            hash = tile.root();
            filled.push(tile);
        }
        filled
    }

    /// The partial tiles that a log of the present size has.
    pub fn partial(&self) -> impl Iterator<Item = (TilePath, &[Hash])> {
        self.levels.iter().enumerate().filter(|(_, (_, hashes))| !hashes.is_empty()).map(|(level, (number, hashes))| {
            let level = u8::try_from(level).unwrap_or(LEVEL_MAX);
            let width = u16::try_from(hashes.len()).unwrap_or(0);
            (TilePath { level, number: *number, width }, hashes.as_slice())
        })
    }

    /// The state for a log of `size` leaves, a multiple of 256, from the full tiles that lie on disk:
    /// `read` gives the hashes of a tile that is full at that size.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn resume<E>(size: u64, mut read: impl FnMut(TilePath) -> Result<Vec<Hash>, E>) -> Result<Self, E> {
        let mut levels = Vec::new();
        for level in 0..=LEVEL_MAX {
            let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let full = hashes / TILE_WIDTH;
            let mut pending = Vec::new();
            // Above level 0, a pending hash is the root of a full tile one level below.
            for number in full * TILE_WIDTH..hashes {
                if let Some(below) = level.checked_sub(1) {
                    let path = TilePath { level: below, number, width: 256 };
                    pending.push(FullTile { path, hashes: read(path)? }.root());
                }
            }
            levels.push((full, pending));
        }
        Ok(Self { levels })
    }
}

impl FullTile {
    /// The root of the tile's 256 hashes: one hash of the level above.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut frontier = Frontier::default();
        self.hashes.iter().for_each(|hash| frontier.push(*hash));
        frontier.root()
    }
}

#[cfg(test)]
mod tests;
