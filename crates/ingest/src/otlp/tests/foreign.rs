//! The messages of OTLP as `prost` writes them, and the same in JSON: what both of our readers are held against.

use prost::{Message, Oneof};
use serde_json::{Value as Json, json};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resources: Vec<OfResource>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct OfResource {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scopes: Vec<OfScope>,
    #[prost(string, tag = "3")]
    pub(super) schema_url: String,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct OfScope {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub(super) dropped: u32,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<SpanStatus>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(fixed64, tag = "1")]
    pub(super) time: u64,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct SpanStatus {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct LogRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) resources: Vec<LogOfResource>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct LogOfResource {
    #[prost(message, repeated, tag = "2")]
    pub(super) scopes: Vec<LogOfScope>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct LogOfScope {
    #[prost(message, repeated, tag = "2")]
    pub(super) logs: Vec<LogRecord>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) time: u64,
    #[prost(int32, tag = "2")]
    pub(super) severity: i32,
    #[prost(string, tag = "3")]
    pub(super) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(super) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "8")]
    pub(super) flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    pub(super) observed: u64,
    #[prost(string, tag = "12")]
    pub(super) event_name: String,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) value: Option<Any>,
}
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Map(KeyValueList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<KeyValue>,
}

/// `ExportTraceServiceResponse` and `ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}
/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}
/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Duration>,
}
#[derive(Clone, PartialEq, Message)]
pub(super) struct Duration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn pairs(pairs: &[KeyValue]) -> Json {
    let pair = |pair: &KeyValue| json!({"value": pair.value.as_ref().map_or(Json::Null, any), "key": pair.key});
    Json::Array(pairs.iter().map(pair).collect())
}

fn any(value: &AnyValue) -> Json {
    use base64::Engine as _;
    match &value.value {
        None => json!({}),
        Some(Any::Text(text)) => json!({"stringValue": text}),
        Some(Any::Bool(fact)) => json!({"boolValue": fact}),
        // A number or a text, both are allowed.
        Some(Any::Int(number)) if number % 2 == 0 => json!({"intValue": number}),
        Some(Any::Int(number)) => json!({"intValue": number.to_string()}),
        Some(Any::Double(number)) if number.is_nan() => json!({"doubleValue": "NaN"}),
        Some(Any::Double(number)) if *number == f64::INFINITY => json!({"doubleValue": "Infinity"}),
        Some(Any::Double(number)) if *number == f64::NEG_INFINITY => json!({"doubleValue": "-Infinity"}),
        Some(Any::Double(number)) => json!({"doubleValue": number}),
        Some(Any::Array(list)) => json!({"arrayValue": {"values": list.values.iter().map(any).collect::<Vec<_>>()}}),
        Some(Any::Map(map)) => json!({"kvlistValue": {"values": pairs(&map.values)}}),
        Some(Any::Bytes(bytes)) => {
            json!({"bytesValue": base64::engine::general_purpose::STANDARD.encode(bytes)})
        }
    }
}

impl Request {
    pub(super) fn json(&self) -> Json {
        let event = |event: &Event| json!({"timeUnixNano": event.time.to_string(), "name": event.name, "attributes": pairs(&event.attributes)});
        let span = |span: &Span| {
            json!({
                "traceId": hex(&span.trace_id), "spanId": hex(&span.span_id), "traceState": span.trace_state,
                "parentSpanId": hex(&span.parent_span_id), "name": span.name, "kind": span.kind,
                "startTimeUnixNano": span.start.to_string(), "endTimeUnixNano": span.end,
                "attributes": pairs(&span.attributes), "droppedAttributesCount": span.dropped,
                "events": span.events.iter().map(event).collect::<Vec<_>>(),
                "status": span.status.as_ref().map(|status| json!({"message": status.message, "code": status.code})),
                "flags": span.flags, "ofALaterRelease": {"a": [1]},
            })
        };
        let scope = |scope: &OfScope| {
            let name = scope.scope.as_ref().map(|scope| json!({"name": scope.name, "version": scope.version}));
            json!({"scope": name, "spans": scope.spans.iter().map(span).collect::<Vec<_>>()})
        };
        let resource = |resource: &OfResource| {
            let attributes =
                resource.resource.as_ref().map(|resource| json!({"attributes": pairs(&resource.attributes)}));
            json!({"resource": attributes, "scopeSpans": resource.scopes.iter().map(scope).collect::<Vec<_>>()})
        };
        json!({"resourceSpans": self.resources.iter().map(resource).collect::<Vec<_>>()})
    }
}

impl LogRequest {
    pub(super) fn json(&self) -> Json {
        let log = |log: &LogRecord| {
            json!({
                "timeUnixNano": log.time, "observedTimeUnixNano": log.observed.to_string(), "severityNumber": log.severity,
                "severityText": log.severity_text, "body": log.body.as_ref().map(any), "attributes": pairs(&log.attributes),
                "traceId": hex(&log.trace_id), "spanId": hex(&log.span_id), "eventName": log.event_name,
            })
        };
        let scope = |scope: &LogOfScope| json!({"logRecords": scope.logs.iter().map(log).collect::<Vec<_>>()});
        let resource =
            |resource: &LogOfResource| json!({"scopeLogs": resource.scopes.iter().map(scope).collect::<Vec<_>>()});
        json!({"resourceLogs": self.resources.iter().map(resource).collect::<Vec<_>>()})
    }
}
