//! Entry bundles at rest: once they are old they are kept as gzip, which takes a seventh of the space, beside the paths of tlog-tiles:
//! `tile/entries/<N>.gz` instead of `tile/entries/<N>`.
//!
//! Those that are packed come before all that are plain. A group of them is packed, made durable, and only then do the plain files go, so
//! that after a crash some are there twice: they are packed once more.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tlog::{BUNDLE_BYTES_MAX, EntriesPath, TILE_WIDTH};
use world::{Disk, give_way};

use crate::follow::Shared;
use crate::tiles;

/// How often it is looked at whether there is something to pack.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is packed when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackAt {
    /// The newest full bundles stay plain: they are read most, and a log that is not large stays as a whole what tlog-tiles says.
    pub(crate) plain: u64,
    /// So many are packed together.
    pub(crate) group: u64,
}

impl Default for PackAt {
    fn default() -> Self {
        Self { plain: 1_024, group: 256 }
    }
}

/// Reads a file of the published log, packed or not.
pub(crate) fn read(disk: &dyn Disk, file: &Path) -> io::Result<Vec<u8>> {
    match disk.read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Where neither is there, what is said is about the plain one.
            let packed = disk
                .read(&packed_path(file))
                .map_err(|packed| if packed.kind() == error.kind() { error } else { packed })?;
            unpacked(&packed)
        }
        read => read,
    }
}

fn packed_path(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".gz");
    file.with_file_name(name)
}

fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(BUNDLE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BUNDLE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes come out of it than a bundle can have"));
    }
    Ok(bytes)
}

/// Packs what is old, while nobody waits for it.
pub(crate) struct Packer {
    shared: Arc<Shared>,
    at: PackAt,
    /// The first bundle that is not packed.
    next: u64,
}

impl Packer {
    /// Goes on where the plain bundles begin.
    pub(crate) fn resume(shared: Arc<Shared>, at: PackAt) -> Self {
        let (disk, log) = (shared.disk.clone(), shared.data.join("log"));
        let is_plain = |number: u64| disk.length(&bundle(&log, number)).is_ok();
        let (mut low, mut high) = (0, full_bundles(&shared));
        while low < high {
            let middle = u64::midpoint(low, high);
            if is_plain(middle) { high = middle } else { low = middle + 1 }
        }
        Self { shared, at, next: low }
    }

    /// Packs for as long as the log is open.
    pub(crate) async fn run(mut self) {
        give_way();
        while !self.shared.is_closed() && !self.shared.is_stopped() {
            if let Err(error) = self.pack_due().await {
                tracing::warn!(%error, "old entries could not be packed; trying again");
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.shared.closed()).await;
        }
    }

    /// Packs every group that is due.
    async fn pack_due(&mut self) -> io::Result<()> {
        while self.next + self.at.group + self.at.plain <= full_bundles(&self.shared) {
            let group = self.next..self.next + self.at.group;
            for number in group.clone() {
                let start = Instant::now();
                self.pack(number)?;
                // It rests for as long as it has worked: half a core is the most that it takes.
                if tokio::time::timeout(start.elapsed(), self.shared.closed()).await.is_ok() {
                    return Ok(());
                }
            }
            self.replace(group)?;
        }
        Ok(())
    }

    fn pack(&self, number: u64) -> io::Result<()> {
        let file = bundle(&self.shared.data.join("log"), number);
        let plain = match self.shared.disk.read(&file) {
            // A crash has let it go before others that come before it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            plain => plain?,
        };
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&plain)?;
        self.shared.disk.replace(&packed_path(&file), &packed.finish()?)
    }

    /// Lets the plain files of a group go, once the packed ones are durable.
    fn replace(&mut self, group: std::ops::Range<u64>) -> io::Result<()> {
        let log = self.shared.data.join("log");
        if let Err(error) = self.shared.disk.sync_everything(&log) {
            // As for the tiles: no second try after this can be believed.
            self.shared.stop(format!("the device under the published log failed: {error}"));
            return Ok(());
        }
        for number in group.clone() {
            self.shared.disk.remove(&bundle(&log, number))?;
        }
        self.next = group.end;
        Ok(())
    }
}

fn bundle(log: &Path, number: u64) -> PathBuf {
    log.join(EntriesPath { number, width: 256 }.to_string())
}

/// How many full bundles are durable.
fn full_bundles(shared: &Shared) -> u64 {
    shared.held_by(tiles::NAME) / TILE_WIDTH
}

#[cfg(test)]
mod tests;
