//! Statements that are kept: prepared, given their parameters, and run in portions.

use postgres::{Column, Format, Message, Target, literal};
use search::{Rows, Statement};
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::Command;
use super::reports::{self, error};
use super::session::{Failure, Session};

/// The most statements and portals of a connection.
const KEPT_MAX: usize = 256;
/// The most bytes of them.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The most portals that hold rows which were not asked for yet.
const HELD_MAX: usize = 4;

/// A prepared statement.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    /// None: there is nothing in it.
    statement: Option<Statement>,
    /// The types of its parameters; 0: not known.
    types: Vec<u32>,
    /// What its client was told of its rows.
    columns: Option<Vec<Column>>,
}

/// A statement with its parameters.
#[derive(Debug)]
pub(super) struct Portal {
    /// None: there is nothing in it.
    asked: Option<(Command, String)>,
    wants_binary: Vec<bool>,
    /// What its client was told of its rows.
    columns: Option<Vec<Column>>,
    /// Its rows, once it was run, and how many of them were sent.
    held: Option<(Held, usize)>,
}

/// Rows that are about to be sent.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rows: Rows,
    /// A limit has cut them.
    pub(super) is_truncated: bool,
}

impl Portal {
    fn formats(&self, columns: usize) -> Vec<Format> {
        let format = |is_binary: bool| if is_binary { Format::Binary } else { Format::Text };
        match self.wants_binary.as_slice() {
            [all] => vec![format(*all); columns],
            each => (0..columns).map(|nth| format(each.get(nth).copied().unwrap_or(false))).collect(),
        }
    }

    fn bytes(&self) -> usize {
        self.asked.as_ref().map_or(0, |(_, text)| text.len())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn extended(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Parse { name, statement, types } => self.parse(name, &statement, types),
            Message::Bind { portal, statement, are_binary, values, wants_binary } => {
                self.bind(portal, &statement, &are_binary, &values, wants_binary).await
            }
            Message::Describe(Target::Statement, name) => self.describe_statement(&name).await,
            Message::Describe(Target::Portal, name) => self.describe_portal(&name).await,
            Message::Execute { portal, rows } => {
                self.execute(&portal, usize::try_from(rows).unwrap_or(usize::MAX)).await
            }
            Message::Close(target, name) => {
                match target {
                    Target::Statement => drop(self.statements.remove(&name)),
                    Target::Portal => drop(self.portals.remove(&name)),
                }
                self.wire.out.closed();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn parse(&mut self, name: String, text: &str, types: Vec<u32>) -> Result<(), Failure> {
        let mut statements = Statement::all(text).map_err(|error| reports::of_sql(&error, text))?;
        if statements.len() > 1 {
            return Err(error("42601", "one statement at a time is prepared").into());
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(error("42P05", format!("there is a prepared statement {name:?} already")).into());
        }
        self.check_room(text.len())?;
        let statement = statements.pop();
        let count = statement.as_ref().map_or(0, Statement::parameters);
        let types = (0..count).map(|nth| types.get(nth).copied().unwrap_or(0)).collect();
        self.statements.insert(name, Prepared { statement, types, columns: None });
        self.wire.out.parsed();
        Ok(())
    }

    fn check_room(&self, more: usize) -> Result<(), Failure> {
        let of_statements =
            self.statements.values().filter_map(|prepared| Some(prepared.statement.as_ref()?.text().len()));
        let bytes: usize = of_statements.chain(self.portals.values().map(Portal::bytes)).sum();
        if self.statements.len().max(self.portals.len()) >= KEPT_MAX || bytes + more > KEPT_BYTES_MAX {
            let said = format!(
                "a connection keeps at most {KEPT_MAX} prepared statements, of {KEPT_BYTES_MAX} bytes together"
            );
            return Err(reports::with_hint(error("53400", said), "close some of them: DEALLOCATE").into());
        }
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Prepared, Failure> {
        let prepared = self.statements.get(name).cloned();
        prepared.ok_or_else(|| error("26000", format!("there is no prepared statement {name:?}")).into())
    }

    async fn bind(
        &mut self,
        name: String,
        statement: &str,
        are_binary: &[bool],
        values: &[Option<Vec<u8>>],
        wants_binary: Vec<bool>,
    ) -> Result<(), Failure> {
        let mut prepared = self.prepared(statement)?;
        let (count, given) = (prepared.types.len(), values.len());
        if given != count || are_binary.len() > 1 && are_binary.len() != given {
            return Err(error("08P01", format!("the statement has {count} parameters, and {given} were given")).into());
        }
        let is_binary = |nth: usize| match are_binary {
            [all] => *all,
            each => each.get(nth).copied().unwrap_or(false),
        };
        // In binary nothing can be read of which it is not known what it is.
        if (0..count).any(|nth| is_binary(nth) && prepared.types.get(nth) == Some(&0)) {
            self.describe(statement, &mut prepared).await?;
        }
        let mut literals = Vec::with_capacity(count);
        for (nth, (oid, value)) in prepared.types.iter().zip(values).enumerate() {
            let written = literal(nth + 1, *oid, value.as_deref(), is_binary(nth));
            literals.push(written.map_err(|wrong| reports::of_parameter(&wrong))?);
        }
        let asked = prepared.statement.map(|statement| (Command::of(statement.words()), statement.with(&literals)));
        let portal = Portal { asked, wants_binary, columns: prepared.columns, held: None };
        self.portals.remove(&name);
        self.check_room(portal.bytes())?;
        self.portals.insert(name, portal);
        self.wire.out.bound();
        Ok(())
    }

    /// Finds out what is not known of a statement, and keeps it.
    async fn describe(&mut self, name: &str, prepared: &mut Prepared) -> Result<(), Failure> {
        let Some(statement) = &prepared.statement else { return Ok(()) };
        let command = Command::of(statement.words());
        if !command.has_rows() || prepared.columns.is_some() {
            return Ok(());
        }
        let text = self.statement_of(&command, statement.text())?;
        let mut shown = Statement::all(&text).map_err(|error| reports::of_sql(&error, &text))?;
        let Some(statement) = shown.pop() else { return Ok(()) };
        let sample = |oid: &u32| literal(1, *oid, Some(b"1"), false).unwrap_or_else(|_| "''".to_owned());
        let samples = prepared.types.iter().map(|oid| if *oid == 0 { "''".to_owned() } else { sample(oid) }).collect();
        let (columns, types) = self.columns_of(statement, samples).await?;
        for (known, found) in prepared.types.iter_mut().zip(types) {
            *known = if *known == 0 { found } else { *known };
        }
        prepared.columns = Some(columns);
        self.statements.insert(name.to_owned(), prepared.clone());
        Ok(())
    }

    async fn describe_statement(&mut self, name: &str) -> Result<(), Failure> {
        let mut prepared = self.prepared(name)?;
        self.describe(name, &mut prepared).await?;
        self.wire.out.parameters(&prepared.types);
        match prepared.columns {
            Some(columns) => self.wire.out.columns(&columns, &[]),
            None => self.wire.out.no_rows(),
        }
        Ok(())
    }

    async fn describe_portal(&mut self, name: &str) -> Result<(), Failure> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        let text = match &portal.asked {
            Some((command, text)) if command.has_rows() => self.statement_of(command, text)?,
            _ => {
                self.wire.out.no_rows();
                return Ok(());
            }
        };
        let columns = match portal.columns.clone() {
            Some(columns) => columns,
            None => {
                let statement = Statement::all(&text).map_err(|error| reports::of_sql(&error, &text))?.pop();
                let Some(statement) = statement else { return Ok(()) };
                self.columns_of(statement, Vec::new()).await?.0
            }
        };
        if let Some(portal) = self.portals.get_mut(name) {
            self.wire.out.columns(&columns, &portal.formats(columns.len()));
            portal.columns = Some(columns);
        }
        Ok(())
    }

    /// Runs what a portal asks, or goes on with its rows.
    async fn execute(&mut self, name: &str, rows_max: usize) -> Result<(), Failure> {
        // Taken out, so that one that fails is gone.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let Some((command, text)) = portal.asked.clone() else {
            self.wire.out.empty();
            return Ok(());
        };
        if !command.has_rows() {
            self.command(&command)?;
            self.portals.insert(name.to_owned(), portal);
            return Ok(());
        }
        let (held, sent) = match portal.held.take() {
            Some(held) => held,
            None => (self.ask(&command, &text).await?, 0),
        };
        let kinds = |columns: &[Column]| columns.iter().map(|column| column.kind).collect::<Vec<_>>();
        if portal.columns.as_deref().is_some_and(|told| kinds(told) != kinds(held.rows.columns())) {
            return Err(
                error("0A000", "the rows are of other types than was told before their parameters were known").into()
            );
        }
        let formats = portal.formats(held.rows.columns().len());
        let count = if rows_max == 0 { held.rows.len() } else { rows_max };
        self.send(&held, sent, count, &formats).await?;
        let now = sent.saturating_add(count).min(held.rows.len());
        if now < held.rows.len() {
            if self.portals.values().filter(|portal| portal.held.is_some()).count() >= HELD_MAX {
                return Err(
                    error("53400", format!("a connection holds the rows of at most {HELD_MAX} statements")).into()
                );
            }
            self.wire.out.suspended();
            portal.held = Some((held, now));
            self.portals.insert(name.to_owned(), portal);
            return Ok(());
        }
        self.end(&command, &held, now - sent)
    }
}

fn no_portal(name: &str) -> Failure {
    error("34000", format!("there is no portal {name:?}")).into()
}
