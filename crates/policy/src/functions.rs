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
mod tokens;

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

/// The functions that the evaluator lacks.
fn ours() -> impl Iterator<Item = (&'static str, u8, Function)> {
    let now: (&str, u8, Function) = ("time.now_ns", 0, |_| Ok(Value::from(account::now_ns())));
    crypto::FUNCTIONS.iter().chain(tokens::FUNCTIONS).copied().chain([now])
}

/// Adds ours, and wraps those of the evaluator that can build more than they are given.
pub(crate) fn add_functions(engine: &mut Engine) -> Result<(), String> {
    for (name, arity, function) in ours() {
        let call = move |arguments: Vec<Value>| {
            let value = function(&arguments).map_err(|what| failure(name, &what))?;
            account::pay(account::weigh(&value, u64::MAX)).map_err(|what| failure(name, &what))?;
            Ok(value)
        };
        add(engine, name, arity, call)?;
    }
    for (name, estimate) in estimate::ESTIMATES {
        let Some((builtin, arity)) = BUILTINS.get(name).copied() else { continue };
        let wrapped = Wrapped::new(name, (builtin, arity), *estimate)?;
        add(engine, name, arity, move |arguments: Vec<Value>| wrapped.call(&arguments))?;
    }
    Ok(())
}

/// A failure as the evaluator takes it; it adds where.
fn failure(name: &str, what: &str) -> anyhow::Error {
    anyhow::anyhow!("{name}: {what}")
}

fn add<F>(engine: &mut Engine, name: &str, arity: u8, call: F) -> Result<(), String>
where
    F: FnMut(Vec<Value>) -> Result<Value, anyhow::Error> + Clone + Send + Sync + 'static,
{
    engine.add_extension(name.to_owned(), arity, Box::new(call)).map_err(|error| format!("{name}: {error}"))
}

/// A function of the evaluator.
#[derive(Clone)]
struct Wrapped {
    name: &'static str,
    builtin: BuiltinFcn,
    estimate: estimate::Estimate,
    /// Only for its messages: it is told where it stands, which an extension is not.
    span: Span,
    parameters: Vec<Ref<Expr>>,
}

impl Wrapped {
    fn new(name: &'static str, builtin: BuiltinFcn, estimate: estimate::Estimate) -> Result<Self, String> {
        let source = Source::from_contents(name.to_owned(), name.to_owned()).map_err(|error| error.to_string())?;
        let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
        let parameter = || Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
        let parameters = (0..builtin.1).map(|_| parameter()).collect();
        Ok(Self { name, builtin, estimate, span, parameters })
    }

    fn call(&self, arguments: &[Value]) -> Result<Value, anyhow::Error> {
        account::afford((self.estimate)(arguments)).map_err(|what| failure(self.name, &what))?;
        let value = (self.builtin.0)(&self.span, &self.parameters, arguments, true)?;
        account::pay(account::weigh_built(&value)).map_err(|what| failure(self.name, &what))?;
        Ok(value)
    }
}
