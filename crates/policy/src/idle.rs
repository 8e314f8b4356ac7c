//! Evaluators that wait for the next decision, since making one takes longer than deciding.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many are kept. More threads than that make one each time.
const IDLE_MAX: usize = 64;

/// Evaluators that nobody uses just now. One that panicked never comes back here, so that nobody meets what it left.
pub(crate) struct Idle<T>(Mutex<Vec<T>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Idle<T> {
    pub(crate) fn take(&self) -> Option<T> {
        self.all().pop()
    }

    pub(crate) fn keep(&self, evaluator: T) {
        let mut all = self.all();
        if all.len() < IDLE_MAX {
            all.push(evaluator);
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
