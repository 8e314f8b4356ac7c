//! # control: what is in force, as a fold over the log
//!
//! A route is a name that callers ask for as a model. It points at versions of a model, each with a share of the conversations, and
//! every change of it is a `control` record that holds the route as it was and as it is from then on. What is in force is what the last
//! record of each route says; what was in force at a moment is what the last record before it says.
//!
//! Pure: it plans changes, writes them as drafts' attributes and reads them back. Nothing here knows the log, a clock or the network.
//!
//! | file | what is in it |
//! |---|---|
//! | `names` | names of routes, versions, model servers |
//! | `share` | shares of the conversations, in hundredths of a percent |
//! | `route` | [`Route`]: versions with their shares; promotion |
//! | `choice` | which version a conversation gets |
//! | `change` | [`Change`]: one step of a route, as a record holds it |
//! | `routes` | [`Routes`]: the fold, and what may follow on what |
//! | `sighting` | what stands behind the name of a model, as the model server tells |

mod change;
mod choice;
mod names;
mod route;
mod routes;
mod share;
mod sighting;

pub use change::{Act, Change, REVISION, ROUTE};
pub use names::{ModelName, RouteName, UpstreamName, VersionName};
pub use route::{Route, Target, Weighted};
pub use routes::{Promotion, Refused, Routes, Standing, Undo};
pub use share::Share;
pub use sighting::{Alias, SIGHTED, Sighting, Sightings};
