//! One step of a route, as a record holds it: the route before and after, so that a record says by itself what it did.

use record::{Attributes, Timestamp, Value as Attribute};
use serde_json::Value;

use crate::names::{RouteName, VersionName};
use crate::route::{Route, Weighted};
use crate::routes::Standing;

/// The attribute with the route that a record is about; calls that went by a route have it too.
pub const ROUTE: &str = "testimony.route";
/// Counts the changes of a route, from 1.
pub const REVISION: &str = "testimony.route.revision";
const ACT: &str = "testimony.route.act";
const VERSION: &str = "testimony.route.version";
const BEFORE: &str = "testimony.route.before";
const AFTER: &str = "testimony.route.after";
const BACK_TO: &str = "testimony.route.back_to";
const RESTORES: &str = "testimony.route.restores";
const UNDOES: &str = "testimony.route.undoes";

/// What was done to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A version was given a share.
    Promoted,
    /// It is as it was before its last promotion.
    RolledBack,
    /// The last change of it is undone.
    Reverted,
}

impl Act {
    const ALL: [Self; 3] = [Self::Promoted, Self::RolledBack, Self::Reverted];

    /// As records and answers say it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Reverted => "reverted",
        }
    }
}

/// One step of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which route.
    pub route: RouteName,
    /// What it is from then on, counted from 1.
    pub revision: u64,
    /// What was done.
    pub act: Act,
    /// The version that was promoted.
    pub version: Option<VersionName>,
    /// The route as it was; gone where there was none.
    pub before: Route,
    /// The route as it is then.
    pub after: Route,
    /// The revision to which a rollback leads from there; none: to nothing.
    pub back_to: Option<u64>,
    /// The revision that is in force again; 0 is no route at all.
    pub restores: Option<u64>,
    /// The record that is undone.
    pub undoes: Option<String>,
}

impl Change {
    /// Puts it into a draft's attributes.
    pub fn write(&self, attributes: &mut Attributes<'static>) {
        let number = |revision: u64| Attribute::Int(i64::try_from(revision).unwrap_or(i64::MAX));
        attributes.set("testimony.control.change", "route");
        attributes.set(ROUTE, self.route.as_str().to_owned());
        attributes.set(REVISION, number(self.revision));
        attributes.set(ACT, self.act.word());
        attributes.set(BEFORE, listed(&self.before));
        attributes.set(AFTER, listed(&self.after));
        for (name, revision) in [(BACK_TO, self.back_to), (RESTORES, self.restores)] {
            if let Some(revision) = revision {
                attributes.set(name, number(revision));
            }
        }
        if let Some(version) = &self.version {
            attributes.set(VERSION, version.as_str().to_owned());
        }
        if let Some(record) = &self.undoes {
            attributes.set_text(UNDOES, record);
        }
    }

    /// What a record says, with its attributes as texts: a list as the JSON of it.
    fn of(record: &Value) -> Option<Self> {
        let said = |name: &str| record.get("attributes")?.get(name)?.as_str();
        let number = |name: &str| said(name)?.parse::<u64>().ok();
        let route = |name: &str| Route::of(serde_json::from_str::<Vec<Weighted>>(said(name)?).ok()?);
        let act = said(ACT)?;
        Some(Self {
            route: RouteName::parse(said(ROUTE)?)?,
            revision: number(REVISION)?,
            act: Act::ALL.into_iter().find(|known| known.word() == act)?,
            version: said(VERSION).and_then(VersionName::parse),
            before: route(BEFORE)?,
            after: route(AFTER)?,
            back_to: number(BACK_TO),
            restores: number(RESTORES),
            undoes: said(UNDOES).map(str::to_owned),
        })
    }
}

impl Standing {
    /// A change by its record, as it is read back from the log; none where the record is about something else.
    #[must_use]
    pub fn of(record: &Value) -> Option<Self> {
        let text = |name: &str| record.get(name)?.as_str();
        Some(Self {
            change: Change::of(record)?,
            at: Timestamp::parse(text("time")?).ok()?,
            by: text("actor_id").or_else(|| text("actor_type")).map(str::to_owned),
            record: text("id")?.to_owned(),
        })
    }
}

fn listed(route: &Route) -> Attribute<'static> {
    let named = |name: &'static str, value: Attribute<'static>| (name.into(), value);
    let text = |text: &str| Attribute::Text(text.to_owned().into());
    let one = |one: &Weighted| {
        Attribute::Map(vec![
            named("model", text(one.target.model.as_str())),
            named("percent", percent(one)),
            named("upstream", text(one.target.upstream.as_str())),
            named("version", text(one.version.as_str())),
        ])
    };
    Attribute::List(route.versions().iter().map(one).collect())
}

/// A whole number where it is one, as JSON canonically has it.
fn percent(one: &Weighted) -> Attribute<'static> {
    let hundredths = one.percent.hundredths();
    if hundredths.is_multiple_of(100) {
        Attribute::from(hundredths / 100)
    } else {
        Attribute::from(one.percent.percent())
    }
}
