//! What stands behind the name of a model, as the model server itself tells in its answers. Another model behind the same name is a
//! change that nobody has announced.

use std::collections::BTreeMap;

use record::Attributes;
use serde_json::Value;

use crate::names::{ModelName, UpstreamName};

/// The attribute with the alias that a record is about.
pub const SIGHTED: &str = "testimony.model.alias";
const BEFORE: &str = "testimony.model.before";
const AFTER: &str = "testimony.model.after";
const FINGERPRINT_BEFORE: &str = "testimony.model.fingerprint_before";
const FINGERPRINT_AFTER: &str = "testimony.model.fingerprint_after";

/// The most names that are watched: a model server that takes any name would else be watched under all of them.
const ALIASES_MAX: usize = 1_000;
/// The longest name and fingerprint that are taken from an answer.
const TOLD_BYTES_MAX: usize = 512;

/// A model's name at a model server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias {
    /// The model server.
    pub upstream: UpstreamName,
    /// The name that is asked for there.
    pub model: ModelName,
}

/// What an answer says that it is from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sighting {
    /// `model`.
    pub model: Option<String>,
    /// `system_fingerprint`.
    pub fingerprint: Option<String>,
}

/// The last sighting behind each name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sightings(BTreeMap<Alias, Sighting>);

impl Alias {
    /// As records have it: the model server, a slash, the model.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}/{}", self.upstream, self.model)
    }

    fn parse(text: &str) -> Option<Self> {
        let (upstream, model) = text.split_once('/')?;
        Some(Self { upstream: UpstreamName::parse(upstream)?, model: ModelName::parse(model)? })
    }
}

impl Sighting {
    /// What an answer tells, as far as it is short enough to be a name.
    #[must_use]
    pub fn of(model: Option<&str>, fingerprint: Option<&str>) -> Self {
        let told =
            |text: Option<&str>| text.filter(|text| (1..=TOLD_BYTES_MAX).contains(&text.len())).map(str::to_owned);
        Self { model: told(model), fingerprint: told(fingerprint) }
    }

    /// The same with what an earlier one told and this one does not.
    fn after(self, earlier: &Self) -> Self {
        let Self { model, fingerprint } = self;
        Self {
            model: model.or_else(|| earlier.model.clone()),
            fingerprint: fingerprint.or_else(|| earlier.fingerprint.clone()),
        }
    }

    /// Whether there is more to it than the name that was asked for. Most model servers only repeat that.
    fn tells_more_than(&self, alias: &Alias) -> bool {
        let is_another = |model: &String| model != alias.model.as_str();
        self.fingerprint.is_some() || self.model.as_ref().is_some_and(is_another)
    }

    fn says_otherwise(&self, earlier: &Self) -> bool {
        let differs = |told: &Option<String>, known: &Option<String>| told.is_some() && told != known;
        differs(&self.model, &earlier.model) || differs(&self.fingerprint, &earlier.fingerprint)
    }
}

impl Sightings {
    /// What was last seen, after the last record about each name.
    #[must_use]
    pub fn fold(last: &[Value]) -> Self {
        let one = |record: &Value| {
            let said = |name: &str| record.get("attributes")?.get(name)?.as_str();
            Some((Alias::parse(said(SIGHTED)?)?, Sighting::of(said(AFTER), said(FINGERPRINT_AFTER))))
        };
        Self(last.iter().filter_map(one).collect())
    }

    /// Whether an answer tells of something that is not known yet behind this name. Cheap: every answer is asked.
    #[must_use]
    pub fn is_news(&self, alias: &Alias, sighting: &Sighting) -> bool {
        match self.0.get(alias) {
            Some(known) => sighting.says_otherwise(known),
            None => self.0.len() < ALIASES_MAX && sighting.tells_more_than(alias),
        }
    }

    /// Whether anything is known behind a name.
    #[must_use]
    pub fn has(&self, alias: &Alias) -> bool {
        self.0.contains_key(alias)
    }

    /// What is known after a sighting.
    #[must_use]
    pub fn with(&self, alias: &Alias, sighting: Sighting) -> Self {
        let mut all = self.0.clone();
        let earlier = all.get(alias).cloned().unwrap_or_default();
        all.insert(alias.clone(), sighting.after(&earlier));
        Self(all)
    }

    /// Puts what is new into a draft's attributes: `model.changed`, or `model.seen` the first time.
    pub fn write(&self, alias: &Alias, sighting: &Sighting, attributes: &mut Attributes<'static>) {
        let before = self.0.get(alias);
        attributes.set("testimony.control.change", if before.is_some() { "model.changed" } else { "model.seen" });
        attributes.set_text(SIGHTED, &alias.text());
        let before = before.cloned().unwrap_or_default();
        let after = sighting.clone().after(&before);
        for (name, told) in [
            (BEFORE, before.model),
            (FINGERPRINT_BEFORE, before.fingerprint),
            (AFTER, after.model),
            (FINGERPRINT_AFTER, after.fingerprint),
        ] {
            if let Some(told) = told {
                attributes.set_text(name, &told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alias() -> Alias {
        Alias::parse("default/gemma3:270m").unwrap()
    }

    fn sighting(model: &str, fingerprint: Option<&str>) -> Sighting {
        Sighting::of(Some(model), fingerprint)
    }

    #[test]
    fn another_model_behind_a_name_is_news_once() {
        let mut known = Sightings::default();
        let mut told = Vec::new();
        for (model, fingerprint) in [
            ("gemma-a.gguf", Some("b1")),
            ("gemma-a.gguf", Some("b1")),
            ("gemma-a.gguf", None),
            ("gemma-a.gguf", Some("b2")),
            ("gemma-b.gguf", None),
            ("gemma-b.gguf", Some("b2")),
        ] {
            let sighting = sighting(model, fingerprint);
            told.push(known.is_news(&alias(), &sighting));
            known = known.with(&alias(), sighting);
        }
        assert_eq!(told, [true, false, false, true, true, false]);
        assert!(!known.is_news(&alias(), &Sighting::default()));
        let unknown = Sightings::default();
        assert!(!unknown.is_news(&alias(), &sighting("gemma3:270m", None)), "it only repeats its name");
        assert!(!unknown.is_news(&alias(), &Sighting::default()));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let known = Sightings::default().with(&alias(), sighting("a", Some("b1")));
        let mut attributes = Attributes::default();
        known.write(&alias(), &sighting("a", Some("b2")), &mut attributes);
        let texts = attributes.iter().map(|(name, value)| match value {
            record::Value::Text(text) => (name.to_owned(), json!(text)),
            other => panic!("{name} is {other:?}"),
        });
        let record = json!({"attributes": texts.collect::<serde_json::Map<_, _>>()});
        insta::assert_snapshot!(record["attributes"], @r#"{"testimony.control.change":"model.changed","testimony.model.after":"a","testimony.model.alias":"default/gemma3:270m","testimony.model.before":"a","testimony.model.fingerprint_after":"b2","testimony.model.fingerprint_before":"b1"}"#);
        assert_eq!(Sightings::fold(&[record]), known.with(&alias(), sighting("a", Some("b2"))));
    }

    #[test]
    fn names_without_number_are_not_watched() {
        let mut known = Sightings::default();
        for nth in 0..ALIASES_MAX + 10 {
            let alias = Alias::parse(&format!("default/m{nth}")).unwrap();
            if known.is_news(&alias, &sighting("m", None)) {
                known = known.with(&alias, sighting("m", None));
            }
        }
        assert_eq!(known.0.len(), ALIASES_MAX);
        assert_eq!(Sighting::of(Some(&"x".repeat(TOLD_BYTES_MAX + 1)), Some("")), Sighting::default());
    }
}
