//! What a judge looks for.

use guardrails::{Category as CategorySettings, SettingsError};

use crate::respondent::{fault, within};

/// The most categories.
pub const CATEGORIES_MAX: usize = 64;
/// The longest name of a category, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest description of a category, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;

/// The hazards of Llama Guard 3, S1 to S14, as the prompt of its model card names them.
const HAZARDS: [&str; 14] = [
    "Violent Crimes",
    "Non-Violent Crimes",
    "Sex Crimes",
    "Child Exploitation",
    "Defamation",
    "Specialized Advice",
    "Privacy",
    "Intellectual Property",
    "Indiscriminate Weapons",
    "Hate",
    "Self-Harm",
    "Sexual Content",
    "Elections",
    "Code Interpreter Abuse",
];

/// All that a judge looks for: codes `S1`, `S2`, … in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Categories(Vec<Category>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Category {
    name: String,
    description: Option<String>,
}

impl Categories {
    /// # Errors
    /// Which of them cannot stand in a prompt or a record.
    pub(crate) fn new(check: &'static str, settings: &[CategorySettings]) -> Result<Self, SettingsError> {
        if settings.is_empty() {
            let hazard = |name: &&str| Category { name: (*name).to_owned(), description: None };
            return Ok(Self(HAZARDS.iter().map(hazard).collect()));
        }
        within(check, "the number of categories", settings.len(), 1..=CATEGORIES_MAX)?;
        settings.iter().map(|given| Category::new(check, given)).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of what a model calls by its code.
    pub(crate) fn find(&self, code: &str) -> Option<usize> {
        let number = code.strip_prefix('S').filter(|digits| !digits.starts_with(['0', '+']))?;
        number.parse::<usize>().ok()?.checked_sub(1).filter(|place| *place < self.len())
    }

    /// A category by its place, as it stands in the rules of a verdict.
    pub(crate) fn code(place: usize) -> String {
        format!("S{}", place.saturating_add(1))
    }

    /// A category by its place, as a person reads it.
    pub(crate) fn shown(&self, place: usize) -> String {
        let name = self.0.get(place).map_or("", |category| category.name.as_str());
        format!("{} ({name})", Self::code(place))
    }

    /// As it stands in a prompt: a line for each, and one for its description.
    pub(crate) fn listed(&self) -> String {
        let line = |(place, category): (usize, &Category)| {
            let description = category.description.as_ref().map(|text| format!("\n{text}"));
            format!("{}: {}.{}", Self::code(place), category.name, description.unwrap_or_default())
        };
        self.0.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Category {
    fn new(check: &'static str, given: &CategorySettings) -> Result<Self, SettingsError> {
        let (name, description) = match given {
            CategorySettings::Name(name) => (name, None),
            CategorySettings::Described(described) => (&described.name, Some(described.description.trim().to_owned())),
        };
        let wrong = |what: &str| fault(check, "categories", format!("{name:?} {what}"));
        if name.trim().is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(wrong(&format!("is not a name: one line of 1 to {NAME_BYTES_MAX} bytes")));
        }
        if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return Err(wrong(&format!("has a description of more than {DESCRIPTION_BYTES_MAX} bytes")));
        }
        Ok(Self { name: name.trim().trim_end_matches('.').to_owned(), description })
    }
}
