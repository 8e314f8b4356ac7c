//! The alarm before the disk is full: a `control` record as it passes each of some levels, and one when it is well again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::Ledger;
use record::{Draft, Kind, Source, Timestamp, uuid_v7};
use world::World;

use crate::config::ConfigError;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A level is left again only once the disk is this many percent below it, so that one file does not ring it twice.
const HYSTERESIS_PERCENT: u8 = 2;

/// Levels in percent, and which of them was told of last.
pub(crate) struct Levels {
    /// In rising order.
    levels: Vec<u8>,
    /// The highest level that stands in the log; 0 when none does.
    recorded: u8,
    /// The same for the program's own log, which has room where the log may have none.
    said: u8,
}

/// Where something stands among its levels.
pub(crate) struct Passing {
    /// The highest level that it is at; 0 when it is at none.
    pub(crate) level: u8,
    /// `raised` or `cleared`.
    pub(crate) state: &'static str,
    /// The level that was passed.
    pub(crate) threshold: u8,
    /// Whether the program's own log has not said so yet.
    pub(crate) is_unsaid: bool,
    /// Whether the log itself does not hold it yet.
    pub(crate) is_unrecorded: bool,
}

impl Levels {
    pub(crate) const fn new(levels: Vec<u8>) -> Self {
        Self { levels, recorded: 0, said: 0 }
    }

    /// What there is to tell of something that is so full.
    pub(crate) fn at(&mut self, used: u8) -> Passing {
        let reached = |used: u8| self.levels.iter().copied().filter(|level| *level <= used).max().unwrap_or(0);
        let level = match reached(used) {
            level if level > self.recorded => level,
            _ => reached(used.saturating_add(HYSTERESIS_PERCENT)).min(self.recorded),
        };
        let (state, threshold) = if level > self.recorded { ("raised", level) } else { ("cleared", self.recorded) };
        let is_unsaid = level != self.said;
        self.said = level;
        Passing { level, state, threshold, is_unsaid, is_unrecorded: level != self.recorded }
    }

    /// The log holds a record of this level.
    pub(crate) const fn recorded(&mut self, level: u8) {
        self.recorded = level;
    }
}

/// The disk under the log, and what it was found to be last.
pub(crate) struct DiskAlarm {
    world: World,
    data: PathBuf,
    source: Arc<Source>,
    levels: Levels,
}

/// Reads levels as they are configured: `80,90,95`; none: no alarm.
pub(crate) fn levels(text: &str) -> Result<Vec<u8>, ConfigError> {
    let wrong = || ConfigError::Value {
        place: "ledger.alarm_percent".into(),
        what: format!("{text:?} is not a list of percentages such as 80,90,95"),
    };
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let levels = items.map(|item| item.parse().ok().filter(|level| (1..=100).contains(level)).ok_or_else(wrong));
    let mut levels = levels.collect::<Result<Vec<u8>, _>>()?;
    levels.sort_unstable();
    Ok(levels)
}

impl DiskAlarm {
    pub(crate) const fn new(world: World, data: PathBuf, source: Arc<Source>, levels: Vec<u8>) -> Self {
        Self { world, data, source, levels: Levels::new(levels) }
    }

    /// Looks at the disk for as long as it is let.
    pub(crate) async fn watch(mut self, ledger: Ledger) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            // What finds no space is recorded as soon as there is some.
            if let Some((level, draft)) = self.look()
                && ledger.append(draft).await.is_ok()
            {
                self.levels.recorded(level);
            }
        }
    }

    /// The level that the disk is at and what there is to record of it, if that is not in the log yet.
    fn look(&mut self) -> Option<(u8, Draft)> {
        let used = self.world.disk.used_percent(&self.data).ok()?;
        let Passing { level, state, threshold, is_unsaid, is_unrecorded } = self.levels.at(used);
        if is_unsaid {
            tracing::warn!(used_percent = used, threshold, state, "the disk under the log");
        }
        is_unrecorded.then(|| (level, self.draft(state, threshold, used)))
    }

    fn draft(&self, state: &'static str, threshold: u8, used: u8) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let id = uuid_v7(time, &self.world.entropy.bytes());
        let mut draft = Draft::new(id, time, Kind::Control, self.source.clone());
        draft.attributes.set("testimony.alarm", "disk");
        draft.attributes.set("testimony.alarm.state", state);
        draft.attributes.set("testimony.alarm.threshold_percent", i64::from(threshold));
        draft.attributes.set("testimony.disk.used_percent", i64::from(used));
        draft
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::Value;
    use world::{ManualClock, SeededEntropy, SimulatedDisk};

    fn alarm() -> (SimulatedDisk, DiskAlarm) {
        let disk = SimulatedDisk::default();
        let world = World {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(ManualClock::at(0)),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let source = Source {
            service: "s".into(),
            environment: "e".into(),
            host: "h".into(),
            origin: "o".into(),
            producer: "system".into(),
        };
        (disk, DiskAlarm::new(world, "data".into(), source.into(), levels("80,90,95").unwrap()))
    }

    #[test]
    fn each_level_is_told_once_on_the_way_up_and_once_on_the_way_down() {
        let (disk, mut alarm) = alarm();
        let said: Vec<String> = [10, 79, 80, 81, 79, 80, 96, 94, 92, 89, 88, 77, 77]
            .into_iter()
            .map(|used| {
                disk.set_used_percent(used);
                let found = alarm.look();
                alarm.levels.recorded = found.as_ref().map_or(alarm.levels.recorded, |(level, _)| *level);
                let text =
                    |draft: &Draft, name: &str| draft.attributes.value(name).map_or(String::new(), Value::to_json);
                let threshold = "testimony.alarm.threshold_percent";
                found.map_or(format!("{used}"), |(_, draft)| {
                    format!("{used} {} {}", text(&draft, "testimony.alarm.state"), text(&draft, threshold))
                })
            })
            .collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn what_could_not_be_recorded_is_recorded_later() {
        let (disk, mut alarm) = alarm();
        disk.set_used_percent(96);
        assert!(alarm.look().is_some());
        assert!(alarm.look().is_some_and(|(level, _)| level == 95));
        alarm.levels.recorded(95);
        assert!(alarm.look().is_none());
    }

    #[test]
    fn levels_are_percentages() {
        assert_eq!(levels(" 95, 80 ").unwrap(), [80, 95]);
        assert_eq!(levels("").unwrap(), Vec::<u8>::new());
        for bad in ["0", "101", "eighty", "80;90"] {
            levels(bad).unwrap_err();
        }
    }
}
