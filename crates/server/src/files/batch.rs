//! What is stored at once.

use std::collections::BTreeMap;

use ingest::{Entry, Place};
use record::{Draft, Value};

/// The most records that are stored at once.
const RECORDS_MAX: usize = 1_000;
/// From so many bytes on a batch is stored.
const BATCH_BYTES: usize = 1 << 20;

/// Records that are not durable yet, and up to where their files are read when they are.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) drafts: Vec<Draft>,
    /// By the files' names.
    pub(super) places: BTreeMap<String, Place>,
    bytes: usize,
}

impl Batch {
    /// Takes what was read next of a file.
    pub(super) fn add(&mut self, name: &str, entry: Entry) {
        if let Some(draft) = entry.draft {
            self.bytes += size(&draft);
            self.drafts.push(draft);
        }
        if let Some(place) = self.places.get_mut(name) {
            *place = entry.place;
        } else {
            self.places.insert(name.to_owned(), entry.place);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.drafts.len() >= RECORDS_MAX || self.bytes >= BATCH_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// What of a draft can be large.
fn size(draft: &Draft) -> usize {
    let content: usize = draft.content.iter().map(|field| field.bytes.len()).sum();
    let text = |value: &Value<'_>| if let Value::Text(text) = value { text.len() } else { 0 };
    let attributes: usize = draft.attributes.iter().map(|(_, value)| text(value)).sum();
    content + attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::{Arrival, Lines, LinesSettings};
    use record::{Source, Timestamp};
    use std::sync::Arc;

    fn entries(text: &[u8]) -> Vec<Entry> {
        let lines = Arc::new(Lines::new(LinesSettings::default(), None).unwrap());
        let source = Source {
            service: "s".into(),
            environment: "e".into(),
            host: "h".into(),
            origin: "o".into(),
            producer: "files".into(),
        };
        let received = Timestamp::from_micros(0);
        let arrival = Arrival { source: &source, sender: None, received, random: &|| [0; 10] };
        lines.open("f", "/log/app.log", Place::default()).push(text, &arrival)
    }

    #[test]
    fn a_batch_knows_how_far_each_file_is_read() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for name in ["a", "b", "a"] {
            for entry in entries(b"one\n\n") {
                batch.add(name, entry);
            }
        }
        assert_eq!(batch.drafts.len(), 3);
        let places: Vec<(&str, u64)> = batch.places.iter().map(|(name, place)| (name.as_str(), place.offset)).collect();
        assert_eq!(places, [("a", 5), ("b", 5)]);
    }

    #[test]
    fn a_batch_is_full_by_records_and_by_bytes() {
        let mut many = Batch::default();
        for (nth, entry) in entries("x\n".repeat(RECORDS_MAX).as_bytes()).into_iter().enumerate() {
            assert!(!many.is_full(), "{nth}");
            many.add("a", entry);
        }
        assert!(many.is_full());
        let mut large = Batch::default();
        for entry in entries(format!("{}\n", "x".repeat(BATCH_BYTES - 1)).as_bytes()) {
            large.add("a", entry);
        }
        assert!(large.is_full());
    }
}
