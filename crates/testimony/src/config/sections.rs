//! The sections of the configuration, one after the other.

use std::net::SocketAddr;
use std::path::PathBuf;

use ingest::{BodyPlace, EntryFormat, Wrapping};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// Interface, search, tail.
    pub(crate) api: SocketAddr,
    /// Models.
    pub(crate) gateway: SocketAddr,
    /// Another address for OTLP, such as `127.0.0.1:4317`, where exporters send without being told; empty: none.
    pub(crate) otlp: String,
    /// Names by which this server may be addressed, beside localhost and IP addresses.
    pub(crate) allowed_hosts: Vec<String>,
}

/// What is taken of what others send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ingest {
    /// Spans that are about no call, tool or evaluation, as `system`.
    pub(crate) other_spans: bool,
    /// Log records that are about none of these.
    pub(crate) other_logs: bool,
    /// What CloudEvents become by their type; the first that matches, else `system`.
    pub(crate) event: Vec<EventKind>,
}

/// What CloudEvents of some types become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventKind {
    /// Their type; `*` stands for anything.
    pub(crate) r#type: String,
    /// The kind of record, such as `tool.call`.
    pub(crate) kind: String,
}

/// TLS on both listeners, by files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The certificate, then those that lead to its authority; empty: HTTP without TLS.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
    /// The authorities of clients' certificates; empty: none is asked for.
    pub(crate) client_ca: PathBuf,
    /// Whether a client without a certificate is turned away.
    pub(crate) client_required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// The model server's base URL.
    pub(crate) url: String,
    /// A key that replaces the callers' own; empty: theirs is passed on.
    pub(crate) api_key: String,
    /// Patterns of the models that may be asked for; none: all.
    pub(crate) models: Vec<String>,
    /// `before-answer` or `before-forward`.
    pub(crate) record: Record,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { url: String::new(), api_key: String::new(), models: Vec::new(), record: Record::BeforeAnswer }
    }
}

/// A model server that only versions of routes are at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoutedUpstream {
    /// Its base URL.
    pub(crate) url: String,
    /// A key that replaces the callers' own; empty: theirs is passed on.
    #[serde(default)]
    pub(crate) api_key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Access {
    /// What somebody on this machine may who presents nothing: a role, `off`, or `auto`: admin until there are API keys or
    /// issuers of tokens.
    pub(crate) anonymous: String,
}

/// What decides whether a call may be made, and its answer released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// A folder of Rego files, or an OPA bundle (`.tar.gz`); empty: none.
    pub(crate) path: PathBuf,
    /// The address of a bundle, instead.
    pub(crate) url: String,
    /// How often another version is looked for, in seconds.
    pub(crate) every_s: u64,
    /// A file with the key that a bundle must be signed with; empty: signatures are not looked at.
    pub(crate) key: PathBuf,
    /// The algorithm of that key, as in `RS256`.
    pub(crate) key_algorithm: String,
    /// What the bundle must be signed for.
    pub(crate) key_scope: String,
    /// `closed`: a policy that fails is a denial. `open`: it lets the call pass, and the record says so.
    pub(crate) fail: String,
    /// The address of an OPA that decides instead of rules of ours.
    pub(crate) opa: String,
    /// What it is shown as a bearer token, if it wants to see one.
    pub(crate) opa_token: String,
    /// What it is asked about: `request`, `response`, `admin`.
    pub(crate) opa_points: Vec<String>,
    /// How long it has for one answer, in milliseconds.
    pub(crate) timeout_ms: u64,
}

/// An issuer of bearer tokens (an OpenID provider).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// `iss`, exactly.
    pub(crate) issuer: String,
    /// One of these must be in `aud`.
    pub(crate) audiences: Vec<String>,
    /// The address of its public keys (a JWK set) …
    #[serde(default)]
    pub(crate) jwks_url: String,
    /// … or a file with them.
    #[serde(default)]
    pub(crate) jwks_file: PathBuf,
    /// Algorithms that are taken; none: RS256, ES256, EdDSA.
    #[serde(default)]
    pub(crate) algorithms: Vec<String>,
    /// The claim with who it is.
    #[serde(default = "sub")]
    pub(crate) user_claim: String,
    /// The claim with groups, such as `groups` or `/realm_access/roles`.
    #[serde(default)]
    pub(crate) groups_claim: String,
    /// The claim with names of our roles.
    #[serde(default)]
    pub(crate) roles_claim: String,
    /// What the members of groups may.
    #[serde(default)]
    pub(crate) grant: Vec<GroupGrant>,
}

/// An OpenID provider by which people sign in to the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oidc {
    /// Its issuer identifier, below which its discovery document is; empty: there is none.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// Empty: a public client.
    pub(crate) client_secret: String,
    /// Where it sends browsers back: this server's `/login/callback`, as browsers reach it.
    pub(crate) redirect: String,
    pub(crate) scopes: Vec<String>,
    /// What its ID tokens mean, as for `[[token]]`.
    pub(crate) algorithms: Vec<String>,
    pub(crate) user_claim: String,
    pub(crate) groups_claim: String,
    pub(crate) roles_claim: String,
    pub(crate) grant: Vec<GroupGrant>,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: String::new(),
            redirect: String::new(),
            scopes: vec!["openid".into()],
            algorithms: Vec::new(),
            user_claim: "sub".into(),
            groups_claim: String::new(),
            roles_claim: String::new(),
            grant: Vec::new(),
        }
    }
}

fn sub() -> String {
    "sub".into()
}

/// What the members of a group may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupGrant {
    pub(crate) group: String,
    pub(crate) role: String,
    /// `env=staging,model=gemma*`; empty: everything.
    #[serde(default)]
    pub(crate) scope: String,
}

/// Whom a name in a client certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// Where the name stands: `uri`, `dns`, `email` (of the subject's alternative names) or `common-name`.
    pub(crate) kind: String,
    /// What it looks like: `spiffe://acme/support-*`.
    pub(crate) pattern: String,
    /// `service` or `user`.
    #[serde(default = "service")]
    pub(crate) actor: String,
    pub(crate) role: String,
    /// `env=staging,model=gemma*`; empty: everything.
    #[serde(default)]
    pub(crate) scope: String,
}

fn service() -> String {
    "service".into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Record {
    BeforeAnswer,
    BeforeForward,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    /// Free space that is left for reading and verifying.
    pub(crate) reserve_bytes: u64,
    pub(crate) wal_segment_bytes: u64,
    /// Whether old entries of the published log are kept as gzip, a seventh of their size.
    pub(crate) pack_entries: bool,
    /// How full the disk is, in percent, when that is recorded: levels with commas; empty: never.
    pub(crate) alarm_percent: String,
}

/// A witness (C2SP tlog-witness).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witness {
    /// Its public key.
    pub(crate) vkey: String,
    /// Its submission prefix: `add-checkpoint` is below it.
    pub(crate) url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witnessing {
    /// A trust policy (C2SP tlog-policy): its witnesses with a URL are asked too, and its quorum says how many must have
    /// cosigned; empty: all.
    pub(crate) quorum: PathBuf,
    /// Public keys of the logs whose checkpoints this server cosigns.
    pub(crate) cosigns: Vec<String>,
}

/// A centre that has this log's records too, and keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forward {
    /// Its base URL; empty: nothing is delivered anywhere.
    pub(crate) to: String,
    /// The API key or token that it is shown.
    pub(crate) key: String,
    /// The authorities that it is held against (PEM); empty: this machine's.
    pub(crate) ca: PathBuf,
    /// How much may wait for it: `8GiB`.
    pub(crate) backlog_max: String,
    /// The name that it knows this log by; empty: the log's own.
    pub(crate) origin: String,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            to: String::new(),
            key: String::new(),
            ca: PathBuf::new(),
            backlog_max: "8GiB".into(),
            origin: String::new(),
        }
    }
}

/// Metrics that are sent by OTLP, beside those that are fetched from `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    /// The address of a collector, such as `http://127.0.0.1:4318/v1/metrics`; empty: none.
    pub(crate) otlp: String,
    /// What it is shown as a bearer token, if it wants to see one.
    pub(crate) otlp_token: String,
    /// How often, in seconds.
    pub(crate) otlp_every_s: u64,
}

/// An authority that says when a checkpoint was there (RFC 3161).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timestamping {
    /// Its address; empty: none is asked.
    pub(crate) url: String,
    /// How often, while the log grows: `90s`, `10m`, `1h`, `1d`.
    pub(crate) every: String,
}

/// What is kept of what was received; empty: all of it, for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// How long content is kept: `90d`, `13w`.
    pub(crate) content: String,
    /// How long records are, beside their leaves.
    pub(crate) records: String,
    /// Above which size of all segments the oldest content goes: `20GiB`.
    pub(crate) content_size: String,
    /// Above which the oldest records do.
    pub(crate) records_size: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) request_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
    /// How long the model server may take to begin an answer, and pause within one.
    pub(crate) upstream_idle_s: u64,
    /// How long calls under way may go on when the server is stopped.
    pub(crate) stop_grace_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let gateway = gateway::Limits::default();
        Self {
            request_bytes_max: gateway.request_bytes_max,
            response_bytes_max: gateway.response_bytes_max,
            upstream_idle_s: gateway.upstream_idle.as_secs(),
            stop_grace_s: 10,
        }
    }
}

/// Syslog, by datagrams and streams; whoever reaches it can write to the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Syslog {
    /// Addresses, such as `127.0.0.1:5514`; empty: none.
    pub(crate) udp: String,
    pub(crate) tcp: String,
    /// By TLS, with the certificate of `[tls]`.
    pub(crate) tls: String,
    /// A file that says what messages become (docs/ingest/mapping.md); empty: `system`.
    pub(crate) mapping: PathBuf,
    /// How far clocks of senders that do not say so are ahead of UTC, in minutes.
    pub(crate) utc_offset_minutes: i16,
}

/// SQL for clients of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    /// An address, such as `127.0.0.1:5432`; empty: none. With the certificate of `[tls]`, where there is one.
    pub(crate) listen: String,
    /// How long a connection may be without a question, in seconds.
    pub(crate) idle_s: u64,
}

/// Files that are followed and read alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// What the group is called: how far its files were read is kept under this name.
    pub(crate) name: String,
    /// Patterns of paths, such as `/var/log/app/*.log`.
    pub(crate) include: Vec<String>,
    /// Patterns of what is left out all the same, such as `*.gz`.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// What an entry is: `lines`, or `kubernetes` (an audit event).
    #[serde(default)]
    pub(crate) format: EntryFormat,
    /// A file that says what lines become (docs/ingest/mapping.md); empty: `system`.
    #[serde(default)]
    pub(crate) mapping: PathBuf,
    /// What stands around a line: `bare` (nothing), `cri` or `docker`.
    #[serde(default)]
    pub(crate) wrapping: Wrapping,
    /// A regular expression for the lines that begin an entry; empty: all do.
    #[serde(default)]
    pub(crate) begins: String,
    /// Where what an unmapped line says is kept: `attribute` or `content`.
    #[serde(default)]
    pub(crate) body: BodyPlace,
    /// The most bytes of one entry.
    #[serde(default = "entry_bytes_max")]
    pub(crate) entry_bytes_max: usize,
}

fn entry_bytes_max() -> usize {
    ingest::ENTRY_BYTES_MAX
}
