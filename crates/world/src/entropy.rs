//! Random bytes.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Random bytes as an array.
pub(crate) fn array<const N: usize>(entropy: &(impl Entropy + ?Sized)) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

impl dyn Entropy {
    /// Random bytes as an array.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        array(self)
    }
}

/// The operating system's. Each thread gets some ahead, since to ask for every salt and identifier would take as long as hashing it.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

/// So many bytes are got at once.
const AHEAD_BYTES: usize = 4_096;
/// More than this is asked for by itself.
const SMALL_BYTES: usize = 64;

/// Bytes that nobody has had yet, at the end.
struct Ahead {
    bytes: [u8; AHEAD_BYTES],
    left: usize,
}

thread_local! {
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead { bytes: [0; AHEAD_BYTES], left: 0 }) };
}

impl Ahead {
    /// Gives bytes away; here they are forgotten.
    fn give(&mut self, buffer: &mut [u8]) {
        if self.left < buffer.len() {
            ask(&mut self.bytes);
            self.left = AHEAD_BYTES;
        }
        self.left -= buffer.len();
        let given = self.bytes.iter_mut().skip(self.left);
        buffer.iter_mut().zip(given).for_each(|(to, from)| *to = std::mem::take(from));
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
#[expect(
    clippy::expect_used,
    reason = "without randomness there are no keys and no salts: going on would be worse than stopping"
)]
fn ask(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the operating system gave no random bytes");
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        match buffer.len() {
            ..=SMALL_BYTES => AHEAD.with_borrow_mut(|ahead| ahead.give(buffer)),
            _ => ask(buffer),
        }
    }
}

/// The same bytes for the same seed (SplitMix64). For tests only: it is predictable.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let word = (z ^ (z >> 31)).to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_bytes_are_given_twice_by_any_thread_or_kept() {
        let threads =
            (0..4).map(|_| std::thread::spawn(|| (0..4_000).map(|_| array::<16>(&SystemEntropy)).collect::<Vec<_>>()));
        let threads: Vec<_> = threads.collect();
        let given: Vec<[u8; 16]> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
        let mut ahead = Ahead { bytes: [0; AHEAD_BYTES], left: 0 };
        let mut buffer = [0; 60];
        for _ in 0..200 {
            ahead.give(&mut buffer);
            assert!(ahead.bytes.iter().skip(ahead.left).all(|byte| *byte == 0));
        }
    }

    #[test]
    fn all_of_a_large_buffer_is_filled() {
        let mut buffer = vec![0; AHEAD_BYTES * 4];
        SystemEntropy.fill(&mut buffer);
        assert!(buffer.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }
}
