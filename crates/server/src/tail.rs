//! `/api/v1/tail`: records as they become durable, as server-sent events.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use search::{Tail, TailRow};

/// A comment is sent when nothing else was, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Tells how many rows were shown once a tail is over, however it ends.
struct Shown<F: Future<Output = ()> + Send + 'static, E: FnOnce(usize) -> F> {
    tail: Tail,
    rows: usize,
    ended: Option<E>,
}

impl<F: Future<Output = ()> + Send + 'static, E: FnOnce(usize) -> F> Drop for Shown<F, E> {
    fn drop(&mut self) {
        if let (Some(ended), Ok(runtime)) = (self.ended.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(ended(self.rows));
        }
    }
}

/// The stream of a tail: `id` is a record's index, `data` its columns as a JSON object. `ended` is told how many were shown.
pub(crate) fn response<F, E>(tail: Tail, ended: E) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
    E: FnOnce(usize) -> F + Send + 'static,
{
    let shown = Shown { tail, rows: 0, ended: Some(ended) };
    let events = stream::unfold(Some(shown), |shown| async move {
        let mut shown = shown?;
        match tokio::time::timeout(KEEP_ALIVE, shown.tail.next()).await {
            Err(_) => Some((Ok(Bytes::from_static(b": still here\n\n")), Some(shown))),
            Ok(Ok(Some(rows))) => {
                shown.rows += rows.len();
                Some((Ok(events(&rows)), Some(shown)))
            }
            Ok(Ok(None)) => None,
            Ok(Err(error)) => {
                tracing::error!(%error, "a tail was ended");
                Some((Err(std::io::Error::other(error.to_string())), None))
            }
        }
    });
    // The head goes out with the first bytes: whoever tails a quiet log must still see that it is connected.
    let opened = stream::once(async { Ok(Bytes::from_static(b": tail\n\n")) });
    let mut response = Response::new(Body::from_stream(stream::StreamExt::chain(opened, events)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn events(rows: &[TailRow]) -> Bytes {
    let mut out = String::new();
    for row in rows {
        // JSON has no line feeds outside its texts and escapes those inside them.
        out.push_str(&format!("id: {}\ndata: {}\n\n", row.index, row.json));
    }
    out.into()
}
