//! Configuration: built-in values, then a TOML file, then environment variables, then flags.
//!
//! Every key is listed once, in [`Config::default`]; from there come the environment variables (`listen.api` is
//! `TESTIMONY_LISTEN_API`) and the guess at what an unknown key was meant to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use record::Source;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

mod sections;

pub(crate) use sections::{
    Access, Certificate, EventKind, Files, Forward, GroupGrant, Ingest, Ledger, Limits, Listen, Metrics, Oidc, Policy,
    Postgres, Record, Retention, RoutedUpstream, Syslog, Timestamping, Tls, Token, Upstream, Witness, Witnessing,
};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// The name of a new log; empty: one is made up.
    pub(crate) origin: String,
    /// What the calls that are recorded belong to.
    pub(crate) service: String,
    pub(crate) environment: String,
    /// The name of this machine in records; empty: the machine's own.
    pub(crate) host: String,
    pub(crate) listen: Listen,
    pub(crate) tls: Tls,
    pub(crate) upstream: Upstream,
    /// Model servers by name, which versions of routes are at.
    pub(crate) upstreams: BTreeMap<String, RoutedUpstream>,
    pub(crate) access: Access,
    /// Issuers of bearer tokens.
    pub(crate) token: Vec<Token>,
    pub(crate) oidc: Oidc,
    /// Whom names in client certificates stand for.
    pub(crate) certificate: Vec<Certificate>,
    pub(crate) policy: Policy,
    /// What the crate `guardrails` reads: `input` and `output`, each with a table a check.
    pub(crate) guardrails: Table,
    pub(crate) ingest: Ingest,
    pub(crate) syslog: Syslog,
    pub(crate) postgres: Postgres,
    /// Files that are followed, group by group.
    pub(crate) files: Vec<Files>,
    pub(crate) ledger: Ledger,
    /// Those who cosign this log's checkpoints.
    pub(crate) witness: Vec<Witness>,
    pub(crate) witnessing: Witnessing,
    pub(crate) timestamping: Timestamping,
    pub(crate) forward: Forward,
    pub(crate) retention: Retention,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
}

impl Config {
    /// Where records of one of the program's producers come from.
    pub(crate) fn source(&self, origin: &str, producer: &str) -> Source {
        Source {
            service: self.service.clone(),
            environment: self.environment.clone(),
            host: if self.host.is_empty() { world::host_name() } else { self.host.clone() },
            origin: origin.to_owned(),
            producer: producer.to_owned(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let ledger = ledger::Options::default();
        Self {
            data: PathBuf::from("./testimony-data"),
            origin: String::new(),
            service: "default".into(),
            environment: "default".into(),
            host: String::new(),
            listen: Listen { api: local(4140), gateway: local(4141), otlp: String::new(), allowed_hosts: Vec::new() },
            tls: Tls { cert: PathBuf::new(), key: PathBuf::new(), client_ca: PathBuf::new(), client_required: false },
            upstream: Upstream::default(),
            upstreams: BTreeMap::new(),
            access: Access { anonymous: "auto".into() },
            token: Vec::new(),
            oidc: Oidc::default(),
            certificate: Vec::new(),
            policy: Policy {
                path: PathBuf::new(),
                url: String::new(),
                every_s: 5,
                key: PathBuf::new(),
                key_algorithm: "RS256".into(),
                key_scope: String::new(),
                fail: "closed".into(),
                opa: String::new(),
                opa_token: String::new(),
                opa_points: vec!["request".into()],
                timeout_ms: 500,
            },
            guardrails: Table::new(),
            ingest: Ingest { other_spans: false, other_logs: false, event: Vec::new() },
            syslog: Syslog::default(),
            postgres: Postgres { listen: String::new(), idle_s: 3_600 },
            files: Vec::new(),
            ledger: Ledger {
                reserve_bytes: ledger.reserve_bytes,
                wal_segment_bytes: ledger.wal_segment_bytes,
                pack_entries: ledger.pack_entries,
                alarm_percent: "80,90,95".into(),
            },
            witness: Vec::new(),
            witnessing: Witnessing { quorum: PathBuf::new(), cosigns: Vec::new() },
            timestamping: Timestamping { url: String::new(), every: "1h".into() },
            forward: Forward::default(),
            retention: Retention::default(),
            limits: Limits::default(),
            metrics: Metrics { otlp: String::new(), otlp_token: String::new(), otlp_every_s: 60 },
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("could not read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{place} is not valid TOML: {what}")]
    Toml { place: String, what: String },
    #[error("{place}: there is no setting {key:?}{}", hint(.nearest))]
    UnknownKey { place: String, key: String, nearest: Option<String> },
    #[error("{place}: {what}")]
    Value { place: String, what: String },
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |nearest| format!(": did you mean {nearest:?}?"))
}

/// Variables of the environment that are no settings of the server.
const OTHER_VARIABLES: [&str; 7] = [
    "TESTIMONY_SERVER",
    "TESTIMONY_API_KEY",
    "TESTIMONY_CA",
    "TESTIMONY_CERT",
    "TESTIMONY_CERT_KEY",
    "TESTIMONY_LOG",
    "TESTIMONY_CONFIG",
];
const PREFIX: &str = "TESTIMONY_";

/// Puts the layers together. `flags` are key and value, as TOML would read the value.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[(&str, String)],
) -> Result<Config, ConfigError> {
    let mut layers = defaults();
    let known = known_keys(&layers);
    if let Some(path) = file {
        let place = path.display().to_string();
        #[expect(clippy::disallowed_methods, reason = "a configuration file is read once, at start")]
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigError::Toml { place: place.clone(), what: error.to_string() })?;
        merge(&mut layers, table, "", &place, &known)?;
    }
    for (name, text) in
        environment.filter(|(name, _)| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name.as_str()))
    {
        let place = format!("environment variable {name}");
        let variable = |key: &String| format!("{PREFIX}{}", key.replace('.', "_").to_uppercase());
        let Some(key) = known.iter().find(|key| variable(key) == name) else {
            let nearest = nearest(&name, known.iter().map(variable));
            return Err(ConfigError::UnknownKey { place: "environment".into(), key: name, nearest });
        };
        set(&mut layers, key, &text, &place)?;
    }
    for (key, text) in flags {
        set(&mut layers, key, text, &format!("flag for {key}"))?;
    }
    Value::Table(layers).try_into().map_err(|error: toml::de::Error| ConfigError::Value {
        place: "configuration".into(),
        what: error.to_string().trim().to_owned(),
    })
}

fn defaults() -> Table {
    // The built-in values are plain data: they always serialise.
    Table::try_from(Config::default()).unwrap_or_default()
}

/// Every key that holds a value, dotted.
fn known_keys(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => keys.extend(known_keys(inner).iter().map(|inner| format!("{key}.{inner}"))),
            _ => keys.push(key.clone()),
        }
    }
    keys
}

fn nearest(key: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(key, &known), known));
    scored
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= key.len() / 2 + 1)
        .map(|(_, known)| known)
}

fn merge(into: &mut Table, from: Table, path: &str, place: &str, known: &[String]) -> Result<(), ConfigError> {
    for (key, value) in from {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.get_mut(&key), value) {
            // What may stand in these, others know: their reader, or who gives the names.
            (Some(Value::Table(inner)), Value::Table(more)) if matches!(full.as_str(), "guardrails" | "upstreams") => {
                *inner = more;
            }
            (Some(Value::Table(inner)), Value::Table(more)) => merge(inner, more, &full, place, known)?,
            (Some(slot), value) if slot.same_type(&value) => *slot = value,
            (Some(slot), value) => {
                let what = format!("{full} is {}, not {}", slot.type_str(), value.type_str());
                return Err(ConfigError::Value { place: place.into(), what });
            }
            (None, value) => {
                let nearest = nearest(&full, known.iter().cloned().chain(sections(known)));
                let section = if value.is_table() { " section" } else { "" };
                return Err(ConfigError::UnknownKey { place: format!("{place}{section}"), key: full, nearest });
            }
        }
    }
    Ok(())
}

fn sections(known: &[String]) -> impl Iterator<Item = String> {
    known.iter().filter_map(|key| key.split_once('.').map(|(section, _)| section.to_owned()))
}

/// Sets one key from a text; lists are written with commas.
fn set(table: &mut Table, key: &str, text: &str, place: &str) -> Result<(), ConfigError> {
    let mut slot = None;
    let mut inner = Some(table);
    for part in key.split('.') {
        slot = inner.take().and_then(|table| table.get_mut(part));
        if let Some(Value::Table(_)) = slot {
            inner = slot.take().and_then(Value::as_table_mut);
        }
    }
    let wrong = |what: &str| ConfigError::Value { place: place.to_owned(), what: format!("{text:?} is not {what}") };
    match slot {
        Some(Value::Integer(number)) => *number = text.parse().map_err(|_| wrong("a whole number"))?,
        Some(Value::Boolean(fact)) => *fact = text.parse().map_err(|_| wrong("true or false"))?,
        Some(Value::Array(items)) => {
            *items = text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| item.into()).collect();
        }
        Some(Value::String(value)) => text.clone_into(value),
        _ => return Err(wrong("a setting")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn variables(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_built_in() {
        let file = file("environment = 'file'\nservice = 'file'\n[listen]\napi = '127.0.0.1:1'\n");
        let environment =
            variables(&[("TESTIMONY_SERVICE", "variable"), ("TESTIMONY_LISTEN_API", "127.0.0.1:2"), ("HOME", "/")]);
        let config = load(Some(file.path()), environment, &[("listen.api", "127.0.0.1:3".into())]).unwrap();
        assert_eq!((config.environment.as_str(), config.service.as_str()), ("file", "variable"));
        assert_eq!(config.listen.api.port(), 3);
        assert_eq!(config.listen.gateway.port(), 4141);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_the_nearest_one() {
        let said = |text: &str| {
            let file = file(text);
            let name = file.path().display().to_string();
            load(Some(file.path()), variables(&[]), &[]).unwrap_err().to_string().replace(&name, "testimony.toml")
        };
        let lines = [
            said("enviroment = 'x'"),
            said("[listen]\napy = 'x'"),
            said("[upstraem]\nurl = 'x'"),
            said("data = 7"),
            said("[listen]\napi = 'nowhere'"),
            said("data = "),
            load(None, variables(&[("TESTIMONY_UPSTREAM_ULR", "x")]), &[]).unwrap_err().to_string(),
            load(None, variables(&[("TESTIMONY_LIMITS_STOP_GRACE_S", "soon")]), &[]).unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(lines.join("\n---\n"));
    }

    #[test]
    fn model_servers_of_routes_have_names() {
        let text = "[upstreams.canary]\nurl = 'http://10.0.0.7:8080/v1'\n[upstreams.paid]\nurl = 'https://api.example/v1'\napi_key = 'k'\n";
        let config = load(Some(file(text).path()), variables(&[]), &[]).unwrap();
        let names: Vec<(&str, &str)> =
            config.upstreams.iter().map(|(name, one)| (name.as_str(), one.api_key.as_str())).collect();
        assert_eq!(names, [("canary", ""), ("paid", "k")]);
        let wrong =
            load(Some(file("[upstreams.canary]\nurl = 'x'\nulr = 'y'\n").path()), variables(&[]), &[]).unwrap_err();
        assert!(wrong.to_string().contains("ulr"), "{wrong}");
    }

    #[test]
    fn lists_come_from_the_environment_with_commas() {
        let config = load(None, variables(&[("TESTIMONY_UPSTREAM_MODELS", "gemma*, llama")]), &[]).unwrap();
        assert_eq!(config.upstream.models, ["gemma*", "llama"]);
    }
}
