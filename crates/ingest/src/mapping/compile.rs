//! From a mapping file to rules, or the line that is wrong.

use std::ops::Range;

use record::{ATTRIBUTE_KEY_BYTES_MAX, Kind, Outcome};
use regex::{Regex, RegexBuilder};
use toml::Spanned;

use super::moment::TimeFormat;
use super::rule::{ActorRule, AttributeRule, OutcomeRule, Reference, Rule, Slot, SourceRule, TimeRule};
use super::settings::{
    ActorSettings, AttributeSettings, File, FormattedTime, OutcomeSettings, OutcomeTable, Plain, RuleSettings,
    TimeSettings, TypedActor, TypedAttribute,
};
use super::{MappingError, RULES_MAX};
use crate::drafting::{BODY, NAME_BYTES_MAX, ORIGINAL};

/// The most attributes that one rule sets.
const ATTRIBUTES_MAX: usize = 100;
/// The most fields of content that one rule sets.
const CONTENT_MAX: usize = 16;
/// The longest name of a field of content, in bytes.
const CONTENT_NAME_BYTES_MAX: usize = 128;
/// The most conditions, values of an outcome and join keys.
const ENTRIES_MAX: usize = 64;
/// The longest reference, in bytes.
const REFERENCE_BYTES_MAX: usize = 1_024;
/// The largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_024 * 1_024;

pub(super) fn compile(toml: &str) -> Result<(Vec<Rule>, Vec<String>), MappingError> {
    let file: File = toml::from_str(toml).map_err(|error| MappingError::Malformed {
        line: error.span().map_or(1, |span| line_of(toml, &span)),
        what: error.message().to_owned(),
    })?;
    let malformed = |what: String| MappingError::Malformed { line: 1, what };
    if file.join.len() > ENTRIES_MAX || file.join.iter().any(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
        return Err(malformed(format!("join takes at most {ENTRIES_MAX} names of 1 to {NAME_BYTES_MAX} bytes")));
    }
    if file.mapping.len() > RULES_MAX {
        return Err(malformed(format!("there are {} rules, at most {RULES_MAX} are allowed", file.mapping.len())));
    }
    let rule = |(nth, settings): (usize, Spanned<RuleSettings>)| {
        let span = settings.span();
        let settings = settings.into_inner();
        let name =
            settings.name.as_ref().map_or(format!("mapping {}", nth + 1), |name| format!("{:?}", name.get_ref()));
        let number = (nth + 1).to_string();
        let mut rule = Compiler { toml, span, name, pattern: None }.rule(settings)?;
        if rule.name.is_empty() {
            rule.name = number;
        }
        Ok(rule)
    };
    let rules: Vec<Rule> = file.mapping.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?;
    Ok((rules, file.join))
}

/// The line of a place in the file, counted from 1.
fn line_of(toml: &str, span: &Range<usize>) -> usize {
    1 + toml.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// Compiles one rule.
struct Compiler<'t> {
    toml: &'t str,
    /// Where the rule stands.
    span: Range<usize>,
    /// What errors call it.
    name: String,
    pattern: Option<Regex>,
}

impl Compiler<'_> {
    fn rule(mut self, settings: RuleSettings) -> Result<Rule, MappingError> {
        self.pattern = settings.pattern.as_ref().map(|pattern| self.regex(pattern)).transpose()?;
        let conditions = self.conditions(&settings)?;
        let kind = match &settings.kind {
            Some(kind) => self.word("kind", &kind.span(), kind.get_ref(), Kind::ALL)?,
            None => Kind::System,
        };
        let mut slots = Vec::new();
        for (slot, member, reference) in [
            (Slot::Key, "key", &settings.key),
            (Slot::CallId, "call_id", &settings.call_id),
            (Slot::TraceId, "trace_id", &settings.trace_id),
            (Slot::SpanId, "span_id", &settings.span_id),
            (Slot::ParentSpanId, "parent_span_id", &settings.parent_span_id),
            (Slot::Body, "body", &settings.body),
        ] {
            if let Some(reference) = reference {
                slots.push((slot, self.spanned(member, reference)?));
            }
        }
        let source = &settings.source;
        let optional = |member: &str, reference: &Option<Spanned<String>>| {
            reference.as_ref().map(|reference| self.spanned(member, reference)).transpose()
        };
        let rule = Rule {
            name: settings.name.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default(),
            is_drop: settings.drop,
            is_json_only: false,
            is_original_kept: settings.original,
            kind,
            time: settings.time.as_ref().map(|time| self.time(time)).transpose()?,
            actor: settings.actor.as_ref().map(|actor| self.actor(actor)).transpose()?,
            outcome: settings.outcome.as_ref().map(|outcome| self.outcome(outcome)).transpose()?,
            source: SourceRule {
                service: optional("source.service", &source.service)?,
                environment: optional("source.environment", &source.environment)?,
                host: optional("source.host", &source.host)?,
            },
            attributes: self.attributes(&settings)?,
            content: self.content(&settings)?,
            source_pattern: settings.r#match.source,
            conditions,
            slots,
            pattern: self.pattern,
        };
        Ok(rule.with_inputs())
    }

    fn regex(&self, pattern: &Spanned<String>) -> Result<Regex, MappingError> {
        RegexBuilder::new(pattern.get_ref()).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
            // Its last line says what is wrong, those before it draw an arrow.
            let error = error.to_string();
            let what = error.lines().last().unwrap_or_default();
            self.wrong("pattern", &pattern.span(), what.trim_start_matches("error: ").to_owned())
        })
    }

    fn conditions(&self, settings: &RuleSettings) -> Result<Vec<(Reference, String)>, MappingError> {
        let all = &settings.r#match.r#where;
        self.at_most("match.where", all.len(), ENTRIES_MAX)?;
        let condition = |(pointer, wanted): (&String, &Spanned<Plain>)| {
            let reference = self.reference(&format!("match.where.{pointer:?}"), &wanted.span(), pointer)?;
            let wanted = match wanted.get_ref() {
                Plain::Bool(fact) => fact.to_string(),
                Plain::Int(number) => number.to_string(),
                Plain::Float(number) => number.to_string(),
                Plain::Text(text) => text.clone(),
            };
            Ok((reference, wanted))
        };
        all.iter().map(condition).collect()
    }

    fn time(&self, time: &Spanned<TimeSettings>) -> Result<TimeRule, MappingError> {
        let span = time.span();
        let (from, format, offset) = match time.get_ref() {
            TimeSettings::From(from) => (from, None, None),
            TimeSettings::Formatted(FormattedTime { from, format, utc_offset }) => {
                (from, format.as_ref(), utc_offset.as_ref())
            }
        };
        let from = self.reference("time", &span, from)?;
        let wrong = |what: String| self.wrong("time", &span, what);
        let format = format.map_or(Ok(TimeFormat::Rfc3339), |format| TimeFormat::parse(format)).map_err(wrong)?;
        let offset_minutes = match offset {
            Some(text) => super::moment::offset_minutes(text)
                .ok_or_else(|| self.wrong("time.utc_offset", &span, "it must be as +02:00".into()))?,
            None => 0,
        };
        Ok(TimeRule { from, format, offset_minutes })
    }

    fn actor(&self, actor: &Spanned<ActorSettings>) -> Result<ActorRule, MappingError> {
        let span = actor.span();
        let (kind, id) = match actor.get_ref() {
            ActorSettings::Id(id) => ("user", Some(id)),
            ActorSettings::Typed(TypedActor { r#type, id }) => (r#type.as_str(), id.as_ref()),
        };
        if kind.is_empty() || kind.len() > NAME_BYTES_MAX {
            return Err(self.wrong("actor.type", &span, format!("it must have 1 to {NAME_BYTES_MAX} bytes")));
        }
        let id = id.map(|id| self.reference("actor.id", &span, id)).transpose()?;
        Ok(ActorRule { kind: kind.to_owned(), id })
    }

    fn outcome(&self, outcome: &Spanned<OutcomeSettings>) -> Result<OutcomeRule, MappingError> {
        let span = outcome.span();
        let word = |member: &str, word: &str| self.word(member, &span, word, Outcome::ALL);
        match outcome.get_ref() {
            OutcomeSettings::From(from) => {
                Ok(OutcomeRule { from: self.reference("outcome", &span, from)?, values: Vec::new(), otherwise: None })
            }
            OutcomeSettings::Table(OutcomeTable { from, values, otherwise }) => {
                self.at_most("outcome.values", values.len(), ENTRIES_MAX)?;
                let value =
                    |(pattern, outcome): (&String, &String)| Ok((pattern.clone(), word("outcome.values", outcome)?));
                let mut values: Vec<(String, Outcome)> =
                    values.iter().map(value).collect::<Result<_, MappingError>>()?;
                // What says most goes first: texts without stars, then the longest.
                values.sort_by_key(|(pattern, _)| (pattern.contains(['*', '?']), usize::MAX - pattern.len()));
                let otherwise = otherwise.as_ref().map(|outcome| word("outcome.otherwise", outcome)).transpose()?;
                Ok(OutcomeRule { from: self.reference("outcome.from", &span, from)?, values, otherwise })
            }
        }
    }

    fn attributes(&self, settings: &RuleSettings) -> Result<Vec<AttributeRule>, MappingError> {
        self.at_most("attributes", settings.attributes.len(), ATTRIBUTES_MAX)?;
        let attribute = |(name, attribute): (&String, &Spanned<AttributeSettings>)| {
            let (member, span) = (format!("attributes.{name:?}"), attribute.span());
            if name.is_empty() || name.len() > ATTRIBUTE_KEY_BYTES_MAX {
                return Err(self.wrong(&member, &span, format!("a name has 1 to {ATTRIBUTE_KEY_BYTES_MAX} bytes")));
            }
            let (from, shape) = match attribute.get_ref() {
                AttributeSettings::From(from) => (from, None),
                AttributeSettings::Typed(TypedAttribute { from, r#as }) => (from, Some(*r#as)),
            };
            Ok(AttributeRule { name: name.clone(), from: self.reference(&member, &span, from)?, shape })
        };
        settings.attributes.iter().map(attribute).collect()
    }

    fn content(&self, settings: &RuleSettings) -> Result<Vec<(String, Reference)>, MappingError> {
        self.at_most("content", settings.content.len(), CONTENT_MAX)?;
        let field = |(name, reference): (&String, &Spanned<String>)| {
            let member = format!("content.{name:?}");
            if name.is_empty() || name.len() > CONTENT_NAME_BYTES_MAX || name == ORIGINAL || name == BODY {
                let what = format!(
                    "a name has 1 to {CONTENT_NAME_BYTES_MAX} bytes; {ORIGINAL} is set by original = true, {BODY} by body"
                );
                return Err(self.wrong(&member, &reference.span(), what));
            }
            Ok((name.clone(), self.spanned(&member, reference)?))
        };
        settings.content.iter().map(field).collect()
    }

    fn spanned(&self, member: &str, reference: &Spanned<String>) -> Result<Reference, MappingError> {
        self.reference(member, &reference.span(), reference.get_ref())
    }

    /// A reference that can be followed: a pointer where there is no pattern, a group that the pattern has where there is one.
    fn reference(&self, member: &str, span: &Range<usize>, text: &str) -> Result<Reference, MappingError> {
        let wrong = |what: String| Err(self.wrong(member, span, what));
        if text.len() > REFERENCE_BYTES_MAX {
            return wrong(format!("it has {} bytes, at most {REFERENCE_BYTES_MAX} are allowed", text.len()));
        }
        if let Some(constant) = text.strip_prefix('=') {
            return Ok(Reference::Constant(constant.to_owned()));
        }
        match &self.pattern {
            _ if text.is_empty() => Ok(Reference::Whole),
            Some(pattern) => match pattern.capture_names().position(|group| group == Some(text)) {
                Some(group) => Ok(Reference::Group(group)),
                None => wrong(format!(
                    "the pattern has no group {text:?}; write (?<{text}>…), or \"={text}\" for that text"
                )),
            },
            None if !text.starts_with('/') => {
                wrong(format!("{text:?} is no JSON pointer; write \"/{text}\", or \"={text}\" for that text"))
            }
            None if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) => {
                wrong(format!("in the JSON pointer {text:?} a ~ must be written ~0 (RFC 6901, section 3)"))
            }
            None => Ok(Reference::Pointer(text.to_owned())),
        }
    }

    /// One of a closed set of words.
    fn word<T: Copy + std::fmt::Display>(
        &self,
        member: &str,
        span: &Range<usize>,
        word: &str,
        all: &[T],
    ) -> Result<T, MappingError> {
        let found = all.iter().copied().find(|known| known.to_string() == word);
        found.ok_or_else(|| {
            let known: Vec<String> = all.iter().map(ToString::to_string).collect();
            self.wrong(member, span, format!("{word:?} is none of {}", known.join(", ")))
        })
    }

    fn at_most(&self, member: &str, count: usize, max: usize) -> Result<(), MappingError> {
        match count > max {
            true => Err(self.wrong(member, &self.span, format!("it has {count} entries, at most {max} are allowed"))),
            false => Ok(()),
        }
    }

    fn wrong(&self, member: &str, span: &Range<usize>, what: String) -> MappingError {
        let line = line_of(self.toml, span);
        MappingError::Member { line, rule: self.name.clone(), member: member.to_owned(), what }
    }
}
