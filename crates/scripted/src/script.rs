//! What the prompt asks for, and what is said.

use serde_json::{Value, json};

/// A request, as far as the play needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Whether a stream ends with the usage.
    pub usage: bool,
    pub(crate) words: Vec<String>,
    pub(crate) stall_ms: u64,
    pub(crate) slow_ms: u64,
    pub(crate) status: Option<u16>,
    pub(crate) reset_after: Option<u64>,
    pub(crate) close_after: Option<u64>,
    pub(crate) garbage: bool,
    pub(crate) tool: bool,
    pub(crate) prompt_words: u64,
}

/// What the demonstration's questions are answered with.
const LINES: [(&str, &str); 5] = [
    ("refund", "Refunds are possible within 30 days of delivery, with the receipt. This answer is scripted."),
    ("opening hours", "We are open from nine to six on weekdays. This answer is scripted."),
    ("summarize", "The customer was charged twice and asks for the second charge back. This answer is scripted."),
    ("translate", "Wo ist der naechste Bahnhof? This answer is scripted."),
    ("password", "I cannot tell you a password. This answer is scripted."),
];

/// How much of what it is told to say stands in one chunk.
const SAID_CHARS: usize = 3;

impl Script {
    /// Reads a request body.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let prompt =
            request["messages"].as_array().and_then(|all| all.last()).and_then(|last| last["content"].as_str());
        let prompt = prompt.unwrap_or_default();
        let number = |name: &str| {
            let after = prompt.split_once(&format!("[[{name} "))?.1;
            after.split_once("]]")?.0.trim().parse::<u64>().ok()
        };
        Self {
            stream: request["stream"] == true,
            usage: request["stream_options"]["include_usage"] == true,
            words: words(prompt, number("words")),
            stall_ms: number("stall").unwrap_or(0),
            slow_ms: number("slow").unwrap_or(0),
            status: number("status").and_then(|status| u16::try_from(status).ok()),
            reset_after: number("reset"),
            close_after: number("close"),
            garbage: prompt.contains("[[garbage]]"),
            tool: prompt.contains("[[tool]]"),
            prompt_words: prompt.split_whitespace().count() as u64,
        }
    }

    /// The whole answer.
    pub(crate) fn whole(&self, model: &str) -> Value {
        let (message, reason) = match self.tool {
            true => (
                json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "lookup_order", "arguments": "{\"order\":4711}"}}]}),
                "tool_calls",
            ),
            false => (json!({"role": "assistant", "content": self.words.concat()}), "stop"),
        };
        json!({"id": "scripted-1", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}], "usage": self.usage_numbers()})
    }

    /// The answer as the chunks of a stream.
    pub(crate) fn chunks(&self, model: &str) -> Vec<Value> {
        let chunk = |delta: Value, reason: Value| {
            json!({"id": "scripted-1", "object": "chat.completion.chunk", "created": 0, "model": model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        };
        let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
        if self.tool {
            let call = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "lookup_order", "arguments": ""}});
            chunks.push(chunk(json!({"tool_calls": [call]}), Value::Null));
            let arguments = json!({"index": 0, "function": {"arguments": "{\"order\":4711}"}});
            chunks.push(chunk(json!({"tool_calls": [arguments]}), Value::Null));
            chunks.push(chunk(json!({}), json!("tool_calls")));
        } else {
            chunks.extend(self.words.iter().map(|word| chunk(json!({"content": word}), Value::Null)));
            chunks.push(chunk(json!({}), json!("stop")));
        }
        if self.usage {
            chunks.push(json!({"id": "scripted-1", "object": "chat.completion.chunk", "created": 0, "model": model,
                "choices": [], "usage": self.usage_numbers()}));
        }
        chunks
    }

    fn usage_numbers(&self) -> Value {
        let said = self.words.len() as u64;
        json!({"prompt_tokens": self.prompt_words, "completion_tokens": said, "total_tokens": self.prompt_words + said})
    }
}

/// The words of the answer, each but the first with the space before it.
fn words(prompt: &str, count: Option<u64>) -> Vec<String> {
    if let Some(count) = count {
        return (0..count.min(100_000)).map(|n| if n == 0 { "word0".into() } else { format!(" word{n}") }).collect();
    }
    if let Some((said, _)) = prompt.split_once("[[say ").and_then(|(_, after)| after.split_once("]]")) {
        // In pieces that are no words, as tokens are.
        let letters: Vec<char> = said.chars().collect();
        return letters.chunks(SAID_CHARS).map(|piece| piece.iter().collect()).collect();
    }
    let lower = prompt.to_lowercase();
    let line = LINES.iter().find(|(word, _)| lower.contains(word)).map_or("This answer is scripted.", |(_, line)| line);
    line.split(' ').enumerate().map(|(n, word)| if n == 0 { word.to_owned() } else { format!(" {word}") }).collect()
}
