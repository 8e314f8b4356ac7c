//! Setting up both sides of witnessing from the configuration.

use anyhow::Context as _;
use ledger::{Ledger, PublishedLog};
use tlog::{TrustPolicy, VerifierKey, WitnessKey};
use witness::{Collector, Cosigner, Witnesses};
use world::World;

use crate::config::Config;
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

/// This server as a witness for other logs, if the configuration names some.
pub(crate) fn cosigner(world: &World, config: &Config, origin: &str) -> anyhow::Result<Option<Cosigner>> {
    if config.witnessing.cosigns.is_empty() {
        return Ok(None);
    }
    let logs = config.witnessing.cosigns.iter().map(|vkey| VerifierKey::parse(vkey).context("witnessing.cosigns"));
    let logs = logs.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Some(Cosigner::open_or_create(world, &config.data, &format!("{origin}/witness"), logs)?))
}
