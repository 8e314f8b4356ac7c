//! Whom one trusts: a trust policy in a file (C2SP tlog-policy).

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::{VerifierKey, WitnessKey};
use crate::note::{Note, NoteError};

/// The largest file that is looked at.
const POLICY_BYTES_MAX: usize = 1 << 20;
/// The most lines that define something; the specification asks for 32 of each kind.
const DEFINITIONS_MAX: usize = 1_000;

/// The logs and witnesses that one trusts, and how many of the witnesses must have seen a checkpoint.
#[derive(Debug, Clone)]
pub struct TrustPolicy {
    /// Each is trusted to sign the checkpoints of the log it is named after.
    pub logs: Vec<VerifierKey>,
    /// The witnesses that are known.
    pub witnesses: Vec<Witness>,
    quorum: Quorum,
}

/// A witness as a policy names it.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its name in the file.
    pub name: String,
    /// Its key.
    pub key: WitnessKey,
    /// Where checkpoints are submitted to it.
    pub url: Option<String>,
}

/// A checkpoint that a policy accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// What is vouched for.
    pub checkpoint: Checkpoint,
    /// The key of the log that signed it.
    pub log: VerifierKey,
    /// The witnesses that have seen it, by their names in the policy, and when (POSIX seconds).
    pub cosigned: Vec<(String, u64)>,
}

/// Who must have seen a checkpoint.
#[derive(Debug, Clone)]
enum Quorum {
    /// The witness with this place in the list.
    Witness(usize),
    /// At least so many of these; none of none for `quorum none`.
    AtLeast(usize, Vec<Quorum>),
}

/// What is wrong with a policy, or with a checkpoint under it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A line of the file.
    #[error("line {line} of the policy: {what}")]
    Malformed {
        /// Its number, from 1 on.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The checkpoint's note or text.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// None of the logs has signed.
    #[error("the checkpoint of {origin} is not signed by any log that is trusted: {keys}")]
    NoLog {
        /// The log that it says it is of.
        origin: String,
        /// The names of the keys that were tried.
        keys: String,
    },
    /// Too few witnesses have seen it.
    #[error("the checkpoint was not seen by enough witnesses: only by {seen}")]
    Quorum {
        /// Those that have: `w1, w2`, or `none`.
        seen: String,
    },
}

impl TrustPolicy {
    /// Trusts one log and asks for no witness.
    #[must_use]
    pub fn of_log(key: VerifierKey) -> Self {
        Self::of_logs(vec![key])
    }

    /// Trusts logs, or one log under several keys, and asks for no witness.
    #[must_use]
    pub const fn of_logs(logs: Vec<VerifierKey>) -> Self {
        Self { logs, witnesses: Vec::new(), quorum: Quorum::AtLeast(0, Vec::new()) }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// When it is not one; the line is named.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(malformed(1, "the file is larger than a megabyte"));
        }
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            reader.line(line).map_err(|what| malformed(number, &what))?;
        }
        let quorum = reader.quorum.ok_or_else(|| malformed(1, "there is no line `quorum <name|none>` in the file"))?;
        Ok(Self { logs: reader.logs, witnesses: reader.witnesses, quorum })
    }

    /// Verifies a checkpoint's signatures: by one of the logs, and by witnesses as the quorum says.
    ///
    /// # Errors
    /// When it is malformed, no log has signed it, too few witnesses have, or a signature of a known key is wrong.
    pub fn vouch(&self, note: &[u8]) -> Result<Vouched, PolicyError> {
        let parsed = Note::parse(note).map_err(CheckpointError::from)?;
        let (checkpoint, log) = self.signed_by_log(note)?;
        let mut cosigned = Vec::new();
        let mut has_seen = vec![false; self.witnesses.len()];
        for (witness, seen) in self.witnesses.iter().zip(&mut has_seen) {
            match parsed.cosigned(&witness.key) {
                Ok(seconds) => {
                    *seen = true;
                    cosigned.push((witness.name.clone(), seconds));
                }
                Err(NoteError::NotSigned(_)) => {}
                Err(error) => return Err(CheckpointError::from(error).into()),
            }
        }
        if !self.quorum.is_met(&has_seen) {
            let names: Vec<&str> = cosigned.iter().map(|(name, _)| name.as_str()).collect();
            let seen = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(PolicyError::Quorum { seen });
        }
        Ok(Vouched { checkpoint, log, cosigned })
    }

    fn signed_by_log(&self, note: &[u8]) -> Result<(Checkpoint, VerifierKey), PolicyError> {
        for key in &self.logs {
            match Checkpoint::verify(note, key) {
                Ok(checkpoint) => return Ok((checkpoint, key.clone())),
                Err(CheckpointError::Note(NoteError::NotSigned(_))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let origin = Checkpoint::parse_unverified(note)?.origin;
        let keys: Vec<String> = self.logs.iter().map(ToString::to_string).collect();
        let keys = if keys.is_empty() { "none is".to_owned() } else { keys.join(", ") };
        Err(PolicyError::NoLog { origin, keys })
    }
}

impl Quorum {
    fn is_met(&self, has_seen: &[bool]) -> bool {
        match self {
            Self::Witness(at) => has_seen.get(*at).copied().unwrap_or(false),
            Self::AtLeast(threshold, members) => {
                members.iter().filter(|member| member.is_met(has_seen)).count() >= *threshold
            }
        }
    }
}

fn malformed(line: usize, what: &str) -> PolicyError {
    PolicyError::Malformed { line, what: what.to_owned() }
}

/// What has been read of a file so far.
#[derive(Default)]
struct Reader {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    /// Witnesses and groups by name, and whether a group has them as a member.
    names: Vec<(Vec<u8>, Quorum, bool)>,
    quorum: Option<Quorum>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err("it has a control character".into());
        }
        let mut items = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty());
        let Some(first) = items.next().filter(|item| !item.starts_with(b"#")) else { return Ok(()) };
        if self.logs.len() + self.names.len() >= DEFINITIONS_MAX {
            return Err(format!("there are more than {DEFINITIONS_MAX} definitions"));
        }
        let items: Vec<&[u8]> = items.collect();
        match (first, items.as_slice()) {
            (b"log", [vkey] | [vkey, _]) => self.log(vkey),
            (b"witness", [name, vkey]) => self.witness(name, vkey, None),
            (b"witness", [name, vkey, url]) => self.witness(name, vkey, Some(url)),
            (b"group", [name, threshold, members @ ..]) if !members.is_empty() => self.group(name, threshold, members),
            (b"quorum", [name]) => self.quorum(name),
            (b"log", _) => Err("it is not `log <vkey> [url]`".into()),
            (b"witness", _) => Err("it is not `witness <name> <vkey> [url]`".into()),
            (b"group", _) => Err("it is not `group <name> all|any|<k> <names…>`".into()),
            (b"quorum", _) => Err("it is not `quorum <name|none>`".into()),
            _ => Err(format!("{:?} is not log, witness, group or quorum", shown(first))),
        }
    }

    fn log(&mut self, vkey: &[u8]) -> Result<(), String> {
        let key = VerifierKey::parse(text(vkey)?).map_err(|error| error.to_string())?;
        if self.logs.iter().any(|log| log.bytes() == key.bytes()) {
            return Err("this key is listed before".into());
        }
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], vkey: &[u8], url: Option<&[u8]>) -> Result<(), String> {
        let key = WitnessKey::parse(text(vkey)?).map_err(|error| error.to_string())?;
        if self.witnesses.iter().any(|witness| witness.key.bytes() == key.bytes()) {
            return Err("this key is listed before".into());
        }
        self.define(name, Quorum::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { name: shown(name), key, url: url.map(shown) });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), String> {
        let threshold = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            digits => text(digits)?
                .parse()
                .ok()
                .filter(|k| (1..=members.len()).contains(k) && !digits.starts_with(b"0") && !digits.starts_with(b"+"))
                .ok_or_else(|| {
                    format!("{:?} is not all, any or a number from 1 to {}", shown(digits), members.len())
                })?,
        };
        let members = members.iter().map(|member| self.member(member)).collect::<Result<_, _>>()?;
        self.define(name, Quorum::AtLeast(threshold, members))
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is a quorum before".into());
        }
        let named = || self.names.iter().find(|(known, ..)| known == name).map(|(_, quorum, _)| quorum.clone());
        let quorum = if name == b"none" { Some(Quorum::AtLeast(0, Vec::new())) } else { named() };
        self.quorum = Some(quorum.ok_or_else(|| format!("{:?} is not defined before", shown(name)))?);
        Ok(())
    }

    fn member(&mut self, name: &[u8]) -> Result<Quorum, String> {
        match self.names.iter_mut().find(|(known, ..)| known == name) {
            None => Err(format!("{:?} is not defined before", shown(name))),
            Some((_, _, true)) => Err(format!("{:?} is a member of a group already", shown(name))),
            Some((_, quorum, is_member)) => {
                *is_member = true;
                Ok(quorum.clone())
            }
        }
    }

    fn define(&mut self, name: &[u8], quorum: Quorum) -> Result<(), String> {
        if name == b"none" || self.names.iter().any(|(known, ..)| known == name) {
            return Err(format!("the name {:?} is taken", shown(name)));
        }
        self.names.push((name.to_owned(), quorum, false));
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a key is not text".into())
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
