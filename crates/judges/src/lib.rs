//! # judges: guardrails that ask somebody else
//!
//! The guardrails of the crate `guardrails` are pure and never wait. These two wait for an answer from elsewhere: a **judge** is another,
//! small model behind any server that speaks as OpenAI's do; a **webhook** is whoever answers a POST with a verdict. Both
//! are asked at once, each within its time, and each answer becomes a [`guardrails::Verdict`] as the others are.
//!
//! Three rules:
//!
//! - **Masking comes first.** Callers pass texts in which the pure guardrails have masked what they mask; nothing else may leave.
//! - **Only what is understood counts.** No answer, a late, long, redirected or unclear one is a failure, never a pass: a verdict with
//!   the rule [`FAILED_RULE`], which blocks where `fail = "closed"` and flags where `fail = "open"`.
//! - **No verdict quotes.** An explanation is made of words of ours and of the configuration; a webhook's own is left out where it repeats
//!   a stretch of the text.
//!
//! ```text
//! texts ──▶ conversation ──▶ prompt (markers made harmless) ──▶ judge   ──▶ assessment ─┐
//!   └─────▶ question ──────▶ signature ─────────────────────▶ webhook ──▶ answer ─────┴▶ verdicts
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `judges` | [`Judges`], [`Asked`]: settings to those who are asked, a text to their verdicts |
//! | `respondent` | where they are, how long they have, how many questions they get at once |
//! | `failure` | why there is no verdict |
//! | `judge` | the model that is asked, and its answer |
//! | `conversation` | who said what; what is under judgement and what is said around it |
//! | `prompt` | what the model reads; how a text is kept in its place |
//! | `category` | what is looked for |
//! | `assessment` | the only forms of a model's answer that count |
//! | `webhook` | the question (`schema/question.json`), the answer (`schema/answer.json`) |
//! | `signature` | Standard Webhooks |

mod assessment;
mod category;
mod conversation;
mod failure;
mod judge;
mod judges;
mod prompt;
mod respondent;
mod signature;
mod webhook;

pub use category::{CATEGORIES_MAX, DESCRIPTION_BYTES_MAX, NAME_BYTES_MAX};
pub use judge::{INSTRUCTIONS_BYTES_MAX, JUDGED_BYTES_MAX};
pub use judges::{Asked, Direction, FAILED_RULE, Judges, Text};
pub use respondent::{ANSWER_BYTES_MAX, CONCURRENCY_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN};
pub use webhook::{EXPLANATION_CHARS_MAX, QUOTED_CHARS_MAX, SENT_BYTES_MAX};
