//! # access: who is calling, and what they may do
//!
//! Two questions, each with one answer in one place. **Who?** [`Authenticator::authenticate`] makes an [`Identity`] of what a
//! request presents: an API key, a bearer token of an identity provider, a client certificate, or nothing, which is somebody
//! on this machine at most. **May they?** [`authorize`] holds the identity's grants, each a [`Role`] within a [`Scope`],
//! against an [`Action`] and its [`Target`]. What no table allows is refused.
//!
//! ```text
//! headers, peer, certificate ──▶ Authenticator ──▶ Identity { grants: role within scope } ──▶ authorize(action, target)
//!                                  │ KeyStore (API keys)       ▲                                   │
//!                                  │ TokenVerifier (JWT)       └── Sessions (console)              ▼
//!                                  │ CertificateMapping (mTLS)                              ok, or Refused
//!                                  └ Throttle (failures)
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `role` | [`Role`], [`Action`], and [`allows`]: the one table |
//! | `scope` | [`Scope`], [`Facts`]: which records, by environment, service and model |
//! | `glob` | [`Glob`]: a pattern in which only `*` is special |
//! | `identity` | [`Identity`], and [`authorize`] |
//! | `refusal` | [`Refused`]: why not, for the record, and less of it for the client |
//! | `state` | [`State`]: `state.redb`, the small transactional file of a data directory |
//! | `secret` | how an API key is written |
//! | `keys` | [`KeyStore`]: API keys |
//! | `token` | [`TokenVerifier`]: JSON web tokens |
//! | `certificate` | [`CertificateMapping`]: names in client certificates |
//! | `peer` | [`Peer`]: the other end of a connection |
//! | `throttle` | [`Throttle`]: failures cost time |
//! | `sessions` | [`Sessions`]: one-time links and sessions of the console |
//! | `oidc` | [`OidcLogin`]: signing in by an OpenID provider |
//! | `cookie` | [`SessionCookie`], and what a browser says about where a request comes from |
//! | `first_use` | [`FirstUse`]: a credential that this process takes for the first time |
//! | `authenticator` | [`Authenticator`]: all of the above for one request |
//! | `records` | [`AuthRecords`]: what the log is told |
//! | `recent` | a map that forgets what was not used for longest |
//!
//! A credential is never kept: stored is the SHA-256 of an API key, held in memory that of a token or cookie, and a refusal
//! carries a keyed fingerprint. Time, randomness and fetched bytes are given to this crate; the one exception is `state.redb`,
//! whose file redb reads and writes itself.

#![forbid(unsafe_code)]

mod authenticator;
mod certificate;
mod cookie;
mod digest;
mod first_use;
mod glob;
mod identity;
mod keys;
mod oidc;
mod peer;
mod recent;
mod records;
mod refusal;
mod role;
mod scope;
mod secret;
mod sessions;
mod state;
mod throttle;
mod token;

pub use authenticator::Authenticator;
pub use certificate::{CertificateError, CertificateMapping, CertificateNames, CertificateRule, NameKind};
pub use cookie::{SessionCookie, is_from_elsewhere, without_session};
pub use first_use::FirstUse;
pub use glob::{GLOB_BYTES_MAX, Glob, GlobError};
pub use identity::{ActorKind, Grant, Identity, Method, Target, authorize};
pub use keys::{ApiKey, KEYS_MAX, KeyError, KeyRefusal, KeyStore, NewKey};
pub use oidc::{Begun, OidcError, OidcLogin, OidcSettings, Provider, TokenRequest};
pub use peer::Peer;
pub use records::{Attempt, AuthRecords, Opener};
pub use refusal::{Reason, Refused};
pub use role::{Action, Role, UnknownRole, allows};
pub use scope::{Facts, PATTERNS_MAX, Scope, ScopeError};
pub use secret::{KEY_PREFIX, Secret, is_well_formed};
pub use sessions::{LINK_S_MAX, SESSION_IDLE_S_MAX, SESSION_S_MAX, SessionRefusal, Sessions, SignInLink, SignedIn};
pub use state::{State, StateError};
pub use throttle::Throttle;
pub use token::{
    Algorithm, ClaimMapping, GroupGrant, KeySetError, SettingsError, TOKEN_BYTES_MAX, TokenError, TokenSettings,
    TokenVerifier,
};
