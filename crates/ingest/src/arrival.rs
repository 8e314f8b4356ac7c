//! How something came in, for every door: where its records are from, who sent it, when.

use record::{Source, Timestamp, Uuid, once_id, uuid_v7};

/// How something came in.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// Where records are from that do not say so themselves.
    pub source: &'a Source,
    /// Who sends, where that is known: each sender's keys are its own.
    pub sender: Option<&'a str>,
    /// When it came in.
    pub received: Timestamp,
    /// 80 random bits for each record without a key.
    pub random: &'a dyn Fn() -> [u8; 10],
}

impl Arrival<'_> {
    /// The identifier of a record. What has a key (an event's own identifier, with the name of its door before it) and is sent again has the
    /// same one, and the log stores it once.
    #[must_use]
    pub fn id(&self, key: Option<&str>) -> Uuid {
        let Some(key) = key else { return uuid_v7(self.received, &(self.random)()) };
        let producer = &self.source.producer;
        match self.sender {
            Some(sender) => once_id(&format!("{producer}/{sender}"), key),
            None => once_id(producer, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_key_has_one_identifier_for_each_sender() {
        let source = Source {
            service: "a".into(),
            environment: "b".into(),
            host: "c".into(),
            origin: "d".into(),
            producer: "ingest".into(),
        };
        let arrival =
            |sender| Arrival { source: &source, sender, received: Timestamp::from_micros(7), random: &|| [3; 10] };
        let id = |sender, key| arrival(sender).id(key);
        assert_eq!(id(Some("a"), Some("k")), id(Some("a"), Some("k")));
        assert_ne!(id(Some("a"), Some("k")), id(Some("b"), Some("k")));
        assert_ne!(id(Some("a"), Some("k")), id(Some("a"), Some("l")));
        assert_eq!(id(None, None), uuid_v7(Timestamp::from_micros(7), &[3; 10]));
    }
}
