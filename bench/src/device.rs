//! What the figures were measured on.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// Prints the machine and gives the median of one `fdatasync` after a small append.
pub(crate) fn describe(dir: &Path) -> anyhow::Result<Syncs> {
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
    println!("machine      {model}, {cores} cores; data on {device} ({system})");
    println!(
        "cores had    {:.2} of {cores}: what all cores hash together, over what one hashes alone",
        cores_had(cores.get())
    );
    let times = fdatasyncs(dir, 200, Duration::ZERO)?;
    println!("fdatasync    4 KiB appended: p50 {:.2} ms, p99 {:.2} ms", ms(&times, 50), ms(&times, 99));
    let paced = fdatasyncs(dir, 100, THINKING)?;
    println!(
        "             one every {} ms, as at one connection: p50 {:.2} ms, p99 {:.2} ms",
        THINKING.as_millis(),
        ms(&paced, 50),
        ms(&paced, 99)
    );
    println!(
        "conditions   release build, fsync on, signatures on, full bodies recorded; load, model and peers on the same machine\n"
    );
    Ok(Syncs { busy: at(&times, 50), paced: at(&paced, 50) })
}

/// The median of one `fdatasync` after a small append.
pub(crate) struct Syncs {
    /// One straight after the other.
    pub(crate) busy: Duration,
    /// One every [`THINKING`]: the machine falls asleep in between, as it does between calls.
    pub(crate) paced: Duration,
}

/// What the model of the latency benchmark takes to answer, and so what lies between two calls on one connection.
pub(crate) const THINKING: Duration = Duration::from_millis(20);
const BLOCK_BYTES: usize = 4_096;

/// How long each of some `fdatasync`s took, sorted.
pub(crate) fn fdatasyncs(dir: &Path, count: usize, pause: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut file = std::fs::File::create(dir.join("fdatasync"))?;
    let block = vec![7; BLOCK_BYTES];
    let mut times = Vec::new();
    for _ in 0..count {
        std::thread::sleep(pause);
        file.write_all(&block)?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// A percentile of times that are sorted.
pub(crate) fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

fn ms(sorted: &[Duration], percent: usize) -> f64 {
    milliseconds(at(sorted, percent))
}

/// A virtual machine may not get the cores that it shows.
fn cores_had(cores: usize) -> f64 {
    let alone = hashes_of(1);
    hashes_of(cores) / alone
}

/// How many blocks some threads hash in a while, together.
fn hashes_of(threads: usize) -> f64 {
    const WHILE: Duration = Duration::from_millis(500);
    let work = || {
        let (start, mut done, mut block) = (Instant::now(), 0_u32, [7_u8; BLOCK_BYTES]);
        while start.elapsed() < WHILE {
            // Fed back, so that nothing can be left out.
            let hash = Sha256::digest(block);
            block.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
            done += 1;
        }
        f64::from(done)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_default()).sum()
    })
}

/// Processor time that ended child processes have taken, in seconds (proc(5): `cutime` and `cstime` of `/proc/self/stat`).
pub(crate) fn children_cpu() -> anyhow::Result<f64> {
    cpu([13, 14])
}

/// Processor time that this process has taken, in seconds (`utime` and `stime`).
pub(crate) fn own_cpu() -> anyhow::Result<f64> {
    cpu([11, 12])
}

fn cpu(fields_summed: [usize; 2]) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok()).unwrap_or_default();
    // The first two fields stand before the bracket; Linux counts 100 ticks a second here.
    Ok(f64::from(fields_summed.into_iter().map(ticks).sum::<u32>()) / 100.0)
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
