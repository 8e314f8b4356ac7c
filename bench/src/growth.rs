//! What grows with the log and what does not: memory, the rate of appends, the time to be ready again.

use std::time::Instant;

use ledger::Ledger;
use world::World;

use crate::Places;
use crate::appends::{GROUP, GROUPS_WAITING, fill, options};

/// At how many records is looked, ascending.
const SIZES: [u64; 6] = [1_000_000, 10_000_000, 20_000_000, 30_000_000, 40_000_000, 50_000_000];

/// Prints a line for each size. Needs some 20 GB of disk, and so runs only when asked for by name.
pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    println!("one log that grows, {GROUP} records appended at once");
    let world = World::real();
    let dir = places.disk.join("ledger-growth");
    let ledger = Ledger::open(&world, &dir, &options())?.ledger;
    let mut size = 0;
    for next in SIZES {
        let start = Instant::now();
        fill(&ledger, &world, next - size, GROUPS_WAITING, GROUP)?;
        let rate = (next - size) as f64 / start.elapsed().as_secs_f64();
        println!("  {next:>10} records  {rate:>9.0}/s on the way there, {:>5.0} MiB resident", resident_mib("self")?);
        size = next;
    }
    ledger.close();
    let start = Instant::now();
    let again = Ledger::open(&world, &dir, &options())?.ledger;
    println!("  opened again in {:.2} s\n", start.elapsed().as_secs_f64());
    again.close();
    Ok(())
}

/// Memory that a process holds (proc(5): `VmRSS`), by its number or as `self`.
pub(crate) fn resident_mib(process: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1_024.0)
}
