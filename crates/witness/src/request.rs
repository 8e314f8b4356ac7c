//! The body of `add-checkpoint` (C2SP tlog-witness): `old <size>`, proof lines, an empty line, the checkpoint.

use std::fmt;

use tlog::{Hash, parse_decimal};

/// The most proof lines that a client may send.
const PROOF_LINES_MAX: usize = 63;

/// Asks a witness to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness has cosigned last, as far as the client knows.
    pub old: u64,
    /// That the tree of the checkpoint grew from that.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub note: String,
}

impl AddCheckpoint {
    /// Reads a request's body, or says what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
        let (head, note) = text.split_once("\n\n").ok_or("there is no empty line before the checkpoint")?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| parse_decimal(line.strip_prefix("old ")?));
        let old = old.ok_or("the first line is not `old <size>`")?;
        let proof: Option<Vec<Hash>> = lines.map(Hash::parse).collect();
        let proof = proof.ok_or("a line of the proof is not a hash in base64")?;
        if proof.len() > PROOF_LINES_MAX {
            return Err("the proof has more than 63 lines");
        }
        Ok(Self { old, proof, note: note.to_owned() })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_malformed_is_said() {
        let hash = Hash::of_empty_tree();
        let many = format!("old 1\n{}\nnote", format!("{hash}\n").repeat(64));
        for bad in
            ["", "old 1\nnote", "old 01\n\nnote", "old  1\n\nnote", "old -1\n\nnote", "old 1\nAAAA\n\nnote", &many]
        {
            AddCheckpoint::parse(bad.as_bytes()).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn requests_read_back(old in any::<u64>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..63), note in "[a-z\n]*") {
            let request = AddCheckpoint { old, proof: proof.into_iter().map(Hash).collect(), note };
            prop_assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes()), Ok(request));
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>()) {
            let _ = AddCheckpoint::parse(&bytes);
        }
    }
}
