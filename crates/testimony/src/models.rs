//! The models' side of a server: the gateway, the model servers of the configuration, and the routes that the log says are in force.

use std::time::Duration;

use access::Glob;
use anyhow::Context as _;
use control::{SIGHTED, Sightings, UpstreamName};
use gateway::{
    AccessControl, Control, Gateway, ModelNews, ModelsSeen, RecordWhen, RulesInForce, Settings, Upstream, Upstreams,
};
use ledger::Ledger;
use record::Uuid;
use search::{Engine, Limits};
use server::{GatewaySurface, Lane, RouteBook};
use world::World;

use crate::config::{Config, ConfigError, Record};

/// The door of the records about what stands behind the names of models.
pub(crate) const SIGHTINGS_PRODUCER: &str = "models";
/// What reading them back may take.
const RESTORING: Limits = Limits { rows_max: 100_000, bytes_max: 1 << 30, deadline: Duration::from_secs(300) };

/// What the log says is in force.
pub(crate) struct InForce {
    pub(crate) control: Control,
    pub(crate) news: ModelNews,
    pub(crate) routes: RouteBook,
}

impl InForce {
    /// Reads it back: no call is made before.
    pub(crate) async fn restore(engine: &Engine, upstreams: &Upstreams) -> anyhow::Result<Self> {
        let unreadable = "what is in force could not be read back from the log";
        let routes = RouteBook::restore(engine, upstreams.names()).await.context(unreadable)?;
        let seen = engine.latest(SIGHTINGS_PRODUCER, SIGHTED, None, RESTORING).await.context(unreadable)?;
        let (models, news) = ModelsSeen::new(Sightings::fold(&seen));
        Ok(Self { control: Control { routes: routes.shared(), models }, news, routes })
    }
}

/// The model servers of the configuration.
pub(crate) fn upstreams(config: &Config) -> anyhow::Result<Upstreams> {
    let upstream = |url: &str, key: &str| Upstream::new(url, Some(key).filter(|key| !key.is_empty()));
    let usual = upstream(&config.upstream.url, &config.upstream.api_key)?;
    let mut others = Vec::new();
    for (name, one) in &config.upstreams {
        let place = format!("upstreams.{name}");
        let wrong = |what: String| ConfigError::Value { place: place.clone(), what };
        let parsed = UpstreamName::parse(name)
            .ok_or_else(|| wrong(format!("the name of a model server is {}", UpstreamName::RULE)))?;
        if parsed == UpstreamName::usual() {
            return Err(wrong("this name is that of [upstream]".to_owned()).into());
        }
        others.push((parsed, upstream(&one.url, &one.api_key).with_context(|| place.clone())?));
    }
    Ok(Upstreams::new(usual, others))
}

/// Records the outcome of calls that a killed process left open; then calls may come.
pub(crate) async fn start_gateway(
    world: &World,
    config: &Config,
    ledger: &Ledger,
    upstreams: Upstreams,
    judges: (AccessControl, RulesInForce, Control),
    settings: Settings,
    open_calls: &[(Uuid, u64)],
) -> anyhow::Result<Gateway> {
    let ledger = ledger.clone();
    let (gateway, interrupted) =
        Gateway::start(world, &config.data, ledger, upstreams, judges, settings, open_calls).await?;
    if interrupted > 0 {
        tracing::warn!(
            calls = interrupted,
            "recorded calls that were under way when the process stopped as interrupted"
        );
    }
    Ok(gateway)
}

/// One lane for each core.
pub(crate) fn model_lanes(gateway: &Gateway) -> anyhow::Result<Vec<(Lane, GatewaySurface)>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (0..cores)
        .map(|nth| {
            let lane = Lane::start(&format!("models-{nth}")).context("could not start a thread for connections")?;
            Ok((lane, GatewaySurface(gateway.with_own_connections())))
        })
        .collect()
}

pub(crate) fn gateway_settings(config: &Config, origin: &str) -> anyhow::Result<Settings> {
    let models = config.upstream.models.iter().map(|pattern| Glob::parse(pattern)).collect::<Result<_, _>>();
    Ok(Settings {
        source: config.source(origin, "gateway"),
        models: models.context("upstream.models")?,
        record: match config.upstream.record {
            Record::BeforeAnswer => RecordWhen::BeforeAnswer,
            Record::BeforeForward => RecordWhen::BeforeForward,
        },
        limits: gateway::Limits {
            request_bytes_max: config.limits.request_bytes_max,
            response_bytes_max: config.limits.response_bytes_max,
            upstream_idle: Duration::from_secs(config.limits.upstream_idle_s),
            ..gateway::Limits::default()
        },
    })
}
