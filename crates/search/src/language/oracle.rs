//! The query language a second time, as `docs/search.md` has it and as plainly as can be: a parser of its grammar (`reading`), what a record as
//! JSON has to be for a query to find it (`deciding`), and logs and queries drawn by chance (`drawing`), over which both have to agree.

mod deciding;
mod drawing;
mod reading;

use std::collections::BTreeSet;
use std::sync::Mutex;

use access::{Grant, Identity, Role};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use tokio::runtime::Runtime;
use world::World;

use crate::tests::Log;
use crate::{EngineError, Format, Limits, Search, View};

/// A little over two segments, and a rest that is not sealed.
const RECORDS: usize = 2_300;

/// A log of which everything is known.
struct Known {
    runtime: Runtime,
    log: Log,
    rows: Vec<Value>,
}

impl Known {
    fn draw(runner: &mut TestRunner) -> Self {
        let runtime = Runtime::new().unwrap();
        let drafts = drawing::drafts(runner, RECORDS);
        let log = runtime.block_on(Log::of(drafts));
        log.index();
        let mut known = Self { runtime, log, rows: Vec::new() };
        let lines = known.search(&View::everything(), "").unwrap();
        known.rows = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(known.rows.len(), RECORDS);
        known
    }

    fn search(&self, view: &View, query: &str) -> Result<String, EngineError> {
        let search = Search { query: query.into(), ..Search::default() };
        let limits = Limits { rows_max: 100_000, ..Limits::default() };
        let answer = self.runtime.block_on(self.log.engine.search(view, search, limits))?;
        assert!(!answer.is_truncated());
        Ok(String::from_utf8(answer.write(Format::JsonLines).unwrap()).unwrap())
    }

    /// The indexes that the engine finds.
    fn found(&self, view: &View, query: &str) -> Result<BTreeSet<u64>, EngineError> {
        let lines = self.search(view, query)?;
        let index = |line: &str| serde_json::from_str::<Value>(line).unwrap()["log_index"].as_u64().unwrap();
        Ok(lines.lines().map(index).collect())
    }

    /// The indexes that there are to find.
    fn expected(&self, query: &str, is_seen: impl Fn(&Value) -> bool) -> Result<BTreeSet<u64>, String> {
        let query = reading::read(query)?;
        let now = World::real().clock.now_micros();
        let query = deciding::Query::of(&query, now)?;
        let found = self.rows.iter().filter(|row| is_seen(row) && query.finds(row));
        Ok(found.map(|row| row["log_index"].as_u64().unwrap()).collect())
    }

    /// Holds what the engine finds against what there is to find; how much that was.
    fn check(&self, view: &View, query: &str, is_seen: impl Fn(&Value) -> bool) -> Result<usize, TestCaseError> {
        match (self.found(view, query), self.expected(query, is_seen)) {
            (Ok(found), Ok(expected)) => {
                let missing = expected.difference(&found).next();
                let wrong = found.difference(&expected).next();
                let row = missing.or(wrong).map(|index| self.rows.iter().find(|row| row["log_index"] == *index));
                prop_assert!(row.is_none(), "{query}\nmissing: {missing:?}, wrong: {wrong:?}: {row:#?}");
                Ok(found.len())
            }
            (Err(EngineError::Query(_)), Err(_)) => Ok(0),
            (Ok(found), Err(why)) => {
                Err(TestCaseError::fail(format!("{query}\nfinds {} but should not be taken: {why}", found.len())))
            }
            (Err(why), _) => Err(TestCaseError::fail(format!("{query}\n{why}"))),
        }
    }

    fn check_all(&self, query: &str) -> Result<usize, TestCaseError> {
        let staging = Grant { role: Role::Admin, scope: "env=staging".parse().unwrap() };
        self.check(&View::of(&Identity::anonymous(vec![staging])), query, |row| row["environment"] == "staging")?;
        self.check(&View::everything(), query, |_| true)
    }
}

fn runner(cases: u32) -> TestRunner {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 400, ..default })
}

/// One log for all of it, since that takes longer to make than a query.
#[test]
fn what_is_found_is_what_reading_row_by_row_finds() {
    let mut queries = runner(200);
    let known = Known::draw(&mut queries);
    for query in drawing::ONCE_WRONG {
        known.check_all(query).unwrap_or_else(|failed| panic!("{failed}"));
    }
    let finds = Mutex::new([0, 0, 0]);
    let checked = queries.run(&drawing::query(), |query| {
        let found = known.check_all(&query)?;
        finds.lock().unwrap()[usize::from(found > 0) + usize::from(found == RECORDS)] += 1;
        Ok(())
    });
    checked.unwrap_or_else(|failed| panic!("{failed}"));
    let [nothing, some, everything] = finds.into_inner().unwrap();
    println!("{nothing} queries found nothing, {some} some, {everything} everything");
    assert!(some > nothing && some > everything, "queries that tell nothing are drawn too often");
    // Most of these are no queries, which must not be taken for any.
    let tokens = |query: String| known.check(&View::everything(), &query, |_| true).map(drop);
    runner(200).run(&drawing::tokens(), tokens).unwrap_or_else(|failed| panic!("{failed}"));
}
