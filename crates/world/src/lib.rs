//! # world: everything that does not follow from its inputs
//!
//! Disk, clock and randomness, each behind a small trait with a real and a simulated half. Whoever gets a
//! [`World`] can be run twice with the same result, and can be shown a full disk or a failing `fsync` in
//! a unit test. Outside this crate nobody asks the operating system for the time, for random bytes, or to
//! make something durable.
//!
//! | trait | real | simulated |
//! |---|---|---|
//! | [`Disk`] | [`RealDisk`] | [`SimulatedDisk`]: in memory, loses what was not synced, fails on demand |
//! | [`Clock`] | [`SystemClock`] | [`ManualClock`] |
//! | [`Entropy`] | [`SystemEntropy`] | [`SeededEntropy`] |

mod clock;
mod disk;
mod entropy;
mod priority;
mod process;
mod simulated_disk;

use std::sync::Arc;

pub use clock::{Clock, ManualClock, SystemClock};
pub use disk::{AppendFile, DirectoryLock, Disk, LockError, RealDisk};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use priority::give_way;
pub use process::{Process, process};
pub use simulated_disk::{Fault, Moment, Operation, SimulatedDisk};

/// The three together.
#[derive(Clone)]
pub struct World {
    /// Where bytes stay.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
}

impl World {
    /// The world as it is.
    #[must_use]
    pub fn real() -> Self {
        Self { disk: Arc::new(RealDisk), clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }
}

/// The operating system's number for the user that this process runs as.
#[must_use]
pub fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The name of this machine.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
