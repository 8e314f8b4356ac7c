//! What this process takes of the machine, as the kernel says (Linux, `proc(5)`).

/// What a process takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Time on the cores since it began, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is in use, in bytes.
    pub resident_bytes: u64,
    /// File descriptors that are open.
    pub open_files: u64,
}

/// What this process takes; nothing where the kernel does not say.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "what the kernel says of a process is on no disk")]
pub fn process() -> Option<Process> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name stands in brackets and may have any signs in it; what follows are numbers.
    let (_, fields) = stat.rsplit_once(") ")?;
    let field = |number: usize| fields.split(' ').nth(number - 3)?.parse::<u32>().ok().map(f64::from);
    let ticks = field(14)? + field(15)?;
    let pages: u64 = fields.split(' ').nth(24 - 3)?.parse().ok()?;
    let ticks_per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(Process {
        cpu_seconds: ticks / f64::from(ticks_per_second),
        resident_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
        open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let now = process().unwrap();
        assert!(now.resident_bytes > 1 << 20 && now.open_files >= 3 && now.cpu_seconds >= 0.0, "{now:?}");
    }
}
