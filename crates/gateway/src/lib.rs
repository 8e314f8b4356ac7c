//! # gateway: in front of the model server
//!
//! A caller speaks to the gateway as to the model server itself: the bytes of a request go on exactly as they
//! came, and so do the bytes of the answer. A copy is read, and two records tell of every call: the
//! `inference.request` before, the `inference.response` after, whatever happens in between.
//!
//! The one rule: **no byte of an answer is released before the request's record is durable, and the last bytes not before the
//! response's record is.** Everything in between flows at once.
//!
//! | file | what is in it |
//! |---|---|
//! | `gateway` | [`Gateway`]: from an HTTP request to a call, or to a refusal |
//! | `call` | the life of a call, top to bottom |
//! | `cut_short` | what cuts a call short |
//! | `answer` | what the client gets: a whole body, or one that is relayed |
//! | `settings` | how it is run |
//! | `rules` | guardrails, judges and policy in force |
//! | `relay` | a stream on its way, as far as guardrails and judges let it |
//! | `judging` | whether a call may be made, and its answer released |
//! | `question` | what a policy is asked |
//! | `routing` | where a call goes: which version of a route, at which model server |
//! | `sightings` | what stands behind the names of models, as answers tell |
//! | `upstream` | a model server |
//! | `openai` | the protocol: reading requests, answers, streams; the error envelope |
//! | `drafts` | what the records of a call say |
//! | `spool` | what was said so far, kept where a killed process leaves it |
//! | `interrupted` | calls that a stopped process left open |

mod answer;
mod call;
mod cut_short;
mod drafts;
mod gateway;
mod interrupted;
mod judging;
mod openai;
mod question;
mod relay;
mod routing;
mod rules;
mod settings;
mod sightings;
mod spool;
mod upstream;

pub use answer::{AnswerBody, Cut, End, Piece};
pub use gateway::{AccessControl, Control, Gateway, GatewayError};
pub use openai::refusal::Refusal;
pub use question::Question;
pub use routing::{RoutesInForce, Upstreams};
pub use rules::{Checks, Rules, RulesInForce};
pub use settings::{Limits, RecordWhen, Settings};
pub use sightings::{ModelNews, ModelsSeen};
pub use upstream::{Upstream, UpstreamError};
