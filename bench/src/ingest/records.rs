//! Calls of models in our own format: JSON lines.

use record::Timestamp;

use super::began;
use crate::chance::Chance;

/// How many records a body has.
pub(crate) const RECORDS_EACH: usize = 1_000;
/// What a record takes, without the end of its line, and by how much one may differ.
const RECORD_BYTES: u64 = 860;
const SPREAD_BYTES: u64 = 10;
/// A call is two records.
const CALLS_EACH: usize = RECORDS_EACH / 2;

const SERVICES: [&str; 4] = ["support-bot", "search-agent", "claims-triage", "code-review"];
const MODELS: [&str; 4] = ["gpt-4o-mini", "llama-3.1-70b-instruct", "gemma-3-27b", "qwen-2.5-72b"];

/// So many bodies, whose records have keys of their own.
pub(crate) fn bodies(count: usize, now: i64) -> Vec<Vec<u8>> {
    (0..count).map(|nth| body(nth, now)).collect()
}

fn body(nth: usize, now: i64) -> Vec<u8> {
    let mut chance = Chance::new(nth as u64);
    let mut out = String::new();
    for call in nth * CALLS_EACH..(nth + 1) * CALLS_EACH {
        push_call(&mut out, call, now, &mut chance);
    }
    out.into_bytes()
}

/// The request and the response of a call.
fn push_call(out: &mut String, call: usize, now: i64, chance: &mut Chance) {
    let began = began(call, now);
    let took = 200_000 + chance.below(4_000_000);
    let asked = Timestamp::from_micros(began);
    let answered = Timestamp::from_micros(began + took.cast_signed());
    let (id, trace, span) = (chance.uuid(), chance.trace_id(), chance.span_id());
    let (service, host, user) = (chance.one_of(&SERVICES), chance.below(8), chance.below(5_000));
    let (model, conversation) = (chance.one_of(&MODELS), chance.below(1 << 32));
    let (input, output) = (20 + chance.below(200), 20 + chance.below(200));
    let of_both = format!(
        r#""call_id":"{id}","trace_id":"{trace}","span_id":"{span}","source":{{"service":"{service}","environment":"production","host":"edge-{host}"}},"actor":{{"type":"user","id":"user-{user}@example.com"}},"attributes":{{"gen_ai.operation.name":"chat","gen_ai.provider.name":"openai","gen_ai.request.model":"{model}","gen_ai.conversation.id":"conv-{conversation:08x}""#
    );
    let request = format!(
        r#"{{"kind":"inference.request","key":"{id}/request","time":"{asked}","outcome":"allowed",{of_both},"gen_ai.request.max_tokens":1024,"gen_ai.request.temperature":0.2}},"content":{{"gen_ai.input.messages":[{{"role":"user","content":""#
    );
    push_record(out, &request, r#""}]}}"#, chance);
    let response = format!(
        r#"{{"kind":"inference.response","key":"{id}/response","time":"{answered}","outcome":"completed",{of_both},"gen_ai.response.finish_reasons":["stop"],"gen_ai.usage.input_tokens":{input},"gen_ai.usage.output_tokens":{output}}},"content":{{"gen_ai.output.messages":[{{"role":"assistant","content":""#
    );
    push_record(out, &response, r#""}]}}"#, chance);
}

/// Writes a line whose text makes it as long as a record is to be.
fn push_record(out: &mut String, before: &str, after: &str, chance: &mut Chance) {
    let bytes = RECORD_BYTES - SPREAD_BYTES + chance.below(2 * SPREAD_BYTES + 1);
    let bytes = usize::try_from(bytes).unwrap_or_default();
    out.push_str(before);
    chance.push_text(out, bytes.saturating_sub(before.len() + after.len()));
    out.push_str(after);
    out.push('\n');
}
