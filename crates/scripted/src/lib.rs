//! # scripted: a model server that plays a part
//!
//! No model: it answers chat completions from a script, in words that say so. The demonstration uses it where there is no model at
//! hand, and tests and benchmarks use it to make a model server misbehave on purpose. What it does is asked for in
//! the last message, in double brackets:
//!
//! | in the prompt | what happens |
//! |---|---|
//! | `[[words 40]]` | the answer has that many words |
//! | `[[stall 500]]` | nothing for that many milliseconds, then the answer |
//! | `[[slow 20]]` | that many milliseconds between two chunks of a stream |
//! | `[[status 429]]` | an error with that status |
//! | `[[reset 3]]` | the connection is reset after that many chunks (0: before the head) |
//! | `[[close 3]]` | the connection is closed in good order after that many chunks, without an end mark |
//! | `[[say anything]]` | the answer is that, a few letters a chunk |
//! | `[[garbage]]` | 200 with something that is no answer |
//! | `[[tool]]` | the answer is a tool call |
//!
//! It speaks HTTP/1.1 by hand, since resets and broken answers are what a proper server library prevents.

mod http;
mod script;

use std::time::Duration;

use tokio::net::TcpListener;

pub use script::Script;

/// How it behaves when the prompt asks for nothing.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of its one model.
    pub model: String,
    /// What its answers say that it is (`system_fingerprint`); none: nothing.
    pub fingerprint: Option<String>,
    /// How long it thinks before each answer.
    pub delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { model: "scripted-demo".into(), fingerprint: None, delay: Duration::ZERO }
    }
}

/// Answers connections until the future is dropped.
pub async fn serve(listener: TcpListener, options: Options) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let options = options.clone();
        tokio::spawn(async move {
            // A client that goes away in the middle is part of the play.
            let _ = http::answer_all(stream, &options).await;
        });
    }
}
