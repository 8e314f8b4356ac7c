//! API keys as `state.redb` has them: table `api_keys`, identifier to JSON, and `api_keys_used`, identifier to microseconds since
//! the epoch. They are two tables because the second changes every minute.

use record::Timestamp;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::{ApiKey, Entry};
use crate::role::Role;
use crate::scope::Scope;
use crate::state::{State, StateError};

const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("api_keys");
const USED: TableDefinition<'_, &str, i64> = TableDefinition::new("api_keys_used");

/// Times are as RFC 3339 writes them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    name: String,
    role: Role,
    scope: Scope,
    /// Of the whole secret, in hex.
    sha256: String,
    created_at: String,
    created_by: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// All keys.
pub(super) fn read_all(state: &State) -> Result<Vec<Entry>, StateError> {
    let read = state.database().begin_read().map_err(StateError::from_redb)?;
    let keys = match read.open_table(KEYS) {
        Ok(keys) => keys,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(StateError::from_redb(error)),
    };
    let used = match read.open_table(USED) {
        Ok(used) => Some(used),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(StateError::from_redb(error)),
    };
    let mut entries = Vec::new();
    for item in keys.iter().map_err(StateError::from_redb)? {
        let (id, stored) = item.map_err(StateError::from_redb)?;
        let last = match &used {
            Some(used) => used.get(id.value()).map_err(StateError::from_redb)?.map(|micros| micros.value()),
            None => None,
        };
        let damaged = |what: String| StateError::Damaged(format!("API key {}: {what}", id.value()));
        entries.push(entry(id.value(), stored.value(), last).map_err(damaged)?);
    }
    Ok(entries)
}

/// Puts a key in place of what was known of it.
pub(super) fn write(state: &State, entry: &Entry) -> Result<(), StateError> {
    let ApiKey { id, name, role, scope, created_at, created_by, expires_at, revoked_at, .. } = &entry.key;
    let text = |time: &Option<Timestamp>| time.map(|time| time.to_string());
    let stored = Stored {
        name: name.clone(),
        role: *role,
        scope: scope.clone(),
        sha256: entry.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        created_at: created_at.to_string(),
        created_by: created_by.clone(),
        expires_at: text(expires_at),
        revoked_at: text(revoked_at),
    };
    let json = serde_json::to_vec(&stored).map_err(|error| StateError::Damaged(error.to_string()))?;
    let write = state.database().begin_write().map_err(StateError::from_redb)?;
    {
        let mut keys = write.open_table(KEYS).map_err(StateError::from_redb)?;
        keys.insert(id.as_str(), json.as_slice()).map_err(StateError::from_redb)?;
    }
    write.commit().map_err(StateError::from_redb)
}

/// Notes last uses.
pub(super) fn write_used<'a>(state: &State, uses: impl Iterator<Item = (&'a str, i64)>) -> Result<(), StateError> {
    let write = state.database().begin_write().map_err(StateError::from_redb)?;
    {
        let mut used = write.open_table(USED).map_err(StateError::from_redb)?;
        for (id, micros) in uses {
            used.insert(id, micros).map_err(StateError::from_redb)?;
        }
    }
    write.commit().map_err(StateError::from_redb)
}

fn entry(id: &str, json: &[u8], used: Option<i64>) -> Result<Entry, String> {
    let stored: Stored = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let time = |text: &String| Timestamp::parse(text).map_err(|error| error.to_string());
    let digest = digest(&stored.sha256).ok_or("its SHA-256 is not 64 hex digits")?;
    let key = ApiKey {
        id: id.to_owned(),
        name: stored.name,
        role: stored.role,
        scope: stored.scope,
        created_at: time(&stored.created_at)?,
        created_by: stored.created_by,
        expires_at: stored.expires_at.as_ref().map(time).transpose()?,
        revoked_at: stored.revoked_at.as_ref().map(time).transpose()?,
        last_used_at: used.map(Timestamp::from_micros),
    };
    Ok(Entry::new(digest, key))
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    is_hex.then_some(digest)
}
