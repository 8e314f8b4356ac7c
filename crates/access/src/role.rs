//! Roles, actions, and the one table that joins them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody is here for. A role is always granted within a [`crate::Scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Adds records.
    Ingest,
    /// Calls models.
    Caller,
    /// Reads figures, and no record.
    Monitor,
    /// Searches.
    Reader,
    /// Reads everything, also who was refused and who read what.
    Auditor,
    /// Reads, and changes routes and saved searches.
    Operator,
    /// Does everything.
    Admin,
}

/// What can be done over HTTP. Routes that anybody may use (liveness, version, the API's description, and `/witness/…`, where a
/// signature of a known log is the credential) have no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Have a model answer.
    CallModel,
    /// See which models there are.
    ListModels,
    /// Add records through one of the doors.
    Ingest,
    /// Search, SQL, tail, show, export: records of calls, within the scope.
    Search,
    /// Take out a proof for a record within the scope, with chosen content.
    Prove,
    /// Fetch the published log: checkpoint and tiles, which hold every record's metadata.
    ReadLog,
    /// Read the metrics, which count records of every kind.
    ReadMetrics,
    /// See `auth`, `read`, `control` and `policy.decision` records too when searching or proving.
    ReadEverything,
    /// Change routes and saved searches, roll back.
    Operate,
    /// Make, list and revoke API keys; end sessions.
    ManageKeys,
    /// Put another policy in force.
    ManagePolicy,
    /// Erase content, set and lift legal holds.
    Erase,
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role; the roles are ingest, caller, monitor, reader, auditor, operator, admin")]
pub struct UnknownRole(String);

/// Whether a role may do something. This table is the only place that says so, and what it does not say is refused.
#[must_use]
pub fn allows(role: Role, action: Action) -> bool {
    use Role::{Admin, Auditor, Caller, Ingest, Monitor, Operator, Reader};
    let who: &[Role] = match action {
        Action::CallModel => &[Caller, Admin],
        Action::ListModels => &[Caller, Operator, Admin],
        Action::Ingest => &[Ingest, Admin],
        Action::Search | Action::Prove | Action::ReadLog => &[Reader, Auditor, Operator, Admin],
        Action::ReadMetrics => &[Monitor, Auditor, Operator, Admin],
        Action::ReadEverything => &[Auditor, Admin],
        Action::Operate => &[Operator, Admin],
        Action::ManageKeys | Action::ManagePolicy | Action::Erase => &[Admin],
    };
    who.contains(&role)
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Caller, Self::Monitor, Self::Reader, Self::Auditor, Self::Operator, Self::Admin];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Caller => "caller",
            Self::Monitor => "monitor",
            Self::Reader => "reader",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let named = Self::ALL.into_iter().find(|role| role.as_str() == text);
        named.ok_or_else(|| UnknownRole(text.chars().take(64).collect()))
    }
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::CallModel,
        Self::ListModels,
        Self::Ingest,
        Self::Search,
        Self::Prove,
        Self::ReadLog,
        Self::ReadMetrics,
        Self::ReadEverything,
        Self::Operate,
        Self::ManageKeys,
        Self::ManagePolicy,
        Self::Erase,
    ];

    /// Its name, as a record has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallModel => "call_model",
            Self::ListModels => "list_models",
            Self::Ingest => "ingest",
            Self::Search => "search",
            Self::Prove => "prove",
            Self::ReadLog => "read_log",
            Self::ReadMetrics => "read_metrics",
            Self::ReadEverything => "read_everything",
            Self::Operate => "operate",
            Self::ManageKeys => "manage_keys",
            Self::ManagePolicy => "manage_policy",
            Self::Erase => "erase",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell, spelt out a second time: a change of the table is a change here.
    const TABLE: &str = "
                        ingest caller monitor reader auditor operator admin
        call_model      -      yes    -       -      -       -        yes
        list_models     -      yes    -       -      -       yes      yes
        ingest          yes    -      -       -      -       -        yes
        search          -      -      -       yes    yes     yes      yes
        prove           -      -      -       yes    yes     yes      yes
        read_log        -      -      -       yes    yes     yes      yes
        read_metrics    -      -      yes     -      yes     yes      yes
        read_everything -      -      -       -      yes     -        yes
        operate         -      -      -       -      -       yes      yes
        manage_keys     -      -      -       -      -       -        yes
        manage_policy   -      -      -       -      -       -        yes
        erase           -      -      -       -      -       -        yes
    ";

    #[test]
    fn every_cell_of_the_table_is_as_written() {
        let mut lines = TABLE.lines().map(str::split_whitespace).map(Vec::from_iter).filter(|line| !line.is_empty());
        let roles: Vec<Role> = lines.next().unwrap().into_iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(roles, Role::ALL);
        let mut seen = Vec::new();
        for line in lines {
            let action = Action::ALL.into_iter().find(|action| action.as_str() == line[0]).unwrap();
            assert_eq!(line.len(), 1 + roles.len(), "{action}");
            for (role, cell) in roles.iter().zip(&line[1..]) {
                assert_eq!(allows(*role, action), *cell == "yes", "{role} {action}");
            }
            seen.push(action);
        }
        assert_eq!(seen, Action::ALL);
    }

    #[test]
    fn roles_read_back_and_are_lower_case() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        for bad in ["", "Admin", "admin ", "root"] {
            bad.parse::<Role>().unwrap_err();
        }
    }
}
