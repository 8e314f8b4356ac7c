//! Which files of a folder or bundle are rules, tests and data.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::engine::LoadError;
use crate::limits::Limits;

/// How deep directories may be nested.
const DIRECTORIES_MAX: usize = 16;

/// A file of rules.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Module {
    /// Whether it is only there for [`crate::Policy::test`].
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("_test.rego")
    }
}

/// What a policy is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// By path.
    pub(crate) modules: Vec<Module>,
    pub(crate) data: Map<String, Value>,
    /// SHA-256 in hexadecimal.
    pub(crate) digest: String,
}

/// Sorts files out. Those that are neither rules nor data, such as a README, are passed over and not part of the digest.
pub(crate) fn read(given: &[(String, Vec<u8>)], limits: &Limits) -> Result<Files, LoadError> {
    if given.len() > limits.files_max {
        return Err(LoadError::TooLarge { what: "the number of files".to_owned(), limit: limits.files_max });
    }
    let total = given.iter().map(|(_, bytes)| bytes.len()).fold(0, usize::saturating_add);
    if total > limits.total_bytes_max {
        return Err(LoadError::TooLarge {
            what: "the size of all files in bytes".to_owned(),
            limit: limits.total_bytes_max,
        });
    }
    let mut sorted =
        given.iter().map(|(path, bytes)| Ok((clean(path)?, bytes))).collect::<Result<Vec<_>, LoadError>>()?;
    sorted.sort();
    let (mut files, mut digest) = (Files::default(), Sha256::new());
    for (at, (path, bytes)) in sorted.iter().enumerate() {
        if bytes.len() > limits.file_bytes_max {
            return Err(LoadError::TooLarge {
                what: format!("the size of {path} in bytes"),
                limit: limits.file_bytes_max,
            });
        }
        if at > 0 && sorted[at - 1].0 == *path {
            return Err(LoadError::Path { path: path.clone(), what: "is there twice" });
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        match name {
            "data.json" => insert(&mut files.data, path, directory, bytes)?,
            "data.yaml" | "data.yml" => {
                return Err(LoadError::Path { path: path.clone(), what: "is not read: data is JSON, in data.json" });
            }
            _ if name.ends_with(".rego") => {
                let text = std::str::from_utf8(bytes);
                let text = text.map_err(|_| LoadError::Path { path: path.clone(), what: "is not UTF-8" })?;
                files.modules.push(Module { path: path.clone(), text: text.to_owned() });
            }
            ".manifest" => {}
            _ => continue,
        }
        digest.update(path.as_bytes());
        digest.update([0]);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    files.digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(files)
}

/// A path below the folder, without `./` before it. Paths become names of data, never of files that are opened.
pub(crate) fn clean(path: &str) -> Result<String, LoadError> {
    let refuse = |what| Err(LoadError::Path { path: path.to_owned(), what });
    let clean = path.strip_prefix("./").unwrap_or(path);
    let parts: Vec<&str> = clean.split('/').collect();
    if clean.contains(['\\', '\0']) || parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
        return refuse("is not a path below the folder");
    }
    if parts.len() > DIRECTORIES_MAX {
        return refuse("is nested too deep");
    }
    Ok(clean.to_owned())
}

/// Puts a document where its directory says, as OPA does: `roles/data.json` is `data.roles`.
fn insert(data: &mut Map<String, Value>, path: &str, directory: &str, bytes: &[u8]) -> Result<(), LoadError> {
    let refuse = |what: String| LoadError::Data { path: path.to_owned(), what };
    let document: Value = serde_json::from_slice(bytes).map_err(|error| refuse(format!("is not JSON: {error}")))?;
    let Value::Object(document) = document else { return Err(refuse("is not an object".to_owned())) };
    let mut at = data;
    for part in directory.split('/').filter(|part| !part.is_empty()) {
        let next = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = next else { return Err(refuse(format!("lies below {part}, which has a value"))) };
        at = next;
    }
    merge(at, document).map_err(|key| refuse(format!("sets {key}, which another file sets")))
}

/// Objects are merged, as deep as they are; anything else that is there twice is named.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) -> Result<(), String> {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from)?,
            _ => return Err(key),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
