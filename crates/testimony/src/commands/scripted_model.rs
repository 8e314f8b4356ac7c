//! `testimony scripted-model`: the model server of the demonstration on its own.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use crate::Verdict;
use crate::client::runtime;
use crate::terminal::print;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The name of its model
    #[arg(long, default_value = "scripted-demo")]
    model: String,
    /// What its answers say that it is
    #[arg(long)]
    fingerprint: Option<String>,
    /// Milliseconds before each answer
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    runtime()?.block_on(async move {
        let listener = TcpListener::bind(arguments.listen).await?;
        print(&format!("http://{}/v1\n", listener.local_addr()?))?;
        let Arguments { model, fingerprint, delay_ms, .. } = arguments;
        let options = scripted::Options { model, fingerprint, delay: Duration::from_millis(delay_ms) };
        scripted::serve(listener, options).await;
        Ok(Verdict::Good)
    })
}
