//! What somebody is about to be shown is recorded first: who watches the record is in the record.

use ledger::AppendError;
use record::{Draft, Field, Kind, Outcome, Timestamp, Value, uuid_v7};

use crate::admission::Caller;
use crate::intake::Intake;

/// The field of content that holds a query: what people search for names other people.
pub(crate) const QUERY: &str = "testimony.read.query";

/// A field of content that is a text.
pub(crate) fn text_field(name: &str, text: &str) -> Field {
    Field { name: name.to_owned(), media: "text/plain".to_owned(), bytes: text.as_bytes().to_vec() }
}

/// One reading of the log.
#[derive(Debug, Clone)]
pub(crate) struct Reading<'a> {
    /// `search`, `sql`, `fields`, `values`, `queries`, `show`, `prove`, `tail`.
    action: &'static str,
    query: &'a str,
    /// How many records or rows are shown; none while that is not known.
    rows: Option<usize>,
    is_truncated: bool,
    /// Fields of content that are disclosed with a proof.
    disclosed: Vec<String>,
}

impl<'a> Reading<'a> {
    /// So many rows are about to be shown.
    pub(crate) const fn rows(action: &'static str, query: &'a str, rows: usize, is_truncated: bool) -> Self {
        Self { action, query, rows: Some(rows), is_truncated, disclosed: Vec::new() }
    }

    /// Rows will be shown as they come.
    pub(crate) const fn begins(action: &'static str, query: &'a str) -> Self {
        Self { action, query, rows: None, is_truncated: false, disclosed: Vec::new() }
    }

    /// These fields of content go with a proof.
    pub(crate) fn disclosing(self, disclosed: Vec<String>) -> Self {
        Self { disclosed, ..self }
    }

    /// Returns when it is durable. On a full disk reading goes on, since that is what the reserve is for.
    pub(crate) async fn record(&self, intake: &Intake, caller: &Caller) {
        match intake.ledger.append(self.draft(intake, caller)).await {
            Ok(_) | Err(AppendError::Full) => {}
            Err(error) => tracing::warn!(%error, action = self.action, "a reading could not be recorded"),
        }
    }

    fn draft(&self, intake: &Intake, caller: &Caller) -> Draft {
        let world = &intake.world;
        let time = Timestamp::from_micros(world.clock.now_micros());
        let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::Read, intake.reads.clone());
        draft.actor = caller.actor();
        draft.outcome = Some(if self.rows.is_some() { Outcome::Completed } else { Outcome::Allowed });
        let attributes = &mut draft.attributes;
        attributes.set("testimony.read.action", self.action);
        if let Some(rows) = self.rows {
            attributes.set("testimony.read.rows", i64::try_from(rows).unwrap_or(i64::MAX));
        }
        if self.is_truncated {
            attributes.set("testimony.read.truncated", true);
        }
        if !self.disclosed.is_empty() {
            let names = self.disclosed.iter().take(32).map(|name| Value::cut(name)).collect();
            attributes.set("testimony.read.disclosed", Value::List(names));
        }
        if let Some(identity) = &caller.identity {
            let scopes = identity.grants.iter().take(32).map(|grant| Value::cut(&grant.scope.to_string())).collect();
            attributes.set("testimony.read.scope", Value::List(scopes));
        }
        if !self.query.is_empty() {
            draft.content.push(text_field(QUERY, self.query));
        }
        draft
    }
}
