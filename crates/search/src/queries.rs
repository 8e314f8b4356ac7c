//! The queries that are running: who asks what, and the way to end one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use access::Identity;
use record::{Timestamp, Uuid, uuid_v7};
use tokio::sync::oneshot;
use world::World;

use crate::engine::EngineError;
use crate::running::Running;

/// The most queries at a time. One more is refused, so that every query that runs is in the list.
const RUNNING_MAX: usize = 1_024;
/// The most bytes of a query that are kept for the list.
const TEXT_BYTES_MAX: usize = 4_096;

/// Why a query has no answer, though nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Somebody has ended it.
    #[error("the query was cancelled by somebody who may, before it was done; ask again if it is still wanted")]
    Cancelled,
    /// As many as there may be are running.
    #[error("{RUNNING_MAX} queries are running, and no more may: try again when some of them are done")]
    TooMany,
}

/// In which language a query is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    /// The query language.
    Search,
    /// SQL.
    Sql,
}

impl QueryKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Sql => "sql",
        }
    }
}

/// A query that is running.
#[derive(Debug, Clone)]
pub struct Query {
    /// Its identifier, which no other query ever has.
    pub id: Uuid,
    /// Its language.
    pub kind: QueryKind,
    /// What it says, cut where it is very long.
    pub text: String,
    /// Who asks; none for whoever has the directory.
    pub by: Option<Arc<Identity>>,
    /// Since when.
    pub since: Timestamp,
}

/// All queries that are running. Clones are the same list.
#[derive(Clone)]
pub struct Queries {
    world: World,
    running: Arc<Mutex<BTreeMap<Uuid, Entry>>>,
}

struct Entry {
    query: Query,
    /// Ends it.
    cancel: oneshot::Sender<()>,
}

/// Takes a query off the list when it is dropped: done, failed, cancelled, or not waited for any more.
struct Listed {
    queries: Queries,
    id: Uuid,
    cancelled: oneshot::Receiver<()>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.queries.lock().remove(&self.id);
    }
}

impl Queries {
    pub(crate) fn new(world: World) -> Self {
        Self { world, running: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Entry>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A query that is listed from now on, and can be ended, for as long as somebody waits for it.
    pub fn listed<T: 'static>(
        &self,
        kind: QueryKind,
        text: &str,
        by: Option<Arc<Identity>>,
        query: Running<T>,
    ) -> Running<T> {
        let listed = self.enter(kind, text, by);
        Box::pin(async move {
            let mut listed = listed?;
            tokio::select! {
                answer = query => answer,
                _ = &mut listed.cancelled => Err(Stopped::Cancelled.into()),
            }
        })
    }

    fn enter(&self, kind: QueryKind, text: &str, by: Option<Arc<Identity>>) -> Result<Listed, EngineError> {
        let since = Timestamp::from_micros(self.world.clock.now_micros());
        let id = uuid_v7(since, &self.world.entropy.bytes());
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned();
        let (cancel, cancelled) = oneshot::channel();
        let mut running = self.lock();
        if running.len() >= RUNNING_MAX {
            return Err(Stopped::TooMany.into());
        }
        running.insert(id, Entry { query: Query { id, kind, text, by, since }, cancel });
        Ok(Listed { queries: self.clone(), id, cancelled })
    }

    /// Those that somebody may see, the oldest first.
    pub fn list(&self, may: impl Fn(&Query) -> bool) -> Vec<Query> {
        self.lock().values().map(|entry| &entry.query).filter(|query| may(query)).cloned().collect()
    }

    /// Ends one, if it is running and somebody may; nothing else.
    pub fn cancel(&self, id: Uuid, may: impl Fn(&Query) -> bool) -> Option<Query> {
        let mut running = self.lock();
        if !may(&running.get(&id)?.query) {
            return None;
        }
        let Entry { query, cancel } = running.remove(&id)?;
        // Whoever does not wait any more is not told.
        let _ = cancel.send(());
        Some(query)
    }
}
