//! What stands behind the names of models, watched by what answers say of themselves.
//!
//! A call only looks whether its answer tells of something new, without waiting; who writes the record of it is somebody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use control::{Alias, Sighting, Sightings};
use ledger::Ledger;
use record::{Draft, Kind, Outcome, Source, Uuid, uuid_v7};
use tokio::sync::mpsc;
use tokio::time::Instant;
use world::World;

use crate::drafts::now;

/// News that may wait to be recorded. What is not taken is news again with the next answer.
const NEWS_WAITING_MAX: usize = 256;
/// How often a change of what is behind a name is recorded at most: two servers behind one name would else fill the log.
const BETWEEN_CHANGES: Duration = Duration::from_secs(10);

/// What is known of the models behind names.
#[derive(Clone)]
pub struct ModelsSeen {
    known: Arc<ArcSwap<Sightings>>,
    news: mpsc::Sender<News>,
}

/// What is to be recorded of them.
pub struct ModelNews {
    known: Arc<ArcSwap<Sightings>>,
    news: mpsc::Receiver<News>,
}

struct News {
    alias: Alias,
    sighting: Sighting,
    /// The call whose answer showed it.
    call: Uuid,
}

impl ModelsSeen {
    /// Goes on from what is known.
    #[must_use]
    pub fn new(known: Sightings) -> (Self, ModelNews) {
        let known = Arc::new(ArcSwap::from_pointee(known));
        let (sender, receiver) = mpsc::channel(NEWS_WAITING_MAX);
        (Self { known: known.clone(), news: sender }, ModelNews { known, news: receiver })
    }

    /// Takes in what an answer says that it is from.
    pub(crate) fn see(&self, alias: &Alias, sighting: Sighting, call: Uuid) {
        if self.known.load().is_news(alias, &sighting) {
            let _ = self.news.try_send(News { alias: alias.clone(), sighting, call });
        }
    }
}

impl ModelNews {
    /// Records what is new, each thing once; returns when the gateway is gone.
    pub async fn run(mut self, world: World, ledger: Ledger, source: Arc<Source>) {
        let mut changed: HashMap<Alias, Instant> = HashMap::new();
        while let Some(News { alias, sighting, call }) = self.news.recv().await {
            let known = self.known.load_full();
            // Several answers may have told of it before it was known.
            let is_too_soon = changed.get(&alias).is_some_and(|last| last.elapsed() < BETWEEN_CHANGES);
            if is_too_soon || !known.is_news(&alias, &sighting) {
                continue;
            }
            let time = now(&world);
            let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::Control, source.clone());
            draft.outcome = Some(Outcome::Completed);
            known.write(&alias, &sighting, &mut draft.attributes);
            draft.attributes.set("testimony.model.call", call.to_string());
            if let Err(error) = ledger.append(draft).await {
                tracing::warn!(%error, alias = alias.text(), "that another model answers could not be recorded");
                continue;
            }
            if known.has(&alias) {
                tracing::warn!(alias = alias.text(), %call, "another model answers under this name");
                changed.retain(|_, last| last.elapsed() < BETWEEN_CHANGES);
                changed.insert(alias.clone(), Instant::now());
            }
            self.known.store(Arc::new(known.with(&alias, sighting)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::{ModelName, UpstreamName};
    use ledger::Options;

    #[tokio::test]
    async fn two_models_that_answer_by_turns_under_one_name_do_not_fill_the_log() {
        let (world, data) = (World::real(), tempfile::tempdir().unwrap());
        let ledger = Ledger::open(&world, data.path(), &Options::default()).unwrap().ledger;
        let text = |text: &str| text.to_owned();
        let source = Source {
            service: text("shop"),
            environment: text("staging"),
            host: text("here"),
            origin: ledger.origin().to_string(),
            producer: text("models"),
        };
        let alias = Alias { upstream: UpstreamName::usual(), model: ModelName::parse("gemma").unwrap() };
        let (seen, news) = ModelsSeen::new(Sightings::default());
        let before = ledger.durable().size;
        for nth in 0..20 {
            let fingerprint = if nth % 2 == 0 { "b100" } else { "b200" };
            seen.see(&alias, Sighting::of(Some("gemma"), Some(fingerprint)), Uuid::from_u128(nth));
        }
        drop(seen);
        news.run(world, ledger.clone(), source.into()).await;
        // The first one, and one change of it.
        assert_eq!(ledger.durable().size - before, 2);
        ledger.close();
    }
}
