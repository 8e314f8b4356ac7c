//! What a new policy changes, shown before it is loaded in place of the old one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::engine::Policy;

/// What is new, gone or otherwise, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Files of rules and tests that are new.
    pub modules_added: Vec<String>,
    /// Files that are gone.
    pub modules_removed: Vec<String>,
    /// Files whose text is another.
    pub modules_changed: Vec<String>,
    /// Rules that are new, as paths.
    pub rules_added: Vec<String>,
    /// Rules that are gone.
    pub rules_removed: Vec<String>,
    /// Whether the documents of data are others.
    pub data_changed: bool,
}

impl Difference {
    /// Whether nothing is otherwise.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Policy {
    /// What `new` changes of this policy.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let (old_modules, new_modules) = (self.texts(), new.texts());
        let (old_rules, new_rules) = (self.rule_paths(), new.rule_paths());
        let missing = |these: &BTreeMap<&str, &str>, those: &BTreeMap<&str, &str>| {
            these.keys().filter(|path| !those.contains_key(*path)).map(|path| (*path).to_owned()).collect()
        };
        let changed = |(path, text): &(&&str, &&str)| old_modules.get(**path).is_some_and(|old| old != *text);
        Difference {
            modules_added: missing(&new_modules, &old_modules),
            modules_removed: missing(&old_modules, &new_modules),
            modules_changed: new_modules.iter().filter(changed).map(|(path, _)| (*path).to_owned()).collect(),
            rules_added: new_rules.difference(&old_rules).cloned().collect(),
            rules_removed: old_rules.difference(&new_rules).cloned().collect(),
            data_changed: self.files.data != new.files.data,
        }
    }

    fn texts(&self) -> BTreeMap<&str, &str> {
        self.files.modules.iter().map(|module| (module.path.as_str(), module.text.as_str())).collect()
    }

    fn rule_paths(&self) -> BTreeSet<String> {
        self.rules.places.keys().map(|path| path.join(".")).collect()
    }
}

#[cfg(test)]
mod tests;
