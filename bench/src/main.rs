//! One command, figures side by side: `cargo run --release --bin testimony-bench`.
//!
//! Everything runs on this machine in one go: the load, the model server (the scripted one), nginx as a plain proxy where it is
//! installed, and the release binary of Testimony. The device and its `fdatasync` are measured and printed first. Parts can be
//! chosen by name: `appends`, `gateway`, `verify`, `ingest`, `rules`; `growth`, `forward` and `questions` run only when
//! they are named.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]
#![allow(clippy::disallowed_methods, reason = "a benchmark prepares files and reads the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded for people")]

mod appends;
mod chance;
mod decisions;
mod detection;
mod device;
mod forward;
mod freshness;
mod gateway;
mod growth;
mod ingest;
mod load;
mod pace;
mod process;
mod proofs;
mod questions;
mod ruled;
mod traffic;
mod verify;

use std::path::{Path, PathBuf};

/// The one that the server has: what is measured in this process is to cost what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the benchmarks write: on the disk that is measured, and in memory.
pub(crate) struct Places {
    pub(crate) disk: PathBuf,
    pub(crate) memory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let disk = tempfile::Builder::new().prefix("testimony-bench-").tempdir_in(target_dir())?;
    let memory = tempfile::Builder::new().prefix("testimony-bench-").tempdir_in("/dev/shm")?;
    let places = Places { disk: disk.path().to_owned(), memory: memory.path().to_owned() };
    let syncs = device::describe(&places.disk)?;
    if wants("appends") {
        appends::run(&places)?;
    }
    if wants("gateway") {
        gateway::run(&places, &syncs)?;
    }
    if wants("verify") {
        verify::run(&places)?;
    }
    if wants("ingest") {
        ingest::run(&places)?;
    }
    if wants("rules") {
        detection::run()?;
        decisions::run()?;
        ruled::run(&places)?;
    }
    if wanted.iter().any(|name| name == "growth") {
        growth::run(&places)?;
    }
    if wanted.iter().any(|name| name == "forward") {
        forward::run(&places)?;
    }
    if wanted.iter().any(|name| name == "questions") {
        questions::run(&places)?;
    }
    Ok(())
}

/// The build directory that this binary lies in: on a real disk, unlike `/tmp` on many machines.
pub(crate) fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
