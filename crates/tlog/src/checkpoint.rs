//! The text of a checkpoint (C2SP tlog-checkpoint v1.0.0).

use crate::{Hash, Note, NoteError, SignerKey, VerifierKey};

/// The size and root hash of a log's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many leaves the tree has.
    pub size: u64,
    /// Its root hash.
    pub root: Hash,
}

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text inside.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(&'static str),
    /// It is another log's.
    #[error("the checkpoint is of the log {found:?}, not of {expected:?}")]
    Origin {
        /// The log that was asked for.
        expected: String,
        /// The log that it names.
        found: String,
    },
}

/// A number as the C2SP formats write it: ASCII digits, no leading zeros.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

impl Checkpoint {
    /// Signs it: the whole note, ready to be published.
    #[must_use]
    pub fn sign(&self, key: &SignerKey) -> String {
        key.sign(&format!("{}\n{}\n{}\n", self.origin, self.size, self.root))
    }

    /// Reads a signed checkpoint of the log that the key is named after, and verifies its signature.
    ///
    /// # Errors
    /// When it is malformed, of another log, or not signed by the key.
    pub fn verify(note: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse(Note::parse(note)?.verify(key)?)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin { expected: key.name().to_owned(), found: checkpoint.origin });
        }
        Ok(checkpoint)
    }

    /// Reads a checkpoint without asking who signed it.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn parse_unverified(note: &[u8]) -> Result<Self, CheckpointError> {
        Self::parse(Note::parse(note)?.unverified_text())
    }

    /// Reads the text of a note; extension lines after the root are allowed and passed over.
    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(_)) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Malformed("it has fewer than three lines"));
        };
        if origin.is_empty() {
            return Err(CheckpointError::Malformed("its origin is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: parse_decimal(size).ok_or(CheckpointError::Malformed("its size is not a decimal number"))?,
            root: Hash::parse(root).ok_or(CheckpointError::Malformed("its root is not a hash in base64"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SignerKey {
        SignerKey::from_seed("audit.example/edge-7", [5; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_reads_back_here_and_in_tlog_tiles() {
        let checkpoint =
            Checkpoint { origin: "audit.example/edge-7".into(), size: 70_000, root: Hash::of_empty_tree() };
        let note = checkpoint.sign(&key());
        assert_eq!(Checkpoint::verify(note.as_bytes(), key().verifier()), Ok(checkpoint.clone()));
        let text = &note[..note.find("\n\n").unwrap() + 1];
        let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(
            (theirs.origin(), theirs.size(), theirs.hash().0),
            ("audit.example/edge-7", 70_000, checkpoint.root.0)
        );
    }

    #[test]
    fn sizes_have_one_way_to_be_written() {
        for bad in ["", "01", "+1", "-1", " 1", "1 ", "18446744073709551616"] {
            let note = key().sign(&format!("audit.example/edge-7\n{bad}\n{}\n", Hash::of_empty_tree()));
            assert!(Checkpoint::verify(note.as_bytes(), key().verifier()).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn another_logs_checkpoint_is_not_taken() {
        let note = key().sign(&format!("audit.example/other\n0\n{}\n", Hash::of_empty_tree()));
        assert!(matches!(Checkpoint::verify(note.as_bytes(), key().verifier()), Err(CheckpointError::Origin { .. })));
    }
}
