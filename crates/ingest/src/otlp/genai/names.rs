//! Names of attributes: what older conventions and other instrumentations call what has a name in the current GenAI conventions
//! (open-telemetry/semantic-conventions-genai, which took them over from semantic-conventions 1.38), OpenInference and OpenLLMetry.

use std::collections::HashMap;
use std::sync::LazyLock;

use record::Value;

use crate::nesting::json_in;

/// Old and current name. Where several of one span have the same current name, the current one counts, then the first in this list.
const RENAMED: [(&str, &str); 87] = [
    // Deprecated names of the conventions.
    ("gen_ai.system", "gen_ai.provider.name"),
    ("gen_ai.prompt", "gen_ai.input.messages"),
    ("gen_ai.completion", "gen_ai.output.messages"),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
    ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
    ("gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ("gen_ai.usage.reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
    ("gen_ai.openai.request.seed", "gen_ai.request.seed"),
    ("gen_ai.openai.request.response_format", "gen_ai.output.type"),
    ("gen_ai.openai.request.service_tier", "openai.request.service_tier"),
    ("gen_ai.openai.response.service_tier", "openai.response.service_tier"),
    ("gen_ai.openai.response.system_fingerprint", "openai.response.system_fingerprint"),
    ("gen_ai.response.finish_reason", "gen_ai.response.finish_reasons"),
    ("gen_ai.request.is_stream", "gen_ai.request.stream"),
    ("session.id", "gen_ai.conversation.id"),
    ("enduser.id", "user.id"),
    ("db.statement", "db.query.text"),
    // OpenLLMetry.
    ("gen_ai.openai.system_fingerprint", "openai.response.system_fingerprint"),
    ("gen_ai.is_streaming", "gen_ai.request.stream"),
    ("llm.is_streaming", "gen_ai.request.stream"),
    ("llm.vendor", "gen_ai.provider.name"),
    ("llm.request.model", "gen_ai.request.model"),
    ("llm.response.model", "gen_ai.response.model"),
    ("llm.request.max_tokens", "gen_ai.request.max_tokens"),
    ("llm.request.temperature", "gen_ai.request.temperature"),
    ("llm.temperature", "gen_ai.request.temperature"),
    ("llm.request.top_p", "gen_ai.request.top_p"),
    ("llm.top_p", "gen_ai.request.top_p"),
    ("llm.top_k", "gen_ai.request.top_k"),
    ("llm.frequency_penalty", "gen_ai.request.frequency_penalty"),
    ("llm.presence_penalty", "gen_ai.request.presence_penalty"),
    ("llm.chat.stop_sequences", "gen_ai.request.stop_sequences"),
    ("llm.request.functions", "gen_ai.tool.definitions"),
    ("llm.user", "user.id"),
    ("gen_ai.user", "user.id"),
    ("llm.response.finish_reason", "gen_ai.response.finish_reasons"),
    ("llm.response.stop_reason", "gen_ai.response.finish_reasons"),
    ("llm.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
    ("llm.usage.completion_tokens", "gen_ai.usage.output_tokens"),
    ("traceloop.association.properties.session_id", "gen_ai.conversation.id"),
    ("traceloop.association.properties.user_id", "user.id"),
    ("traceloop.workflow.name", "gen_ai.workflow.name"),
    ("mcp.request.argument", "gen_ai.tool.call.arguments"),
    ("mcp.response.value", "gen_ai.tool.call.result"),
    ("mcp.tool.name", "gen_ai.tool.name"),
    // OpenInference.
    ("embedding.model_name", "gen_ai.request.model"),
    ("reranker.model_name", "gen_ai.request.model"),
    ("llm.provider", "gen_ai.provider.name"),
    ("llm.system", "gen_ai.provider.name"),
    ("llm.finish_reason", "gen_ai.response.finish_reasons"),
    ("llm.token_count.prompt", "gen_ai.usage.input_tokens"),
    ("llm.token_count.completion", "gen_ai.usage.output_tokens"),
    ("llm.token_count.prompt_details.cache_read", "gen_ai.usage.cache_read.input_tokens"),
    ("llm.token_count.prompt_details.cache_write", "gen_ai.usage.cache_creation.input_tokens"),
    ("llm.token_count.prompt_details.audio", "gen_ai.usage.audio.input_tokens"),
    ("llm.token_count.completion_details.audio", "gen_ai.usage.audio.output_tokens"),
    ("llm.token_count.completion_details.reasoning", "gen_ai.usage.reasoning.output_tokens"),
    ("tool.name", "gen_ai.tool.name"),
    ("tool.description", "gen_ai.tool.description"),
    ("tool.id", "gen_ai.tool.call.id"),
    ("tool_call.id", "gen_ai.tool.call.id"),
    ("tool_call.function.name", "gen_ai.tool.name"),
    ("tool_call.function.arguments", "gen_ai.tool.call.arguments"),
    ("agent.name", "gen_ai.agent.name"),
    ("evaluation.name", "gen_ai.evaluation.name"),
    ("evaluation.score", "gen_ai.evaluation.score.value"),
    ("evaluation.label", "gen_ai.evaluation.score.label"),
    ("evaluation.explanation", "gen_ai.evaluation.explanation"),
    ("annotation.name", "gen_ai.evaluation.name"),
    ("annotation.score", "gen_ai.evaluation.score.value"),
    ("annotation.label", "gen_ai.evaluation.score.label"),
    ("annotation.explanation", "gen_ai.evaluation.explanation"),
    // Members of the parameters that OpenInference writes as one JSON text, as `parameters.` and their name.
    ("parameters.temperature", "gen_ai.request.temperature"),
    ("parameters.top_p", "gen_ai.request.top_p"),
    ("parameters.top_k", "gen_ai.request.top_k"),
    ("parameters.max_tokens", "gen_ai.request.max_tokens"),
    ("parameters.max_completion_tokens", "gen_ai.request.max_tokens"),
    ("parameters.max_output_tokens", "gen_ai.request.max_tokens"),
    ("parameters.frequency_penalty", "gen_ai.request.frequency_penalty"),
    ("parameters.presence_penalty", "gen_ai.request.presence_penalty"),
    ("parameters.seed", "gen_ai.request.seed"),
    ("parameters.n", "gen_ai.request.choice.count"),
    ("parameters.stream", "gen_ai.request.stream"),
    ("parameters.stop", "gen_ai.request.stop_sequences"),
    ("parameters.model", "gen_ai.request.model"),
    ("parameters.user", "user.id"),
];

/// What others call a provider, in lower case, and its name in the conventions.
const PROVIDERS: [(&str, &str); 19] = [
    ("az.ai.inference", "azure.ai.inference"),
    ("az.ai.openai", "azure.ai.openai"),
    ("azure", "azure.ai.openai"),
    ("azure_openai", "azure.ai.openai"),
    ("aws", "aws.bedrock"),
    ("amazon", "aws.bedrock"),
    ("bedrock", "aws.bedrock"),
    ("gemini", "gcp.gemini"),
    ("google", "gcp.gen_ai"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("vertexai", "gcp.vertex_ai"),
    ("xai", "x_ai"),
    ("mistral", "mistral_ai"),
    ("mistralai", "mistral_ai"),
    ("watsonx", "ibm.watsonx.ai"),
    ("openai", "openai"),
    ("anthropic", "anthropic"),
    ("cohere", "cohere"),
    ("groq", "groq"),
];

/// Attributes that are content: large, or what somebody said.
pub(super) const CONTENT: [&str; 21] = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query.text",
    "gen_ai.memory.records",
    "gen_ai.memory.query.text",
    "gen_ai.evaluation.explanation",
    "exception.message",
    "exception.stacktrace",
    "error.message",
    "otel.status_description",
    "db.query.text",
    "testimony.request.parameters",
    "testimony.request.body",
    "testimony.response.body",
    "testimony.log.body",
    "testimony.otlp.events",
];
/// The field of content for every other attribute that may not, or does not fit to, stand in the open.
pub(super) const OTHERS: &str = "testimony.otlp.attributes";
/// Beginnings of names of attributes that are what somebody said, and go there.
const PERSONAL: [&str; 14] = [
    "input.",
    "output.",
    "metadata",
    "document.",
    "retrieval.",
    "reranker.",
    "embedding.embeddings",
    "llm.input_messages",
    "llm.output_messages",
    "llm.prompt",
    "llm.completions",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "traceloop.prompt.",
];

/// The current name of an attribute with an older one, and how much it counts: less is more.
pub(super) fn current(name: &str) -> Option<(usize, &'static str)> {
    static BY_NAME: LazyLock<HashMap<&str, (usize, &str)>> =
        LazyLock::new(|| RENAMED.iter().enumerate().map(|(nth, (old, current))| (*old, (nth, *current))).collect());
    BY_NAME.get(name).copied()
}

/// The current name of a provider.
pub(super) fn provider(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    PROVIDERS.iter().find(|(known, _)| *known == lower).map(|(_, current)| *current)
}

/// Whether an attribute is what somebody said.
pub(super) fn is_personal(name: &str) -> bool {
    let is_message = |beginning| {
        let rest: Option<&str> = name.strip_prefix(beginning);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    PERSONAL.iter().any(|beginning| name.starts_with(beginning))
        || is_message("gen_ai.prompt.")
        || is_message("gen_ai.completion.")
}

/// Whether an attribute belongs to the answer of a call rather than to its request.
pub(super) fn is_of_response(name: &str) -> bool {
    [
        "gen_ai.response.",
        "gen_ai.usage.",
        "llm.usage.",
        "llm.token_count.",
        "llm.cost.",
        "gen_ai.output.messages",
        "error.",
        "exception.",
        "otel.status",
        "testimony.response.",
    ]
    .iter()
    .any(|beginning| name.starts_with(beginning))
        || name.contains(".response.")
}

/// A value in the type that the conventions give its attribute, where it can be had: the columns of SQL go by it.
pub(super) fn shaped<'a>(name: &str, value: Value<'a>) -> Value<'a> {
    match (name, value) {
        ("gen_ai.provider.name", Value::Text(text)) => match provider(&text) {
            Some(current) => Value::Text(current.into()),
            None => Value::Text(text),
        },
        ("gen_ai.response.finish_reasons" | "gen_ai.request.stop_sequences", Value::Text(text)) => {
            match json_in(&text).map(Value::into_owned) {
                Some(list @ Value::List(_)) => list,
                _ => Value::List(vec![Value::Text(text)]),
            }
        }
        ("gen_ai.request.stream", Value::Text(text)) if text.eq_ignore_ascii_case("true") => Value::Bool(true),
        ("gen_ai.request.stream", Value::Text(text)) if text.eq_ignore_ascii_case("false") => Value::Bool(false),
        ("gen_ai.request.temperature" | "gen_ai.request.top_p", Value::Text(text)) => {
            text.parse().ok().filter(|number: &f64| number.is_finite()).map_or(Value::Text(text), Value::Float)
        }
        (name, value) if is_whole(name) => whole(value),
        (_, value) => value,
    }
}

fn is_whole(name: &str) -> bool {
    name.starts_with("gen_ai.usage.")
        || [
            "gen_ai.request.max_tokens",
            "gen_ai.request.seed",
            "gen_ai.request.choice.count",
            "http.response.status_code",
        ]
        .contains(&name)
}

#[expect(clippy::cast_possible_truncation, reason = "within 2^53 nothing is cut off")]
fn whole(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
            Value::Int(number as i64)
        }
        Value::Text(digits) => digits.parse().map_or(Value::Text(digits), Value::Int),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_current_name_is_no_old_one_and_no_old_name_is_there_twice() {
        let old: std::collections::HashSet<&str> = RENAMED.iter().map(|(old, _)| *old).collect();
        assert_eq!(old.len(), RENAMED.len());
        assert!(RENAMED.iter().all(|(_, current)| !old.contains(current)));
    }
}
