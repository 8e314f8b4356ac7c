//! Threads that each run their connections alone.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A thread with a runtime of its own. A connection stays on the lane that it was given to, and so does everything
/// done for it: no other thread is woken on the way of a call.
pub struct Lane {
    runtime: Handle,
    /// Each connection holds a clone.
    connections: Arc<()>,
    /// Dropped to end the thread; none for a lane that is somebody else's runtime.
    thread: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lane {
    /// Starts a thread. It ends when the lane is dropped.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // An error is the sender's end, which is what ends a lane.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, connections: Arc::default(), thread: Some((stop, thread)) })
    }

    /// The runtime that this is called in, as a lane.
    #[must_use]
    pub fn here() -> Self {
        Self { runtime: Handle::current(), connections: Arc::default(), thread: None }
    }

    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let counted = self.connections.clone();
        self.runtime.spawn(async move {
            connection.await;
            drop(counted);
        });
    }

    /// How many connections it has.
    pub(crate) fn connections(&self) -> usize {
        Arc::strong_count(&self.connections) - 1
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.thread.take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("a thread for connections panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_runs_what_it_is_given_on_its_own_thread_and_ends_when_dropped() {
        let lane = Lane::start("lane-test").unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        lane.spawn(async move {
            tell.send(std::thread::current().name().map(str::to_owned)).unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(told.recv().unwrap().as_deref(), Some("lane-test"));
        drop(lane);
        assert!(told.recv().is_err(), "the task outlived its lane");
    }

    #[tokio::test]
    async fn connections_are_counted_while_they_stay() {
        let lane = Lane::here();
        let connection = || {
            let (end, ended) = oneshot::channel::<()>();
            lane.spawn(async move { drop(ended.await) });
            end
        };
        let (one, two) = (connection(), connection());
        assert_eq!(lane.connections(), 2);
        drop(one);
        tokio::task::yield_now().await;
        assert_eq!(lane.connections(), 1);
        drop(two);
        tokio::task::yield_now().await;
        assert_eq!(lane.connections(), 0);
    }
}
