//! Who goes first where cores are short.

use rustix::process::{Pid, setpriority_process};

/// A thread with this gets a ninth of what one gets that somebody waits for (Linux, `sched(7)`: each step is a factor of 1.25).
const NICE: i32 = 10;

/// From now on this thread lets others go first: nobody waits for what it does. Where that cannot be had, everything is slower and nothing is
/// wrong, so nobody is told.
pub fn give_way() {
    // The kernel says there which thread this is.
    let this = std::fs::read_link("/proc/thread-self").ok();
    let id = this.and_then(|path| path.file_name()?.to_str()?.parse().ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ = setpriority_process(Some(id), NICE);
    }
}
