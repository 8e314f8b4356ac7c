//! Evidence for one record in a file: a tlog-proof (C2SP) whose `extra` holds the record itself and what of its content
//! is disclosed. Whoever has the file and knows whom to trust needs neither the log nor its server.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::{
    Content, ContentError, Envelope, EnvelopeError, FieldRef, Salt, Timestamp, check_disclosed, escaped, salt,
};
use serde::{Deserialize, Serialize};
use tlog::{
    Checkpoint, Hash, PolicyError, ProofFile, ProofFileError, TimestampError, Token, TrustPolicy, Vouched,
    check_inclusion, leaf_hash,
};

/// What `extra` says it is.
const FORMAT: &str = "testimony/evidence@v1";
/// Lines of one disclosed field that a report shows.
const LINES_MAX: usize = 40;

/// Evidence for one record. Nothing in it has been verified until [`Evidence::check`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Where the record stands, the way to the root, and the signed checkpoint.
    pub proof: ProofFile,
    /// The exact bytes of the record's leaf.
    pub leaf: String,
    /// What of its content is disclosed.
    pub disclosed: Vec<Disclosed>,
    /// Earlier checkpoints that cover the record too and that an authority has stamped with a time.
    pub stamps: Vec<Stamp>,
}

/// A checkpoint that a time-stamping authority (RFC 3161) has seen, and the record's way to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The checkpoint with its signatures: the exact bytes that were stamped.
    pub checkpoint: String,
    /// The hashes from the record's leaf to the root of that checkpoint.
    pub hashes: Vec<Hash>,
    /// The authority's token in DER.
    pub token: Vec<u8>,
}

/// One disclosed field of content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosed {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media: String,
    /// Its salt, without which its bytes cannot be held against the commitment.
    pub salt: Salt,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Evidence that holds.
#[derive(Debug, Clone)]
pub struct CheckedEvidence {
    /// The checkpoint that covers the record, and who vouches for it.
    pub vouched: Vouched,
    /// The record's index.
    pub index: u64,
    /// The hash of its leaf.
    pub leaf_hash: Hash,
    /// The record.
    pub leaf: String,
    /// The fields of content that are disclosed; each is what the record commits to.
    pub disclosed: Vec<Disclosed>,
    /// The names of the fields that are not.
    pub undisclosed: Vec<String>,
    /// Checkpoints with the record, each with a token that is of it: whether an authority signed the token is for
    /// `openssl ts -verify` to say.
    pub stamps: Vec<(String, Token)>,
}

/// Why evidence does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The proof or its checkpoint.
    #[error(transparent)]
    Proof(#[from] ProofFileError),
    /// The `extra` line is not of this format.
    #[error("the file does not hold the record itself: {0}")]
    Extra(String),
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] EnvelopeError),
    /// Disclosed content is not what the record commits to.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A time-stamp's token.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// A time-stamp is of another log.
    #[error("a time-stamp is of the log {0:?}, not of this one")]
    StampedLog(String),
    /// The record has no such field.
    #[error("the record commits to no content {0:?}")]
    NoField(String),
}

/// The `extra` of the file, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    format: String,
    leaf: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    content: Vec<ExtraField>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timestamps: Vec<ExtraStamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtraStamp {
    checkpoint: String,
    hashes: Vec<String>,
    token: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtraField {
    name: String,
    media: String,
    salt: String,
    bytes: String,
}

impl Disclosed {
    /// Discloses the field of a record's content with a name.
    #[must_use]
    pub fn of(content: &Content, name: &str) -> Option<Self> {
        let field = content.field(name)?;
        Some(Self {
            name: field.name.clone(),
            media: field.media.clone(),
            salt: salt(&content.seed, name),
            bytes: field.bytes.clone(),
        })
    }

    fn field(&self) -> FieldRef<'_> {
        FieldRef { name: &self.name, media: &self.media, bytes: &self.bytes }
    }
}

impl Evidence {
    /// Evidence for a record, to be written to a file.
    #[must_use]
    pub fn new(
        index: u64,
        hashes: Vec<Hash>,
        checkpoint: String,
        leaf: String,
        disclosed: Vec<Disclosed>,
        stamps: Vec<Stamp>,
    ) -> Self {
        let content = disclosed.iter().map(|field| ExtraField {
            name: field.name.clone(),
            media: field.media.clone(),
            salt: STANDARD.encode(field.salt),
            bytes: STANDARD.encode(&field.bytes),
        });
        let timestamps = stamps.iter().map(|stamp| ExtraStamp {
            checkpoint: stamp.checkpoint.clone(),
            hashes: stamp.hashes.iter().map(Hash::to_string).collect(),
            token: STANDARD.encode(&stamp.token),
        });
        let (content, timestamps) = (content.collect(), timestamps.collect());
        let extra = Extra { format: FORMAT.into(), leaf: leaf.clone(), content, timestamps };
        // Texts only: they always serialise.
        let extra = serde_json::to_vec(&extra).unwrap_or_default();
        Self { proof: ProofFile { extra, index, hashes, checkpoint }, leaf, disclosed, stamps }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not a tlog-proof, or does not hold the record.
    pub fn parse(file: &[u8]) -> Result<Self, EvidenceError> {
        let proof = ProofFile::parse(file)?;
        let wrong = |what: &dyn fmt::Display| EvidenceError::Extra(what.to_string());
        let extra: Extra = serde_json::from_slice(&proof.extra).map_err(|error| wrong(&error))?;
        if extra.format != FORMAT {
            return Err(wrong(&format!("its format is {:?}, this program reads {FORMAT:?}", extra.format)));
        }
        let decode = |text: &str| STANDARD.decode(text).map_err(|error| wrong(&error));
        let disclosed = extra.content.into_iter().map(|field| {
            let salt = decode(&field.salt)?.try_into().map_err(|_| wrong(&"a salt does not have 32 bytes"))?;
            Ok(Disclosed { bytes: decode(&field.bytes)?, name: field.name, media: field.media, salt })
        });
        let disclosed = disclosed.collect::<Result<_, EvidenceError>>()?;
        let stamps = extra.timestamps.into_iter().map(|stamp| {
            let hashes = stamp.hashes.iter().map(|hash| Hash::parse(hash)).collect::<Option<_>>();
            let hashes = hashes.ok_or_else(|| wrong(&"a hash of a time-stamp is not one"))?;
            Ok(Stamp { checkpoint: stamp.checkpoint, hashes, token: decode(&stamp.token)? })
        });
        let stamps = stamps.collect::<Result<_, EvidenceError>>()?;
        Ok(Self { proof, leaf: extra.leaf, disclosed, stamps })
    }

    /// Checks that a log which is trusted has this record, and that everything disclosed is what the record commits to.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(self, policy: &TrustPolicy) -> Result<CheckedEvidence, EvidenceError> {
        let vouched = self.proof.check(self.leaf.as_bytes(), policy)?;
        let envelope = Envelope::parse(self.leaf.as_bytes())?;
        for field in &self.disclosed {
            let committed = envelope.commitments().find(|(name, _)| *name == field.name);
            let (_, commitment) = committed.ok_or_else(|| EvidenceError::NoField(field.name.clone()))?;
            check_disclosed(&field.salt, field.field(), commitment)?;
        }
        let is_disclosed = |name: &str| self.disclosed.iter().any(|field| field.name == name);
        let undisclosed = envelope.commitments().filter(|(name, _)| !is_disclosed(name));
        let undisclosed = undisclosed.map(|(name, _)| name.to_owned()).collect();
        let leaf_hash = leaf_hash(self.leaf.as_bytes());
        let Self { proof, leaf, disclosed, stamps } = self;
        let origin = &vouched.checkpoint.origin;
        let stamps = stamps.into_iter().map(|stamp| stamp.check(proof.index, leaf_hash, origin));
        let stamps = stamps.collect::<Result<_, EvidenceError>>()?;
        Ok(CheckedEvidence { vouched, index: proof.index, leaf_hash, leaf, disclosed, undisclosed, stamps })
    }
}

impl Stamp {
    /// Checks that the record is in the tree that was stamped, and that the token is of its checkpoint. Who signed that
    /// checkpoint is not asked: that the leaf was there before the time in the token follows from the hashes alone, and
    /// the log may have another key since.
    fn check(self, index: u64, leaf_hash: Hash, origin: &str) -> Result<(String, Token), EvidenceError> {
        let token = Token::parse(&self.token, self.checkpoint.as_bytes())?;
        let stamped = Checkpoint::parse_unverified(self.checkpoint.as_bytes()).map_err(PolicyError::from);
        let stamped = stamped.map_err(ProofFileError::from)?;
        if stamped.origin != origin {
            return Err(EvidenceError::StampedLog(stamped.origin));
        }
        check_inclusion(index, stamped.size, leaf_hash, &self.hashes, stamped.root).map_err(ProofFileError::from)?;
        Ok((self.checkpoint, token))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proof.fmt(f)
    }
}

/// What a person is told, with nothing in it that could steer a terminal.
impl fmt::Display for CheckedEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoint = &self.vouched.checkpoint;
        writeln!(
            f,
            "✓ record {} of the {} in {}, as signed by {}",
            self.index, checkpoint.size, checkpoint.origin, self.vouched.log
        )?;
        for (name, seconds) in &self.vouched.cosigned {
            writeln!(f, "✓ seen by {} at {}", escaped(name), Timestamp::from_posix_seconds(*seconds))?;
        }
        for (_, token) in &self.stamps {
            writeln!(
                f,
                "· a time-stamp over this record says {}: openssl ts -verify tells whether its authority signed that",
                Timestamp::from_posix_seconds(token.time)
            )?;
        }
        for field in &self.disclosed {
            writeln!(
                f,
                "✓ {}: {} bytes of {} as committed to",
                escaped(&field.name),
                field.bytes.len(),
                escaped(&field.media)
            )?;
        }
        for name in &self.undisclosed {
            writeln!(f, "· {}: committed to, not disclosed", escaped(name))?;
        }
        writeln!(f, "\nleaf hash  {}\nrecord     {}", self.leaf_hash, escaped(&self.leaf))?;
        for field in &self.disclosed {
            writeln!(f, "\n{}", escaped(&field.name))?;
            let text = String::from_utf8_lossy(&field.bytes);
            let text = escaped(&text);
            text.lines().take(LINES_MAX).try_for_each(|line| writeln!(f, "  {line}"))?;
            if text.lines().count() > LINES_MAX {
                writeln!(f, "  … {} bytes in all", field.bytes.len())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
