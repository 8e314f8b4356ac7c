//! Who goes first where cores are short.

use rustix::process::{Pid, setpriority_process};

/// A thread with this gets a third of what one gets that somebody waits for (Linux, `sched(7)`: each step is a factor of 1.25).
const NICE: i32 = 5;

/// From now on this thread lets others go first: nobody waits for what it does. Where that cannot be had, everything is slower and nothing is
/// wrong, so nobody is told.
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel says there which thread this is, and needs no unsafe code for it"
)]
pub fn give_way() {
    let this = std::fs::read_link("/proc/thread-self").ok();
    let id = this.and_then(|path| path.file_name()?.to_str()?.parse().ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ = setpriority_process(Some(id), NICE);
    }
}
