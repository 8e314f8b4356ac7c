//! What the figures were measured on.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Prints the machine and gives the median of one `fdatasync` after a small append.
pub(crate) fn describe(dir: &Path) -> anyhow::Result<Duration> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism()?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let real = dir.canonicalize()?;
    let mount = mounts
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, rest)| rest.split(' ').next().is_some_and(|point| real.starts_with(point)))
        .max_by_key(|(_, rest)| rest.split(' ').next().map_or(0, str::len));
    let (device, rest) = mount.unwrap_or(("unknown", ""));
    let system = rest.split(' ').nth(1).unwrap_or("unknown");
    let times = fdatasyncs(dir, 4_096, 200)?;
    println!("machine      {model}, {cores} cores; data on {device} ({system})");
    println!(
        "fdatasync    4 KiB appended: p50 {:.2} ms, p99 {:.2} ms",
        milliseconds(times[100]),
        milliseconds(times[197])
    );
    println!(
        "conditions   release build, fsync on, signatures on, full bodies recorded; load, model and peers on the same machine\n"
    );
    Ok(times[100])
}

/// How long each of some `fdatasync`s took, sorted.
fn fdatasyncs(dir: &Path, bytes: usize, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(dir.join("fdatasync"))?;
    let block = vec![7; bytes];
    let mut times = Vec::new();
    for _ in 0..count {
        file.write_all(&block)?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
