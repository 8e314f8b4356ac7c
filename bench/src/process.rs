//! The processes that are measured, each ended when its value is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use crate::target_dir;

/// A process that ends with this value.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Killed outright, nginx would leave its workers behind.
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if pid.is_none_or(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_err()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

pub(crate) fn binary() -> anyhow::Result<std::path::PathBuf> {
    let binary = target_dir().join("testimony");
    anyhow::ensure!(binary.exists(), "build the program first: cargo build --release");
    Ok(binary)
}

/// Starts a process and reads the address that follows `mark` on its standard output.
pub(crate) fn start(command: &mut Command, mark: &str) -> anyhow::Result<(Running, SocketAddr)> {
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let lines = BufReader::new(child.0.stdout.take().context("no output")?).lines();
    for line in lines {
        let line = line?;
        if let Some((_, rest)) = line.split_once(mark) {
            let address = rest.split(['/', ' ']).next().unwrap_or_default().parse()?;
            return Ok((child, address));
        }
    }
    anyhow::bail!("{command:?} ended without an address")
}

/// Starts `testimony serve` on free ports and reads the address that follows `mark` in its welcome.
pub(crate) fn serve(data: &Path, upstream: &str, mark: &str) -> anyhow::Result<(Running, SocketAddr)> {
    serve_with(data, upstream, mark, None)
}

/// The same with a file of settings.
pub(crate) fn serve_with(
    data: &Path,
    upstream: &str,
    mark: &str,
    settings: Option<&Path>,
) -> anyhow::Result<(Running, SocketAddr)> {
    let mut command = Command::new(binary()?);
    command.args(["serve", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--upstream", upstream]);
    if let Some(settings) = settings {
        command.arg("--config").arg(settings);
    }
    start(command.arg("--data").arg(data), mark)
}
