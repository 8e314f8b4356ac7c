//! What a server does on its own account, beside answering: until the log is closed.

use std::sync::Arc;
use std::time::Duration;

use access::KeyStore;
use forward::Sender;
use gateway::ModelNews;
use ledger::Ledger;
use record::Source;
use tokio::task::JoinHandle;
use witness::Stamping;
use world::World;

use crate::admitting::Issuer;
use crate::alarm::DiskAlarm;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::forwarding;
use crate::models::SIGHTINGS_PRODUCER;
use crate::retention::Keeping;
use crate::ruling::Ruling;

/// Everything that watches, keeps or sends something.
pub(crate) struct Background {
    pub(crate) disk_alarm: DiskAlarm,
    pub(crate) ruling: Ruling,
    pub(crate) keeping: Keeping,
    pub(crate) news: ModelNews,
    pub(crate) sender: Option<Sender>,
    pub(crate) system: Arc<Source>,
    /// The API keys, whose last use is written down.
    pub(crate) last_used: KeyStore,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) stamping: Option<(Stamping, Duration)>,
}

impl Background {
    /// Starts all of it.
    pub(crate) fn start(self, world: &World, config: &Config, ledger: &Ledger) -> Vec<JoinHandle<()>> {
        let seen = Arc::new(config.source(ledger.origin(), SIGHTINGS_PRODUCER));
        let mut tasks = vec![
            tokio::spawn(self.disk_alarm.watch(ledger.clone())),
            tokio::spawn(self.ruling.watch(ledger.clone())),
            tokio::spawn(self.keeping.watch(ledger.clone())),
            tokio::spawn(self.news.run(world.clone(), ledger.clone(), seen)),
            tokio::spawn(write_last_used(self.last_used)),
        ];
        tasks.extend(forwarding::deliver(world, ledger, self.sender, self.system));
        tasks.extend(self.certificates.map(|certificates| tokio::spawn(certificates.watch())));
        tasks.extend(self.issuers.into_iter().map(|issuer| tokio::spawn(issuer.keep_keys(world.clone()))));
        tasks.extend(self.stamping.map(|(stamping, every)| tokio::spawn(stamping.run(ledger.clone(), every))));
        tasks
    }
}

/// Once a minute, so that a crash loses a minute of it.
async fn write_last_used(keys: KeyStore) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        minute.tick().await;
        let keys = keys.clone();
        let written = tokio::task::spawn_blocking(move || keys.write_last_used()).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "when keys were last used could not be written");
        }
    }
}
