//! `/log/…`: the published log. A path is read by its grammar into numbers, never joined as text.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ledger::{PublishedLog, Unreadable};
use tlog::{EntriesPath, TilePath};

use crate::api::Api;
use crate::problem::Problem;

/// A file of the published log.
struct LogFile {
    bytes: Bytes,
    media: &'static str,
    cache: &'static str,
}

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const FOR_A_SECOND: &str = "public, max-age=1";

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/log/checkpoint", get(checkpoint)).route("/log/tile/{*path}", get(tile))
}

async fn checkpoint(State(api): State<Api>) -> Result<Response, Problem> {
    log_file(&api, "checkpoint".to_owned()).await
}

async fn tile(State(api): State<Api>, Path(path): Path<String>) -> Result<Response, Problem> {
    log_file(&api, format!("tile/{path}")).await
}

async fn log_file(api: &Api, path: String) -> Result<Response, Problem> {
    let log = api.log().clone();
    let file = tokio::task::spawn_blocking(move || read(&log, &path)).await;
    let file = file
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "the file could not be read"))??;
    Ok(([(CONTENT_TYPE, file.media), (CACHE_CONTROL, file.cache)], file.bytes).into_response())
}

/// Reads a file by its path below `/log/`.
fn read(log: &PublishedLog, path: &str) -> Result<LogFile, Problem> {
    let missing = || Problem::not_found(format!("the log has no {path:?}"));
    if path == "checkpoint" {
        let bytes = log.checkpoint()?.ok_or_else(missing)?;
        return Ok(LogFile { bytes: bytes.into(), media: "text/plain; charset=utf-8", cache: FOR_A_SECOND });
    }
    let bytes = match EntriesPath::parse(path) {
        Ok(asked) => log.bundle(asked)?,
        Err(_) => log.tile(TilePath::parse(path).map_err(|_| missing())?)?,
    };
    let bytes = bytes.ok_or_else(missing)?;
    Ok(LogFile { bytes: bytes.into(), media: "application/octet-stream", cache: IMMUTABLE })
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        tracing::error!(error = %error.source, path = error.path, "a file of the published log cannot be read");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", "a file of the published log cannot be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;
    use world::{Disk as _, SimulatedDisk};

    #[test]
    fn a_partial_tile_is_cut_from_a_fuller_one() {
        let disk = SimulatedDisk::default();
        disk.replace(Path::new("data/log/tile/0/000.p/9"), &[7; 9 * 32]).unwrap();
        let mut bundle = Vec::new();
        for entry in ["a", "bc", "d"] {
            tlog::push_entry(&mut bundle, entry.as_bytes()).unwrap();
        }
        disk.replace(Path::new("data/log/tile/entries/000.p/3"), &bundle).unwrap();
        let log = PublishedLog::of(Arc::new(disk), Path::new("data"));
        let length = |path: &str| read(&log, path).map(|file| file.bytes.len());
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
