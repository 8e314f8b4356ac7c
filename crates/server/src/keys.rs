//! `/api/v1/keys`: API keys, made (and shown once), listed, revoked. Each change is an `auth` record.

use access::{ApiKey, KeyError, NewKey, Role, Scope};
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use policy::Administration;
use record::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::{Admission, Caller};
use crate::api::{Api, bad_request, not_running};
use crate::asked::check_json;
use crate::problem::Problem;

/// What a refusal is recorded as being of.
const PATH: &str = "/api/v1/keys";

/// A key that somebody wants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    role: Role,
    /// `env=staging,model=gemma*`; none or `*`: everything.
    #[serde(default)]
    scope: Scope,
    /// RFC 3339; none: it does not end.
    expires_at: Option<String>,
}

impl Wanted {
    /// The change as the policy is asked about it.
    fn administration(&self) -> Administration {
        let target = format!("{} {} {}", self.name, self.role, self.scope);
        Administration { action: "key.create".into(), target }
    }
}

/// Revoking as the policy is asked about it.
fn revoking(key: &str) -> Administration {
    Administration { action: "key.revoke".into(), target: key.to_owned() }
}

/// All of them.
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let admission = api.admission().ok_or_else(|| not_running("it is asked for no keys"))?;
    Ok(Json(json!({"keys": admission.keys.list().iter().map(shown_key).collect::<Vec<_>>()})))
}

/// Somebody makes one.
pub(crate) async fn make(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    check_json(&headers)?;
    let admission = api.admission().ok_or_else(|| not_running("no key can be made through it"))?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| bad_request(error.to_string()))?;
    if let Err(refused) = admission.may_change(&caller, "POST", PATH, wanted.administration()).await {
        return Ok(refused);
    }
    made(admission, &caller, wanted).await
}

/// Somebody revokes one.
pub(crate) async fn revoke(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
) -> Result<Response, Problem> {
    let admission = api.admission().ok_or_else(|| not_running("no key can be revoked through it"))?;
    if let Err(refused) = admission.may_change(&caller, "DELETE", PATH, revoking(&key)).await {
        return Ok(refused);
    }
    Ok(revoked(admission, &caller, &key).await?.into_response())
}

async fn made(admission: &Admission, caller: &Caller, wanted: Wanted) -> Result<Response, Problem> {
    let now = admission.now();
    let expires_at = wanted.expires_at.as_deref().map(Timestamp::parse).transpose();
    let expires_at = expires_at
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_request", format!("expires_at: {error}")))?;
    let created_by = caller.identity.as_ref().map_or("owner", |identity| identity.id.as_str()).to_owned();
    let new = NewKey { name: wanted.name, role: wanted.role, scope: wanted.scope, expires_at, created_by };
    let (store, entropy) = (admission.keys.clone(), admission.world.entropy.clone());
    let (secret, key) = blocking(move || store.create(new, now, entropy.as_ref())).await?;
    let draft = admission.records.key_made(&key, caller.actor().unwrap_or_default());
    if let Err(problem) = admission.record(draft).await {
        // A key that the log does not know of must not be used.
        let (store, id) = (admission.keys.clone(), key.id);
        blocking(move || store.revoke(&id, now)).await?;
        return Err(problem);
    }
    let mut answer = shown_key(&key);
    answer["secret"] = secret.expose().into();
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn revoked(admission: &Admission, caller: &Caller, key: &str) -> Result<Json<Value>, Problem> {
    let now = admission.now();
    let (store, key) = (admission.keys.clone(), key.to_owned());
    // It is refused from here on, whatever becomes of the record.
    let key = blocking(move || store.revoke(&key, now)).await?;
    let sessions = admission.sessions.close_of_key(&key.id);
    admission.record(admission.records.key_revoked(&key, caller.actor().unwrap_or_default(), sessions)).await?;
    Ok(Json(shown_key(&key)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Problem> {
    let broken = |detail: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", detail);
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| match &error {
            KeyError::NotFound(_) => Problem::not_found(error.to_string()),
            KeyError::Taken(_) => Problem::new(StatusCode::CONFLICT, "taken", error.to_string()),
            KeyError::State(_) | KeyError::Randomness => broken(error.to_string()),
            _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
        }),
        Err(_) => Err(broken("the keys could not be changed".to_owned())),
    }
}

/// A key as the interface shows it: everything but its secret, which is not kept.
#[must_use]
pub fn shown_key(key: &ApiKey) -> Value {
    let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "scope": key.scope.to_string(),
        "created_at": key.created_at.to_string(),
        "created_by": key.created_by,
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "last_used_at": moment(key.last_used_at),
    })
}
