//! The functions that rules may call, and their price.
//!
//! What needs the network, the host or chance is not here: `http.send`, `opa.runtime`, `rego.parse_module`, `net.lookup_ip_addr`,
//! `rand.intn` and `uuid.rfc4122` are unknown. `time.now_ns` is the time of the input. `graph.reachable_paths` is left out since
//! the paths of a small graph are more than any limit.
//!
//! The evaluator looks at the time between expressions only, and at memory not at all. So each function that can build more
//! than it is given is wrapped: what it may build at most must be affordable before it is called, and what it has built is
//! paid for afterwards.

mod account;
mod crypto;
mod estimate;
mod mended;
mod patterns;
mod tokens;

use std::collections::HashMap;
use std::sync::LazyLock;

use regorus::unstable::{BUILTINS, BuiltinFcn, Expr, Ref, Source, Span};
use regorus::{Engine, Value};

pub(crate) use account::open_account;

/// A failure of a function, as a sentence.
type Failure = String;

/// A function of ours.
type Function = fn(&[Value]) -> Result<Value, Failure>;

/// What is never offered, though the evaluator has it.
const REFUSED: [&str; 6] = [
    "__builtin_sets.intersection",
    "__builtin_sets.union",
    "graph.reachable_paths",
    "rand.intn",
    "time.now_ns",
    "trace",
];

/// How many arguments a function takes, or nothing when it is unknown.
pub(crate) fn arity(name: &str) -> Option<usize> {
    if name == "print" {
        return Some(1);
    }
    if let Some((_, arity, _)) = ours().find(|(ours, _, _)| *ours == name) {
        return Some(usize::from(arity));
    }
    if REFUSED.contains(&name) {
        return None;
    }
    BUILTINS.get(name).map(|(_, arity)| usize::from(*arity))
}

/// Whether the evaluator knows how many arguments a function takes, and so that one more is a pattern for its result.
pub(crate) fn binds_result(name: &str) -> bool {
    BUILTINS.contains_key(name)
}

/// The functions that the evaluator lacks, or has otherwise than OPA.
fn ours() -> impl Iterator<Item = (&'static str, u8, Function)> {
    let now: (&str, u8, Function) = ("time.now_ns", 0, |_| Ok(Value::from(account::now_ns())));
    let ours = [crypto::FUNCTIONS, tokens::FUNCTIONS, mended::FUNCTIONS, patterns::FUNCTIONS];
    ours.into_iter().flatten().copied().chain([now])
}

/// All functions that are offered, with the number of arguments.
pub(crate) fn offered() -> impl Iterator<Item = (&'static str, usize)> {
    OFFERED.keys().filter(|name| **name != "print").filter_map(|name| Some((*name, arity(name)?)))
}

/// Calls an offered function. A failure names it.
pub(crate) fn call(name: &str, arguments: &[Value]) -> Result<Value, anyhow::Error> {
    match OFFERED.get(name) {
        Some(Offered::Ours(function)) => {
            let value = function(arguments).map_err(|what| failure(name, &what))?;
            account::pay(account::weigh(&value, u64::MAX)).map_err(|what| failure(name, &what))?;
            Ok(value)
        }
        Some(Offered::Builtin(builtin)) => builtin.call(name, arguments),
        None => Err(failure(name, "is not known here")),
    }
}

/// Tells an interpreter of those that it lacks or has otherwise, and of those that must be paid for. The others it calls itself.
pub(crate) fn add_functions(engine: &mut Engine) -> Result<(), String> {
    let told = OFFERED.iter().filter_map(|(name, offered)| match offered {
        Offered::Ours(_) => Some((*name, arity(name)?)),
        Offered::Builtin(builtin) => {
            let is_told = builtin.estimate.is_some() || builtin.around.is_some();
            is_told.then_some((*name, builtin.parameters.len()))
        }
    });
    for (name, arity) in told {
        let arity = u8::try_from(arity).unwrap_or(u8::MAX);
        let extension = move |arguments: Vec<Value>| call(name, &arguments);
        engine
            .add_extension(name.to_owned(), arity, Box::new(extension))
            .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// A failure as the evaluator takes it; it adds where.
fn failure(name: &str, what: &str) -> anyhow::Error {
    anyhow::anyhow!("{name}: {what}")
}

static OFFERED: LazyLock<HashMap<&'static str, Offered>> = LazyLock::new(|| {
    let builtins = BUILTINS.iter().filter(|(name, _)| !REFUSED.contains(name)).filter_map(|(name, builtin)| {
        let estimate = estimate::ESTIMATES.iter().find(|(of, _)| of == name).map(|(_, estimate)| *estimate);
        Some((*name, Offered::Builtin(Builtin::new(name, *builtin, estimate).ok()?)))
    });
    // Ours come last: they stand in for one that is refused.
    builtins.chain(ours().map(|(name, _, function)| (name, Offered::Ours(function)))).collect()
});

enum Offered {
    Ours(Function),
    Builtin(Builtin),
}

/// A function of the evaluator.
struct Builtin {
    function: BuiltinFcn,
    /// For those that can build more than they are given.
    estimate: Option<estimate::Estimate>,
    /// For those that it has otherwise than OPA.
    around: Option<mended::Around>,
    /// Only for its messages: it is told where it stands, which is not known here.
    span: Span,
    parameters: Vec<Ref<Expr>>,
}

impl Builtin {
    fn new(name: &str, function: BuiltinFcn, estimate: Option<estimate::Estimate>) -> Result<Self, anyhow::Error> {
        let source = Source::from_contents(name.to_owned(), name.to_owned())?;
        let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
        let parameter = || Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
        let parameters = (0..function.1).map(|_| parameter()).collect();
        let around = mended::AROUND.iter().find(|(of, _)| *of == name).map(|(_, around)| *around);
        Ok(Self { function, estimate, around, span, parameters })
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, anyhow::Error> {
        let call = |arguments: &[Value]| (self.function.0)(&self.span, &self.parameters, arguments, true);
        if let Some(estimate) = self.estimate {
            account::afford(estimate(arguments)).map_err(|what| failure(name, &what))?;
        }
        let value = match self.around {
            Some(around) => around(arguments, &call)?,
            None => call(arguments)?,
        };
        if self.estimate.is_some() {
            account::pay(account::weigh_built(&value)).map_err(|what| failure(name, &what))?;
        }
        Ok(value)
    }
}
