//! The one door out for credentials: what no record may hold of what comes in, by whichever door of ours it comes.
//!
//! | file | what is in it |
//! |---|---|
//! | `names` | what a credential is called: one list for headers, members, variables, parameters and attributes |
//! | `text` | credentials within a text: `Bearer …`, addresses, JSON that was cut off |
//! | `document` | JSON that is kept as it was written: `removed` stands in their place |
//! | `value` | JSON that was read: members that are credentials are gone |
//! | `attributes` | attributes, and JSON in their texts: the same, and texts that are one are gone too |

mod attributes;
mod document;
mod names;
mod text;
mod value;

pub(crate) use attributes::cleaned;
pub(crate) use document::{removed, removed_from_text};
pub(crate) use names::is_credential;
pub(crate) use text::removed_from_address;
pub(crate) use value::removed_from_value;
