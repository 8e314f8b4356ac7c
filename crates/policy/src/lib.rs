//! # policy: what Rego rules say of a call
//!
//! A [`Policy`] is a folder or an OPA bundle of Rego modules, checked and compiled once. [`Policy::decide`] asks it about one
//! request, one response or one act of an administrator and answers with a [`Decision`]: allowed or not, why, and what must be
//! done. Nothing of that reads a file, a clock or the network: bytes and times come in as arguments, so that a recorded input
//! gives the same decision years later. A [`Delegate`] asks an OPA elsewhere instead.
//!
//! ```text
//! files or bundle ── check ──▶ Policy ── decide(point, input) ──▶ Decision { allow, reasons, obligations, rules, error }
//!                      │          ├── test ──▶ TestReport with the lines covered
//!                      │          └── replay ──▶ what would be decided differently
//!                      └── unknown function, recursion, damaged signature: nothing is loaded
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `point` | [`Point`]: where a policy is asked |
//! | `input` | [`Input`]: what it is asked about (`schema/input.json`) |
//! | `decision` | [`Decision`], [`Obligation`]: what it answers (`schema/result.json`) |
//! | `limits` | [`Limits`]: of a load and of a decision |
//! | `files` | which files of a folder or bundle are rules, tests and data |
//! | `bundle` | an OPA bundle's archive and manifest |
//! | `signature` | [`VerificationKey`]: `.signatures.json` of a bundle |
//! | `check` | what is refused at the load: unknown functions, recursion, too deep nesting |
//! | `functions` | the functions that rules may call, and their price |
//! | `jwt` | JSON Web Tokens and the keys that verify them |
//! | `machine` | the rules compiled for the evaluator's virtual machine |
//! | `idle` | evaluators that wait for the next decision |
//! | `engine` | [`Policy`]: loading and deciding |
//! | `testing` | [`TestReport`]: `test_` rules and coverage |
//! | `difference` | [`Difference`]: what a new policy changes, before it is loaded |
//! | `delegate` | [`Delegate`]: the same questions put to an OPA that runs elsewhere |
//! | `replay` | [`Replay`]: a candidate policy over recorded decisions |

#![forbid(unsafe_code)]

mod bundle;
mod check;
mod decision;
mod delegate;
mod difference;
mod engine;
mod files;
mod functions;
mod idle;
mod input;
mod jwt;
mod limits;
mod machine;
mod point;
mod replay;
mod signature;
mod testing;

pub use decision::{Decision, Obligation};
pub use delegate::{Delegate, DelegateError, Delegated};
pub use difference::Difference;
pub use engine::{LoadError, Policy};
pub use input::{Actor, Administration, Finding, Input, Message, Output, Time};
pub use jwt::Algorithm;
pub use limits::Limits;
pub use point::Point;
pub use replay::{Changes, Recorded, Replay};
pub use signature::{SignatureError, VerificationKey};
pub use testing::{Coverage, Outcome, TestReport, TestResult};
