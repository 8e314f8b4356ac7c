//! Setting up both sides of witnessing, and the stamping of checkpoints, from the configuration.

use std::time::Duration;

use anyhow::Context as _;
use ledger::{Ledger, PublishedLog};
use record::Source;
use tlog::{TrustPolicy, VerifierKey, WitnessKey};
use witness::{Collector, Cosigner, Stamping, Witnesses};
use world::World;

use crate::config::{Config, ConfigError, Timestamping};
use crate::trust::read_policy;

/// Whom to ask and how many must answer.
pub(crate) struct Asking {
    witnesses: Vec<(WitnessKey, String)>,
    quorum: Option<TrustPolicy>,
}

impl Asking {
    /// The witnesses of the configuration and of its trust policy; none when there are none.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let configured = config.witness.iter().map(|witness| {
            let key =
                WitnessKey::parse(&witness.vkey).with_context(|| format!("the vkey of the witness {}", witness.url))?;
            Ok((key, witness.url.clone()))
        });
        let mut witnesses = configured.collect::<anyhow::Result<Vec<_>>>()?;
        let quorum = &config.witnessing.quorum;
        let quorum = (!quorum.as_os_str().is_empty()).then(|| read_policy(quorum)).transpose()?;
        let of_policy = quorum.iter().flat_map(|policy| &policy.witnesses);
        let with_url = of_policy.filter_map(|witness| Some((witness.key.clone(), witness.url.clone()?)));
        for (key, url) in with_url {
            if !witnesses.iter().any(|(known, _)| known.bytes() == key.bytes()) {
                witnesses.push((key, url));
            }
        }
        Ok((!witnesses.is_empty()).then_some(Self { witnesses, quorum }))
    }

    /// Asks them about the log as it was found.
    pub(crate) async fn start(
        self,
        ledger: &Ledger,
        log: PublishedLog,
        key: &VerifierKey,
    ) -> anyhow::Result<Collector> {
        let quorum = self.quorum.map(|mut policy| {
            if !policy.logs.iter().any(|log| log.bytes() == key.bytes()) {
                policy.logs.push(key.clone());
            }
            policy
        });
        Ok(Collector::start(ledger.clone(), Witnesses::new(log, self.witnesses)?, quorum).await?)
    }
}

/// The authority that stamps this log's checkpoints, and how often, if the configuration names one.
pub(crate) fn stamping(
    world: &World,
    config: &Config,
    log: &PublishedLog,
    source: &Source,
) -> anyhow::Result<Option<(Stamping, Duration)>> {
    let Timestamping { url, every } = &config.timestamping;
    if url.is_empty() {
        return Ok(None);
    }
    let stamping = Stamping::new(world.clone(), log.clone(), url, source.clone()).context("timestamping.url")?;
    Ok(Some((stamping, period(every)?)))
}

const PERIOD_MIN: Duration = Duration::from_secs(1);
const PERIOD_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Reads how long as the query language writes it, without its weeks: `90s`, `10m`, `1h`, `1d`.
fn period(text: &str) -> Result<Duration, ConfigError> {
    let micros = search::span_micros(text).filter(|_| !text.ends_with('w')).and_then(|micros| micros.try_into().ok());
    let period = micros.map(Duration::from_micros).filter(|period| (PERIOD_MIN..=PERIOD_MAX).contains(period));
    period.ok_or_else(|| ConfigError::Value {
        place: "timestamping.every".into(),
        what: format!("{text:?} is not a time such as 90s, 10m, 1h or 1d, of at most a year"),
    })
}

/// Asks the witnesses, where there are any, about the log as it was found.
pub(crate) async fn ask(
    asking: Option<Asking>,
    ledger: &Ledger,
    log: &PublishedLog,
    key: &VerifierKey,
) -> anyhow::Result<Option<Collector>> {
    match asking {
        Some(asking) => Ok(Some(asking.start(ledger, log.clone(), key).await?)),
        None => Ok(None),
    }
}

/// This server as a witness for other logs, if the configuration names some.
pub(crate) fn cosigner(world: &World, config: &Config, origin: &str) -> anyhow::Result<Option<Cosigner>> {
    if config.witnessing.cosigns.is_empty() {
        return Ok(None);
    }
    let logs = config.witnessing.cosigns.iter().map(|vkey| VerifierKey::parse(vkey).context("witnessing.cosigns"));
    let logs = logs.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Some(Cosigner::open_or_create(world, &config.data, &format!("{origin}/witness"), logs)?))
}

#[cfg(test)]
mod tests {
    use super::period;

    #[test]
    fn periods_are_written_as_people_write_them() {
        let read = ["90s", "10m", "1h", "1d"].map(|text| period(text).unwrap().as_secs());
        assert_eq!(read, [90, 600, 3_600, 86_400]);
        for bad in ["", "s", "0s", "1", "1w", "-1s", "1 h", "99999999999999999999d", "367d", "é"] {
            period(bad).unwrap_err();
        }
    }
}
