//! The routes in force, and who changes them: one change after another, each durable before it is in force.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use control::{Change, Promotion, REVISION, ROUTE, RouteName, Routes, Share, Standing, Undo, UpstreamName};
use gateway::RoutesInForce;
use http::StatusCode;
use policy::Administration;
use record::{Outcome, Timestamp};
use search::{Engine, EngineError, Limits};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::admission::{Admission, Caller, record};
use crate::intake::Intake;
use crate::problem::Problem;
use crate::reading::text_field;

/// The door of these records. They are believed by it: no sender can say that theirs came through it.
const PRODUCER: &str = "routes";
/// The field of content that says why: a person wrote it.
pub(super) const REASON: &str = "testimony.control.reason";
/// What reading the state back may take.
const RESTORING: Limits = Limits { rows_max: 100_000, bytes_max: 1 << 30, deadline: Duration::from_secs(300) };

/// The routes in force, and the one place where they are changed.
#[derive(Clone)]
pub struct RouteBook(Arc<Inner>);

struct Inner {
    in_force: RoutesInForce,
    /// Those that the configuration knows.
    upstreams: Vec<UpstreamName>,
    /// Held from looking at how a route stands until its change is in force. No call waits for it.
    changing: Mutex<()>,
}

/// What somebody wants.
pub(super) enum Wish {
    Promote(Promotion),
    RollBack { route: RouteName, seen: Option<u64> },
    Revert { record: String },
}

/// What became of it.
pub(super) enum Changed {
    Now(Box<Standing>),
    /// The policy does not allow it.
    Refused(Response),
}

/// How the routes stood after the last change until a moment, or stand.
pub(super) async fn read(engine: &Engine, until: Option<Timestamp>) -> Result<Routes, Problem> {
    Ok(Routes::fold(&engine.latest(PRODUCER, ROUTE, until, RESTORING).await?))
}

/// The records about a route, newest first, and whether there are more.
pub(super) async fn history(engine: &Engine, route: &RouteName, limits: Limits) -> Result<(Vec<Value>, bool), Problem> {
    Ok(engine.earlier(PRODUCER, vec![(ROUTE, route.as_str().to_owned())], limits).await?)
}

impl RouteBook {
    /// What the log says is in force. Routes whose model servers are not configured any more are told of, and stay.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn restore(engine: &Engine, upstreams: Vec<UpstreamName>) -> Result<Self, EngineError> {
        let routes = Routes::fold(&engine.latest(PRODUCER, ROUTE, None, RESTORING).await?);
        for standing in routes.all() {
            if let Some(missing) = missing(&standing.change, &upstreams) {
                tracing::warn!(route = %standing.change.route, upstream = %missing,
                    "a route leads to a model server that is not in the configuration: calls that get there are refused");
            }
        }
        let in_force = RoutesInForce::new(routes);
        Ok(Self(Arc::new(Inner { in_force, upstreams, changing: Mutex::default() })))
    }

    /// The routes in force now.
    #[must_use]
    pub fn in_force(&self) -> Arc<Routes> {
        self.0.in_force.now()
    }

    /// Where the gateway reads them.
    #[must_use]
    pub fn shared(&self) -> RoutesInForce {
        self.0.in_force.clone()
    }

    /// Changes a route once that is recorded, if the policy allows it.
    pub(super) async fn change(
        &self,
        engine: &Engine,
        intake: &Intake,
        (admission, caller, path): (&Admission, &Caller, &str),
        wish: Wish,
        reason: &str,
    ) -> Result<Changed, Problem> {
        let _changing = self.0.changing.lock().await;
        let routes = self.in_force();
        let (administration, change) = planned(engine, &routes, wish).await?;
        if let Some(missing) = missing(&change, &self.0.upstreams) {
            return Err(not_configured(missing, &self.0.upstreams));
        }
        if let Err(refused) = admission.may_change(caller, "POST", path, administration).await {
            return Ok(Changed::Refused(refused));
        }
        let mut draft = intake.control(caller, PRODUCER);
        draft.outcome = Some(Outcome::Completed);
        change.write(&mut draft.attributes);
        if !reason.is_empty() {
            draft.content.push(text_field(REASON, reason));
        }
        let (at, id, actor) = (draft.time, draft.id.to_string(), draft.actor.clone());
        record(&intake.ledger, draft).await?;
        let by = actor.map(|actor| actor.id.unwrap_or(actor.kind));
        let standing = Standing { change, at, by, record: id };
        self.0.in_force.replace(routes.with(standing.clone()));
        Ok(Changed::Now(Box::new(standing)))
    }
}

/// What a wish changes, and what the policy is asked about it.
async fn planned(engine: &Engine, routes: &Routes, wish: Wish) -> Result<(Administration, Change), Problem> {
    let (action, change) = match wish {
        Wish::Promote(promotion) => ("route.promote", routes.promote(promotion)?),
        Wish::RollBack { route, seen } => {
            let undo = routes.roll_back(&route, seen)?;
            ("route.rollback", undone(engine, routes, undo).await?)
        }
        Wish::Revert { record } => {
            let undo = routes.revert(&changed_by(engine, &record).await?)?;
            ("route.revert", undone(engine, routes, undo).await?)
        }
    };
    let mut target = change.route.as_str().to_owned();
    if let Some(version) = &change.version {
        let share = change.after.version(version.as_str()).map_or(Share::NONE, |one| one.percent);
        target = format!("{target} {version} {share}");
    }
    Ok((Administration { action: action.into(), target }, change))
}

/// The change that a record tells of.
async fn changed_by(engine: &Engine, record: &str) -> Result<Standing, Problem> {
    let view = search::View::everything();
    let found = engine.story(&view, "id", record.to_owned(), Limits { rows_max: 1, ..Limits::default() }).await?;
    let found = found.first().ok_or_else(|| Problem::not_found(format!("there is no record {record:?}")))?;
    let says = |name: &str, expected: &str| found.get(name).and_then(Value::as_str) == Some(expected);
    let standing = Standing::of(found).filter(|_| says("kind", "control") && says("producer", PRODUCER));
    standing.ok_or_else(|| {
        let detail = format!("the record {record:?} is no change of a route: nothing else can be reverted");
        Problem::new(StatusCode::CONFLICT, "not_revertible", detail)
    })
}

/// What undoing changes, with the revision that is to be in force again read back from the log.
async fn undone(engine: &Engine, routes: &Routes, undo: Undo) -> Result<Change, Problem> {
    let restored = match undo.restores {
        0 => None,
        revision => {
            let (route, limits) = (undo.route.as_str().to_owned(), Limits { rows_max: 1, ..Limits::default() });
            let wanted = vec![(ROUTE, route), (REVISION, revision.to_string())];
            let (records, _) = engine.earlier(PRODUCER, wanted, limits).await?;
            records.iter().find_map(Standing::of)
        }
    };
    Ok(routes.undo(undo, restored.as_ref())?)
}

/// A model server that somebody would be sent to and that the configuration does not know.
fn missing<'c>(change: &'c Change, upstreams: &[UpstreamName]) -> Option<&'c UpstreamName> {
    let promoted = change.version.as_ref();
    let is_used = |one: &&control::Weighted| one.percent > Share::NONE || Some(&one.version) == promoted;
    let mut used = change.after.versions().iter().filter(is_used).map(|one| &one.target.upstream);
    used.find(|upstream| !upstreams.contains(upstream))
}

fn not_configured(missing: &UpstreamName, upstreams: &[UpstreamName]) -> Problem {
    let known: Vec<&str> = upstreams.iter().map(UpstreamName::as_str).collect();
    let detail = format!(
        "there is no model server {missing} in the configuration, which alone says where they are; there is {}. Add [upstreams.{missing}] and start again",
        known.join(", ")
    );
    Problem::new(StatusCode::CONFLICT, "unknown_upstream", detail)
}

impl From<control::Refused> for Problem {
    fn from(refused: control::Refused) -> Self {
        use control::Refused as Why;
        let (status, code) = match &refused {
            Why::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Why::Seen { .. } | Why::Later { .. } => (StatusCode::CONFLICT, "revision"),
            Why::Same(_) => (StatusCode::CONFLICT, "same"),
            Why::First(_) => (StatusCode::CONFLICT, "no_earlier_state"),
            Why::Unpromoted(_) => (StatusCode::BAD_REQUEST, "not_promoted"),
            Why::TooMany => (StatusCode::CONFLICT, "too_many_routes"),
            Why::Unreadable { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "unavailable"),
        };
        let current = match &refused {
            Why::Seen { current, .. } | Why::Later { current, .. } => Some(*current),
            _ => None,
        };
        let problem = Self::new(status, code, refused.to_string());
        match current {
            Some(current) => problem.with("revision", current),
            None => problem,
        }
    }
}
