//! Sending the metrics to a collector by OTLP, as the configuration says.

use std::time::Duration;

use anyhow::Context as _;
use dial::Peer;
use server::Api;

use crate::config::Config;

/// How large an answer of a collector may be.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What sends the metrics every so often, if the configuration says where to. What could not be sent is not sent later: the next one has all of it.
pub(crate) fn pushing(config: &Config, api: &Api) -> anyhow::Result<Option<impl Future<Output = ()> + Send + use<>>> {
    let settings = &config.metrics;
    if settings.otlp.is_empty() {
        return Ok(None);
    }
    let (mut peer, path) = Peer::at(&settings.otlp).context("metrics.otlp")?;
    if !settings.otlp_token.is_empty() {
        peer = peer.bearing(&settings.otlp_token).context("metrics.otlp_token")?;
    }
    let every = Duration::from_secs(settings.otlp_every_s.max(1));
    Ok(Some(push(api.clone(), peer, path, every)))
}

async fn push(api: Api, peer: Peer, path: String, every: Duration) {
    let mut due = tokio::time::interval(every);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        due.tick().await;
        let sent = send(&api, &peer, &path).await;
        // Said when it changes, and not with each.
        match &sent {
            Err(error) if !is_failing => tracing::warn!(error = %format!("{error:#}"), "the metrics cannot be sent"),
            Ok(()) if is_failing => tracing::info!("the metrics are sent again"),
            _ => {}
        }
        is_failing = sent.is_err();
    }
}

async fn send(api: &Api, peer: &Peer, path: &str) -> anyhow::Result<()> {
    let api = api.clone();
    let Some(written) = tokio::task::spawn_blocking(move || api.figures_as_otlp()).await? else { return Ok(()) };
    let answer = peer.post(path, "application/json", written?.into(), ANSWER_BYTES_MAX, PATIENCE).await?;
    anyhow::ensure!(answer.status.is_success(), "the collector answered {}", answer.status);
    Ok(())
}
