//! A policy: loaded whole or not at all, and then asked by many threads at once.

mod message;

use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{CompiledPolicy, Engine};

use crate::bundle::{self, Manifest};
use crate::check::{Rules, check_modules, check_tokens};
use crate::decision::{Decision, RULES};
use crate::files::{self, Files, Module};
use crate::functions;
use crate::idle::Idle;
use crate::input::Input;
use crate::limits::Limits;
use crate::machine::{Failed, Machine};
use crate::point::Point;
use crate::signature::{self, SignatureError, VerificationKey};

pub(crate) use message::{SENTENCE_BYTES_MAX, sentence, shortened};

/// Rules of ours that ask the documented rules of each point, so that one evaluation answers all of them.
const ASKING: &str = "__testimony__";
/// The clock is read once in so many expressions or instructions.
const EXPRESSIONS_PER_CHECK: u32 = 64;

/// A policy that was checked and can be asked.
pub struct Policy {
    /// Nothing where the rules cannot be compiled for it.
    pub(crate) machine: Option<Machine>,
    interpreter: Engine,
    idle: Idle<Engine>,
    /// Whether there is a rule `allow` for each point.
    answers: [bool; 3],
    /// What is evaluated at each point.
    entry_points: [String; 3],
    revision: String,
    pub(crate) files: Files,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
}

/// Why a policy was not loaded. What was in force before still is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file's name or encoding.
    #[error("the file {path:?} {what}")]
    Path {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something is larger than its limit.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// A document of data, or the manifest.
    #[error("the file {path} {what}")]
    Data {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A rule that cannot be read, or would not end.
    #[error("{place}: {what}")]
    Rule {
        /// File and line.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// A function that is not offered.
    #[error("{place}: the function {name} is not known here")]
    UnknownFunction {
        /// File and line.
        place: String,
        /// The function as it is written.
        name: String,
    },
    /// The bundle's archive.
    #[error("the bundle {0}")]
    Archive(String),
    /// The bundle's signature.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// There are no rules at all.
    #[error("there is no file of rules (.rego)")]
    Empty,
}

impl Policy {
    /// Loads the files of a folder: `.rego`, of which `_test.rego` are tests, and `data.json`. Paths are relative to the folder,
    /// with slashes.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn from_files(files: &[(String, Vec<u8>)], limits: &Limits) -> Result<Self, LoadError> {
        Self::load(files::read(files, limits)?, Manifest::default(), limits)
    }

    /// Loads an OPA bundle (`.tar.gz`). With a key, it must be signed with that; without, a signature is not looked at.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn from_bundle(bytes: &[u8], key: Option<&VerificationKey>, limits: &Limits) -> Result<Self, LoadError> {
        let files = bundle::unpack(bytes, limits)?;
        if let Some(key) = key {
            signature::verify(&files, key)?;
        }
        Self::load(files::read(&files, limits)?, Manifest::read(&files)?, limits)
    }

    fn load(files: Files, manifest: Manifest, limits: &Limits) -> Result<Self, LoadError> {
        let rules = guarded(|| {
            let mut all = parse(&files.modules, &files, limits)?;
            check_modules(all.get_modules())
        })?;
        check_names(&files, &rules, &manifest)?;
        let answers = Point::ALL.map(|point| rules.named(&format!("{}.allow", point.package())).is_some());
        let mut modules: Vec<Module> = files.modules.iter().filter(|module| !module.is_test()).cloned().collect();
        if modules.is_empty() {
            return Err(LoadError::Empty);
        }
        let (interpreter, compiled) = guarded(|| {
            // Once more without the tests: rules may not lean on them.
            check_modules(parse(&modules, &files, limits)?.get_modules())?;
            modules.push(asking(&rules));
            prepare(parse(&modules, &files, limits)?)
        })?;
        // A panic of the compiler is as if it did not take the rules.
        let data = regorus::Value::from(serde_json::Value::Object(files.data.clone()));
        let compile = || Machine::compile(compiled, &asked(&rules), &rules, data, timer(limits), limits);
        let machine = catch_unwind(AssertUnwindSafe(compile)).unwrap_or_default();
        let (idle, revision, entry_points) = (Idle::default(), manifest.revision, Point::ALL.map(entry_point));
        Ok(Self { machine, interpreter, idle, answers, entry_points, revision, files, rules, limits: *limits })
    }

    /// Whether it has a rule `allow` for a point. Where it has none, every decision is a denial.
    #[must_use]
    pub const fn answers(&self, point: Point) -> bool {
        self.answers[point as usize]
    }

    /// SHA-256 over the sorted paths and contents of rules, data and manifest, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.files.digest
    }

    /// The revision of the bundle; empty for a folder.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Decides. Whatever goes wrong is a denial whose [`Decision::error`] says what.
    #[must_use]
    pub fn decide(&self, point: Point, input: &Input) -> Decision {
        if !self.answers[point as usize] {
            return Decision::silent(point);
        }
        let value = input.to_value();
        // The evaluator has places that panic on odd arguments. What it was in then is dropped, so that nobody meets what it left.
        let decided = catch_unwind(AssertUnwindSafe(|| {
            functions::open_account(self.limits.built_bytes_max, input.time.unix_ns);
            match self
                .machine
                .as_ref()
                .map(|machine| machine.evaluate(&self.entry_points[point as usize], value.clone()))
            {
                Some(Ok(answer)) => Decision::read(point, &answer),
                Some(Err(Failed::Limit(what))) => Decision::failed(what),
                Some(Err(Failed::Other)) | None => self.interpret(point, input, value),
            }
        }));
        decided
            .unwrap_or_else(|_| Decision::failed("the policy could not be evaluated: the evaluator failed".to_owned()))
    }

    pub(crate) fn interpret(&self, point: Point, input: &Input, value: regorus::Value) -> Decision {
        let mut engine = self.idle.take().unwrap_or_else(|| self.interpreter.clone());
        functions::open_account(self.limits.built_bytes_max, input.time.unix_ns);
        engine.set_input(value);
        let decision = match engine.eval_rule(self.entry_points[point as usize].clone()) {
            Ok(answer) => Decision::read(point, &answer),
            Err(error) => Decision::failed(sentence(&error).to_string()),
        };
        // What was asked may be a secret; it is not kept until the next question.
        engine.set_input(regorus::Value::Undefined);
        drop(engine.take_prints());
        self.idle.keep(engine);
        decision
    }

    /// An evaluator with the tests, for [`crate::testing`].
    pub(crate) fn with_tests(&self) -> Result<Engine, LoadError> {
        guarded(|| {
            let mut modules = self.files.modules.clone();
            modules.push(asking(&self.rules));
            Ok(prepare(parse(&modules, &self.files, &self.limits)?)?.0)
        })
    }
}

/// The rule of ours that asks those of a point.
fn entry_point(point: Point) -> String {
    format!("data.{ASKING}.{point}")
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("digest", &self.digest())
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// A panic of the parser or analyzer is a policy that cannot be loaded.
fn guarded<T>(load: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    let failed = || LoadError::Rule {
        place: "policy".to_owned(),
        what: "the rules could not be read: the parser failed".to_owned(),
    };
    catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| Err(failed()))
}

fn refused(error: &anyhow::Error) -> LoadError {
    let message = sentence(error);
    LoadError::Rule { place: message.place.unwrap_or_else(|| "policy".to_owned()), what: message.what }
}

fn parse(modules: &[Module], files: &Files, limits: &Limits) -> Result<Engine, LoadError> {
    let mut engine = Engine::new();
    engine.set_execution_timer_config(timer(limits));
    // A failing function is an error, not something that is merely not so; and print must not write to our standard error.
    engine.set_strict_builtin_errors(true);
    engine.set_gather_prints(true);
    let data = serde_json::Value::Object(files.data.clone());
    engine.add_data(regorus::Value::from(data)).map_err(|error| refused(&error))?;
    functions::add_functions(&mut engine).map_err(|what| LoadError::Rule { place: "policy".to_owned(), what })?;
    for module in modules {
        check_tokens(&module.path, &module.text)?;
        engine.add_policy(module.path.clone(), module.text.clone()).map_err(|error| refused(&error))?;
    }
    Ok(engine)
}

fn timer(limits: &Limits) -> ExecutionTimerConfig {
    let check_interval = std::num::NonZeroU32::MIN.saturating_add(EXPRESSIONS_PER_CHECK - 1);
    ExecutionTimerConfig { limit: limits.decision_time_max, check_interval }
}

/// Analyses once what every clone then shares.
fn prepare(mut engine: Engine) -> Result<(Engine, CompiledPolicy), LoadError> {
    let ready = format!("data.{ASKING}.ready");
    let compiled = engine.compile_with_entrypoint(&ready.as_str().into()).map_err(|error| refused(&error))?;
    Ok((engine, compiled))
}

/// The entry points of the points that there are rules for.
fn asked(rules: &Rules) -> Vec<String> {
    let has_rules =
        |point: &Point| RULES.iter().any(|rule| rules.named(&format!("{}.{rule}", point.package())).is_some());
    Point::ALL.into_iter().filter(has_rules).map(entry_point).collect()
}

/// `request contains ["allow", value] if value := data.testimony.request.allow`, and so on for what is defined.
fn asking(rules: &Rules) -> Module {
    let mut text = format!("package {ASKING}\nready := true\n");
    for point in Point::ALL {
        for name in RULES {
            let path = format!("{}.{name}", point.package());
            if rules.named(&path).is_some() {
                text.push_str(&format!("{point} contains [\"{name}\", value] if value := {path}\n"));
            }
        }
    }
    Module { path: ASKING.to_owned(), text }
}

/// Names that are ours, names that must be rules, and the roots of the manifest.
fn check_names(files: &Files, rules: &Rules, manifest: &Manifest) -> Result<(), LoadError> {
    for (path, (place, arity)) in &rules.places {
        let refuse = |what: String| Err(LoadError::Rule { place: place.to_string(), what });
        let name = path.join(".");
        if path.get(1).is_some_and(|package| package == ASKING) {
            return refuse(format!("the package {ASKING} cannot be used"));
        }
        let asked =
            Point::ALL.iter().any(|point| RULES.iter().any(|rule| name == format!("{}.{rule}", point.package())));
        if asked && arity.is_some() {
            return refuse(format!("{name} must be a rule, not a function"));
        }
        if !manifest.covers(&path[1..]) && !place.path.ends_with("_test.rego") {
            return refuse(format!("{name} lies outside the roots of the bundle"));
        }
    }
    // A document under the same name would answer in place of the rules.
    let testimony = files.data.get("testimony").and_then(serde_json::Value::as_object);
    let shadowed = Point::ALL.iter().find(|point| testimony.is_some_and(|data| data.contains_key(point.name())));
    if let Some(point) = shadowed {
        let what = format!("defines {}, which only rules may", point.package());
        return Err(LoadError::Data { path: "data.json".to_owned(), what });
    }
    let reserved = files.data.contains_key(ASKING);
    match files.data.keys().find(|key| reserved || !covers_data(files, manifest, key)) {
        Some(key) => {
            let what = format!("defines {key}, which lies outside what the bundle may define");
            Err(LoadError::Data { path: "data.json".to_owned(), what })
        }
        None => Ok(()),
    }
}

/// Whether a key of the data is above or below a root; what is above is only there to lead to it.
fn covers_data(files: &Files, manifest: &Manifest, key: &str) -> bool {
    let mut pending = vec![(vec![key.to_owned()], files.data.get(key))];
    while let Some((path, value)) = pending.pop() {
        if manifest.covers(&path) {
            continue;
        }
        let Some(serde_json::Value::Object(fields)) = value else { return false };
        pending.extend(
            fields.iter().map(|(key, value)| ([path.as_slice(), std::slice::from_ref(key)].concat(), Some(value))),
        );
    }
    true
}

#[cfg(test)]
mod tests;
