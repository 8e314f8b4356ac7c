//! What is done in the background: sealing what is in memory, indexing what is sealed, compacting what is small, and taking away what is
//! kept no longer. One thread does it, one small piece at a time, the most urgent first.

use std::collections::HashSet;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use ledger::{FollowError, Ledger};
use world::{World, give_way};

use super::{Engine, EngineError, NAME, SealAt, Sealing};
use crate::compaction::CompactAt;
use crate::indexing::index;
use crate::live::Chunk;
use crate::rewriting::{Rewrite, RewriteError};
use crate::segment::{self, Indexed, Kept, Segment};

/// How often the background thread looks whether there is something to do. Queries do not wait for it: they read up to the durable
/// point themselves. It also rests for as long after each piece of a rewriting, which bounds what that takes of the disk and of a core.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Engine {
    /// An engine over a log that is being written. It seals segments as the log grows, and compacts them.
    ///
    /// # Errors
    /// When the folder of segments cannot be used.
    pub fn follow(world: &World, data: &Path, ledger: &Ledger, seal_at: SealAt) -> Result<Self, EngineError> {
        Self::follow_and_compact(world, data, ledger, seal_at, CompactAt::default())
    }

    pub(crate) fn follow_and_compact(
        world: &World,
        data: &Path,
        ledger: &Ledger,
        seal_at: SealAt,
        compact_at: CompactAt,
    ) -> Result<Self, EngineError> {
        let (engine, left_over) = Self::open(world, data, ledger.origin())?;
        left_over.clear(world.disk.as_ref(), &engine.0.dir);
        let first = engine.lock().live.first();
        ledger.hold(NAME, first);
        engine.lock().follower = Some(ledger.follow(first));
        let (stop, stopped) = sync_channel(1);
        let lock = std::sync::Mutex::new(());
        let _ = engine.0.sealing.set(Sealing { ledger: ledger.clone(), at: seal_at, compact_at, lock });
        let worker = engine.clone();
        let thread = std::thread::Builder::new().name("search".into()).spawn(move || {
            // Recording goes first: what is not sealed yet is searchable all the same, once somebody asks.
            give_way();
            let mut upkeep = Upkeep { engine: &worker, rewrite: None, left_alone: HashSet::new() };
            let mut wait = LOOK_EVERY;
            while matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                wait = upkeep.go_on();
            }
        });
        let thread = thread.map_err(|error| EngineError::Io(data.to_owned(), error))?;
        if let Some(background) = engine.background().as_mut() {
            background.sealing = Some((stop, thread));
        }
        Ok(engine)
    }

    /// Takes in what is durable until so many segments' worth is unsealed, and then seals one. Whether it did: then there may be more.
    pub(super) fn advance(&self, segments: usize) -> Result<bool, FollowError> {
        let sealing = self.0.sealing.get();
        loop {
            // The lock is let go of between batches, and what lags further behind stays on disk until this has been sealed.
            let mut state = self.lock();
            let is_more = state.pull_batch()?;
            let is_due = sealing.is_some_and(|Sealing { at: SealAt { rows, bytes }, .. }| {
                state.live.has(rows.saturating_mul(segments), bytes.saturating_mul(segments))
            });
            drop(state);
            if let Some(sealing) = sealing
                && (is_due || !is_more && self.is_of_another_day())
            {
                return Ok(self.seal(sealing));
            }
            if !is_more {
                return Ok(false);
            }
        }
    }

    /// Whether what is in memory began on a day that is over. It is sealed then, so that no segment is of more than a day and a moment.
    fn is_of_another_day(&self) -> bool {
        let today = self.now().day();
        self.lock().live.first_received().is_some_and(|first| first.day() < today)
    }

    /// Seals the oldest segment that is due; false when it could not be written.
    fn seal(&self, sealing: &Sealing) -> bool {
        let _one_at_a_time = sealing.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, chunks) = self.to_seal(sealing.at);
        if chunks.is_empty() {
            // Somebody else has, while this waited.
            return true;
        }
        // Without the lock of the state: queries go on meanwhile.
        let all = (first, Kept::Everything);
        match segment::seal(self.0.world.disk.as_ref(), &self.0.dir, &self.0.origin, all, &chunks) {
            Ok(segment) => {
                let end = segment.end;
                {
                    let mut state = self.lock();
                    state.segments.push(segment);
                    state.live.forget_before(end);
                }
                sealing.ledger.hold(NAME, end);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "could not seal a segment; trying again");
                false
            }
        }
    }

    /// The chunks to be sealed, and the index of their first record.
    fn to_seal(&self, at: SealAt) -> (u64, Vec<Chunk>) {
        let is_day_over = self.is_of_another_day();
        let mut state = self.lock();
        let full = state.live.due(at.rows, at.bytes);
        let chunks = if full.is_empty() && is_day_over { state.live.all() } else { full };
        (state.live.first(), chunks)
    }

    /// Indexes the newest segment that is not; whether there was one. The background thread alone does, so that nothing waits for it.
    fn index_one(&self) -> bool {
        let is_waiting = |segment: &&Segment| matches!(segment.indexed, Indexed::NotYet);
        let Some(segment) = self.lock().segments.iter().rev().find(is_waiting).cloned() else { return false };
        let indexed = match index(&self.0.world.disk, &self.0.dir, &segment) {
            Ok(terms) => Indexed::By(terms),
            Err(error) => {
                tracing::warn!(%error, "a segment stays without an index; it is looked through as a whole");
                Indexed::Never
            }
        };
        if let Some(segment) = self.lock().segments.iter_mut().find(|one| one.path == segment.path) {
            segment.indexed = indexed;
        }
        true
    }

    /// Takes a new segment into the place of those that it was made of. They go from the disk once nobody reads them any more.
    fn replace(&self, segment: Segment, sources: &[Segment]) {
        let mut state = self.lock();
        let is_source = |one: &Segment| sources.iter().any(|source| source.path == one.path);
        let Some(at) = state.segments.iter().position(is_source) else { return };
        let replaced: Vec<Segment> = state.segments.extract_if(.., |one| is_source(one)).collect();
        state.retired.extend(replaced);
        state.segments.insert(at, segment);
    }

    /// Removes the files that nobody reads any more of segments that were replaced.
    fn clear_retired(&self) {
        let unread: Vec<Segment> = {
            let mut state = self.lock();
            state.is_removing = true;
            state.retired.extract_if(.., |segment| segment.is_unread()).collect()
        };
        for segment in unread {
            if let Err(error) = segment.remove(self.0.world.disk.as_ref(), &self.0.dir) {
                tracing::warn!(%error, segment = segment.path, "could not remove a segment that was replaced; trying again");
                self.lock().retired.push(segment);
            }
        }
        self.lock().is_removing = false;
    }

    /// The segments to be rewritten next, and what is to be kept of them.
    fn to_rewrite(&self, left_alone: &HashSet<String>) -> Option<(Vec<Segment>, Kept)> {
        let state = self.lock();
        let is_left_alone = |segment: &Segment| left_alone.contains(&segment.path);
        let lessened = |segment: &&Segment| state.removal.leaves(segment.end) > segment.kept && !is_left_alone(segment);
        if let Some(segment) = state.segments.iter().find(lessened) {
            return Some((vec![segment.clone()], state.removal.leaves(segment.end)));
        }
        let chosen = self.0.sealing.get()?.compact_at.choose(&state.segments, is_left_alone)?;
        let sources = state.segments.get(chosen)?.to_vec();
        let kept = sources.first()?.kept;
        Some((sources, kept))
    }

    /// Whether nothing is left to be done in the background for what is there: it is sealed where that is due, indexed, compacted, and
    /// what was to go is gone.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_busy = {
            let state = self.lock();
            let is_unindexed = |segment: &Segment| matches!(segment.indexed, Indexed::NotYet);
            let is_replacing = state.is_rewriting || state.is_removing || !state.retired.is_empty();
            is_replacing || state.segments.iter().any(is_unindexed)
        };
        !is_busy && self.to_rewrite(&HashSet::new()).is_none()
    }
}

/// The background thread's own.
struct Upkeep<'e> {
    engine: &'e Engine,
    /// What is under way.
    rewrite: Option<Rewrite<'e>>,
    /// The paths of segments that could not be rewritten, which a restart tries again.
    left_alone: HashSet<String>,
}

impl Upkeep<'_> {
    /// Does the most urgent piece; how long to rest after it.
    fn go_on(&mut self) -> Duration {
        match self.engine.advance(1) {
            Ok(true) => Duration::ZERO,
            // Sealing goes first: it lets go of memory, while what is not indexed yet is only slower to look through.
            Ok(false) if self.engine.index_one() => Duration::ZERO,
            Ok(false) => {
                self.rewrite_on();
                LOOK_EVERY
            }
            Err(error) => {
                tracing::error!(%error, "search cannot follow the log");
                LOOK_EVERY
            }
        }
    }

    fn rewrite_on(&mut self) {
        self.engine.clear_retired();
        let Some(mut rewrite) = self.rewrite.take() else {
            self.begin();
            return;
        };
        match rewrite.step() {
            Ok(true) => self.rewrite = Some(rewrite),
            Ok(false) => {
                let sources = rewrite.sources().to_vec();
                match rewrite.finish() {
                    Ok(segment) => {
                        self.engine.replace(segment, &sources);
                        self.engine.lock().is_rewriting = false;
                    }
                    Err(error) => self.leave_alone(&sources, &error),
                }
            }
            Err(error) => self.leave_alone(rewrite.sources(), &error),
        }
    }

    fn begin(&mut self) {
        let Some((sources, kept)) = self.engine.to_rewrite(&self.left_alone) else { return };
        self.engine.lock().is_rewriting = true;
        match Rewrite::begin(&self.engine.0.world.disk, &self.engine.0.dir, sources.clone(), kept) {
            Ok(rewrite) => self.rewrite = Some(rewrite),
            Err(error) => self.leave_alone(&sources, &error),
        }
    }

    fn leave_alone(&mut self, sources: &[Segment], error: &RewriteError) {
        tracing::warn!(%error, first = sources.first().map(|first| first.path.as_str()), "segments stay as they are");
        self.left_alone.extend(sources.iter().map(|source| source.path.clone()));
        self.engine.lock().is_rewriting = false;
    }
}
