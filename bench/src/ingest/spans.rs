//! Calls of models as an instrumentation exports them: `ExportTraceServiceRequest` (OTLP 1.x), written by hand.

use hyper::body::Bytes;

use super::began;
use super::grpc::framed;
use crate::chance::Chance;

/// How many spans a message has: what the exporters of the SDKs send at once unless they are told otherwise.
pub(crate) const SPANS_EACH: usize = 512;
/// A call of a model is a request and a response.
pub(crate) const RECORDS_OF_SPAN: usize = 2;
/// The method that takes them.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

const MODELS: [&str; 4] = ["gpt-4o-mini", "llama-3.1-70b", "gemma-3-27b", "qwen-2.5-72b"];

/// So many messages in their frames, whose spans have identifiers of their own.
pub(crate) fn messages(count: usize, now_micros: i64) -> anyhow::Result<Vec<Bytes>> {
    (0..count).map(|nth| framed(&message(nth, now_micros)?.0)).collect()
}

fn message(nth: usize, now_micros: i64) -> anyhow::Result<Message> {
    let mut chance = Chance::new(nth as u64);
    let mut resource = Message::default();
    for (name, text) in [
        ("service.name", "support-bot"),
        ("service.version", "2.1.0"),
        ("deployment.environment.name", "production"),
        ("host.name", "edge-7"),
        ("k8s.pod.name", "support-bot-7d9f6b5c4d-x2k9p"),
    ] {
        resource.attribute(1, name, &text_value(text));
    }
    let (mut scope, mut of_scope) = (Message::default(), Message::default());
    scope.bytes(1, b"opentelemetry.instrumentation.openai_v2");
    scope.bytes(2, b"2.3b0");
    of_scope.bytes(1, &scope.0);
    for span in nth * SPANS_EACH..(nth + 1) * SPANS_EACH {
        let start = u64::try_from(began(span, now_micros))? * 1_000;
        of_scope.bytes(2, &call(start, &mut chance).0);
    }
    let (mut of_resource, mut request) = (Message::default(), Message::default());
    of_resource.bytes(1, &resource.0);
    of_resource.bytes(2, &of_scope.0);
    request.bytes(1, &of_resource.0);
    Ok(request)
}

/// A `Span` with the attributes of the GenAI conventions.
fn call(start: u64, chance: &mut Chance) -> Message {
    let model = chance.one_of(&MODELS);
    let (mut span, mut reasons) = (Message::default(), Message::default());
    span.bytes(1, [chance.number() | 1, chance.number()].map(u64::to_be_bytes).as_flattened());
    span.bytes(2, &(chance.number() | 1).to_be_bytes());
    span.bytes(5, format!("chat {model}").as_bytes());
    // SPAN_KIND_CLIENT.
    span.number(6, 3);
    span.fixed(7, start);
    span.fixed(8, start + 200_000_000 + chance.below(4_000_000_000));
    reasons.bytes(1, &text_value("stop").0);
    let mut finish_reasons = Message::default();
    finish_reasons.bytes(5, &reasons.0);
    let input = said(r#"[{"role":"user","parts":[{"type":"text","content":""#, r#""}]}]"#, chance);
    let output =
        said(r#"[{"role":"assistant","parts":[{"type":"text","content":""#, r#""}],"finish_reason":"stop"}]"#, chance);
    for (name, value) in [
        ("gen_ai.operation.name", text_value("chat")),
        ("gen_ai.provider.name", text_value("openai")),
        ("gen_ai.request.model", text_value(model)),
        ("gen_ai.response.model", text_value(model)),
        ("gen_ai.response.finish_reasons", finish_reasons),
        ("gen_ai.request.max_tokens", whole_value(1_024)),
        ("gen_ai.usage.input_tokens", whole_value(20 + chance.below(200))),
        ("gen_ai.usage.output_tokens", whole_value(20 + chance.below(200))),
        ("gen_ai.conversation.id", text_value(&format!("conv-{:08x}", chance.below(1 << 32)))),
        ("user.id", text_value(&format!("user-{}@example.com", chance.below(5_000)))),
        ("gen_ai.input.messages", text_value(&input)),
        ("gen_ai.output.messages", text_value(&output)),
    ] {
        span.attribute(9, name, &value);
    }
    span
}

/// Messages of one text, as JSON.
fn said(before: &str, after: &str, chance: &mut Chance) -> String {
    let mut text = before.to_owned();
    let bytes = usize::try_from(20 + chance.below(30)).unwrap_or_default();
    chance.push_text(&mut text, bytes);
    text.push_str(after);
    text
}

/// A message of Protocol Buffers that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number > 0x7F {
            self.0.push(u8::try_from(number & 0x7F).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.varint((field << 3) | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// A text, bytes or a message.
    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint((field << 3) | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A `KeyValue`.
    fn attribute(&mut self, field: u64, name: &str, value: &Self) {
        let mut pair = Self::default();
        pair.bytes(1, name.as_bytes());
        pair.bytes(2, &value.0);
        self.bytes(field, &pair.0);
    }
}

/// An `AnyValue`.
fn text_value(text: &str) -> Message {
    let mut value = Message::default();
    value.bytes(1, text.as_bytes());
    value
}

fn whole_value(number: u64) -> Message {
    let mut value = Message::default();
    value.number(3, number);
    value
}
