//! # server: the HTTP surface
//!
//! Two listeners, one accept loop ([`serve`]) with the limits that every listener has from its first day. The models'
//! listener hands requests to the [`gateway`]; the main listener has the routes of [`Api`]. A handler here takes
//! things out of a request, calls one method, and wraps what comes back: nothing is decided in this crate.
//!
//! | file | what is in it |
//! |---|---|
//! | `listen` | the accept loop: connections, time-outs, graceful stop |
//! | `tls` | TLS on a listener, and the client's certificate |
//! | `lanes` | threads that each run their connections alone |
//! | `hosts` | which names this server answers to (DNS rebinding) |
//! | `api` | the routes of the main listener |
//! | `accepting` | the next connection that there is room for |
//! | `admission` | who may pass which route |
//! | `pages` | `/api/v1/search`, a page after another |
//! | `asked` | the query of a URL and the form of a body, or what is wrong with them |
//! | `queries` | the queries that are running: listed, and ended |
//! | `reading` | what somebody was shown is recorded |
//! | `keys` | API keys: made, listed, revoked |
//! | `searches` | searches under a name, for all who search |
//! | `routes` | routes and their versions: shown as of any moment, changed, undone |
//! | `sessions` | signing in to the console by a one-time link |
//! | `oidc` | signing in to the console by an OpenID provider |
//! | `evidence` | proofs for single records |
//! | `intake` | records that others send |
//! | `log_files` | `/log/…`: the published log as tlog-tiles names it |
//! | `doors` | `/ingest/…`: events in the formats of others |
//! | `forwarding` | `/api/v1/forward/…`: records of other logs, delivered by their nodes |
//! | `syslog` | syslog by datagrams and streams |
//! | `postgres` | SQL for clients of PostgreSQL |
//! | `files` | files that others write, followed |
//! | `telemetry` | OTLP, by HTTP and by gRPC |
//! | `decoding` | bodies that were sent compressed |
//! | `witness_routes` | `/witness/…`: this server as a witness |
//! | `tail` | `/api/v1/tail`: server-sent events |
//! | `figures` | `/metrics`: figures for Prometheus |
//! | `problem` | errors as RFC 9457 says them |

mod accepting;
mod admission;
mod api;
mod asked;
mod decoding;
mod doors;
mod evidence;
mod fields;
mod figures;
mod files;
mod forwarding;
mod hosts;
mod intake;
mod keys;
mod lanes;
mod listen;
mod log_files;
mod oidc;
mod pages;
mod postgres;
mod problem;
mod queries;
mod reading;
mod routes;
mod searches;
mod sessions;
mod syslog;
mod tail;
mod telemetry;
mod tls;
mod witness_routes;

pub use admission::{Access, Admission};
pub use api::{Api, ApiSurface, Build, ROUTES, Running};
pub use files::{DESCRIPTORS_MAX, FileGroup, FilesDoor, FilesError, PatternError, Patterns};
pub use forwarding::Forwarded;
pub use hosts::AllowedHosts;
pub use intake::Intake;
pub use keys::shown_key;
pub use lanes::Lane;
pub use listen::{GatewaySurface, ListenLimits, Surface, serve};
pub use oidc::SignIn;
pub use postgres::{PostgresDoor, PostgresSettings};
pub use problem::Problem;
pub use routes::RouteBook;
pub use syslog::SyslogDoor;
pub use tls::{Tls, TlsError, TlsFiles};
