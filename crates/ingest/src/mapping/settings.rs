//! A mapping file as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) join: Vec<String>,
    #[serde(default)]
    pub(super) mapping: Vec<Spanned<RuleSettings>>,
}

/// Texts are references unless said otherwise: `/a/b` a JSON pointer (RFC 6901), `=text` that text, anything else a group of the
/// pattern, and nothing the whole event.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSettings {
    pub(super) name: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) r#match: MatchSettings,
    pub(super) pattern: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) drop: bool,
    /// A word of `record::Kind`; `system` when it is not there.
    pub(super) kind: Option<Spanned<String>>,
    pub(super) time: Option<Spanned<TimeSettings>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) call_id: Option<Spanned<String>>,
    pub(super) trace_id: Option<Spanned<String>>,
    pub(super) span_id: Option<Spanned<String>>,
    pub(super) parent_span_id: Option<Spanned<String>>,
    pub(super) actor: Option<Spanned<ActorSettings>>,
    pub(super) outcome: Option<Spanned<OutcomeSettings>>,
    #[serde(default)]
    pub(super) source: SourceSettings,
    pub(super) body: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, Spanned<AttributeSettings>>,
    #[serde(default)]
    pub(super) content: BTreeMap<String, Spanned<String>>,
    /// Whether the whole event is kept as content too.
    #[serde(default)]
    pub(super) original: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct MatchSettings {
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) r#where: BTreeMap<String, Spanned<Plain>>,
}

/// What a member must be: a text with stars, a number or a fact.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text (with * for anything), a number, true or false is wanted here")]
pub(super) enum Plain {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "\"/pointer\" or { from, as = \"int\", \"float\", \"bool\" or \"text\" } is wanted here")]
pub(super) enum AttributeSettings {
    From(String),
    Typed(TypedAttribute),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedAttribute {
    pub(super) from: String,
    pub(super) r#as: Shape,
}

/// What an attribute is made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    Int,
    Float,
    Bool,
    Text,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "\"/pointer\" or { from, format, utc_offset } is wanted here")]
pub(super) enum TimeSettings {
    From(String),
    Formatted(FormattedTime),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormattedTime {
    pub(super) from: String,
    pub(super) format: Option<String>,
    pub(super) utc_offset: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "\"/pointer\" or { type, id } is wanted here")]
pub(super) enum ActorSettings {
    Id(String),
    Typed(TypedActor),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedActor {
    /// A word, not a reference.
    pub(super) r#type: String,
    pub(super) id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "\"/pointer\" or { from, values, otherwise } is wanted here")]
pub(super) enum OutcomeSettings {
    From(String),
    Table(OutcomeTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutcomeTable {
    pub(super) from: String,
    #[serde(default)]
    pub(super) values: BTreeMap<String, String>,
    pub(super) otherwise: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceSettings {
    pub(super) service: Option<Spanned<String>>,
    pub(super) environment: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<String>>,
}
