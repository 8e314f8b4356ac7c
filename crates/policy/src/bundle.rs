//! An OPA bundle: a gzipped tar archive with `.manifest` and, when it is signed, `.signatures.json`.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::engine::LoadError;
use crate::files::clean;
use crate::limits::{Limits, RATIO_FREE_BYTES};

pub(crate) const MANIFEST: &str = ".manifest";
pub(crate) const SIGNATURES: &str = ".signatures.json";

/// What an archive adds to a file: a header, an extended header and padding.
const ENTRY_OVERHEAD_BYTES: usize = 4 * 512;

/// What the manifest says; other fields do not matter here.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Manifest {
    /// The revision, as whoever built the bundle names it.
    #[serde(default)]
    pub(crate) revision: String,
    /// The paths that the bundle may define, with slashes; all when there are none.
    #[serde(default)]
    roots: Option<Vec<String>>,
}

impl Manifest {
    /// Reads it from among the files; a bundle without one has no revision and may define anything.
    pub(crate) fn read(files: &[(String, Vec<u8>)]) -> Result<Self, LoadError> {
        let Some((_, bytes)) = files.iter().find(|(path, _)| path == MANIFEST) else { return Ok(Self::default()) };
        serde_json::from_slice(bytes)
            .map_err(|error| LoadError::Data { path: MANIFEST.to_owned(), what: format!("cannot be read: {error}") })
    }

    /// Whether a path in `data`, without `data`, lies below a root.
    pub(crate) fn covers(&self, path: &[String]) -> bool {
        let below = |root: &String| {
            let mut parts = root.split('/').filter(|part| !part.is_empty());
            let mut path = path.iter();
            parts.all(|part| path.next().is_some_and(|have| have == part))
        };
        self.roots.as_ref().is_none_or(|roots| roots.iter().any(below))
    }
}

/// Unpacks an archive into memory.
pub(crate) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Vec<(String, Vec<u8>)>, LoadError> {
    let archive = decompress(bytes, limits)?;
    let broken = |error: std::io::Error| LoadError::Archive(format!("is damaged: {error}"));
    let mut files = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = String::from_utf8(entry.path_bytes().into_owned());
        let path = path.map_err(|_| LoadError::Archive("has a path that is not UTF-8".to_owned()))?;
        match entry.header().entry_type() {
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            tar::EntryType::Regular => {}
            _ => return Err(LoadError::Archive(format!("has {path:?}, which is not a regular file"))),
        }
        if files.len() == limits.files_max {
            return Err(LoadError::TooLarge { what: "the number of files".to_owned(), limit: limits.files_max });
        }
        // OPA writes `/data.json`. That is below the bundle's root, not the machine's.
        let path = clean(path.strip_prefix('/').unwrap_or(&path))?;
        let mut content = Vec::new();
        entry.by_ref().take(limits.file_bytes_max as u64 + 1).read_to_end(&mut content).map_err(broken)?;
        if content.len() > limits.file_bytes_max {
            return Err(LoadError::TooLarge {
                what: format!("the size of {path} in bytes"),
                limit: limits.file_bytes_max,
            });
        }
        files.push((path, content));
    }
    Ok(files)
}

fn decompress(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, LoadError> {
    let by_ratio = bytes.len().saturating_mul(limits.ratio_max).max(RATIO_FREE_BYTES);
    let by_size = limits.total_bytes_max.saturating_add(limits.files_max.saturating_mul(ENTRY_OVERHEAD_BYTES));
    let most = by_ratio.min(by_size);
    let mut archive = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut archive);
    read.map_err(|error| LoadError::Archive(format!("is not gzip: {error}")))?;
    if archive.len() > most {
        return Err(LoadError::TooLarge { what: "the size of the unpacked bundle in bytes".to_owned(), limit: most });
    }
    Ok(archive)
}

#[cfg(test)]
pub(crate) mod tests;
