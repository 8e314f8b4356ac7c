//! Evidence for one record in a file (C2SP tlog-proof): where it stands, the way to the root, and the signed checkpoint.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::parse_decimal;
use crate::policy::{PolicyError, TrustPolicy, Vouched};
use crate::{Checkpoint, Hash, ProofError, check_inclusion, leaf_hash};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 records needs no more.
const HASHES_MAX: usize = 63;
/// The largest file that is looked at: disclosed content is in `extra`.
const PROOF_FILE_BYTES_MAX: usize = 64 << 20;

/// A proof that a record is in a log. Nothing in it has been verified until [`ProofFile::check`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Anything that whoever made it wants to go with it; it is covered by nothing.
    pub extra: Vec<u8>,
    /// The record's index.
    pub index: u64,
    /// The hashes from the leaf to the root.
    pub hashes: Vec<Hash>,
    /// The checkpoint with its signatures.
    pub checkpoint: String,
}

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// Not a file of this format.
    #[error("line {line} is not what a tlog-proof has there: {what}")]
    Malformed {
        /// The line, from 1 on.
        line: usize,
        /// What belongs there.
        what: &'static str,
    },
    /// The checkpoint in it is not one that is trusted.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The hashes in it.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not one; the line is named.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        let malformed = |line, what| ProofFileError::Malformed { line, what };
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= PROOF_FILE_BYTES_MAX);
        let text = text.ok_or(malformed(1, "at most 64 MiB of UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed(1, "an empty line before the checkpoint"))?;
        let mut lines = head.split('\n').zip(1_usize..).peekable();
        if lines.next().map(|(line, _)| line) != Some(FIRST_LINE) {
            return Err(malformed(1, FIRST_LINE));
        }
        let mut extra = Vec::new();
        if let Some((encoded, line)) = lines.peek().and_then(|(text, line)| Some((text.strip_prefix("extra ")?, *line)))
        {
            extra = STANDARD.decode(encoded).map_err(|_| malformed(line, "extra <base64>"))?;
            lines.next();
        }
        let index = lines.next().and_then(|(line, _)| parse_decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(malformed(if extra.is_empty() { 2 } else { 3 }, "index <decimal>"))?;
        let mut hashes = Vec::new();
        for (encoded, line) in lines {
            let hash = Hash::parse(encoded).filter(|_| hashes.len() < HASHES_MAX);
            hashes.push(hash.ok_or(malformed(line, "one of at most 63 hashes in base64"))?);
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks that a log which is trusted has this entry at the file's index. The hash of the entry is computed here.
    /// Gives the checkpoint that covers it and who vouches for that.
    ///
    /// # Errors
    /// When the checkpoint is not one that the policy accepts, or the entry is not in its tree.
    pub fn check(&self, entry: &[u8], policy: &TrustPolicy) -> Result<Vouched, ProofFileError> {
        let vouched = policy.vouch(self.checkpoint.as_bytes())?;
        let Checkpoint { size, root, .. } = vouched.checkpoint;
        check_inclusion(self.index, size, leaf_hash(entry), &self.hashes, root)?;
        Ok(vouched)
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", STANDARD.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frontier, SignerKey};
    use proptest::prelude::*;

    const ENTRY: &[u8] = b"what was said";

    fn key() -> SignerKey {
        SignerKey::from_seed("audit.example/edge-7", [5; 32]).unwrap()
    }

    fn trust() -> TrustPolicy {
        TrustPolicy::of_log(key().verifier().clone())
    }

    fn proof(extra: &[u8]) -> ProofFile {
        let mut frontier = Frontier::default();
        let first = frontier.push_entry(b"before it");
        frontier.push_entry(ENTRY);
        let checkpoint = Checkpoint { origin: "audit.example/edge-7".into(), size: 2, root: frontier.root() };
        ProofFile { extra: extra.to_vec(), index: 1, hashes: vec![first], checkpoint: checkpoint.sign(&key()) }
    }

    #[test]
    fn a_proof_is_written_as_the_specification_says_and_reads_back() {
        insta::assert_snapshot!(proof(b"x").to_string());
        for proof in [proof(b""), proof(b"x")] {
            assert_eq!(ProofFile::parse(proof.to_string().as_bytes()), Ok(proof.clone()));
            assert_eq!(proof.check(ENTRY, &trust()).unwrap().checkpoint.size, 2);
            assert!(proof.check(b"something else", &trust()).is_err());
        }
    }

    #[test]
    fn one_changed_bit_outside_of_extra_proves_nothing() {
        let file = proof(b"").to_string().into_bytes();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                let verdict = ProofFile::parse(&changed).and_then(|proof| proof.check(ENTRY, &trust()));
                assert!(verdict.is_err(), "bit {bit} of byte {at} changed nothing");
            }
        }
    }

    #[test]
    fn a_malformed_file_says_which_line() {
        let line = |text: &str| match ProofFile::parse(text.as_bytes()) {
            Err(ProofFileError::Malformed { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line("tlog-proof\nindex 1\n\n"), 1);
        assert_eq!(line("c2sp.org/tlog-proof@v1\nindex 01\n\n"), 2);
        assert_eq!(line("c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\n"), 2);
        assert_eq!(line("c2sp.org/tlog-proof@v1\nextra eA==\nindex\n\n"), 3);
        assert_eq!(line("c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n"), 3);
        assert_eq!(line("c2sp.org/tlog-proof@v1\nindex 1\n"), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            let _ = ProofFile::parse(&bytes);
        }
    }
}
