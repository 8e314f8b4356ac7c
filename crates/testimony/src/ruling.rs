//! Guardrails and policy from the configuration: loaded whole or not at all, watched, and each version in force recorded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dial::Peer;
use gateway::{Checks, Rules, RulesInForce};
use guardrails::Guardrails;
use judges::Judges;
use ledger::Ledger;
use policy::{Delegate, Limits, Point, Policy, VerificationKey};
use record::{Draft, Kind, Outcome, Source, Timestamp, uuid_v7};
use tokio::time::MissedTickBehavior;
use world::{Disk, World};

use crate::config::{Config, ConfigError};

/// The largest bundle that is fetched.
const BUNDLE_BYTES_MAX: usize = 32 << 20;
/// How long a server of bundles may take.
const BUNDLE_WITHIN: Duration = Duration::from_secs(30);
/// The longest that an OPA may take for one answer, in milliseconds.
const OPA_TIMEOUT_MS_MAX: u64 = 60_000;
/// Folders below the one that is read.
const DEPTH_MAX: usize = 16;
/// The most files that are looked at.
const FILES_MAX: usize = 10_000;

/// Where the policy comes from, and what is in force of it.
pub(crate) struct Ruling {
    world: World,
    config: Config,
    source: Arc<Source>,
    rules: RulesInForce,
    origin: Option<Origin>,
    /// What looks at texts, before the model and after it.
    checks: (Checks, Checks),
    opa: Option<Delegate>,
    /// The bytes that were last looked at, by their hash, whether they were taken or not.
    seen: Option<u64>,
    /// What a folder held at the last look. It is taken once two looks have seen the same: files are not written in one go.
    glimpsed: Option<u64>,
    etag: Option<String>,
    /// Digest and revision.
    in_force: Option<(String, String)>,
}

enum Origin {
    Path(std::path::PathBuf),
    Url { peer: Box<Peer>, path: String },
}

/// A policy as it is read, before it is one.
enum Material {
    Files(Vec<(String, Vec<u8>)>),
    Bundle(Vec<u8>),
}

impl Ruling {
    /// Sets up what the configuration says, and puts it in force.
    ///
    /// # Errors
    /// A server does not start without the rules that it is configured to have.
    pub(crate) async fn start(world: &World, config: &Config, ledger: &Ledger) -> anyhow::Result<Self> {
        let source = config.source(ledger.origin(), "control").into();
        let (origin, checks, opa) = (Origin::of(config)?, checks(config)?, delegate(config)?);
        let mut ruling = Self {
            world: world.clone(),
            config: config.clone(),
            source,
            rules: RulesInForce::default(),
            origin,
            checks,
            opa,
            seen: None,
            glimpsed: None,
            etag: None,
            in_force: None,
        };
        ruling.record_delegation(ledger).await?;
        match ruling.fetch().await.context("the policy could not be had")? {
            Some(material) => {
                ruling.put_in_force(ledger, &material).await.context("the policy cannot be put in force")?
            }
            None => ruling.rules.replace(ruling.rules_with(None)),
        }
        Ok(ruling)
    }

    pub(crate) fn rules(&self) -> RulesInForce {
        self.rules.clone()
    }

    /// Looks for another version every so often. One that cannot be loaded, or whose own tests fail, is recorded and not taken.
    pub(crate) async fn watch(mut self, ledger: Ledger) {
        if self.origin.is_none() {
            return;
        }
        let mut look = tokio::time::interval(Duration::from_secs(self.config.policy.every_s.max(1)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let material = match self.fetch().await {
                Ok(Some(material)) => material,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the policy could not be had; the one in force stays");
                    continue;
                }
            };
            if let Err(error) = self.put_in_force(&ledger, &material).await {
                tracing::warn!(error = format!("{error:#}"), "the new policy was not taken; the one in force stays");
                let mut draft = self.draft(Outcome::Failed);
                draft.attributes.set_text("error.type", "policy_not_taken");
                draft.attributes.set_text("testimony.control.reason", &format!("{error:#}"));
                if let Err(error) = ledger.append(draft).await {
                    tracing::warn!(%error, "that a policy was not taken could not be recorded");
                }
            }
        }
    }

    /// What there is to load, when it is not what was last looked at.
    async fn fetch(&mut self) -> anyhow::Result<Option<Material>> {
        let material = match &self.origin {
            None => return Ok(None),
            Some(Origin::Path(path)) => read(self.world.disk.as_ref(), path)?,
            Some(Origin::Url { peer, path }) => {
                let answer = peer.get_newer(path, self.etag.as_deref(), BUNDLE_BYTES_MAX, BUNDLE_WITHIN).await?;
                // Without a tag there is nothing that could not have been modified.
                if answer.status == http::StatusCode::NOT_MODIFIED && self.etag.is_some() {
                    return Ok(None);
                }
                if !answer.status.is_success() {
                    bail!("the server of bundles answered {}", answer.status);
                }
                let etag = answer.headers.get(http::header::ETAG).and_then(|etag| etag.to_str().ok());
                self.etag = etag.map(str::to_owned);
                Material::Bundle(answer.body.to_vec())
            }
        };
        let hash = Some(material.hash());
        let is_first = self.seen.is_none();
        let is_settled = std::mem::replace(&mut self.glimpsed, hash) == hash || is_first;
        let is_whole = matches!(self.origin, Some(Origin::Url { .. }));
        if self.seen == hash || !(is_settled || is_whole) {
            return Ok(None);
        }
        self.seen = hash;
        Ok(Some(material))
    }

    /// Loads it, runs its tests, records it, and only then lets it decide.
    async fn put_in_force(&mut self, ledger: &Ledger, material: &Material) -> anyhow::Result<()> {
        let policy = material.load(&self.config)?;
        let tests = policy.test()?;
        if !tests.passed() {
            bail!("its own tests do not pass; `testimony policy test` says which");
        }
        let version = (policy.digest().to_owned(), policy.revision().to_owned());
        if self.in_force.as_ref() == Some(&version) {
            return Ok(());
        }
        let mut draft = self.draft(Outcome::Completed);
        let attributes = &mut draft.attributes;
        attributes.set("testimony.policy.digest", version.0.clone());
        if !version.1.is_empty() {
            attributes.set_text("testimony.policy.revision", &version.1);
        }
        if let Some((former, _)) = &self.in_force {
            attributes.set("testimony.policy.former", former.clone());
        }
        attributes.set("testimony.policy.tests", i64::try_from(tests.results.len()).unwrap_or(i64::MAX));
        if let Err(error) = ledger.append(draft).await {
            // It is good, and is to be tried again.
            (self.seen, self.etag) = (None, None);
            return Err(error.into());
        }
        tracing::info!(digest = version.0, "a policy is in force");
        self.rules.replace(self.rules_with(Some(policy)));
        self.in_force = Some(version);
        Ok(())
    }

    /// Records that an OPA decides, and where.
    async fn record_delegation(&self, ledger: &Ledger) -> anyhow::Result<()> {
        if self.opa.is_none() {
            return Ok(());
        }
        let mut draft = self.draft(Outcome::Completed);
        draft.attributes.set_text("testimony.policy.opa", &self.config.policy.opa);
        draft.attributes.set_text("testimony.policy.opa_points", &self.config.policy.opa_points.join(","));
        ledger.append(draft).await?;
        Ok(())
    }

    fn rules_with(&self, policy: Option<Policy>) -> Rules {
        let (input, output) = self.checks.clone();
        Rules::new(policy, self.opa.clone(), self.config.policy.fail == "open", input, output)
    }

    fn draft(&self, outcome: Outcome) -> Draft {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let id = uuid_v7(time, &self.world.entropy.bytes());
        let mut draft = Draft::new(id, time, Kind::Control, self.source.clone());
        draft.outcome = Some(outcome);
        draft.attributes.set("testimony.control.change", "policy");
        draft.attributes.set("testimony.control.by", "configuration");
        draft
    }
}

/// What looks at texts, before the model and after it.
fn checks(config: &Config) -> anyhow::Result<(Checks, Checks)> {
    let wrong = |what: String| ConfigError::Value { place: "guardrails".into(), what };
    let settings: guardrails::Settings = toml::Value::Table(config.guardrails.clone())
        .try_into()
        .map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
    let side = |side: &guardrails::Side, name: &str| {
        let wrong = |error: guardrails::SettingsError| wrong(format!("{name}: {error}"));
        let guardrails = Guardrails::new(side).map_err(wrong)?;
        Ok::<_, ConfigError>(Checks { guardrails, judges: Judges::new(side).map_err(wrong)? })
    };
    Ok((side(&settings.input, "input")?, side(&settings.output, "output")?))
}

/// The OPA that decides, if one does.
fn delegate(config: &Config) -> anyhow::Result<Option<Delegate>> {
    let settings = &config.policy;
    if settings.opa.is_empty() {
        return Ok(None);
    }
    let wrong = |place: &str, what: String| ConfigError::Value { place: place.into(), what };
    if !(1..=OPA_TIMEOUT_MS_MAX).contains(&settings.timeout_ms) {
        let what = format!("{} is not between 1 and {OPA_TIMEOUT_MS_MAX}", settings.timeout_ms);
        return Err(wrong("policy.timeout_ms", what).into());
    }
    let point = |name: &String| {
        let known = Point::ALL.into_iter().find(|point| point.name() == name);
        known.ok_or_else(|| wrong("policy.opa_points", format!("{name:?} is not request, response or admin")))
    };
    let points = settings.opa_points.iter().map(point).collect::<Result<_, _>>()?;
    let token = Some(settings.opa_token.as_str()).filter(|token| !token.is_empty());
    let within = Duration::from_millis(settings.timeout_ms);
    Ok(Some(Delegate::new(&settings.opa, token, within, points).context("policy.opa")?))
}

/// A policy from a folder or a bundle file, for the command line.
pub(crate) fn load(path: &Path, config: &Config) -> anyhow::Result<Policy> {
    read(World::real().disk.as_ref(), path)?.load(config)
}

fn read(disk: &dyn Disk, path: &Path) -> anyhow::Result<Material> {
    let unreadable = || format!("could not read {}", path.display());
    match disk.read(path) {
        Ok(bytes) if path.extension().is_some_and(|extension| extension == "rego") => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Material::Files(vec![(name, bytes)]))
        }
        Ok(bytes) => Ok(Material::Bundle(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
            let mut files = Vec::new();
            collect(disk, path, "", 0, &mut files).with_context(unreadable)?;
            Ok(Material::Files(files))
        }
        Err(error) => Err(error).with_context(unreadable),
    }
}

fn collect(
    disk: &dyn Disk,
    root: &Path,
    below: &str,
    depth: usize,
    files: &mut Vec<(String, Vec<u8>)>,
) -> anyhow::Result<()> {
    for name in disk.list(&root.join(below))? {
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if files.len() >= FILES_MAX || depth >= DEPTH_MAX {
            bail!("it holds more than {FILES_MAX} files, or folders deeper than {DEPTH_MAX}");
        }
        match disk.read(&root.join(&path)) {
            Ok(bytes) if name.ends_with(".rego") || matches!(name.as_str(), "data.json" | ".manifest") => {
                files.push((path, bytes));
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
                collect(disk, root, &path, depth + 1, files)?;
            }
            Err(error) => return Err(error).with_context(|| format!("could not read {path}")),
        }
    }
    Ok(())
}

impl Origin {
    fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let settings = &config.policy;
        if !matches!(settings.fail.as_str(), "open" | "closed") {
            let what = format!("{:?} is not \"closed\" or \"open\"", settings.fail);
            return Err(ConfigError::Value { place: "policy.fail".into(), what }.into());
        }
        if settings.url.is_empty() {
            let path = settings.path.clone();
            return Ok((!path.as_os_str().is_empty()).then_some(Self::Path(path)));
        }
        let (peer, path) = Peer::at(&settings.url).context("policy.url")?;
        Ok(Some(Self::Url { peer: Box::new(peer), path }))
    }
}

impl Material {
    fn load(&self, config: &Config) -> anyhow::Result<Policy> {
        let key = verification_key(config)?;
        Ok(match self {
            Self::Files(_) if key.is_some() => bail!("a folder has no signature; policy.key is for bundles"),
            Self::Files(files) => Policy::from_files(files, &Limits::default())?,
            Self::Bundle(bytes) => Policy::from_bundle(bytes, key.as_ref(), &Limits::default())?,
        })
    }

    /// Tells one version from the next within this process.
    fn hash(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        match self {
            Self::Files(files) => files.hash(&mut hasher),
            Self::Bundle(bytes) => bytes.hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// The key that bundles must be signed with, if there is to be one.
fn verification_key(config: &Config) -> anyhow::Result<Option<VerificationKey>> {
    let settings = &config.policy;
    if settings.key.as_os_str().is_empty() {
        return Ok(None);
    }
    let key = World::real().disk.read(&settings.key);
    let key = key.with_context(|| format!("policy.key: could not read {}", settings.key.display()))?;
    let algorithm = policy::Algorithm::named(&settings.key_algorithm);
    let algorithm =
        algorithm.with_context(|| format!("policy.key_algorithm: {:?} is not taken", settings.key_algorithm))?;
    Ok(Some(VerificationKey { id: None, algorithm, key, scope: settings.key_scope.clone() }))
}
