//! API keys: made, shown once, looked up on every request, revoked.
//!
//! All keys are in memory, so that looking one up waits for nothing; the file is written when a key is made or revoked, and when
//! [`KeyStore::write_last_used`] is called. Since redb lets one process have the file, memory and file cannot differ: on a running
//! server keys are changed by asking the server, on a stopped one by opening the file.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use record::Timestamp;
use world::Entropy;

use crate::digest::{equal, sha256};
use crate::identity::{ActorKind, Grant, Identity, Method};
use crate::role::Role;
use crate::scope::Scope;
use crate::secret::{self, Secret};
use crate::state::{State, StateError};

mod stored;

/// The most keys of one installation, revoked ones counted: they stay, since records name them.
pub const KEYS_MAX: usize = 10_000;
/// The most bytes of a key's name, and of the name of who made it.
const NAME_BYTES_MAX: usize = 64;
/// Last use is known to the minute.
const USED_MICROS: i64 = 60_000_000;
/// Identifiers that are drawn before giving up; of 10,000 keys and 2⁴⁰ identifiers one draw is nearly always enough.
const DRAWS_MAX: usize = 4;

/// The API keys of an installation. Clones are the same keys.
#[derive(Clone)]
pub struct KeyStore(Arc<Inner>);

struct Inner {
    state: State,
    known: RwLock<Known>,
    /// Making and revoking change file and memory as one step, for one at a time.
    one_at_a_time: Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// By the first 64 bits of the SHA-256 of the secret. Only these are looked up; the rest is compared in constant time.
    by_digest: HashMap<u64, Arc<Entry>>,
    by_id: BTreeMap<String, Arc<Entry>>,
}

struct Entry {
    digest: [u8; 32],
    key: ApiKey,
    identity: Arc<Identity>,
    /// The minute of the last use, in microseconds since the epoch; 0: never.
    used: AtomicI64,
    /// The same as the file has it.
    used_written: AtomicI64,
}

/// What is known of an API key; not its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The part of the secret that names it.
    pub id: String,
    /// Its name, which is also who its holder is in records.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Where.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ends; none: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The minute in which it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Where.
    pub scope: Scope,
    /// When it ends; none: never.
    pub expires_at: Option<Timestamp>,
    /// Who makes it.
    pub created_by: String,
}

/// Why a key could not be made or revoked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A name that records could not show, or that looks like an identifier.
    #[error("{0:?} cannot be a name: 1 to {NAME_BYTES_MAX} of letters, digits, and . _ - @ +")]
    Name(String),
    /// The name is taken.
    #[error("there is a key {0:?} already; revoke it first or take another name")]
    Taken(String),
    /// It would never be good.
    #[error("the key would end before it begins")]
    EndsBeforeItBegins,
    /// Too many.
    #[error("there are {KEYS_MAX} keys already, the most that an installation may have")]
    TooMany,
    /// No such key.
    #[error("there is no key {0:?} that is in force")]
    NotFound(String),
    /// The randomness gives identifiers that are taken.
    #[error("no free identifier was found for the key; is the source of randomness broken?")]
    Randomness,
    /// The file.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Why an API key was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Mistyped or cut off, by its checksum.
    #[error("the API key is mistyped: its checksum does not fit")]
    Malformed,
    /// There never was such a key here.
    #[error("there is no such API key")]
    Unknown,
    /// Its time is over.
    #[error("the API key has expired")]
    Expired,
    /// It was revoked.
    #[error("the API key was revoked")]
    Revoked,
}

impl KeyStore {
    /// Reads all keys of an installation.
    ///
    /// # Errors
    /// When the file cannot be read or has what is no key.
    pub fn open(state: State) -> Result<Self, StateError> {
        let mut known = Known::default();
        for entry in stored::read_all(&state)? {
            known.put(Arc::new(entry));
        }
        Ok(Self(Arc::new(Inner { state, known: RwLock::new(known), one_at_a_time: Mutex::new(()) })))
    }

    /// Makes a key. The secret is not kept: this is the one time that it can be shown. When this returns, the key is durable.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn create(&self, new: NewKey, now: Timestamp, entropy: &dyn Entropy) -> Result<(Secret, ApiKey), KeyError> {
        let _alone = self.alone();
        check_name(&new.name)?;
        check_name(&new.created_by)?;
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::EndsBeforeItBegins);
        }
        let (id, secret) = {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.by_id.len() >= KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            // A name that is another key's identifier would make `revoke` ambiguous.
            if known.in_force(&new.name).is_some() || known.by_id.contains_key(&new.name) {
                return Err(KeyError::Taken(new.name));
            }
            known.draw(entropy).ok_or(KeyError::Randomness)?
        };
        let NewKey { name, role, scope, expires_at, created_by } = new;
        let (revoked_at, last_used_at) = (None, None);
        let key = ApiKey { id, name, role, scope, created_at: now, created_by, expires_at, revoked_at, last_used_at };
        let entry = Arc::new(Entry::new(sha256(secret.expose().as_bytes()), key.clone()));
        stored::write(&self.0.state, &entry)?;
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).put(entry);
        Ok((secret, key))
    }

    /// Revokes a key by its identifier or name. When this returns, it is refused everywhere and durably.
    ///
    /// # Errors
    /// See [`KeyError`]; a key that was revoked before is not found.
    pub fn revoke(&self, id_or_name: &str, now: Timestamp) -> Result<ApiKey, KeyError> {
        let _alone = self.alone();
        let found = {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            known.in_force(id_or_name).cloned()
        };
        let old = found.ok_or_else(|| KeyError::NotFound(id_or_name.chars().take(NAME_BYTES_MAX).collect()))?;
        let entry = Entry::new(old.digest, ApiKey { revoked_at: Some(now), ..old.seen() });
        let (entry, key) = (Arc::new(entry), ApiKey { revoked_at: Some(now), ..old.seen() });
        stored::write(&self.0.state, &entry)?;
        entry.used_written.store(old.used_written.load(Ordering::Relaxed), Ordering::Relaxed);
        self.0.known.write().unwrap_or_else(PoisonError::into_inner).put(entry);
        Ok(key)
    }

    /// All keys, revoked ones too, by identifier.
    #[must_use]
    pub fn list(&self) -> Vec<ApiKey> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_id.values().map(|entry| entry.seen()).collect()
    }

    /// Who holds a key. Nothing is read from disk and nothing is written.
    ///
    /// # Errors
    /// See [`KeyRefusal`]. The difference is for the record; a client learns only that it was refused.
    pub fn verify(&self, secret: &str, now: Timestamp) -> Result<Arc<Identity>, KeyRefusal> {
        let digest = sha256(secret.as_bytes());
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known.by_digest.get(&place(&digest)).filter(|entry| equal(&entry.digest, &digest)) else {
            return Err(if secret::is_well_formed(secret) { KeyRefusal::Unknown } else { KeyRefusal::Malformed });
        };
        if entry.key.revoked_at.is_some() {
            return Err(KeyRefusal::Revoked);
        }
        if entry.identity.has_ended(now) {
            return Err(KeyRefusal::Expired);
        }
        entry.used.fetch_max(now.as_micros() - now.as_micros().rem_euclid(USED_MICROS), Ordering::Relaxed);
        Ok(entry.identity.clone())
    }

    /// Whether a key, by its identifier, was neither revoked nor has ended: what it has opened is no longer good then.
    #[must_use]
    pub fn is_in_force(&self, id: &str, now: Timestamp) -> bool {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_id.get(id).is_some_and(|entry| entry.key.revoked_at.is_none() && !entry.identity.has_ended(now))
    }

    /// Writes when keys were last used, those whose minute has changed since, all in one transaction. To be called about once a minute
    /// and before stopping; what a crash loses is a minute of "last used" and nothing else. Says how many were written.
    ///
    /// # Errors
    /// When the file cannot be written; they are written the next time.
    pub fn write_last_used(&self) -> Result<usize, StateError> {
        let _alone = self.alone();
        let changed: Vec<(Arc<Entry>, i64)> = {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            let used = known.by_id.values().map(|entry| (entry, entry.used.load(Ordering::Relaxed)));
            let changed = used.filter(|(entry, used)| entry.used_written.load(Ordering::Relaxed) != *used);
            changed.map(|(entry, used)| (entry.clone(), used)).collect()
        };
        if changed.is_empty() {
            return Ok(0);
        }
        stored::write_used(&self.0.state, changed.iter().map(|(entry, used)| (entry.key.id.as_str(), *used)))?;
        changed.iter().for_each(|(entry, used)| entry.used_written.store(*used, Ordering::Relaxed));
        Ok(changed.len())
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.0.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn put(&mut self, entry: Arc<Entry>) {
        self.by_digest.insert(place(&entry.digest), entry.clone());
        self.by_id.insert(entry.key.id.clone(), entry);
    }

    /// The key that is not revoked and has this identifier or, failing that, this name.
    fn in_force(&self, id_or_name: &str) -> Option<&Arc<Entry>> {
        let in_force = |entry: &&Arc<Entry>| entry.key.revoked_at.is_none();
        let by_name = || self.by_id.values().find(|entry| in_force(entry) && entry.key.name == id_or_name);
        self.by_id.get(id_or_name).filter(in_force).or_else(by_name)
    }

    /// A free identifier and its secret.
    fn draw(&self, entropy: &dyn Entropy) -> Option<(String, Secret)> {
        (0..DRAWS_MAX).find_map(|_| {
            let id = secret::key_id(&entropy.bytes());
            let secret = secret::write(&id, &entropy.bytes());
            let is_free = !self.by_id.contains_key(&id)
                && self.in_force(&id).is_none()
                && !self.by_digest.contains_key(&place(&sha256(secret.expose().as_bytes())));
            is_free.then_some((id, secret))
        })
    }
}

impl Entry {
    fn new(digest: [u8; 32], key: ApiKey) -> Self {
        let identity = Identity {
            kind: ActorKind::Service,
            id: key.name.clone(),
            groups: Vec::new(),
            grants: vec![Grant { role: key.role, scope: key.scope.clone() }],
            method: Method::ApiKey,
            key_id: Some(key.id.clone()),
            expires_at: key.expires_at,
        };
        let used = key.last_used_at.map_or(0, Timestamp::as_micros);
        let (used, used_written) = (AtomicI64::new(used), AtomicI64::new(used));
        Self { digest, key, identity: Arc::new(identity), used, used_written }
    }

    /// The key with its last use as of now.
    fn seen(&self) -> ApiKey {
        let used = self.used.load(Ordering::Relaxed);
        ApiKey { last_used_at: (used != 0).then(|| Timestamp::from_micros(used)), ..self.key.clone() }
    }
}

impl KeyRefusal {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "key_malformed",
            Self::Unknown => "key_unknown",
            Self::Expired => "key_expired",
            Self::Revoked => "key_revoked",
        }
    }
}

fn place(digest: &[u8; 32]) -> u64 {
    digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(fits) {
        return Err(KeyError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
