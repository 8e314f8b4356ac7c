//! Which version a conversation gets: weighted rendezvous. Each version draws a number for the conversation and the largest wins, so a
//! conversation leaves its version only for one whose share has grown against it, and nothing has to be remembered.

use sha2::{Digest as _, Sha256};

use crate::names::RouteName;
use crate::route::{Route, Weighted};

impl Route {
    /// The version of a conversation; none where there are none.
    #[must_use]
    pub fn choose(&self, route: &RouteName, conversation: &str) -> Option<&Weighted> {
        let mut versions = self.versions().iter().filter(|one| one.percent.hundredths() > 0);
        let first = versions.next()?;
        let mut best = (drawn(route, conversation, first), first);
        for one in versions {
            let score = drawn(route, conversation, one);
            if score > best.0 {
                best = (score, one);
            }
        }
        Some(best.1)
    }
}

/// `-share / ln(u)`, with `u` even between 0 and 1: the largest of these is each version's as often as its share says.
fn drawn(route: &RouteName, conversation: &str, version: &Weighted) -> f64 {
    let mut hasher = Sha256::new();
    for part in [route.as_str(), conversation, version.version.as_str()] {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    let word = |from: usize| {
        let bytes = hash.iter().skip(from).take(4);
        f64::from(bytes.fold(0_u32, |word, byte| word << 8 | u32::from(*byte)))
    };
    const TWO_TO_32: f64 = 4_294_967_296.0;
    let even = (word(0) + (word(4) + 0.5) / TWO_TO_32) / TWO_TO_32;
    // Rounded to 1 it would divide by nothing.
    f64::from(version.percent.hundredths()) / -even.min(1.0 - f64::EPSILON).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::target;
    use crate::share::Share;

    fn at(steps: &[(&str, &str)]) -> Route {
        let mut route = Route::default();
        for (version, percent) in steps {
            route = route.promoted(version, Some(target(version)), Share::parse(percent).unwrap()).unwrap().0;
        }
        route
    }

    fn chosen(route: &Route) -> Vec<String> {
        let name = RouteName::parse("support-bot").unwrap();
        (0..10_000)
            .map(|nth| route.choose(&name, &format!("conversation {nth}")).unwrap().version.to_string())
            .collect()
    }

    #[test]
    fn each_version_gets_its_share() {
        for (percent, low, high) in [("5", 430, 570), ("50", 4_800, 5_200), ("0.5", 25, 75)] {
            let of_new = chosen(&at(&[("old", "100"), ("new", percent)])).iter().filter(|one| *one == "new").count();
            assert!((low..high).contains(&of_new), "{percent} %: {of_new} of 10000");
        }
        assert!(chosen(&at(&[("old", "100"), ("new", "100")])).iter().all(|one| one == "new"));
        assert!(chosen(&at(&[("old", "100"), ("new", "0")])).iter().all(|one| one == "old"));
    }

    #[test]
    fn a_conversation_leaves_only_for_the_version_that_has_grown() {
        let steps: &[&[(&str, &str)]] = &[
            &[("a", "100"), ("b", "5")],
            &[("a", "100"), ("b", "25")],
            &[("a", "100"), ("b", "25"), ("c", "10")],
            &[("a", "100"), ("b", "25"), ("c", "40")],
        ];
        let grown = ["b", "c", "c"];
        for (pair, grown) in steps.windows(2).zip(grown) {
            let (before, after) = (chosen(&at(pair[0])), chosen(&at(pair[1])));
            let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
            assert!(!moved.is_empty() && moved.iter().all(|(_, after)| *after == grown));
        }
    }

    #[test]
    fn the_choice_is_the_same_on_every_machine_and_in_every_build() {
        let name = RouteName::parse("support-bot").unwrap();
        let route = at(&[("a", "100"), ("b", "50")]);
        let chosen: String =
            (0..32).map(|nth| route.choose(&name, &nth.to_string()).unwrap().version.to_string()).collect();
        insta::assert_snapshot!(chosen, @"babababbaabbabaaaabbbbaabaababbb");
    }
}
