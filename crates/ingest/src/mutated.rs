//! Good samples, spoiled: for the doors' property tests.

use proptest::prelude::*;
use record::{Draft, Source, Timestamp};

use crate::{Arrival, Rejected};

/// When everything comes in, in tests.
pub(crate) fn received() -> Timestamp {
    Timestamp::from_micros(1_763_890_442_000_000)
}

/// Bytes of a sample with some of them changed, taken out, or put in twice.
pub(crate) fn mutated(sample: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0_u8..4);
    prop::collection::vec(change, 1..6).prop_map(move |changes| {
        let mut bytes = sample.to_vec();
        for (at, to, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let (at, to) = (at.index(bytes.len()), to.index(bytes.len()));
            let (from, to) = (at.min(to), at.max(to));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(from..to.min(from + 40))),
                _ => {
                    let twice = bytes[from..to].to_vec();
                    bytes.splice(to..to, twice);
                }
            }
        }
        bytes
    })
}

/// Where everything comes from, in tests, but for the door.
pub(crate) fn source(producer: &str) -> Source {
    Source {
        service: "default".into(),
        environment: "default".into(),
        host: "here".into(),
        origin: "example.com/log".into(),
        producer: producer.into(),
    }
}

/// Calls a door with an arrival that is always the same.
pub(crate) fn arriving<T>(producer: &str, read: impl FnOnce(&Arrival<'_>) -> T) -> T {
    let source = source(producer);
    read(&Arrival { source: &source, sender: None, received: received(), random: &|| [7; 10] })
}

/// The leaf of a draft, a line for each part of the content after it.
pub(crate) fn shown(draft: Draft) -> String {
    let content: String = draft
        .content
        .iter()
        .map(|field| format!("\n{} ({}): {}", field.name, field.media, String::from_utf8_lossy(&field.bytes)))
        .collect();
    let mut leaf = Vec::new();
    draft.seal([0; 32]).unwrap().write_leaf(received(), 0, &mut leaf);
    String::from_utf8(leaf).unwrap().replace(",\"", ",\n \"") + &content
}

/// Every draft becomes a record: a door never makes one that the log would refuse.
pub(crate) fn all_seal(read: Vec<Result<Draft, Rejected>>) -> Result<(), TestCaseError> {
    for draft in read.into_iter().flatten() {
        let sealed = draft.seal([0; 32]);
        prop_assert!(sealed.is_ok(), "{:?}", sealed.err());
    }
    Ok(())
}
