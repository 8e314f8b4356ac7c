//! A route: versions with their shares.

use serde::{Deserialize, Serialize};

use crate::names::{ModelName, UpstreamName, VersionName};
use crate::share::Share;

/// The most versions that a route knows of. A record of a change holds them twice.
pub(crate) const VERSIONS_MAX: usize = 32;

/// Where a version is: a model of a model server. The server is named; where it is, the configuration alone says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The model server, by its name in the configuration.
    pub upstream: UpstreamName,
    /// The model, as it is asked for there.
    pub model: ModelName,
}

/// A version of a route, and its share of the conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighted {
    /// Its name.
    pub version: VersionName,
    /// Where it is.
    #[serde(flatten)]
    pub target: Target,
    /// How many of the conversations it gets.
    pub percent: Share,
}

/// A route, in the order in which its versions came to it. One with no versions is no route (any more).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Route(Vec<Weighted>);

/// Why a version cannot be promoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpromoted {
    /// Nothing is known of the version.
    #[error("the version {0:?} is not known: say which model it is")]
    Unknown(String),
    /// `@2026-11-20` is the end of several names.
    #[error("{0:?} is the end of several versions: {1}")]
    Ambiguous(String, String),
    /// Two different things cannot have one name.
    #[error("the version {version} is the model {known} of {upstream} already: give another one another name")]
    IsAnother {
        /// The version's name.
        version: VersionName,
        /// The model that it is.
        known: ModelName,
        /// Its server.
        upstream: UpstreamName,
    },
    /// A part of the conversations was given to the only one there is.
    #[error("{0} has no other version that could have the rest: promote it to 100")]
    Alone(VersionName),
    /// There are too many.
    #[error("a route has at most {VERSIONS_MAX} versions that get conversations")]
    TooMany,
}

impl Route {
    /// A route of these versions, if it can be one: names that differ, and shares that add up to the whole (or nothing at all).
    #[must_use]
    pub fn of(versions: Vec<Weighted>) -> Option<Self> {
        let names_differ =
            |(nth, one): (usize, &Weighted)| versions.iter().take(nth).all(|other| other.version != one.version);
        let total: u32 = versions.iter().map(|one| one.percent.hundredths()).sum();
        let is_whole = versions.is_empty() || total == Share::WHOLE.hundredths();
        (versions.len() <= VERSIONS_MAX && is_whole && versions.iter().enumerate().all(names_differ))
            .then_some(Self(versions))
    }

    /// Its versions.
    #[must_use]
    pub fn versions(&self) -> &[Weighted] {
        &self.0
    }

    /// Whether there is no such route (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_empty()
    }

    /// The version of a name.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<&Weighted> {
        self.0.iter().find(|one| one.version.as_str() == name)
    }

    /// The name of the version that is meant: its name, or an end of it that begins with `@` and that no other has.
    fn meant(&self, text: &str) -> Result<VersionName, Unpromoted> {
        let ends: Vec<&VersionName> =
            self.0.iter().map(|one| &one.version).filter(|name| name.as_str().ends_with(text)).collect();
        match (VersionName::parse(text), ends.as_slice()) {
            (Some(name), _) if !text.starts_with('@') => Ok(name),
            (_, [name]) => Ok((*name).clone()),
            (_, []) => Err(Unpromoted::Unknown(text.to_owned())),
            (_, several) => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                Err(Unpromoted::Ambiguous(text.to_owned(), names.join(", ")))
            }
        }
    }

    /// The same route with a version at a share; the others share the rest as before. The name of a known version, or its end
    /// from an `@` on, is enough; what is not known needs its target.
    ///
    /// # Errors
    /// Why that is not possible.
    pub fn promoted(
        &self,
        version: &str,
        target: Option<Target>,
        share: Share,
    ) -> Result<(Self, VersionName), Unpromoted> {
        let name = self.meant(version)?;
        let mut versions = self.0.clone();
        let at = match (versions.iter().position(|one| one.version == name), target) {
            (Some(at), target) => {
                let known = versions.get(at).map(|one| one.target.clone());
                if let (Some(known), Some(said)) = (known, target)
                    && known != said
                {
                    return Err(Unpromoted::IsAnother { version: name, known: known.model, upstream: known.upstream });
                }
                at
            }
            (None, Some(target)) => {
                make_room(&mut versions)?;
                versions.push(Weighted { version: name.clone(), target, percent: Share::NONE });
                versions.len() - 1
            }
            (None, None) => return Err(Unpromoted::Unknown(name.as_str().to_owned())),
        };
        let others: Vec<Share> =
            versions.iter().enumerate().map(|(nth, one)| if nth == at { Share::NONE } else { one.percent }).collect();
        let rest = share.rest().divided(&others).ok_or_else(|| Unpromoted::Alone(name.clone()))?;
        for (nth, (one, rest)) in versions.iter_mut().zip(rest).enumerate() {
            // Whoever has everything leaves nothing to the others, which stay known.
            one.percent = if nth == at { share } else { rest };
        }
        Ok((Self(versions), name))
    }
}

/// Forgets the oldest version that gets nothing, where there are as many as there may be.
fn make_room(versions: &mut Vec<Weighted>) -> Result<(), Unpromoted> {
    if versions.len() < VERSIONS_MAX {
        return Ok(());
    }
    let idle = versions.iter().position(|one| one.percent == Share::NONE).ok_or(Unpromoted::TooMany)?;
    versions.remove(idle);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn target(model: &str) -> Target {
        Target { upstream: UpstreamName::usual(), model: ModelName::parse(model).unwrap() }
    }

    fn told(route: &Route) -> String {
        let one = |one: &Weighted| format!("{} {}", one.version, one.percent);
        route.versions().iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_others_share_the_rest_as_before() {
        let promote = |route: &Route, version: &str, model: Option<&str>, percent: &str| {
            route.promoted(version, model.map(target), Share::parse(percent).unwrap()).map(|(route, _)| route)
        };
        let mut route = Route::default();
        let mut lines = Vec::new();
        for (version, model, percent) in [
            ("gemma@2026-11-01", Some("gemma"), "100"),
            ("gemma@2026-11-20", Some("gemma-new"), "5"),
            ("@2026-11-20", None, "25"),
            ("gemma@2026-11-24", Some("gemma-newest"), "10"),
            ("@2026-11-20", None, "100"),
            ("@2026-11-01", None, "0.5"),
            ("@2026-11-20", None, "0"),
        ] {
            route = promote(&route, version, model, percent).unwrap();
            lines.push(told(&route));
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        gemma@2026-11-01 100
        gemma@2026-11-01 95, gemma@2026-11-20 5
        gemma@2026-11-01 75, gemma@2026-11-20 25
        gemma@2026-11-01 67.5, gemma@2026-11-20 22.5, gemma@2026-11-24 10
        gemma@2026-11-01 0, gemma@2026-11-20 100, gemma@2026-11-24 0
        gemma@2026-11-01 0.5, gemma@2026-11-20 99.5, gemma@2026-11-24 0
        gemma@2026-11-01 100, gemma@2026-11-20 0, gemma@2026-11-24 0
        ");
        let refused = [
            promote(&Route::default(), "a", Some("m"), "5"),
            promote(&Route::default(), "a", None, "100"),
            promote(&route, "@2027", None, "5"),
            promote(&route, "@2026-11-20", Some("another"), "5"),
            promote(&route, "@2026-11-01", None, "5"),
        ];
        let refused: Vec<String> = refused.into_iter().map(|one| one.unwrap_err().to_string()).collect();
        insta::assert_snapshot!(refused.join("\n"), @r#"
        a has no other version that could have the rest: promote it to 100
        the version "a" is not known: say which model it is
        the version "@2027" is not known: say which model it is
        the version gemma@2026-11-20 is the model gemma-new of default already: give another one another name
        gemma@2026-11-01 has no other version that could have the rest: promote it to 100
        "#);
    }

    #[test]
    fn the_oldest_that_gets_nothing_makes_room() {
        let mut route = Route::default();
        for nth in 0..=VERSIONS_MAX {
            let share = if nth == 0 { "100" } else { "50" };
            let name = format!("v{nth}");
            match route.promoted(&name, Some(target(&name)), Share::parse(share).unwrap()) {
                Ok((next, _)) => route = next,
                Err(error) => assert_eq!((nth, error), (VERSIONS_MAX, Unpromoted::TooMany)),
            }
            // By halves, the first is at nothing before there are too many.
            if route.versions().iter().any(|one| one.percent == Share::NONE) {
                return;
            }
        }
        panic!("none came to nothing: {}", told(&route));
    }

    proptest! {
        #[test]
        fn whatever_is_promoted_leaves_a_route(steps in prop::collection::vec((0_u8..40, 0_u32..=10_000), 1..80)) {
            let mut route = Route::default();
            for (version, hundredths) in steps {
                let name = format!("v{version}");
                let share = Share::parse(&format!("{}.{:02}", hundredths / 100, hundredths % 100)).unwrap();
                if let Ok((next, promoted)) = route.promoted(&name, Some(target(&name)), share) {
                    prop_assert_eq!(next.version(promoted.as_str()).unwrap().percent, share);
                    prop_assert!(Route::of(next.versions().to_vec()).is_some(), "{}", told(&next));
                    route = next;
                }
            }
        }
    }
}
