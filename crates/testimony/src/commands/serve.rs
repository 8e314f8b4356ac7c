//! `testimony serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use access::KeyStore;
use anyhow::{Context as _, bail};
use clap::Args;
use forward::Sender;
use gateway::{Gateway, RulesInForce};
use ingest::cloudevents::Kinds;
use ingest::otlp;
use ledger::{Identity, Ledger, Opened, PublishedLog};
use record::Kind;
use search::{Engine, SealAt};
use server::{AllowedHosts, Api, ApiSurface, Forwarded, Intake, Lane, ListenLimits, Tls, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use witness::Ahead;
use world::World;

use crate::Verdict;
use crate::admitting::Admitting;
use crate::alarm::{self, DiskAlarm};
use crate::background::Background;
use crate::certificates::Certificates;
use crate::client::{BUILD, runtime};
use crate::config::{self, Config};
use crate::files::FollowedFiles;
use crate::forwarding;
use crate::models::{self, InForce, gateway_settings, model_lanes, start_gateway};
use crate::postgres::PostgresPort;
use crate::retention::Keeping;
use crate::ruling::Ruling;
use crate::syslog::SyslogPorts;
use crate::terminal::print;
use crate::witnessing::{self, Asking};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A TOML file with settings; flags and TESTIMONY_… variables win over it
    #[arg(long, value_name = "FILE", env = "TESTIMONY_CONFIG")]
    config: Option<PathBuf>,
    /// Where everything is kept [default: ./testimony-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The model server's base URL, such as http://127.0.0.1:11434/v1
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The environment that the calls belong to, such as staging
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The service that the calls belong to
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The name of a new log, such as audit.example/edge-7
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Where search, tail and everything but models is answered [default: 127.0.0.1:4140]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where models are answered [default: 127.0.0.1:4141]
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<String>,
}

/// What a server is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To stand in front of a model server.
    Gateway,
    /// To deliver what it records to a centre; models may be served too.
    Node,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    run_as(arguments, &[], Purpose::Gateway)
}

pub(crate) fn run_as(
    arguments: &Arguments,
    more: &[(&'static str, &Option<String>)],
    purpose: Purpose,
) -> anyhow::Result<Verdict> {
    let flags = [
        ("data", &arguments.data),
        ("upstream.url", &arguments.upstream),
        ("environment", &arguments.environment),
        ("service", &arguments.service),
        ("origin", &arguments.origin),
        ("listen.api", &arguments.listen),
        ("listen.gateway", &arguments.gateway),
    ];
    let flags = flags.iter().chain(more);
    let flags: Vec<(&str, String)> = flags.filter_map(|(key, value)| Some((*key, (*value).clone()?))).collect();
    let mut config = config::load(arguments.config.as_deref(), std::env::vars(), &flags)?;
    complete(&mut config, purpose)?;
    let runtime = runtime()?;
    let mut running = runtime.block_on(Running::start(config))?;
    // Listened for before the greeting: whoever has read that may stop the server.
    let signal = runtime.block_on(async { signal() })?;
    print(&running.welcome())?;
    let result = runtime.block_on(async {
        tokio::select! {
            () = signal => Ok(Verdict::Good),
            ahead = refused(&mut running.collector) => Err(ahead),
            why = running.ledger.stopped() => bail!("{why}; stopped so that nothing is acknowledged that is not recorded"),
        }
    });
    tracing::info!("stopping; calls under way may end");
    running.stop(&runtime);
    result
}

/// Says what is missing, or puts the usual in its place.
fn complete(config: &mut Config, purpose: Purpose) -> Result<(), config::ConfigError> {
    let missing = |place: &str, what: &str| config::ConfigError::Value { place: place.into(), what: what.into() };
    if purpose == Purpose::Node && config.forward.to.is_empty() {
        return Err(missing("forward.to", "where is the centre? Give --to https://audit.example:4140"));
    }
    forwarding::backlog_bytes_max(config)?;
    match (config.upstream.url.is_empty(), purpose) {
        (false, _) => Ok(()),
        // A node may be there for its other doors alone; whoever does call a model through it is told when nobody answers.
        (true, Purpose::Node) => {
            config.upstream.url = "http://127.0.0.1:11434/v1".into();
            Ok(())
        }
        (true, Purpose::Gateway) => Err(missing(
            "upstream.url",
            "where is the model server? Give --upstream http://127.0.0.1:11434/v1 (Ollama), or see it work with `testimony demo`",
        )),
    }
}

/// Resolves when a witness has seen another history of this log.
async fn refused(collector: &mut Option<tokio::task::JoinHandle<Ahead>>) -> anyhow::Error {
    match collector {
        Some(collector) => collector.await.map_or_else(anyhow::Error::from, anyhow::Error::from),
        None => std::future::pending().await,
    }
}

/// Resolves on SIGTERM or SIGINT.
pub(crate) fn signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// A server that is up.
pub(crate) struct Running {
    pub(crate) api: SocketAddr,
    pub(crate) models: SocketAddr,
    /// Where clients of PostgreSQL are answered, if they are.
    postgres: Option<SocketAddr>,
    pub(crate) ledger: Ledger,
    config: Config,
    identity: Identity,
    engine: Engine,
    gateway: Gateway,
    stop: watch::Sender<bool>,
    listeners: Vec<tokio::task::JoinHandle<()>>,
    /// The public key under which this server cosigns the checkpoints of other logs.
    witness_key: Option<String>,
    collector: Option<tokio::task::JoinHandle<Ahead>>,
    /// The API keys, whose last use is written at the end.
    keys: KeyStore,
    /// What whoever is on this machine may, without a credential.
    anonymous: Option<access::Role>,
    /// What records on its own account, until the log is closed.
    background: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    /// Opens the log, records what a killed process left open, and listens.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let world = World::real();
        let upstreams = models::upstreams(&config)?;
        let certificates = Certificates::of(&world, &config)?;
        // Listening comes before anything is written: a port that is taken leaves no trace.
        let (bound, port) = (Bound::of(&world, &config).await?, PostgresPort::of(&config).await?);
        let (api, models, postgres) = (bound.api.local_addr()?, bound.models.local_addr()?, port.address());
        let (asking, alarm_levels) = (Asking::of(&config)?, alarm::levels(&config.ledger.alarm_percent)?);
        let Opened { ledger, identity, open_calls, .. } = open_log(&world, &config, asking.is_some())?;
        let metrics = metrics::Metrics::follow(&world, &ledger, BUILD.version)?;
        let key = identity.signer.verifier().clone();
        let log = PublishedLog::of(world.disk.clone(), &config.data);
        // Before anything is appended: whoever has seen more of this log than is here must be heard.
        let collector = witnessing::ask(asking, &ledger, &log, &key).await?;
        let cosigner = witnessing::cosigner(&world, &config, key.name())?;
        let witness_key = cosigner.as_ref().map(|cosigner| cosigner.key().to_string());
        let engine = Engine::follow(&world, &config.data, &ledger, SealAt::default())?;
        let keeping = Keeping::of(&world, &config, &engine, key.name())?;
        let InForce { control, news, routes } = InForce::restore(&engine, &upstreams).await?;
        let settings = gateway_settings(&config, key.name())?;
        let stamping = witnessing::stamping(&world, &config, &log, &settings.source)?;
        let system = Arc::new(config.source(key.name(), "system"));
        let disk_alarm = DiskAlarm::new(world.clone(), config.data.clone(), system.clone(), alarm_levels);
        let sender = forwarding::sender(&world, &config, &ledger)?;
        let delivery = sender.as_ref().map(Sender::status);
        let ruling = Ruling::start(&world, &config, &ledger).await?;
        let Admitting { admission, access, anonymous, issuers } =
            Admitting::of(&world, &config, &ledger, &identity, ruling.rules())?;
        let keys = admission.keys.clone();
        let judges = (access, ruling.rules(), control);
        let gateway = start_gateway(&world, &config, &ledger, upstreams, judges, settings, &open_calls).await?;
        let intake = intake(&world, &config, &ledger, ruling.rules())?;
        let forwarded = Forwarded::new(&world, &config.data, &ledger);
        let (stop, tls) = (watch::Sender::new(false), certificates.as_ref().map(Certificates::tls));
        let door = port.listen(&engine, &intake, &admission, tls.clone(), &config, &stop);
        let running = server::Running { intake: intake.clone(), admission, forwarded, delivery, metrics, routes };
        let surface = Api::new(log.clone(), engine.clone(), Some(running), key, BUILD, cosigner);
        let pushing = crate::pushing::pushing(&config, &surface)?;
        let listeners = listen(bound, surface.router(), &gateway, &intake, tls, &config, &stop)?;
        let last_used = keys.clone();
        let own = Background {
            disk_alarm,
            ruling,
            keeping,
            news,
            sender,
            system,
            last_used,
            certificates,
            issuers,
            stamping,
        };
        let mut background = own.start(&world, &config, &ledger);
        background.extend(pushing.map(tokio::spawn));
        Ok(Self {
            api,
            models,
            postgres,
            ledger,
            config,
            identity,
            engine,
            gateway,
            stop,
            listeners: listeners.into_iter().chain(door).collect(),
            witness_key,
            keys,
            anonymous,
            background,
            collector: collector.map(|collector| tokio::spawn(collector.run())),
        })
    }

    /// How the listeners are spoken to.
    fn scheme(&self) -> &'static str {
        if self.config.tls.cert.as_os_str().is_empty() { "http" } else { "https" }
    }

    /// The log's public key.
    pub(crate) const fn key(&self) -> &tlog::VerifierKey {
        self.identity.signer.verifier()
    }

    /// What a person must know now, with the next command to paste.
    fn welcome(&self) -> String {
        let (scheme, api, models, key) = (self.scheme(), self.api, self.models, self.key());
        let mut text = format!(
            "Testimony {} records every call to {}\n\n  \
             models     {scheme}://{models}/v1      give this base URL to your client\n  \
             search     {scheme}://{api}         testimony search, tail, sql, show\n  \
             data       {}   {} records\n",
            BUILD.version,
            record::without_credentials(&self.config.upstream.url),
            self.config.data.display(),
            self.ledger.durable().size,
        );
        text.push_str(&match self.anonymous {
            Some(role) => format!(
                "  access     whoever is on this machine is {role}, without a key; `testimony key create` and a restart end that\n"
            ),
            None if self.config.certificate.is_empty() => "  access     with a key or token; on this machine too\n".to_owned(),
            None => "  access     with a key, token or client certificate; on this machine too\n".to_owned(),
        });
        if let Some(postgres) = self.postgres {
            text.push_str(&format!(
                "  postgres   {postgres}   psql, drivers and dashboards; an API key is the password\n"
            ));
        }
        if let Some(witness) = &self.witness_key {
            text.push_str(&format!("  witness    {witness}   at {scheme}://{api}/witness\n"));
        }
        if !self.config.forward.to.is_empty() {
            let to = record::without_credentials(&self.config.forward.to);
            text.push_str(&format!("  forward    {to}   every record is delivered there\n"));
        }
        if self.identity.is_new {
            text.push_str(&format!(
                "\nThis is a new log. Its public key is\n\n  {key}\n\n\
                 Keep it somewhere else now: whoever checks the log must not take the key from the log. (It is also in {}.)\n",
                self.config.data.join("identity").join("log.vkey").display()
            ));
        } else {
            text.push_str(&format!("  key        {key}\n"));
        }
        let is_usual = api.port() == 4140 && scheme == "http";
        let server = if is_usual { String::new() } else { format!(" --server {scheme}://{api}") };
        text.push_str(&format!("\nTry:  testimony tail{server}\n"));
        text
    }

    /// Lets calls under way end, then closes everything in order: what came in last goes out last.
    pub(crate) fn stop(self, runtime: &tokio::runtime::Runtime) {
        self.stop.send_replace(true);
        self.background.iter().for_each(tokio::task::JoinHandle::abort);
        let grace = Duration::from_secs(self.config.limits.stop_grace_s);
        runtime.block_on(async {
            self.gateway.stop(grace).await;
            for listener in self.listeners {
                let _ = listener.await;
            }
        });
        if let Err(error) = self.keys.write_last_used() {
            tracing::warn!(%error, "when keys were last used could not be written");
        }
        self.engine.close();
        self.ledger.close();
    }
}

/// The ports that are listened on, and the files that are followed.
struct Bound {
    api: TcpListener,
    models: TcpListener,
    /// The main listener's routes once more, where exporters of telemetry send by themselves.
    otlp: Option<TcpListener>,
    syslog: SyslogPorts,
    files: FollowedFiles,
}

impl Bound {
    async fn of(world: &World, config: &Config) -> anyhow::Result<Self> {
        let listen = &config.listen;
        let otlp = match listen.otlp.as_str() {
            "" => None,
            address => Some(address.parse().map_err(|_| config::ConfigError::Value {
                place: "listen.otlp".into(),
                what: format!("{address:?} is not an address and port, such as 127.0.0.1:4317"),
            })?),
        };
        let files = FollowedFiles::of(world, config)?;
        let (api, models) = (bind(listen.api).await?, bind(listen.gateway).await?);
        let otlp = match otlp {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Self { api, models, otlp, syslog: SyslogPorts::of(world, config).await?, files })
    }
}

/// All listeners, each on its lanes, and those who follow files.
fn listen(
    bound: Bound,
    router: axum::Router,
    gateway: &Gateway,
    intake: &Intake,
    tls: Option<Tls>,
    config: &Config,
    stop: &watch::Sender<bool>,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let hosts = AllowedHosts::new(&config.listen.allowed_hosts);
    let (api_lanes, model_lanes) = (|| vec![(Lane::here(), ApiSurface(router.clone()))], model_lanes(gateway)?);
    let grace = Duration::from_secs(config.limits.stop_grace_s + 2);
    let (api_limits, models_limits) =
        (ListenLimits::default(), ListenLimits { close_grace: grace, ..ListenLimits::default() });
    let stopped = || stopped(stop.subscribe());
    let api_ports = [Some(bound.api), bound.otlp].into_iter().flatten();
    let mut listeners = bound.files.follow(intake, &config.data, stop)?;
    listeners.extend(
        api_ports.map(|port| tokio::spawn(serve(port, tls.clone(), api_lanes(), hosts.clone(), api_limits, stopped()))),
    );
    listeners.extend(bound.syslog.listen(intake, tls.clone(), stop)?);
    listeners.push(tokio::spawn(serve(bound.models, tls, model_lanes, hosts, models_limits, stopped())));
    Ok(listeners)
}

/// Resolves when the server is to stop.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What takes in the records that others send.
fn intake(world: &World, config: &Config, ledger: &Ledger, rules: RulesInForce) -> anyhow::Result<Intake> {
    let source = |producer| config.source(ledger.origin(), producer);
    let settings = &config.ingest;
    let kind = |rule: &config::EventKind| Ok((rule.r#type.clone(), rule.kind.parse::<Kind>()?));
    let kinds: Vec<(String, Kind)> =
        settings.event.iter().map(kind).collect::<anyhow::Result<_>>().context("[[ingest.event]]")?;
    let event_kinds = Kinds::new(kinds.iter().map(|(pattern, kind)| (pattern.as_str(), *kind)));
    Ok(Intake {
        ledger: ledger.clone(),
        reads: source("reads").into(),
        event_kinds: event_kinds.context("[[ingest.event]]")?,
        telemetry: otlp::Options { other_spans: settings.other_spans, other_logs: settings.other_logs },
        rules,
        world: world.clone(),
    })
}

fn open_log(world: &World, config: &Config, is_witnessed: bool) -> anyhow::Result<Opened> {
    let options = ledger_options(config, is_witnessed, forwarding::backlog_bytes_max(config)?);
    let opened = Ledger::open(world, &config.data, &options)?;
    if let Some(torn) = &opened.torn {
        tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
            "cut away the torn end of the write-ahead log: a record that was never acknowledged");
    }
    Ok(opened)
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        tracing::info!(%address, "this address can be reached from other machines: they need a key or token");
    }
    TcpListener::bind(address)
        .await
        .with_context(|| format!("could not listen on {address}: is Testimony running already?"))
}

fn ledger_options(config: &Config, is_witnessed: bool, backlog_bytes_max: Option<u64>) -> ledger::Options {
    ledger::Options {
        origin: Some(config.origin.clone()).filter(|origin| !origin.is_empty()),
        wal_segment_bytes: config.ledger.wal_segment_bytes,
        reserve_bytes: config.ledger.reserve_bytes,
        is_witnessed,
        backlog_bytes_max,
        pack_entries: config.ledger.pack_entries,
        ..ledger::Options::default()
    }
}
