//! Ending what another connection runs. Whoever asks for it does so by a connection of its own, and shows what only the other one was told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use world::World;

type Key = (u32, u32);

/// What can be ended. Clones are the same.
#[derive(Clone)]
pub(super) struct Cancelling {
    world: World,
    sessions: Arc<Mutex<HashMap<Key, Arc<Notify>>>>,
}

/// A connection that can have its statements ended, for as long as it is there.
pub(super) struct Cancellable {
    cancelling: Cancelling,
    /// What it is told.
    pub(super) key: Key,
    asked: Arc<Notify>,
}

impl Cancelling {
    pub(super) fn new(world: World) -> Self {
        Self { world, sessions: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Notify>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, by 63 bits of chance: clients show the first of both numbers as one with a sign.
    pub(super) fn enter(&self) -> Cancellable {
        let [a, b, c, d, e, f, g, h] = self.world.entropy.bytes();
        let key = (u32::from_be_bytes([a & 0x7f, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        let asked = Arc::new(Notify::new());
        self.lock().insert(key, asked.clone());
        Cancellable { cancelling: self.clone(), key, asked }
    }

    /// Ends what a connection runs now, if it runs something.
    pub(super) fn cancel(&self, process: u32, secret: u32) {
        if let Some(asked) = self.lock().get(&(process, secret)) {
            asked.notify_waiters();
        }
    }
}

impl Cancellable {
    /// Resolves when its statement is to be ended.
    pub(super) fn asked(&self) -> Arc<Notify> {
        self.asked.clone()
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancelling.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_runs_is_ended_and_only_by_whoever_was_told() {
        let cancelling = Cancelling::new(World::real());
        let session = cancelling.enter();
        let (process, secret) = session.key;
        cancelling.cancel(process, secret);
        let asked = session.asked();
        let running = asked.notified();
        cancelling.cancel(process, !secret);
        let soon = std::time::Duration::from_millis(20);
        tokio::pin!(running);
        assert!(tokio::time::timeout(soon, &mut running).await.is_err());
        cancelling.cancel(process, secret);
        running.await;
        drop(session);
        assert!(cancelling.lock().is_empty());
    }
}
