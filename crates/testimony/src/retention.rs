//! What is kept no longer goes: looked at now and then, recorded as a `control` record, and only then done.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ledger::Ledger;
use record::{Draft, Kind, Source, Timestamp, uuid_v7};
use search::{
    BEFORE_ATTRIBUTE, Because, Bounds, Due, Engine, Limits, REMOVED_ATTRIBUTE, RETENTION_DOOR, Removal, Removed,
    Retention,
};
use world::World;

use crate::config::{self, Config, ConfigError};
use crate::forwarding::bytes;

/// How often it is looked at. Ages are of days.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// What the configuration says is kept, and those who see to it.
pub(crate) struct Keeping {
    world: World,
    engine: Engine,
    source: Arc<Source>,
    settings: config::Retention,
    retention: Retention,
}

impl Keeping {
    pub(crate) fn of(world: &World, config: &Config, engine: &Engine, origin: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            world: world.clone(),
            engine: engine.clone(),
            source: Arc::new(config.source(origin, RETENTION_DOOR)),
            retention: read(&config.retention)?,
            settings: config.retention.clone(),
        })
    }

    /// Sees to it for as long as it is let.
    pub(crate) async fn watch(self, ledger: Ledger) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut is_resumed = false;
        loop {
            tick.tick().await;
            let resumed = if is_resumed { Ok(()) } else { self.resume().await };
            is_resumed = resumed.is_ok();
            let looked = match resumed {
                Ok(()) => self.look(&ledger).await,
                failed => failed,
            };
            if let Err(error) = looked {
                tracing::warn!("what is kept no longer could not be removed, and is tried again: {error:#}");
            }
        }
    }

    /// Goes on with what records say is to go: a process that was killed may not have come to its end.
    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        let records = self.engine.latest(RETENTION_DOOR, REMOVED_ATTRIBUTE, None, Limits::default()).await?;
        let mut removal = Removal::default();
        for record in &records {
            let said = |name: &str| record.get("attributes")?.get(name)?.as_str();
            let before = said(BEFORE_ATTRIBUTE).and_then(|text| text.parse().ok());
            let removed = said(REMOVED_ATTRIBUTE).and_then(Removed::named);
            let (removed, before) = removed.zip(before).context("a record of retention cannot be read")?;
            removal.extend(removed, before);
        }
        self.engine.remove(removal);
        Ok(())
    }

    /// Records what is to go by now, and has it removed.
    pub(crate) async fn look(&self, ledger: &Ledger) -> anyhow::Result<()> {
        if self.retention == Retention::default() {
            return Ok(());
        }
        let (engine, retention) = (self.engine.clone(), self.retention);
        let due = tokio::task::spawn_blocking(move || engine.due(&retention)).await??;
        for due in due {
            ledger.append(self.draft(&due)).await?;
            tracing::info!(what = due.removed.as_str(), from = due.from, before = due.before, "kept no longer");
            let mut removal = Removal::default();
            removal.extend(due.removed, due.before);
            self.engine.remove(removal);
        }
        Ok(())
    }

    fn draft(&self, due: &Due) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let id = uuid_v7(time, &self.world.entropy.bytes());
        let mut draft = Draft::new(id, time, Kind::Control, self.source.clone());
        let number = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
        let (settings, name) = (&self.settings, due.removed.as_str());
        let (reason, setting) = match (due.removed, due.because) {
            (Removed::Content, Because::Age) => ("age", format!("{name} = {:?}", settings.content)),
            (Removed::Records, Because::Age) => ("age", format!("{name} = {:?}", settings.records)),
            (Removed::Content, Because::Size) => ("size", format!("{name}_size = {:?}", settings.content_size)),
            (Removed::Records, Because::Size) => ("size", format!("{name}_size = {:?}", settings.records_size)),
        };
        let attributes = &mut draft.attributes;
        attributes.set("testimony.control.change", "retention");
        attributes.set(REMOVED_ATTRIBUTE, name);
        attributes.set("testimony.retention.from", number(due.from));
        attributes.set(BEFORE_ATTRIBUTE, number(due.before));
        attributes.set("testimony.retention.reason", reason);
        attributes.set("testimony.retention.setting", setting);
        draft
    }
}

fn read(settings: &config::Retention) -> Result<Retention, ConfigError> {
    let bounds = |name: &str, age_text: &str, size_text: &str| {
        Ok::<_, ConfigError>(Bounds {
            age: setting(&format!("retention.{name}"), age_text, "an age such as 90d, 13w or 400d", age)?,
            bytes: setting(
                &format!("retention.{name}_size"),
                size_text,
                "a size such as 512MiB, 20GiB or 1TiB",
                bytes,
            )?,
        })
    };
    let content = bounds("content", &settings.content, &settings.content_size)?;
    let records = bounds("records", &settings.records, &settings.records_size)?;
    if let (Some(content), Some(records)) = (content.age, records.age)
        && content > records
    {
        let what = "content cannot be kept longer than the records that it is of".to_owned();
        return Err(ConfigError::Value { place: "retention.content".into(), what });
    }
    Ok(Retention { content, records })
}

/// Days, and weeks of seven of them.
fn age(text: &str) -> Option<Duration> {
    let is_of_days = text.ends_with(['d', 'w']);
    let micros = search::span_micros(text).filter(|_| is_of_days)?;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// A setting that may be empty.
fn setting<T>(
    place: &str,
    text: &str,
    wanted: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let wrong = || ConfigError::Value { place: place.into(), what: format!("{text:?} is not {wanted}") };
    if text.is_empty() { Ok(None) } else { read(text).map(Some).ok_or_else(wrong) }
}

#[cfg(test)]
mod tests;
