//! The fold, and what may follow on what.

use std::collections::BTreeMap;

use record::Timestamp;
use serde_json::Value;

use crate::change::{Act, Change};
use crate::names::RouteName;
use crate::route::{Route, Target, Unpromoted, Weighted};
use crate::share::Share;

/// The most routes, those that are gone included: their revisions go on counting.
const ROUTES_MAX: usize = 1_000;

/// The last change of a route: how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What the change was.
    pub change: Change,
    /// When.
    pub at: Timestamp,
    /// Who changed it.
    pub by: Option<String>,
    /// The record of it.
    pub record: String,
}

/// How all routes stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes(BTreeMap<RouteName, Standing>);

/// A wish that a version get a share.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// Of which route.
    pub route: RouteName,
    /// The version's name, or its end from an `@` on.
    pub version: String,
    /// Where it is; none: that is known.
    pub target: Option<Target>,
    /// How many of the conversations it is to get.
    pub share: Share,
    /// The revision that the wish goes by (0: no such route); none: whichever is in force.
    pub seen: Option<u64>,
}

/// A change that is to be undone: which revision is to be in force again, and how that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Of which route.
    pub route: RouteName,
    /// The revision that is to be in force again; 0: none at all.
    pub restores: u64,
    act: Act,
    undoes: Option<String>,
}

/// Why something does not follow on how a route stands. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none of this name.
    #[error("there is no route {0}")]
    Unknown(RouteName),
    /// Somebody was faster.
    #[error("the route {route} is at revision {current} and not at {seen}: look at it again")]
    Seen {
        /// Which route.
        route: RouteName,
        /// The revision that the wish goes by.
        seen: u64,
        /// The one in force.
        current: u64,
    },
    /// It is so already.
    #[error("the route {0} is that way already: nothing would change")]
    Same(RouteName),
    /// Nothing was before.
    #[error("the route {0} has no earlier state to go back to")]
    First(RouteName),
    /// Others have built on it.
    #[error(
        "revision {undone} of the route {route} was changed again: it is at {current}; revert the later changes first, or promote what is wanted"
    )]
    Later {
        /// Which route.
        route: RouteName,
        /// The revision that was to be undone.
        undone: u64,
        /// The one in force.
        current: u64,
    },
    /// What it was then is not to be had.
    #[error("revision {revision} of the route {route} cannot be read back from the log")]
    Unreadable {
        /// Which route.
        route: RouteName,
        /// The revision that was to be in force again.
        revision: u64,
    },
    /// The version cannot be promoted.
    #[error(transparent)]
    Unpromoted(#[from] Unpromoted),
    /// There are too many.
    #[error("there are {ROUTES_MAX} routes, which is the most")]
    TooMany,
}

impl Routes {
    /// How routes stand after the last record about each.
    #[must_use]
    pub fn fold(last: &[Value]) -> Self {
        Self(last.iter().filter_map(Standing::of).map(|standing| (standing.change.route.clone(), standing)).collect())
    }

    /// The same after one more change.
    #[must_use]
    pub fn with(&self, standing: Standing) -> Self {
        let mut all = self.0.clone();
        all.insert(standing.change.route.clone(), standing);
        Self(all)
    }

    /// The routes that there are, by name.
    pub fn all(&self) -> impl Iterator<Item = &Standing> {
        self.0.values().filter(|standing| !standing.change.after.is_gone())
    }

    /// How a route stands that there is.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Standing> {
        self.0.get(name).filter(|standing| !standing.change.after.is_gone())
    }

    /// Where a call goes that asks for `name` as its model, or that a policy sends there: the version of its conversation where
    /// `name` is a route, that version where it is `ROUTE/VERSION`; none where it is neither.
    #[must_use]
    pub fn lead(&self, name: &str, conversation: &str) -> Option<(&RouteName, &Weighted)> {
        if let Some(standing) = self.named(name) {
            let Change { route, after, .. } = &standing.change;
            return Some((route, after.choose(route, conversation)?));
        }
        let (route, version) = name.split_once('/')?;
        let Change { route, after, .. } = &self.named(route)?.change;
        Some((route, after.version(version)?))
    }

    /// What a promotion changes.
    ///
    /// # Errors
    /// When it does not follow on how the route stands.
    pub fn promote(&self, wish: Promotion) -> Result<Change, Refused> {
        let Promotion { route, version, target, share, seen } = wish;
        let (before, current) = self.stands(&route);
        is_seen(&route, seen, current.filter(|_| !before.is_gone()))?;
        if current.is_none() && self.0.len() >= ROUTES_MAX {
            return Err(Refused::TooMany);
        }
        let (after, version) = before.promoted(&version, target, share)?;
        if after == before {
            return Err(Refused::Same(route));
        }
        let back_to = current.filter(|_| !before.is_gone());
        let revision = current.unwrap_or(0) + 1;
        let version = Some(version);
        Ok(Change {
            route,
            revision,
            act: Act::Promoted,
            version,
            before,
            after,
            back_to,
            restores: None,
            undoes: None,
        })
    }

    /// To which revision a rollback leads: to what was in force before the last promotion that still stands.
    ///
    /// # Errors
    /// When it does not follow on how the route stands.
    pub fn roll_back(&self, route: &RouteName, seen: Option<u64>) -> Result<Undo, Refused> {
        let standing = self.named(route.as_str()).ok_or_else(|| Refused::Unknown(route.clone()))?;
        is_seen(route, seen, Some(standing.change.revision))?;
        let restores = standing.change.back_to.ok_or_else(|| Refused::First(route.clone()))?;
        Ok(Undo { route: route.clone(), restores, act: Act::RolledBack, undoes: None })
    }

    /// To which revision undoing a change leads, if nobody has built on it.
    ///
    /// # Errors
    /// When it does not follow on how the route stands.
    pub fn revert(&self, undone: &Standing) -> Result<Undo, Refused> {
        let Change { route, revision, .. } = &undone.change;
        let current = self.0.get(route).map(|standing| standing.change.revision).unwrap_or_default();
        if *revision != current {
            return Err(Refused::Later { route: route.clone(), undone: *revision, current });
        }
        let undoes = Some(undone.record.clone());
        Ok(Undo { route: route.clone(), restores: revision.saturating_sub(1), act: Act::Reverted, undoes })
    }

    /// What undoing changes, given the change that had made the revision that is to be in force again (none for 0).
    ///
    /// # Errors
    /// When it is not that one.
    pub fn undo(&self, undo: Undo, restored: Option<&Standing>) -> Result<Change, Refused> {
        let Undo { route, restores, act, undoes } = undo;
        let (before, current) = self.stands(&route);
        let restored = restored.map(|standing| &standing.change);
        let (after, back_to) = match restored {
            Some(restored) if (&restored.route, restored.revision) == (&route, restores) => {
                (restored.after.clone(), restored.back_to)
            }
            None if restores == 0 => (Route::default(), None),
            _ => return Err(Refused::Unreadable { route, revision: restores }),
        };
        let revision = current.unwrap_or(0) + 1;
        Ok(Change { route, revision, act, version: None, before, after, back_to, restores: Some(restores), undoes })
    }

    /// A route, gone where there is none, and the revision that it is at, if it ever was.
    fn stands(&self, route: &RouteName) -> (Route, Option<u64>) {
        let standing = self.0.get(route);
        let route = standing.map(|standing| standing.change.after.clone());
        (route.unwrap_or_default(), standing.map(|standing| standing.change.revision))
    }
}

/// Nobody writes over what they have not seen.
fn is_seen(route: &RouteName, seen: Option<u64>, current: Option<u64>) -> Result<(), Refused> {
    let current = current.unwrap_or(0);
    match seen {
        Some(seen) if seen != current => Err(Refused::Seen { route: route.clone(), seen, current }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
