//! Asking: a running server, or the directory of a stopped one. Both answer through the same routes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use clap::Args;
pub(crate) use dial::percent_encoded;
use dial::{Connector, Credentials};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as HttpClient;
use ledger::{Archive, PublishedLog};
use search::Engine;
use server::{Api, Build};
use tower::ServiceExt as _;
use world::World;

use crate::trust::read_own;

/// Which log is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The running server to ask
    #[arg(long, value_name = "URL", env = "TESTIMONY_SERVER", default_value = "http://127.0.0.1:4140")]
    server: String,
    /// The API key or bearer token to show it
    #[arg(long, value_name = "KEY", env = "TESTIMONY_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Read the directory of a stopped server instead
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    channel: Channel,
}

/// How a server by HTTPS is known, and what it is shown.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Channel {
    /// The authorities to trust for an https server (PEM), instead of this machine's
    #[arg(long, value_name = "FILE", env = "TESTIMONY_CA")]
    ca: Option<PathBuf>,
    /// The client certificate to show it (PEM)
    #[arg(long, value_name = "FILE", env = "TESTIMONY_CERT", requires = "cert_key")]
    cert: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", env = "TESTIMONY_CERT_KEY", requires = "cert")]
    cert_key: Option<PathBuf>,
}

impl Channel {
    fn connector(&self, is_https: bool) -> anyhow::Result<Connector> {
        if !is_https {
            return Ok(dial::connector(false)?);
        }
        let read = |file: &Option<PathBuf>| file.as_deref().map(read_own).transpose();
        let (certificate, key) = (read(&self.cert)?, read(&self.cert_key)?);
        Ok(dial::connector_with(&Credentials { authorities: read(&self.ca)?, client: certificate.zip(key) })?)
    }
}

/// What this build is.
pub(crate) const BUILD: Build = Build { version: env!("CARGO_PKG_VERSION") };

/// A log that can be asked.
#[derive(Clone)]
pub(crate) enum Client {
    /// A server, by HTTP.
    Remote(Arc<Remote>),
    /// A directory, in this process.
    Local(Router),
}

pub(crate) struct Remote {
    base: String,
    authorization: Option<HeaderValue>,
    http: HttpClient<Connector, Body>,
}

impl Target {
    /// Makes the log ready to be asked.
    pub(crate) fn open(&self) -> anyhow::Result<Client> {
        match &self.data {
            Some(data) => open_stopped(data.clone()),
            None => Client::remote(&self.server, self.api_key.as_deref(), &self.channel),
        }
    }
}

fn open_stopped(data: PathBuf) -> anyhow::Result<Client> {
    let world = World::real();
    let mut batches = Vec::new();
    let archive = Archive::open(&world, &data, |batch| batches.push(batch))
        .context("could not read the directory; when a server has it, leave out --data and ask the server")?;
    let key = archive.key().clone();
    let log = PublishedLog::of(world.disk.clone(), &data);
    let engine = Engine::of_stopped(&world, &data, key.name(), batches)?;
    Ok(Client::Local(Api::new(log, engine, None, key, BUILD, None).router()))
}

impl Client {
    pub(crate) fn remote(base: &str, api_key: Option<&str>, channel: &Channel) -> anyhow::Result<Self> {
        let bearer =
            |key: &str| HeaderValue::try_from(format!("Bearer {key}")).context("the API key is not plain text");
        let authorization = api_key.map(bearer).transpose()?;
        let connector = channel.connector(base.starts_with("https:"))?;
        let http = dial::client(connector);
        Ok(Self::Remote(Arc::new(Remote { base: base.trim_end_matches('/').to_owned(), authorization, http })))
    }

    async fn send(&self, mut request: Request<Body>) -> anyhow::Result<Response<Body>> {
        match self {
            Self::Local(router) => Ok(router.clone().oneshot(request).await.unwrap_or_else(|never| match never {})),
            Self::Remote(remote) => {
                let uri: Uri =
                    format!("{}{}", remote.base, request.uri()).parse().context("the server's URL is malformed")?;
                *request.uri_mut() = uri;
                if let Some(authorization) = &remote.authorization {
                    request.headers_mut().insert(AUTHORIZATION, authorization.clone());
                }
                let sent = remote.http.request(request).await;
                let response = sent.with_context(|| {
                    format!("no server answers at {}: start one with `testimony serve`, or read a stopped one's directory with --data DIR", remote.base)
                })?;
                Ok(response.map(Body::new))
            }
        }
    }

    /// Asks, and gives the response when it is a good one or says that there is no such thing.
    async fn ask(&self, request: Request<Body>) -> anyhow::Result<Option<Response<Body>>> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(Some(response));
        }
        let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Err(refused(status, &body))
    }

    /// GETs a path with a query, as one piece; nothing when there is no such thing.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Option<Bytes>> {
        let request = Request::get(path).body(Body::empty())?;
        match self.ask(request).await? {
            Some(response) => Ok(Some(response.into_body().collect().await?.to_bytes())),
            None => Ok(None),
        }
    }

    /// GETs a path with a query, as one piece with its headers; nothing when there is no such thing.
    pub(crate) async fn get_with_headers(&self, path: &str) -> anyhow::Result<Option<(HeaderMap, Bytes)>> {
        let request = Request::get(path).body(Body::empty())?;
        match self.ask(request).await? {
            Some(response) => {
                let (head, body) = response.into_parts();
                Ok(Some((head.headers, body.collect().await?.to_bytes())))
            }
            None => Ok(None),
        }
    }

    /// GETs a path with a query, as it comes.
    pub(crate) async fn stream(&self, path: &str) -> anyhow::Result<Body> {
        let request = Request::get(path).body(Body::empty())?;
        Ok(self.ask(request).await?.context("the server does not know this path")?.into_body())
    }

    /// DELETEs; nothing when there is no such thing.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Option<Bytes>> {
        let request = Request::delete(path).body(Body::empty())?;
        match self.ask(request).await? {
            Some(response) => Ok(Some(response.into_body().collect().await?.to_bytes())),
            None => Ok(None),
        }
    }

    /// PUTs JSON; nothing when there is no such thing.
    pub(crate) async fn put(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<Option<Bytes>> {
        let request = Request::put(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?;
        match self.ask(request).await? {
            Some(response) => Ok(Some(response.into_body().collect().await?.to_bytes())),
            None => Ok(None),
        }
    }

    /// POSTs JSON to what changes something; nothing when there is no such thing.
    pub(crate) async fn act(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<Option<Bytes>> {
        let request =
            Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?;
        match self.ask(request).await? {
            Some(response) => Ok(Some(response.into_body().collect().await?.to_bytes())),
            None => Ok(None),
        }
    }

    /// POSTs JSON.
    pub(crate) async fn post(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<Bytes> {
        let request =
            Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))?;
        let response = self.ask(request).await?.context("the server does not know this path")?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

impl Client {
    /// POSTs lines of JSON; nothing when the server cannot store anything just now.
    pub(crate) async fn post_lines(&self, path: &str, lines: Bytes) -> anyhow::Result<Option<Bytes>> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/jsonl").body(Body::from(lines))?;
        let response = self.send(request).await?;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            return Ok(None);
        }
        let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
        if status.is_success() { Ok(Some(body)) } else { Err(refused(status, &body)) }
    }
}

/// Puts values into a query string.
pub(crate) fn query_string(pairs: &[(&str, Option<String>)]) -> String {
    let encoded: Vec<String> = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", percent_encoded(value.as_deref()?))))
        .collect();
    if encoded.is_empty() { String::new() } else { format!("?{}", encoded.join("&")) }
}

/// Why a server did not do what it was asked.
fn refused(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match problem.get("detail").and_then(serde_json::Value::as_str) {
        Some(detail) => anyhow::anyhow!("{detail}"),
        None => anyhow::anyhow!("the server answered {status}"),
    }
}

/// A runtime for a command that asks.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
