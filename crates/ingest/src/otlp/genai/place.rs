//! Where records are from, and on whose behalf: what the resource says.

use std::sync::Arc;

use record::{Actor, Source, Value};

use super::super::model::Origin;
use super::facts::Facts;
use crate::Arrival;
use crate::drafting::cut;

/// The longest name of a service, an environment, a host or a user, in bytes; it is cut there.
const NAME_BYTES_MAX: usize = 256;
/// The longest attribute of a resource that is kept, in bytes: it is in each record, so a longer one is left out.
const KEPT_BYTES_MAX: usize = 512;
/// Attributes of a resource that are kept, beside those of Kubernetes.
const KEPT: [&str; 5] =
    ["service.namespace", "service.version", "service.instance.id", "container.id", "telemetry.sdk.language"];
/// The most attributes of a resource that are kept.
const KEPT_MAX: usize = 24;

/// What a resource and a scope say, for each record of theirs.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) source: Arc<Source>,
    pub(super) actor: Option<Actor>,
    pub(super) attributes: Arc<Vec<(String, Value<'static>)>>,
}

impl Place {
    pub(super) fn of(origin: Origin<'_>, arrival: &Arrival<'_>) -> Self {
        let mut facts = Facts::of(origin.resource);
        let mut source = arrival.source.clone();
        let older = facts.take_text("deployment.environment");
        for (said, slot) in [
            (facts.take_text("service.name"), &mut source.service),
            (facts.take_text("deployment.environment.name").or(older), &mut source.environment),
            (facts.take_text("host.name"), &mut source.host),
        ] {
            if let Some(said) = said.filter(|said| !said.is_empty()) {
                cut(&said, NAME_BYTES_MAX).clone_into(slot);
            }
        }
        let actor = super::take_actor(&mut facts);
        let mut attributes: Vec<(String, Value<'static>)> = Vec::new();
        for (name, text) in [("otel.scope.name", &origin.scope_name), ("otel.scope.version", &origin.scope_version)] {
            if !text.is_empty() && text.len() <= KEPT_BYTES_MAX {
                attributes.push((name.into(), Value::Text(text.clone().into_owned().into())));
            }
        }
        let is_kept = |name: &str, value: &Value<'_>| {
            let is_named = KEPT.contains(&name) || (name.starts_with("k8s.") && name.len() <= NAME_BYTES_MAX);
            is_named && matches!(value, Value::Text(text) if text.len() <= KEPT_BYTES_MAX)
        };
        let kept = facts.into_rest().filter(|(name, value)| is_kept(name, value)).take(KEPT_MAX);
        attributes.extend(kept.map(|(name, value)| (name.into_owned(), value.into_owned())));
        Self { source: Arc::new(source), actor, attributes: Arc::new(attributes) }
    }
}

/// A user that a sender names, which is a claim.
pub(super) fn user(name: &str) -> Actor {
    Actor {
        kind: "user".into(),
        id: Some(cut(name, NAME_BYTES_MAX).to_owned()),
        auth: Some("claimed".into()),
        ..Actor::default()
    }
}
