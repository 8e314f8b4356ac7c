//! Delivering this log to a centre, as the configuration says.

use std::sync::Arc;

use anyhow::Context as _;
use dial::Credentials;
use forward::{Sender, Settings};
use ledger::Ledger;
use record::Source;
use world::World;

use crate::backlog::BacklogAlarm;
use crate::config::{Config, ConfigError};

/// With less, a burst would be refused that a centre takes in a moment.
const BACKLOG_BYTES_MIN: u64 = 256 << 10;

/// How much may wait, if anything is delivered at all.
pub(crate) fn backlog_bytes_max(config: &Config) -> Result<Option<u64>, ConfigError> {
    let forward = &config.forward;
    if forward.to.is_empty() {
        return Ok(None);
    }
    bytes(&forward.backlog_max).filter(|bytes| *bytes >= BACKLOG_BYTES_MIN).map(Some).ok_or_else(|| {
        ConfigError::Value {
            place: "forward.backlog_max".into(),
            what: format!("{:?} is not a size such as 512MiB, 8GiB or 1TiB, of at least 256KiB", forward.backlog_max),
        }
    })
}

/// What delivers the log, if the configuration says where to.
pub(crate) fn sender(world: &World, config: &Config, ledger: &Ledger) -> anyhow::Result<Option<Sender>> {
    let forward = &config.forward;
    if forward.to.is_empty() {
        return Ok(None);
    }
    let ca = (!forward.ca.as_os_str().is_empty()).then(|| {
        world.disk.read(&forward.ca).with_context(|| format!("forward.ca: could not read {}", forward.ca.display()))
    });
    let settings = Settings {
        to: forward.to.clone(),
        key: Some(forward.key.clone()).filter(|key| !key.is_empty()),
        credentials: Credentials { authorities: ca.transpose()?, client: None },
        origin: if forward.origin.is_empty() { ledger.origin().to_string() } else { forward.origin.clone() },
    };
    Ok(Some(Sender::new(world, ledger, settings).context("[forward]")?))
}

/// Reads a size as people write it: a whole number, and a unit of 1,024 of the one before it.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let power = ["B", "KiB", "MiB", "GiB", "TiB"].iter().position(|known| *known == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(1_u64 << (10 * power))
}

/// What takes this log to its centre, and the alarm before more waits for that than may.
pub(crate) fn deliver(
    world: &World,
    ledger: &Ledger,
    sender: Option<Sender>,
    system: Arc<Source>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let Some(sender) = sender else { return Vec::new() };
    let alarm = BacklogAlarm::new(world.clone(), ledger.clone(), system);
    vec![tokio::spawn(sender.run()), tokio::spawn(alarm.watch())]
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_written_as_people_write_them() {
        let read = ["1B", "64KiB", "512MiB", "8GiB", "1 TiB"].map(|text| bytes(text).unwrap());
        assert_eq!(read, [1, 64 << 10, 512 << 20, 8 << 30, 1 << 40]);
        for bad in ["", "8", "GiB", "8GB", "-1GiB", "1.5GiB", "99999999999TiB", "8gib", "é"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
