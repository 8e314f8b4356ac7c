//! The threads of a log.

use std::io;
use std::thread::JoinHandle;

/// A thread with a name.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// A follower's thread: it waits on the log and on time, and its disk I/O holds up nobody else.
pub(crate) fn spawn_follower<F: Future<Output = ()>>(
    name: &str,
    body: impl FnOnce() -> F + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    spawn(name, move || runtime.block_on(body()))
}
