//! The rules as a program for the evaluator's virtual machine, which decides some five times as fast as its interpreter.
//!
//! The interpreter stays: it evaluates what the machine does not take (`with` in a rule, `print`, rules that may come to two values),
//! and it says what was wrong, and where, when the machine failed. Whatever the machine answers, the interpreter would too; the tests
//! compare them.
//!
//! Left to itself the machine takes a failure for undefined, so that `not to_number("x")` would hold. Therefore all that can fail is
//! ours: functions are declared to its compiler as the host's, for which it would stop and wait, and each such stop, like each
//! operator, is replaced by a call into this file, whose failures end the evaluation.

use std::sync::Arc;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::instructions::BuiltinCallParams;
use regorus::rvm::program::{BuiltinInfo, RuleInfo};
use regorus::rvm::vm::VmError;
use regorus::rvm::{Instruction, Program, RegoVM};
use regorus::unstable::{BuiltinFcn, Expr, Ref, Span};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::value::Set;
use regorus::{CompiledPolicy, LimitError, Value};

use crate::check::Rules;
use crate::functions;
use crate::idle::Idle;
use crate::limits::Limits;

/// How deep rules may be nested: a rule that calls another takes more of the thread's stack here than in the interpreter.
const DEPTH_MAX: usize = 80;

/// A program, and machines that have it loaded.
pub(crate) struct Machine {
    program: Arc<Program>,
    compiled: CompiledPolicy,
    data: Value,
    timer: ExecutionTimerConfig,
    instructions_max: usize,
    idle: Idle<RegoVM>,
}

/// Why the machine has no answer.
pub(crate) enum Failed {
    /// A limit was reached; asking somebody else would only take as long again.
    Limit(String),
    /// Anything else, which the interpreter can say better.
    Other,
}

impl Machine {
    /// Compiles rules for some entry points; nothing when the compiler does not take them, or would take them for something else.
    pub(crate) fn compile(
        compiled: CompiledPolicy,
        entry_points: &[String],
        rules: &Rules,
        data: Value,
        timer: ExecutionTimerConfig,
        limits: &Limits,
    ) -> Option<Self> {
        if !rules.are_compilable || rules.depth > DEPTH_MAX {
            return None;
        }
        let hosted: Vec<(&str, usize)> = functions::offered().collect();
        let names: Vec<&str> = entry_points.iter().map(String::as_str).collect();
        let program = Compiler::compile_from_policy_with_host_await(&compiled, &names, &hosted).ok()?;
        let mut program = Arc::unwrap_or_clone(program);
        make_failures_final(&mut program)?;
        let machine = Self {
            program: Arc::new(program),
            compiled,
            data,
            timer,
            instructions_max: limits.instructions_max,
            idle: Idle::default(),
        };
        let first = machine.load().ok()?;
        machine.idle.keep(first);
        Some(machine)
    }

    /// The value of an entry point; undefined is a value too.
    pub(crate) fn evaluate(&self, entry_point: &str, input: Value) -> Result<Value, Failed> {
        let mut vm = match self.idle.take() {
            Some(vm) => vm,
            None => self.load().map_err(|_| Failed::Other)?,
        };
        vm.set_input(input);
        let value = vm.execute_entry_point_by_name(entry_point);
        // What was asked may be a secret; it is not kept until the next question.
        vm.set_input(Value::Undefined);
        self.idle.keep(vm);
        value.map_err(|error| match error {
            VmError::InstructionLimitExceeded { limit, .. } => {
                Failed::Limit(format!("the decision takes more than the limit of {limit} instructions"))
            }
            VmError::TimeLimitExceeded { limit, .. } => {
                Failed::Limit(format!("the decision takes longer than the time limit of {} ms", limit.as_millis()))
            }
            _ => Failed::Other,
        })
    }

    fn load(&self) -> Result<RegoVM, VmError> {
        let mut vm = RegoVM::new_with_policy(self.compiled.clone());
        // Otherwise it would not compare values of different types, which Rego does.
        vm.set_strict_builtin_errors(false);
        vm.set_max_instructions(self.instructions_max);
        vm.set_execution_timer_config(Some(self.timer));
        vm.load_program(self.program.clone());
        vm.set_data(self.data.clone())?;
        Ok(vm)
    }
}

/// What the program calls of ours.
const CALLS: [(&str, BuiltinFcn); 6] = [
    ("testimony.call", (call, 2)),
    ("testimony.add", (add, 2)),
    ("testimony.subtract", (subtract, 2)),
    ("testimony.multiply", (multiply, 2)),
    ("testimony.divide", (divide, 2)),
    ("testimony.remainder", (remainder, 2)),
];

/// Replaces each stop for the host and each operator by a call of ours, and makes failures of set operators end the evaluation.
/// Nothing when there is something in the program that is not known here.
fn make_failures_final(program: &mut Program) -> Option<()> {
    for at in 0..program.builtin_info_table.len() {
        let function = match program.builtin_info_table.get(at)?.name.as_str() {
            "__builtin_sets.union" => (unite as Operator, 2),
            "__builtin_sets.intersection" => (intersect as Operator, 2),
            _ => return None,
        };
        *program.resolved_builtins.get_mut(at)? = function;
    }
    let first = program.add_builtin_info(BuiltinInfo { name: CALLS[0].0.to_owned(), num_args: 2 });
    for (name, _) in &CALLS[1..] {
        program.add_builtin_info(BuiltinInfo { name: (*name).to_owned(), num_args: 2 });
    }
    program.resolved_builtins.extend(CALLS.iter().map(|(_, function)| *function));
    for at in 0..program.instructions.len() {
        let (which, dest, left, right) = match *program.instructions.get(at)? {
            Instruction::HostAwait { dest, arg, id } => (0, dest, id, arg),
            Instruction::Add { dest, left, right } => (1, dest, left, right),
            Instruction::Sub { dest, left, right } => (2, dest, left, right),
            Instruction::Mul { dest, left, right } => (3, dest, left, right),
            Instruction::Div { dest, left, right } => (4, dest, left, right),
            Instruction::Mod { dest, left, right } => (5, dest, left, right),
            _ => continue,
        };
        let args = [left, right, 0, 0, 0, 0, 0, 0];
        let params = BuiltinCallParams { dest, builtin_index: first + which, num_args: 2, args };
        let params_index = program.add_builtin_call_params(params);
        *program.instructions.get_mut(at)? = Instruction::BuiltinCall { params_index };
    }
    for rule in &mut program.rule_infos {
        // A failure in a clause counts, also where an earlier one holds.
        rule.early_exit_on_first_success = false;
    }
    program.rule_infos.iter_mut().for_each(lighten);
    program.recompute_host_await_presence();
    program.validate_limits().ok()
}

/// The machine copies this at every call of a rule, so it keeps nothing that says no more than its absence would.
fn lighten(rule: &mut RuleInfo) {
    rule.name = String::new();
    if let Some(function) = &mut rule.function_info {
        function.param_names = Vec::new();
    }
    if rule.destructuring_blocks.iter().all(Option::is_none) {
        rule.destructuring_blocks = Vec::new();
    }
    if rule.else_bodies.iter().flatten().all(|is_else| !is_else) {
        rule.else_bodies = Vec::new();
    }
}

/// The machine ends an evaluation only for what it takes for a limit.
fn ended() -> anyhow::Error {
    LimitError::MemoryLimitExceeded { usage: 0, limit: 0 }.into()
}

fn call(_: &Span, _: &[Ref<Expr>], arguments: &[Value], _: bool) -> anyhow::Result<Value> {
    match arguments {
        [Value::String(name), Value::Array(arguments)] => {
            functions::call(name, arguments.as_slice()).map_err(|_| ended())
        }
        _ => Err(ended()),
    }
}

/// A function of two operands, in the form that the machine calls; only the operands say something.
type Operator = fn(&Span, &[Ref<Expr>], &[Value], bool) -> anyhow::Result<Value>;

/// An operator of numbers. Their type has no name outside of the evaluator.
macro_rules! of_numbers {
    ($name:ident, |$left:ident, $right:ident| $result:expr) => {
        fn $name(_: &Span, _: &[Ref<Expr>], operands: &[Value], _: bool) -> anyhow::Result<Value> {
            match operands {
                [Value::Number($left), Value::Number($right)] => $result.map(Value::Number).map_err(|_| ended()),
                _ => Err(ended()),
            }
        }
    };
}

of_numbers!(add, |left, right| left.add(right));
of_numbers!(difference, |left, right| left.sub(right));
of_numbers!(multiply, |left, right| left.mul(right));
of_numbers!(divide, |left, right| left.clone().divide(right));
of_numbers!(remainder, |left, right| left.clone().modulo(right));

fn subtract(span: &Span, names: &[Ref<Expr>], operands: &[Value], strict: bool) -> anyhow::Result<Value> {
    match operands {
        [Value::Set(_), _] => sets(operands, Set::difference),
        _ => difference(span, names, operands, strict),
    }
}

fn unite(_: &Span, _: &[Ref<Expr>], operands: &[Value], _: bool) -> anyhow::Result<Value> {
    sets(operands, Set::union)
}

fn intersect(_: &Span, _: &[Ref<Expr>], operands: &[Value], _: bool) -> anyhow::Result<Value> {
    sets(operands, Set::intersection)
}

fn sets(operands: &[Value], operator: impl Fn(&Set, &Set) -> Set) -> anyhow::Result<Value> {
    match operands {
        [Value::Set(left), Value::Set(right)] => Ok(Value::from(operator(left, right))),
        _ => Err(ended()),
    }
}

#[cfg(test)]
mod tests;
