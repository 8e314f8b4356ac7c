//! A map that forgets what was not used for longest.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// At most so many entries; a further one takes the place of the one that was used longest ago.
pub(crate) struct Recent<K, V> {
    entries_max: usize,
    entries: HashMap<K, (u64, V)>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, entries: HashMap::new(), order: BTreeMap::new(), uses: 0 }
    }

    /// The value, which counts as used now.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, key.clone());
        Some(value)
    }

    /// The value; when it was used stays as it is.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        while self.entries.len() >= self.entries_max {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key, (self.uses, value));
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (used, value) = self.entries.remove(key)?;
        self.order.remove(&used);
        Some(value)
    }

    /// Removes what a condition does not hold for, and says how many that were.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&V) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, (_, value)| keeps(value));
        let entries = &self.entries;
        self.order.retain(|_, key| entries.contains_key(key));
        before - self.entries.len()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        assert_eq!(recent.touch(&"a"), Some(&mut 1));
        recent.insert("c", 3);
        assert_eq!((recent.peek(&"a"), recent.peek(&"b"), recent.peek(&"c")), (Some(&1), None, Some(&3)));
    }

    proptest! {
        /// Held against a list, most recent last.
        #[test]
        fn it_is_a_list_of_the_most_recent(steps in prop::collection::vec((0..4_u8, 0..8_u8), 0..200)) {
            let (mut recent, mut list) = (Recent::new(4), Vec::<(u8, u8)>::new());
            for (step, key) in steps {
                let at = list.iter().position(|(known, _)| *known == key);
                match step {
                    0 => prop_assert_eq!(recent.remove(&key), at.map(|at| list.remove(at).1)),
                    1 => {
                        prop_assert_eq!(recent.touch(&key).is_some(), at.is_some());
                        if let Some(at) = at { let entry = list.remove(at); list.push(entry); }
                    }
                    2 => {
                        let gone = list.iter().filter(|(_, value)| value % 8 == key).count();
                        list.retain(|(_, value)| value % 8 != key);
                        prop_assert_eq!(recent.retain(|value| value % 8 != key), gone);
                    }
                    _ => {
                        if let Some(at) = at { list.remove(at); }
                        if list.len() == 4 { list.remove(0); }
                        list.push((key, key.wrapping_mul(3)));
                        recent.insert(key, key.wrapping_mul(3));
                    }
                }
                prop_assert_eq!(recent.len(), list.len());
                for (key, value) in &list { prop_assert_eq!(recent.peek(key), Some(value)); }
            }
        }
    }
}
