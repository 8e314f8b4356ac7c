//! Audit events as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Rejected;

/// A document of a body: an event, or a list of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub(super) api_version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) level: Option<String>,
    #[serde(rename = "auditID")]
    pub(super) audit_id: Option<String>,
    pub(super) stage: Option<String>,
    #[serde(rename = "requestURI")]
    pub(super) request_uri: Option<String>,
    pub(super) verb: Option<String>,
    pub(super) user: Option<User>,
    pub(super) impersonated_user: Option<User>,
    #[serde(rename = "sourceIPs")]
    pub(super) source_ips: Option<Vec<String>>,
    pub(super) user_agent: Option<String>,
    pub(super) object_ref: Option<Object>,
    pub(super) response_status: Option<Status>,
    #[serde(borrow)]
    pub(super) request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response_object: Option<&'a RawValue>,
    pub(super) request_received_timestamp: Option<String>,
    pub(super) stage_timestamp: Option<String>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) username: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) extra: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Object {
    pub(super) resource: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) api_group: Option<String>,
    pub(super) api_version: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) subresource: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) message: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) code: Option<i64>,
}

/// The events of one document, with the version that its list says they have.
pub(super) fn events(text: &str) -> Vec<Result<(&str, Option<String>), Rejected>> {
    let document: Document<'_> = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => return vec![Err(Rejected::Malformed(error.to_string()))],
    };
    if document.kind.as_deref() != Some("EventList") {
        return vec![Ok((text, None))];
    }
    let items = document.items.unwrap_or_default();
    items.into_iter().map(|item| Ok((item.get(), document.api_version.clone()))).collect()
}
