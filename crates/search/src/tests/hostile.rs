//! Statements and queries that somebody makes up to take time and memory that others need: each comes to its end, in little memory, and
//! leaves every thread free.

mod statements;

use std::time::{Duration, Instant};

use record::{Draft, Field, Kind, Timestamp, uuid_v7};
use world::World;

use super::Log;
use crate::{Limits, Search, View};

const RECORDS: u64 = 2_300;
/// How long each may run. It is no matter if a busy machine needs longer: what is asserted is that it ends at all.
const DEADLINE: Duration = Duration::from_millis(120);
/// How long each may run where the clock counts.
const STRICT_DEADLINE: Duration = Duration::from_secs(2);
/// How long after its deadline a query may go on to hold a thread, on a machine that does other things too.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// What all of this may add to the process: the pool of all queries, and as much again.
const GROWTH_KIB_MAX: u64 = 1 << 20;

fn draft(world: &World, n: u64) -> Draft {
    let mut draft = super::draft(world, n + 3);
    draft.kind = if n.is_multiple_of(2) { Kind::InferenceRequest } else { Kind::InferenceResponse };
    let time = Timestamp::from_micros(1_764_000_000_000_000 + i64::try_from(n).unwrap() * 1_000_000);
    (draft.id, draft.time) = (uuid_v7(time, &world.entropy.bytes()), time);
    let words = ["refund", "policy", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "退款政策", "{\"a\":[[[[1]]]]}"];
    let text = (0..20 + n % 30).map(|nth| words[usize::try_from((n + nth * nth) % 5).unwrap()]);
    draft.content = vec![Field {
        name: if n.is_multiple_of(2) { "gen_ai.input.messages" } else { "gen_ai.output.messages" }.into(),
        media: "text/plain".into(),
        bytes: text.collect::<Vec<_>>().join(" ").into_bytes(),
    }];
    draft
}

async fn log() -> Log {
    let world = World::real();
    let log = Log::of((0..RECORDS).map(|n| draft(&world, n)).collect()).await;
    log.index();
    log
}

#[derive(Clone, Copy, Debug)]
enum Language {
    Sql,
    Search,
}

/// What became of one of them.
struct Run {
    asked: String,
    became: String,
    answered: Duration,
    /// Until no thread was held any more.
    ended: Duration,
    growth_kib: u64,
}

impl Log {
    async fn suffer(&self, language: Language, asked: String, deadline: Duration) -> Run {
        let (began, before) = (Instant::now(), peak_kib());
        let limits = Limits { rows_max: 1_000, deadline, ..Limits::default() };
        let everything = View::everything();
        let outcome = match language {
            Language::Sql => self.engine.sql(&everything, asked.clone(), Search::default(), limits).await,
            Language::Search => {
                let search = Search { query: asked.clone(), ..Search::default() };
                self.engine.search(&everything, search, limits).await
            }
        };
        let answered = began.elapsed();
        let became = match &outcome {
            Ok(answer) => format!("{} rows", answer.len()),
            Err(error) => error.to_string().lines().next().unwrap_or_default().chars().take(160).collect(),
        };
        drop(outcome);
        while self.engine.queries_running() > 0 {
            assert!(began.elapsed() < deadline + ENDS_WITHIN, "it still holds a thread: {}", shown(&asked));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let growth_kib = peak_kib().saturating_sub(before);
        Run { asked, became, answered, ended: began.elapsed(), growth_kib }
    }

    /// Whether what everybody asks is still answered.
    async fn is_well(&self) {
        let count = "SELECT count(*) AS n FROM records".to_owned();
        let answer = self.engine.sql(&View::everything(), count, Search::default(), Limits::default()).await.unwrap();
        let line = String::from_utf8(answer.write(crate::Format::JsonLines).unwrap()).unwrap();
        assert_eq!(line.trim(), format!("{{\"n\":{RECORDS}}}"));
    }
}

fn shown(asked: &str) -> String {
    let short: String = asked.chars().take(110).collect();
    if short.len() < asked.len() { format!("{short}… ({} bytes)", asked.len()) } else { short }
}

/// The most memory that this process has held so far.
fn peak_kib() -> u64 {
    let status = World::real().disk.read(std::path::Path::new("/proc/self/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Runs them one after the other and says which took the most.
async fn suffer_all(all: Vec<(Language, String)>, deadline: Duration) -> Vec<Run> {
    let log = log().await;
    log.is_well().await;
    let before = peak_kib();
    let mut runs = Vec::new();
    for (language, asked) in all {
        // A stack that overflows ends the process: the last of these, with --nocapture, is what did it.
        println!("{:>4} {}", runs.len(), shown(&asked));
        let run = log.suffer(language, asked, deadline).await;
        if run.ended > deadline + Duration::from_secs(2) {
            println!("{} ms: {}", run.ended.as_millis(), shown(&run.asked));
        }
        runs.push(run);
        if runs.len().is_multiple_of(50) {
            log.is_well().await;
        }
    }
    log.is_well().await;
    let growth_kib = peak_kib() - before;
    println!("{} of them; the process grew by {} MiB", runs.len(), growth_kib >> 10);
    runs.sort_by_key(|run| std::cmp::Reverse((run.ended, run.growth_kib)));
    let greatest = runs.iter().filter(|run| run.growth_kib > 16 << 10);
    for run in runs.iter().take(15).chain(greatest) {
        let (answered, ended, grew) = (run.answered.as_millis(), run.ended.as_millis(), run.growth_kib >> 10);
        println!("{answered:>6} ms {ended:>6} ms {grew:>5} MiB  {}\n{:>28}{}", shown(&run.asked), "", run.became);
    }
    let panics = runs.iter().filter(|run| run.became.contains("panic"));
    let panics: Vec<_> = panics.map(|run| format!("{}: {}", shown(&run.asked), run.became)).collect();
    assert!(panics.is_empty(), "{}", panics.join("\n"));
    assert!(growth_kib < GROWTH_KIB_MAX, "{growth_kib} KiB");
    runs
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_and_queries_end_and_leave_memory_and_threads_to_others() {
    let all = statements::all();
    assert!(all.len() >= 300, "{}", all.len());
    suffer_all(all, DEADLINE).await;
}

/// Alone, and on a machine that does nothing else: `cargo test --release -p search --lib strictly -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it goes by the clock"]
async fn strictly_each_is_answered_within_its_limit_and_a_second_and_holds_no_thread_after_two() {
    for run in suffer_all(statements::all(), STRICT_DEADLINE).await {
        assert!(run.answered < STRICT_DEADLINE + Duration::from_secs(1), "{:?}: {}", run.answered, shown(&run.asked));
        assert!(run.ended < STRICT_DEADLINE + Duration::from_secs(2), "{:?}: {}", run.ended, shown(&run.asked));
    }
}
