//! The columns of a record: what each is called, what type it has, and where it comes from. One list that the
//! table, the query language and the check of segments all go by.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use record::{ActorRef, Content, Envelope, Value, content_names};

/// One entry of the ledger, read.
pub(crate) struct Row<'a> {
    pub(crate) index: u64,
    pub(crate) envelope: Envelope<'a>,
    pub(crate) content: Option<Content>,
}

/// How a column's values are had from a row.
pub(crate) enum From {
    Text(for<'r> fn(&'r Row<'_>) -> Option<Cow<'r, str>>),
    Number(fn(&Row<'_>) -> Option<u64>),
    /// Microseconds since the epoch.
    Time(fn(&Row<'_>) -> i64),
    /// A text attribute; a list is joined by commas.
    TextAttribute(&'static str),
    IntAttribute(&'static str),
    FloatAttribute(&'static str),
    BoolAttribute(&'static str),
    /// Every attribute, as text.
    Attributes,
    /// A field of content that is text in UTF-8.
    Content(&'static str),
    /// The content that no column of text holds, in its stored form without the seed.
    OtherContent,
    /// The seed of the content's salts.
    Seed,
}

/// One column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) from: From,
}

const fn column(name: &'static str, from: From) -> Column {
    Column { name, from }
}

macro_rules! text {
    ($row:ident => $value:expr) => {
        From::Text(|$row| $value.map(|text: &Cow<'_, str>| Cow::Borrowed(text.as_ref())))
    };
}

/// The fields of content that have a column of their own, with the column's name.
pub(crate) const CONTENT_COLUMNS: [(&str, &str); 5] = [
    (content_names::INPUT, "input"),
    (content_names::OUTPUT, "output"),
    (content_names::ARGUMENTS, "arguments"),
    (content_names::RESULT, "result"),
    (content_names::PARAMETERS, "parameters"),
];

/// The columns that a text without a field is looked for in: what was said.
pub(crate) const SAID_COLUMNS: [&str; 4] = ["input", "output", "arguments", "result"];

/// The name of a content field that people call by its column: `input` is `gen_ai.input.messages`.
#[must_use]
pub fn content_name(called: &str) -> &str {
    CONTENT_COLUMNS.iter().find(|(_, column)| *column == called).map_or(called, |(name, _)| name)
}

/// All columns. The last two are for checking and showing content and are hidden from SQL.
pub(crate) static COLUMNS: [Column; 49] = [
    column("log_index", From::Number(|row| Some(row.index))),
    column("time", From::Time(|row| row.envelope.time.as_micros())),
    column("received", From::Time(|row| row.envelope.received.as_micros())),
    column("id", text!(row => Some(&row.envelope.id))),
    column("kind", text!(row => Some(&row.envelope.kind))),
    column("outcome", text!(row => row.envelope.outcome.as_ref())),
    column("actor_type", text!(row => row.envelope.actor.as_ref().map(|actor| &actor.kind))),
    column("actor_id", text!(row => row.envelope.actor.as_ref().and_then(|actor| actor.id.as_ref()))),
    column("actor_groups", From::Text(|row| row.envelope.actor.as_ref().and_then(groups))),
    column("actor_auth", text!(row => row.envelope.actor.as_ref().and_then(|actor| actor.auth.as_ref()))),
    column("actor_ip", text!(row => row.envelope.actor.as_ref().and_then(|actor| actor.ip.as_ref()))),
    column("actor_fingerprint", text!(row => row.envelope.actor.as_ref().and_then(|actor| actor.fingerprint.as_ref()))),
    column("service", text!(row => Some(&row.envelope.source.service))),
    column("environment", text!(row => Some(&row.envelope.source.environment))),
    column("host", text!(row => Some(&row.envelope.source.host))),
    column("origin", text!(row => Some(&row.envelope.source.origin))),
    column("producer", text!(row => Some(&row.envelope.source.producer))),
    column("seq", From::Number(|row| Some(row.envelope.seq))),
    column("call_id", text!(row => row.envelope.call_id.as_ref())),
    column("trace_id", text!(row => row.envelope.trace_id.as_ref())),
    column("span_id", text!(row => row.envelope.span_id.as_ref())),
    column("parent_span_id", text!(row => row.envelope.parent_span_id.as_ref())),
    column("conversation_id", From::TextAttribute("gen_ai.conversation.id")),
    column("operation", From::TextAttribute("gen_ai.operation.name")),
    column("provider", From::TextAttribute("gen_ai.provider.name")),
    column("model", From::TextAttribute("gen_ai.request.model")),
    column("response_model", From::TextAttribute("gen_ai.response.model")),
    column("stream", From::BoolAttribute("gen_ai.request.stream")),
    column("temperature", From::FloatAttribute("gen_ai.request.temperature")),
    column("top_p", From::FloatAttribute("gen_ai.request.top_p")),
    column("max_tokens", From::IntAttribute("gen_ai.request.max_tokens")),
    column("decision", From::TextAttribute("testimony.decision")),
    column("reasons", From::TextAttribute("testimony.decision.reasons")),
    column("finish_reasons", From::TextAttribute("gen_ai.response.finish_reasons")),
    column("input_tokens", From::IntAttribute("gen_ai.usage.input_tokens")),
    column("output_tokens", From::IntAttribute("gen_ai.usage.output_tokens")),
    column("duration_ms", From::FloatAttribute("testimony.duration_ms")),
    column("first_chunk_ms", From::FloatAttribute("testimony.first_chunk_ms")),
    column("status", From::IntAttribute("http.response.status_code")),
    column("error_type", From::TextAttribute("error.type")),
    column("upstream", From::TextAttribute("server.address")),
    column("attributes", From::Attributes),
    column("input", From::Content(content_names::INPUT)),
    column("output", From::Content(content_names::OUTPUT)),
    column("arguments", From::Content(content_names::ARGUMENTS)),
    column("result", From::Content(content_names::RESULT)),
    column("parameters", From::Content(content_names::PARAMETERS)),
    column("other_content", From::OtherContent),
    column("content_seed", From::Seed),
];

/// How many columns SQL sees.
pub(crate) const VISIBLE: usize = COLUMNS.len() - 2;

/// Names that people use for columns.
pub(crate) const ALIASES: [(&str, &str); 8] = [
    ("user", "actor_id"),
    ("env", "environment"),
    ("type", "kind"),
    ("call", "call_id"),
    ("trace", "trace_id"),
    ("conversation", "conversation_id"),
    ("ip", "actor_ip"),
    ("index", "log_index"),
];

/// What a column's values are, as far as a query has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Text,
    /// What was said, in any length.
    Content,
    Integer,
    Number,
    Boolean,
    Time,
    /// All attributes at once, or the rest of the content: nothing that has one value.
    Many,
}

impl Values {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Content => "content",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::Many => "many",
        }
    }
}

impl Column {
    pub(crate) const fn values(&self) -> Values {
        match &self.from {
            From::Text(_) | From::TextAttribute(_) => Values::Text,
            From::Content(_) => Values::Content,
            From::Number(_) | From::IntAttribute(_) => Values::Integer,
            From::FloatAttribute(_) => Values::Number,
            From::BoolAttribute(_) => Values::Boolean,
            From::Time(_) => Values::Time,
            From::Attributes | From::OtherContent | From::Seed => Values::Many,
        }
    }

    fn data_type(&self) -> DataType {
        match &self.from {
            From::Text(_) | From::TextAttribute(_) | From::Content(_) => DataType::Utf8View,
            From::Number(_) => DataType::UInt64,
            From::Time(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            From::IntAttribute(_) => DataType::Int64,
            From::FloatAttribute(_) => DataType::Float64,
            From::BoolAttribute(_) => DataType::Boolean,
            From::Attributes => DataType::Map(attribute_entries(), false),
            From::OtherContent => DataType::BinaryView,
            From::Seed => DataType::FixedSizeBinary(32),
        }
    }

    fn is_nullable(&self) -> bool {
        !matches!(self.name, "log_index" | "time" | "received" | "attributes")
    }
}

fn attribute_entries() -> Arc<Field> {
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    Arc::new(Field::new("entries", DataType::Struct(entries), false))
}

/// The schema of segments and of the live buffer.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let fields: Vec<Field> =
        COLUMNS.iter().map(|column| Field::new(column.name, column.data_type(), column.is_nullable())).collect();
    Arc::new(Schema::new(fields))
});

/// The schema that SQL sees.
pub(crate) static VISIBLE_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(SCHEMA.fields().iter().take(VISIBLE).cloned().collect::<Vec<_>>())));

/// The column of a name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Column> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    COLUMNS.iter().take(VISIBLE).find(|column| column.name == name)
}

/// Whether a column holds what may be erased.
pub(crate) fn is_content(name: &str) -> bool {
    let holds = |column: &Column| matches!(column.from, From::Content(_) | From::OtherContent | From::Seed);
    COLUMNS.iter().any(|column| column.name == name && holds(column))
}

/// The names of the columns that SQL sees, and what people call them besides.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let columns = COLUMNS.iter().take(VISIBLE).map(|column| column.name);
    columns.chain(ALIASES.iter().map(|(alias, _)| *alias))
}

impl Row<'_> {
    pub(crate) fn text_attribute(&self, key: &str) -> Option<Cow<'_, str>> {
        match self.envelope.attributes.value(key)? {
            Value::Null => None,
            Value::List(items) => Some(items.iter().map(plain).collect::<Vec<_>>().join(",").into()),
            value => Some(plain(value)),
        }
    }

    pub(crate) fn int_attribute(&self, key: &str) -> Option<i64> {
        match self.envelope.attributes.value(key)? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a parameter such as temperature 1 is written as a whole number")]
    pub(crate) fn float_attribute(&self, key: &str) -> Option<f64> {
        match self.envelope.attributes.value(key)? {
            Value::Float(number) => Some(*number),
            Value::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub(crate) fn bool_attribute(&self, key: &str) -> Option<bool> {
        match self.envelope.attributes.value(key)? {
            Value::Bool(fact) => Some(*fact),
            _ => None,
        }
    }

    /// A field of content, when it is text.
    pub(crate) fn content_text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(&self.content.as_ref()?.field(name)?.bytes).ok()
    }
}

/// Groups as a JSON list; nothing where there is none.
fn groups<'r>(actor: &'r ActorRef<'_>) -> Option<Cow<'r, str>> {
    let groups = actor.groups.iter().map(|group| Value::Text(Cow::Borrowed(group.as_ref()))).collect::<Vec<_>>();
    (!groups.is_empty()).then(|| Cow::Owned(Value::List(groups).to_json()))
}

/// A value as people write it: a text without quotes, anything else as JSON.
pub(crate) fn plain<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text.as_ref()),
        other => Cow::Owned(other.to_json()),
    }
}
