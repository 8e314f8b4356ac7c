//! How long one durable append takes when they come at a steady pace, beside one `fdatasync` at that pace.

use std::time::{Duration, Instant};

use ledger::Ledger;
use world::World;

use crate::Places;
use crate::appends::{draft, options, source};
use crate::device::{at, fdatasyncs, milliseconds};

/// Between two appends: 1,000 a second.
const PAUSE: Duration = Duration::from_millis(1);
const APPENDS: usize = 20_000;
const SYNCS: usize = 3_000;

/// Prints the time from submission to acknowledgement.
pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    let syncs = fdatasyncs(&places.disk, SYNCS, PAUSE)?;
    let appends = appends(places)?;
    let (sync, median, late) = (at(&syncs, 50), at(&appends, 50), at(&appends, 99));
    println!(
        "  submit to acknowledged          {:>9.2} ms  p50, p99 {:.2} ms at one a millisecond, {APPENDS} times: {:.2} and {:.2} fdatasyncs",
        milliseconds(median),
        milliseconds(late),
        median.as_secs_f64() / sync.as_secs_f64(),
        late.as_secs_f64() / sync.as_secs_f64(),
    );
    println!(
        "  one fdatasync at that pace      {:>9.2} ms  p50, p99 {:.2} ms",
        milliseconds(sync),
        milliseconds(at(&syncs, 99))
    );
    Ok(())
}

/// How long each append took, sorted. An append that is late does not hold up the next.
fn appends(places: &Places) -> anyhow::Result<Vec<Duration>> {
    let world = World::real();
    let ledger = Ledger::open(&world, &places.disk.join("ledger-pace"), &options())?.ledger;
    let source = source();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let mut times = runtime.block_on(async {
        let mut pace = tokio::time::interval(PAUSE);
        let mut appends = Vec::with_capacity(APPENDS);
        for _ in 0..APPENDS {
            pace.tick().await;
            let (ledger, draft) = (ledger.clone(), draft(&world, &source));
            appends.push(tokio::spawn(async move {
                let start = Instant::now();
                ledger.append(draft).await.map(|_| start.elapsed())
            }));
        }
        let mut times = Vec::with_capacity(APPENDS);
        for append in appends {
            times.push(append.await??);
        }
        anyhow::Ok(times)
    })?;
    ledger.close();
    times.sort_unstable();
    Ok(times)
}
