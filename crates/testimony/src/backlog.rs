//! The alarm before the backlog of a forwarding node is full: a `control` record as it passes each of three levels, and one when it is
//! well again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{Backlog, Ledger};
use record::{Draft, Envelope, Kind, Source, Timestamp, uuid_v7};
use world::World;

use crate::alarm::{Levels, Passing};

/// How often it is looked at: a small backlog may be full within seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// In percent of what may wait.
const LEVELS: [u8; 3] = [50, 80, 95];
/// The pace is that of so long.
const PACE_OVER: Duration = Duration::from_secs(300);

/// What waits to be delivered.
pub(crate) struct BacklogAlarm {
    world: World,
    ledger: Ledger,
    source: Arc<Source>,
    levels: Levels,
    pace: Pace,
}

/// How much waited in the last minutes.
#[derive(Default)]
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    /// In how many minutes so many bytes more wait if it goes on as in the last five; none when the backlog does not grow.
    fn minutes_until(&mut self, bytes: u64, more: u64, now: Instant) -> Option<u64> {
        self.0.push_back((now, bytes));
        while self.0.len() > 2 && self.0.get(1).is_some_and(|(then, _)| now - *then >= PACE_OVER) {
            self.0.pop_front();
        }
        let (then, before) = *self.0.front()?;
        let grown = u128::from(bytes.checked_sub(before).filter(|grown| *grown > 0)?);
        let minutes = u128::from(more) * (now - then).as_millis() / grown / 60_000;
        Some(u64::try_from(minutes).unwrap_or(u64::MAX))
    }
}

impl BacklogAlarm {
    pub(crate) fn new(world: World, ledger: Ledger, source: Arc<Source>) -> Self {
        Self { world, ledger, source, levels: Levels::new(LEVELS.to_vec()), pace: Pace::default() }
    }

    /// Looks at the backlog for as long as it is let.
    pub(crate) async fn watch(mut self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            // Alone, not in a batch with what finds no room.
            if let Some((level, draft)) = self.look()
                && self.ledger.append_here(draft).await.is_ok()
            {
                self.levels.recorded(level);
            }
        }
    }

    fn look(&mut self) -> Option<(u8, Draft)> {
        let backlog = self.ledger.backlog()?;
        let left = backlog.bytes_max.saturating_sub(backlog.bytes);
        let minutes = self.pace.minutes_until(backlog.bytes, left, Instant::now());
        let Passing { level, state, threshold, is_unsaid, is_unrecorded } = self.levels.at(used_percent(&backlog));
        if !is_unsaid && !is_unrecorded {
            return None;
        }
        let since = self.received(backlog.from).map(|since| since.to_string());
        if is_unsaid {
            let (records, bytes, since) = (backlog.records, backlog.bytes, since.as_deref().unwrap_or("-"));
            tracing::warn!(
                records,
                bytes,
                since,
                minutes_left = minutes,
                threshold,
                state,
                "what waits to be delivered"
            );
        }
        is_unrecorded.then(|| (level, self.draft(&backlog, state, threshold, since, minutes)))
    }

    /// When the record with an index was received.
    fn received(&self, index: u64) -> Option<Timestamp> {
        let portion = self.ledger.read(index).ok()??;
        let entry = portion.entries().next()?;
        Some(Envelope::parse(entry.leaf).ok()?.received)
    }

    fn draft(
        &self,
        backlog: &Backlog,
        state: &'static str,
        threshold: u8,
        since: Option<String>,
        minutes: Option<u64>,
    ) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let mut draft =
            Draft::new(uuid_v7(time, &self.world.entropy.bytes()), time, Kind::Control, self.source.clone());
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let attributes = &mut draft.attributes;
        attributes.set("testimony.alarm", "backlog");
        attributes.set("testimony.alarm.state", state);
        attributes.set("testimony.alarm.threshold_percent", i64::from(threshold));
        attributes.set("testimony.backlog.records", number(backlog.records));
        attributes.set("testimony.backlog.bytes", number(backlog.bytes));
        attributes.set("testimony.backlog.bytes_max", number(backlog.bytes_max));
        if let Some(since) = since {
            attributes.set("testimony.backlog.since", since);
        }
        if let Some(minutes) = minutes {
            attributes.set("testimony.backlog.minutes_left", number(minutes));
        }
        draft
    }
}

fn used_percent(backlog: &Backlog) -> u8 {
    let percent = u128::from(backlog.bytes) * 100 / u128::from(backlog.bytes_max.max(1));
    u8::try_from(percent).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_five_minutes() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.minutes_until(100, 900, at(0)), None);
        // 100 bytes a minute.
        assert_eq!(pace.minutes_until(200, 800, at(60)), Some(8));
        assert_eq!(pace.minutes_until(200, 800, at(120)), Some(16));
        for minute in 3..10 {
            pace.minutes_until(200, 800, at(minute * 60));
        }
        assert_eq!(pace.minutes_until(200, 800, at(600)), None, "it has not grown for five minutes");
        assert_eq!(pace.minutes_until(50, 950, at(660)), None);
    }

    #[test]
    fn percentages_are_of_what_may_wait() {
        let backlog = |bytes, bytes_max| Backlog { from: 0, records: 1, bytes, bytes_max };
        assert_eq!(
            [used_percent(&backlog(1, 2)), used_percent(&backlog(8, 10)), used_percent(&backlog(9, 0))],
            [50, 80, u8::MAX]
        );
    }
}
