//! The closed sets of words in a record: kinds and outcomes.

use std::fmt;
use std::str::FromStr;

/// A word that is not one of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known {1}")]
pub struct UnknownName(pub String, pub &'static str);

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word of the set, in the order of the design.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word as it stands in a leaf.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;
            fn from_str(word: &str) -> Result<Self, UnknownName> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err(UnknownName(word.to_owned(), $what)),
                }
            }
        }
    };
}

words! {
    /// What sort of event a record tells of.
    Kind, "kind of record", {
        /// A call was decided: about to be forwarded, or denied.
        InferenceRequest = "inference.request",
        /// A call ended, however it ended.
        InferenceResponse = "inference.response",
        /// A tool or another API was called on behalf of a model.
        ToolCall = "tool.call",
        /// A login, a refused credential, a key made or revoked, a session ended.
        Auth = "auth",
        /// A decision made elsewhere or outside a call.
        PolicyDecision = "policy.decision",
        /// A guardrail or evaluator judged something outside the call itself.
        Evaluation = "evaluation",
        /// Kubernetes audit events, syslog, file lines, and what this log says of itself.
        System = "system",
        /// Configuration, routes, promotions, rollbacks, erasures, key rotation, detector firings.
        Control = "control",
        /// Somebody searched, opened, exported or tailed.
        Read = "read",
    }
}

words! {
    /// How the thing that a record tells of ended.
    Outcome, "outcome", {
        /// The call may go on to the model server.
        Allowed = "allowed",
        /// The call was refused before anything was forwarded.
        Denied = "denied",
        /// The answer reached its end.
        Completed = "completed",
        /// A guardrail withheld the answer.
        Blocked = "blocked",
        /// The model server refused, broke off or could not be reached.
        Failed = "failed",
        /// The client went away before the end.
        Aborted = "aborted",
        /// This process stopped before the end.
        Interrupted = "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>().as_ref(), Ok(kind));
        }
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse::<Outcome>().as_ref(), Ok(outcome));
        }
        assert!("inference.Request".parse::<Kind>().is_err());
    }
}
