//! Where a policy is asked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point at which a decision is made; each has its own package of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before a call is forwarded to a model.
    Request,
    /// Before an answer is released to the caller.
    Response,
    /// Before a route, a policy, a key or a record is changed or erased.
    Admin,
}

impl Point {
    /// All of them, in the order of a call.
    pub const ALL: [Self; 3] = [Self::Request, Self::Response, Self::Admin];

    /// The last part of the package's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Admin => "admin",
        }
    }

    /// The package that answers, as a path in Rego.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Request => "data.testimony.request",
            Self::Response => "data.testimony.response",
            Self::Admin => "data.testimony.admin",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
