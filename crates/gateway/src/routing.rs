//! Where a call goes: to the version of the route that it asks for, or on as it came.
//!
//! The routes in force are read without waiting for anybody: whoever changes them puts others in their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use control::{Alias, ModelName, RouteName, Routes, UpstreamName, VersionName, Weighted};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use record::Uuid;
use serde::Deserialize;

use crate::openai::refusal::Refusal;
use crate::openai::request::ChatRequest;
use crate::upstream::Upstream;

/// The response header with the route and the version that answered: a dictionary of RFC 8941.
pub(crate) const ROUTE_HEADER: HeaderName = HeaderName::from_static("testimony-route");
/// Headers in which a caller says which conversation a call belongs to.
const CONVERSATION_HEADERS: [&str; 2] = ["testimony-conversation", "x-session-id"];
/// The longest name of a conversation that is taken over.
const CONVERSATION_BYTES_MAX: usize = 256;

/// The routes in force, which can be replaced while calls are under way.
#[derive(Clone, Default)]
pub struct RoutesInForce(Arc<ArcSwap<Routes>>);

impl RoutesInForce {
    /// Routes to begin with.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(routes)))
    }

    /// Puts others in force for calls that begin from now on.
    pub fn replace(&self, routes: Routes) {
        self.0.store(Arc::new(routes));
    }

    /// The routes in force now.
    #[must_use]
    pub fn now(&self) -> Arc<Routes> {
        self.0.load_full()
    }
}

/// The model servers of the configuration. Clones share the connections.
#[derive(Clone)]
pub struct Upstreams(Arc<BTreeMap<UpstreamName, Arc<Upstream>>>);

impl Upstreams {
    /// The usual one, where everything goes that names no route, and those that only routes lead to.
    #[must_use]
    pub fn new(usual: Upstream, others: impl IntoIterator<Item = (UpstreamName, Upstream)>) -> Self {
        let usual = (UpstreamName::usual(), usual);
        let all = others.into_iter().chain([usual]).map(|(name, upstream)| (name, Arc::new(upstream)));
        Self(Arc::new(all.collect()))
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<UpstreamName> {
        self.0.keys().cloned().collect()
    }

    /// The same ones with connections of their own.
    pub(crate) fn with_own_connections(&self) -> Self {
        let own = |(name, one): (&UpstreamName, &Arc<Upstream>)| (name.clone(), Arc::new(one.with_own_connections()));
        Self(Arc::new(self.0.iter().map(own).collect()))
    }
}

/// Where a call goes.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) upstream: Arc<Upstream>,
    name: UpstreamName,
    /// The version that was chosen, where a route was asked for.
    pub(crate) chosen: Option<Chosen>,
}

/// The version of a route that a call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) route: RouteName,
    pub(crate) version: VersionName,
    /// What its server calls it.
    pub(crate) model: ModelName,
    /// Whether a policy sent it there.
    pub(crate) is_by_policy: bool,
}

impl Way {
    /// Where everything goes that asks for no route.
    pub(crate) fn usual(upstreams: &Upstreams) -> Result<Self, Refusal> {
        Self::to(upstreams, UpstreamName::usual(), None)
    }

    /// Where a call goes: where a policy sends it, or the route that it asks for, or on as it came.
    pub(crate) fn of(
        upstreams: &Upstreams,
        routes: &Routes,
        request: &ChatRequest,
        sent_to: Option<&str>,
        conversation: &str,
    ) -> Result<Self, Refusal> {
        let asked = || routes.named(&request.model).map(|_| request.model.as_str());
        let Some(name) = sent_to.or_else(asked) else { return Self::usual(upstreams) };
        let Some((route, Weighted { version, target, .. })) = routes.lead(name, conversation) else {
            let message = format!("the route {name:?} leads to no version");
            return Err(Refusal::server(StatusCode::SERVICE_UNAVAILABLE, "route_leads_nowhere", message));
        };
        let (version, model) = (version.clone(), target.model.clone());
        let chosen = Chosen { route: route.clone(), version, model, is_by_policy: sent_to.is_some() };
        Self::to(upstreams, target.upstream.clone(), Some(chosen))
    }

    fn to(upstreams: &Upstreams, name: UpstreamName, chosen: Option<Chosen>) -> Result<Self, Refusal> {
        match upstreams.0.get(&name) {
            Some(upstream) => Ok(Self { upstream: upstream.clone(), name, chosen }),
            None => {
                let of = chosen.map_or_else(String::new, |one| format!(" of version {} of {}", one.version, one.route));
                let message =
                    format!("the model server {name}{of} is not in the configuration: add [upstreams.{name}]");
                Err(Refusal::server(StatusCode::SERVICE_UNAVAILABLE, "upstream_not_configured", message))
            }
        }
    }

    /// The name of the model server in the configuration.
    pub(crate) const fn name(&self) -> &UpstreamName {
        &self.name
    }

    /// The name that the model has where the call goes; none where it is no name that can be watched.
    pub(crate) fn alias(&self, asked: &str) -> Option<Alias> {
        let model = match &self.chosen {
            Some(chosen) => chosen.model.clone(),
            None => ModelName::parse(asked)?,
        };
        Some(Alias { upstream: self.name.clone(), model })
    }

    /// What the caller is told of it.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let Chosen { route, version, .. } = self.chosen.as_ref()?;
        HeaderValue::try_from(format!("name=\"{route}\", version=\"{version}\"")).ok()
    }
}

/// The conversation that a call belongs to, as its caller says: by a header, or by a member of the request.
pub(crate) fn conversation(headers: &HeaderMap, request: &ChatRequest) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        conversation_id: Option<String>,
        session_id: Option<String>,
    }
    let header = |name: &&str| headers.get(*name)?.to_str().ok().map(str::to_owned);
    let named = CONVERSATION_HEADERS.iter().find_map(header);
    let in_metadata = || {
        let Metadata { conversation_id, session_id } = request.member("metadata")?;
        conversation_id.or(session_id)
    };
    let said = named.or_else(in_metadata).or_else(|| request.member("session_id"));
    said.filter(|said| (1..=CONVERSATION_BYTES_MAX).contains(&said.len()))
}

/// What a version is chosen by: the conversation, or a call of its own.
pub(crate) fn chosen_by(headers: &HeaderMap, request: &ChatRequest, call: Uuid) -> String {
    conversation(headers, request).unwrap_or_else(|| call.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_what_the_caller_says() {
        let check = |headers: &[(&'static str, &'static str)], more: &str, expected: Option<&str>| {
            let headers =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let body = format!(r#"{{"model":"m","messages":[]{more}}}"#);
            let request = ChatRequest::read(body.into()).unwrap();
            assert_eq!(conversation(&headers.collect(), &request).as_deref(), expected, "{more}");
        };
        check(&[], "", None);
        check(&[("testimony-conversation", "c1"), ("x-session-id", "s1")], r#","session_id":"s2""#, Some("c1"));
        check(&[("x-session-id", "s1")], "", Some("s1"));
        check(&[], r#","metadata":{"conversation_id":"c2","session_id":"s2"},"session_id":"s3""#, Some("c2"));
        check(&[], r#","metadata":{"session_id":"s2"}"#, Some("s2"));
        check(&[], r#","session_id":"s3""#, Some("s3"));
        check(&[], r#","session_id":3,"metadata":"x""#, None);
        check(&[("testimony-conversation", "")], "", None);
        check(&[], &format!(r#","session_id":"{}""#, "x".repeat(257)), None);
    }
}
