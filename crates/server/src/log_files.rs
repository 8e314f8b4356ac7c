//! `/log/…`: the published log. A path is read by its grammar into numbers, never joined as text.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::StatusCode;
use tlog::{Bundle, EntriesPath, TilePath};
use world::Disk;

use crate::problem::Problem;

/// A file of the published log.
pub(crate) struct LogFile {
    pub(crate) bytes: Bytes,
    pub(crate) media: &'static str,
    pub(crate) cache: &'static str,
}

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const FOR_A_SECOND: &str = "public, max-age=1";

/// Reads a file by its path below `/log/`.
pub(crate) fn read(disk: &dyn Disk, data: &Path, path: &str) -> Result<LogFile, Problem> {
    let log = data.join("log");
    let missing = || Problem::not_found(format!("the log has no {path:?}"));
    if path == "checkpoint" {
        let bytes = read_file(disk, &log.join("checkpoint"))?.ok_or_else(missing)?;
        return Ok(LogFile { bytes: bytes.into(), media: "text/plain; charset=utf-8", cache: FOR_A_SECOND });
    }
    let bytes = match EntriesPath::parse(path) {
        Ok(asked) => read_bundle(disk, &log, asked)?,
        Err(_) => read_tile(disk, &log, TilePath::parse(path).map_err(|_| missing())?)?,
    };
    let bytes = bytes.ok_or_else(missing)?;
    Ok(LogFile { bytes: bytes.into(), media: "application/octet-stream", cache: IMMUTABLE })
}

/// A partial tile is a prefix of a fuller one: once it has been removed, it is served from that.
fn read_tile(disk: &dyn Disk, log: &Path, asked: TilePath) -> Result<Option<Vec<u8>>, Problem> {
    let length = usize::from(asked.width) * 32;
    for width in fuller(asked.width) {
        if let Some(mut bytes) = read_file(disk, &log.join(TilePath { width, ..asked }.to_string()))? {
            bytes.truncate(length);
            return Ok((bytes.len() == length).then_some(bytes));
        }
    }
    Ok(None)
}

fn read_bundle(disk: &dyn Disk, log: &Path, asked: EntriesPath) -> Result<Option<Vec<u8>>, Problem> {
    for width in fuller(asked.width) {
        if let Some(mut bytes) = read_file(disk, &log.join(EntriesPath { width, ..asked }.to_string()))? {
            let entries = Bundle::new(&bytes).take(asked.width.into()).flatten();
            let length = entries.map(|entry| entry.len() + 2).sum();
            bytes.truncate(length);
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The widths at which a tile may lie on disk that has at least this many hashes.
fn fuller(width: u16) -> impl Iterator<Item = u16> {
    [width, 256].into_iter().take(if width == 256 { 1 } else { 2 }).chain((width + 1)..256)
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path.to_owned(), &error)),
    }
}

fn unreadable(path: PathBuf, error: &io::Error) -> Problem {
    tracing::error!(%error, path = %path.display(), "a file of the published log cannot be read");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "a file of the published log cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::SimulatedDisk;

    #[test]
    fn a_partial_tile_is_cut_from_a_fuller_one() {
        let disk = SimulatedDisk::default();
        disk.replace(Path::new("data/log/tile/0/000.p/9"), &[7; 9 * 32]).unwrap();
        let mut bundle = Vec::new();
        for entry in ["a", "bc", "d"] {
            tlog::push_entry(&mut bundle, entry.as_bytes()).unwrap();
        }
        disk.replace(Path::new("data/log/tile/entries/000.p/3"), &bundle).unwrap();
        let length = |path: &str| read(&disk, Path::new("data"), path).map(|file| file.bytes.len());
        assert_eq!(length("tile/0/000.p/9"), Ok(9 * 32));
        assert_eq!(length("tile/0/000.p/4"), Ok(4 * 32));
        assert_eq!(length("tile/entries/000.p/2"), Ok(7));
        for missing in
            ["tile/0/000.p/10", "tile/0/000", "tile/1/000.p/1", "../identity/log.key", "tile/0/../../x", "checkpoint"]
        {
            assert!(length(missing).is_err(), "{missing}");
        }
    }
}
