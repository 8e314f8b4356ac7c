//! What a statement of a caller may not be made of: what takes time or memory out of all proportion to the records, and takes it where
//! nothing counts it. The pool of memory counts what sorts, groups and joins hold, and not the texts that an expression makes of one batch of rows.
//!
//! A text may become [`GROWTH_MAX`] times as long as those that it is made of, over all the steps of a statement.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::{GroupingSet, ScalarFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, WindowFunctionDefinition};
use datafusion::prelude::SessionContext;
use regex::RegexBuilder;

/// The most tables that a statement names. Of one named twice over and over, in steps, there are hundreds.
pub(crate) const TABLES_MAX: usize = 16;
/// How often a text may come into another.
const GROWTH_MAX: u64 = 64;
/// A text that is written in the statement counts as one more for so many bytes.
const LITERAL_BYTES: usize = 1_024;
/// What a pattern may come to when it is made ready to be looked for, in bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Functions that make texts, lists and rows of any length out of a number, and one whose time is the product of two lengths.
const NOT_OFFERED: [&str; 9] =
    ["repeat", "lpad", "rpad", "array_repeat", "array_resize", "range", "generate_series", "levenshtein", "arrow_cast"];
/// The functions that make rows.
const TABLES_NOT_OFFERED: [&str; 2] = ["generate_series", "range"];
/// Functions that put what they are given last between or in the place of parts of a text, any number of times.
const INSERTING: [&str; 6] =
    ["replace", "regexp_replace", "array_to_string", "list_to_string", "array_join", "list_join"];
/// Functions that give one of what they are given. Others may give all of it.
const PICKING: [&str; 7] = ["coalesce", "nvl", "nvl2", "nullif", "greatest", "least", "substr"];
/// Functions whose second argument is a pattern.
const OF_PATTERNS: [&str; 5] = ["regexp_like", "regexp_match", "regexp_replace", "regexp_count", "regexp_instr"];
/// Measures that can be carried from a row to the next. Others would be made anew for each row, of all rows of its window.
const OF_WINDOWS: [&str; 5] = ["count", "sum", "avg", "min", "max"];
/// The most that a percentile keeps of each group: room for all of it is made at once.
const CENTROIDS_MAX: i64 = 10_000;
/// The most ways in which rows are grouped: a batch of them is taken into all in one go.
const GROUPING_SETS_MAX: usize = 64;
/// What counts for the length of a text or list that is put together from all rows. Its memory is counted while it grows.
const COLLECTED: u64 = 8;

/// Takes out of a session what is not offered.
pub(crate) fn withdraw(session: &SessionContext) {
    NOT_OFFERED.iter().for_each(|name| session.deregister_udf(name));
    TABLES_NOT_OFFERED.iter().for_each(|name| session.deregister_udtf(name));
}

/// Refuses a plan in which there is too much of anything, and says what.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.visit_with_subqueries(&mut Growths::default()).map(drop)
}

/// How often texts come into those that a plan makes, a number a column. Plans and expressions are deep, so that this is no recursion of ours.
#[derive(Default)]
struct Growths {
    /// For each plan that is being visited, what its children make: subqueries first, then what it has its rows from.
    made: Vec<Vec<Vec<u64>>>,
}

/// The same of the expressions of one plan.
struct OfExpressions<'p> {
    made: Vec<Vec<u64>>,
    inputs: Vec<(&'p DFSchema, &'p [u64])>,
    /// The most of all inputs and subqueries.
    greatest: u64,
}

fn refuse<T>(what: String) -> Result<T> {
    Err(DataFusionError::Plan(what))
}

impl<'n> TreeNodeVisitor<'n> for Growths {
    type Node = LogicalPlan;

    fn f_down(&mut self, _: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        self.made.push(Vec::new());
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, plan: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        let below = self.made.pop().unwrap_or_default();
        let greatest = below.iter().flatten().copied().fold(1, u64::max);
        let inputs = plan.inputs();
        let of_inputs = below.get(below.len().saturating_sub(inputs.len())..).unwrap_or_default();
        let schemas = inputs.iter().map(|input| input.schema().as_ref());
        let inputs = schemas.zip(of_inputs.iter().map(Vec::as_slice)).collect();
        let mut expressions = OfExpressions { made: vec![Vec::new()], inputs, greatest };
        plan.apply_expressions(|expression| expression.visit(&mut expressions))?;
        let made = expressions.made.pop().unwrap_or_default();
        let growths = columns(plan, of_inputs, made, greatest);
        if let Some(siblings) = self.made.last_mut() {
            siblings.push(growths);
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// What the columns of a plan have, by those of its inputs and by its expressions.
fn columns(plan: &LogicalPlan, inputs: &[Vec<u64>], expressions: Vec<u64>, greatest: u64) -> Vec<u64> {
    let most = expressions.iter().copied().fold(greatest, u64::max);
    let growths = match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => expressions,
        LogicalPlan::Window(_) => inputs.iter().flatten().copied().chain(expressions).collect(),
        LogicalPlan::Union(_) => {
            let nth = |nth: usize| inputs.iter().filter_map(|input| input.get(nth)).copied().fold(1, u64::max);
            (0..plan.schema().fields().len()).map(nth).collect()
        }
        _ => inputs.concat(),
    };
    // A grouping set, half of a join, lists that are taken apart: where columns are others, each may be any.
    if growths.len() == plan.schema().fields().len() { growths } else { vec![most; plan.schema().fields().len()] }
}

impl<'n> TreeNodeVisitor<'n> for OfExpressions<'_> {
    type Node = Expr;

    fn f_down(&mut self, _: &'n Expr) -> Result<TreeNodeRecursion> {
        self.made.push(Vec::new());
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, expression: &'n Expr) -> Result<TreeNodeRecursion> {
        let parts = self.made.pop().unwrap_or_default();
        let growth = match expression {
            Expr::Column(column) => {
                let of = |(schema, growths): &(&DFSchema, &[u64])| {
                    growths.get(schema.maybe_index_of_column(column)?).copied()
                };
                self.inputs.iter().find_map(of).unwrap_or(self.greatest)
            }
            Expr::ScalarSubquery(_) => self.greatest,
            _ => growth(expression, &parts)?,
        };
        if growth > GROWTH_MAX {
            return refuse(format!(
                "the statement makes texts more than {GROWTH_MAX} times as long as those of the log: join fewer"
            ));
        }
        if let Some(siblings) = self.made.last_mut() {
            siblings.push(growth);
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// How often texts come into what an expression makes of its parts.
fn growth(expression: &Expr, parts: &[u64]) -> Result<u64> {
    let sum = || parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
    let greatest = || parts.iter().copied().max().unwrap_or(0);
    Ok(match expression {
        // What rows further out have is not known here.
        Expr::OuterReferenceColumn(..) | Expr::LambdaVariable(_) => GROWTH_MAX,
        Expr::Literal(value, _) => text(value).map_or(0, |text| 1 + (text.len() / LITERAL_BYTES) as u64),
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => sum(),
        Expr::BinaryExpr(binary) if is_of_pattern(binary.op) => {
            check_pattern(&binary.right)?;
            greatest()
        }
        Expr::SimilarTo(similar) => {
            check_pattern(&similar.pattern)?;
            greatest()
        }
        Expr::ScalarFunction(call) => {
            if OF_PATTERNS.contains(&call.name()) {
                call.args.get(1).map_or(Ok(()), check_pattern)?;
            }
            let parts = if PICKING.contains(&call.name()) { greatest() } else { sum() };
            parts.saturating_mul(inserted(call)?)
        }
        Expr::AggregateFunction(call) if matches!(call.func.name(), "array_agg" | "string_agg") => {
            greatest().saturating_mul(COLLECTED)
        }
        Expr::AggregateFunction(call) if call.func.name().starts_with("approx_percentile_cont") => {
            let before = if call.func.name().ends_with("weight") { 3 } else { 2 };
            let last = call.params.args.iter().skip(before).filter_map(whole).max();
            if last.is_some_and(|centroids| !(1..=CENTROIDS_MAX).contains(&centroids)) {
                return refuse(format!("a percentile is made of 1 to {CENTROIDS_MAX} centroids"));
            }
            greatest()
        }
        Expr::GroupingSet(sets) => {
            let count = match sets {
                GroupingSet::Rollup(columns) => columns.len() + 1,
                GroupingSet::Cube(columns) => {
                    1_usize.checked_shl(columns.len().try_into().unwrap_or(u32::MAX)).unwrap_or(usize::MAX)
                }
                GroupingSet::GroupingSets(sets) => sets.len(),
            };
            if count > GROUPING_SETS_MAX {
                return refuse(format!(
                    "rows are grouped in more than {GROUPING_SETS_MAX} ways: name fewer columns in CUBE"
                ));
            }
            greatest()
        }
        Expr::WindowFunction(window) => {
            if let WindowFunctionDefinition::AggregateUDF(measure) = &window.fun
                && (window.params.distinct || !OF_WINDOWS.contains(&measure.name()))
            {
                return refuse(format!("over a window there are {} without DISTINCT", OF_WINDOWS.join(", ")));
            }
            greatest()
        }
        _ => greatest(),
    })
}

fn whole(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(ScalarValue::Int64(number), _) => *number,
        // One that is too large for it, or negative, is none that is taken.
        _ => Some(0),
    }
}

fn text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

fn is_of_pattern(operator: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(operator, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

/// By how much a function that inserts makes a text longer.
fn inserted(call: &ScalarFunction) -> Result<u64> {
    let name = call.name();
    if name == "concat_ws" && !matches!(call.args.first(), Some(Expr::Literal(..))) {
        return refuse("what concat_ws sets between texts is written out: concat_ws(', ', model, actor_id)".into());
    }
    if !INSERTING.contains(&name) {
        return Ok(1);
    }
    let last = if name.ends_with("replace") { call.args.get(2) } else { call.args.get(1) };
    match last {
        Some(Expr::Literal(value, _)) => Ok(1 + text(value).map_or(0, str::len) as u64),
        None => Ok(1),
        Some(_) => refuse(format!("what {name} puts into a text is written out")),
    }
}

/// A pattern is made ready once, and not for each row; and it may not be one that takes a step for each of its states and each letter.
fn check_pattern(pattern: &Expr) -> Result<()> {
    let Expr::Literal(value, _) = pattern else {
        return refuse("a pattern is written out: regexp_like(input, 'refunds?')".into());
    };
    match text(value).map(|text| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build()) {
        Some(Err(regex::Error::CompiledTooBig(_))) => refuse("the pattern is too large: repeat less in it".into()),
        // What is no pattern is said by who uses it.
        _ => Ok(()),
    }
}
