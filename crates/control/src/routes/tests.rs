use super::*;
use crate::names::{ModelName, UpstreamName};
use proptest::prelude::*;
use record::{Attributes, Value as Attribute};
use serde_json::json;

/// A log of one door: what is applied is what is read back from it.
#[derive(Default)]
struct Log {
    records: Vec<Value>,
    routes: Routes,
}

fn name(text: &str) -> RouteName {
    RouteName::parse(text).unwrap()
}

/// The attributes of a record as search gives them.
fn texts(attributes: &Attributes<'_>) -> Value {
    let text = |value: &Attribute<'_>| match value {
        Attribute::Text(text) => text.to_string(),
        other => other.to_json(),
    };
    attributes
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(text(value))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

impl Log {
    fn take(&mut self, change: Change) -> u64 {
        let mut attributes = Attributes::default();
        change.write(&mut attributes);
        let nth = self.records.len();
        let time = Timestamp::from_posix_seconds(1_795_435_200 + nth as u64).to_string();
        let record =
            json!({"id": format!("r{nth}"), "time": time, "actor_id": "alice", "attributes": texts(&attributes)});
        let standing = Standing::of(&record).unwrap();
        assert_eq!(standing.change, change);
        self.records.push(record);
        self.routes = self.routes.with(standing);
        self.is_restored();
        change.revision
    }

    /// The last record of each route restores everything.
    fn is_restored(&self) {
        let mut last = BTreeMap::new();
        for record in &self.records {
            last.insert(record["attributes"][crate::ROUTE].to_string(), record.clone());
        }
        assert_eq!(Routes::fold(&last.into_values().collect::<Vec<_>>()), self.routes);
    }

    fn promote(&mut self, version: &str, percent: &str) -> Result<u64, Refused> {
        self.promote_seen(version, percent, None)
    }

    fn promote_seen(&mut self, version: &str, percent: &str, seen: Option<u64>) -> Result<u64, Refused> {
        let model = ModelName::parse(&format!("model-of-{version}")).unwrap();
        let target = Some(Target { upstream: UpstreamName::usual(), model });
        let share = Share::parse(percent).unwrap();
        let wish = Promotion { route: name("bot"), version: version.into(), target, share, seen };
        Ok(self.take(self.routes.promote(wish)?))
    }

    fn revision(&self, revision: u64) -> Option<Standing> {
        self.records.iter().filter_map(Standing::of).find(|standing| standing.change.revision == revision)
    }

    fn undo(&mut self, undo: Undo) -> Result<u64, Refused> {
        let restored = self.revision(undo.restores);
        Ok(self.take(self.routes.undo(undo, restored.as_ref())?))
    }

    fn roll_back(&mut self) -> Result<u64, Refused> {
        self.undo(self.routes.roll_back(&name("bot"), None)?)
    }

    fn revert(&mut self, revision: u64) -> Result<u64, Refused> {
        self.undo(self.routes.revert(&self.revision(revision).unwrap())?)
    }

    fn told(&self) -> String {
        let Some(standing) = self.routes.named("bot") else { return "none".into() };
        let one = |one: &Weighted| format!("{} {}", one.version, one.percent);
        standing
            .change
            .after
            .versions()
            .iter()
            .filter(|one| one.percent > Share::NONE)
            .map(one)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[test]
fn rolling_back_goes_back_through_what_still_stands() {
    let mut log = Log::default();
    log.promote("a", "100").unwrap();
    log.promote("b", "5").unwrap();
    log.promote("b", "50").unwrap();
    log.roll_back().unwrap();
    assert_eq!(log.told(), "a 95, b 5");
    // What was rolled back is not what a later promotion goes back to.
    log.promote("b", "20").unwrap();
    log.roll_back().unwrap();
    assert_eq!(log.told(), "a 95, b 5");
    log.roll_back().unwrap();
    assert_eq!(log.told(), "a 100");
    assert_eq!(log.roll_back(), Err(Refused::First(name("bot"))));
    assert_eq!(log.revision(7).unwrap().change.restores, Some(1));
}

#[test]
fn a_change_is_undone_unless_others_built_on_it() {
    let mut log = Log::default();
    log.promote("a", "100").unwrap();
    log.promote("b", "5").unwrap();
    assert_eq!(log.revert(1), Err(Refused::Later { route: name("bot"), undone: 1, current: 2 }));
    log.revert(2).unwrap();
    assert_eq!(log.told(), "a 100");
    // A revert is a change like another, and can be undone too.
    log.revert(3).unwrap();
    assert_eq!(log.told(), "a 95, b 5");
    log.roll_back().unwrap();
    assert_eq!((log.told().as_str(), log.revision(3).unwrap().change.undoes.as_deref()), ("a 100", Some("r1")));
    log.revert(5).unwrap();
    assert_eq!(log.told(), "a 95, b 5");
}

#[test]
fn a_route_whose_making_is_undone_is_none_and_goes_on_counting() {
    let mut log = Log::default();
    log.promote("a", "100").unwrap();
    log.revert(1).unwrap();
    assert_eq!((log.told().as_str(), log.routes.all().count(), log.routes.lead("bot", "c")), ("none", 0, None));
    assert_eq!(log.roll_back(), Err(Refused::Unknown(name("bot"))));
    assert_eq!(log.promote_seen("a", "100", Some(1)), Err(Refused::Seen { route: name("bot"), seen: 1, current: 0 }));
    assert_eq!(log.promote_seen("a", "100", Some(0)), Ok(3));
    assert_eq!(log.roll_back(), Err(Refused::First(name("bot"))));
}

#[test]
fn nobody_writes_over_what_they_have_not_seen() {
    let mut log = Log::default();
    log.promote_seen("a", "100", Some(0)).unwrap();
    assert_eq!(log.promote("a", "100"), Err(Refused::Same(name("bot"))));
    log.promote_seen("b", "5", Some(1)).unwrap();
    let refused = log.promote_seen("b", "10", Some(1)).unwrap_err();
    assert_eq!(refused.to_string(), "the route bot is at revision 2 and not at 1: look at it again");
    assert!(log.routes.roll_back(&name("bot"), Some(1)).is_err());
}

#[test]
fn a_name_leads_to_a_version_or_is_no_route() {
    let mut log = Log::default();
    log.promote("a@1", "100").unwrap();
    log.promote("a@2", "0").unwrap();
    let lead = |name: &str| log.routes.lead(name, "c").map(|(route, one)| format!("{route} {}", one.version));
    assert_eq!(lead("bot").as_deref(), Some("bot a@1"));
    // A policy may send a call to a version that gets nothing else.
    assert_eq!(lead("bot/a@2").as_deref(), Some("bot a@2"));
    for none in ["", "other", "bot/", "bot/a@3", "/a@1", "other/a@1"] {
        assert_eq!(lead(none), None, "{none}");
    }
}

#[test]
fn a_record_says_what_it_did() {
    let mut log = Log::default();
    log.promote("a@1", "100").unwrap();
    log.promote("a@2", "2.5").unwrap();
    log.roll_back().unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&log.records[1..]).unwrap());
}

#[test]
fn what_is_no_record_of_ours_is_passed_over() {
    let mut log = Log::default();
    log.promote("a", "100").unwrap();
    let mut broken = log.records[0].clone();
    broken["attributes"]["testimony.route.after"] =
        json!("[{\"version\":\"a\",\"upstream\":\"default\",\"model\":\"m\",\"percent\":99}]");
    assert_eq!(Routes::fold(&[broken, json!({}), json!(null)]), Routes::default());
}

proptest! {
    #[test]
    fn whatever_is_done_the_log_restores_it_and_every_change_can_be_undone(
        steps in prop::collection::vec((0_u8..4, 0_u8..4, 0_u32..=100), 1..40)
    ) {
        let mut log = Log::default();
        for (what, version, percent) in steps {
            let before = log.told();
            let last = log.records.len() as u64;
            let done = match what {
                0 | 1 => log.promote(&format!("v{version}"), &percent.to_string()),
                2 => log.roll_back(),
                _ if last > 0 => log.revert(last),
                _ => continue,
            };
            if let Ok(revision) = done {
                prop_assert_eq!(revision, last + 1);
                let after = log.told();
                log.revert(revision).unwrap();
                prop_assert_eq!(log.told(), before);
                log.revert(revision + 1).unwrap();
                prop_assert_eq!(log.told(), after);
            }
        }
    }
}
