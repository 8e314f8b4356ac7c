//! One connection: who it is, and what it asks.

use std::collections::BTreeMap;

use access::{Action, Attempt, Peer, Refused, Target};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use postgres::{Column, Format, Message, Report, Status};
use search::{Catalog, EngineError, Limits, QueryKind, Running, SERVER_VERSION, Statement};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::Inner;
use super::cancelling::Cancellable;
use super::command::{Command, Settings};
use super::prepared::{Held, Portal, Prepared};
use super::reports::{self, error, fatal, with_hint};
use super::wire::{Ended, MESSAGE_BYTES_MAX, PASSWORD_BYTES_MAX, Wire};
use crate::admission::{Caller, Denied};
use crate::reading::Reading;

/// Whoever connects by this name has no password.
const NOBODY: &str = "anonymous";
/// What was tried, in the record of somebody who was refused or taken for the first time.
const METHOD: &str = "STARTUP";
const PATH: &str = "postgresql";
/// The most rows of an answer.
pub(super) const ROWS_MAX: usize = 100_000;
/// Rows that are written before it is looked whether there is enough to send.
const ROWS_AT_ONCE: usize = 256;
/// Settings that a client is told of at the beginning, as PostgreSQL spells them.
const TOLD: [&str; 10] = [
    "server_encoding",
    "client_encoding",
    "is_superuser",
    "default_transaction_read_only",
    "in_hot_standby",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
];

/// Why a message has no answer of its own.
pub(super) enum Failure {
    /// This is told, and the connection goes on unless it says otherwise.
    Told(Report),
    /// The connection is over.
    Ended(Ended),
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Told(report)
    }
}

/// A connection of somebody who is known.
pub(super) struct Session<'d, S> {
    pub(super) door: &'d Inner,
    pub(super) wire: Wire<S>,
    peer: Peer,
    /// The credential as a request would have it: it is looked at again before each statement, since keys are revoked.
    headers: HeaderMap,
    pub(super) catalog: Catalog,
    pub(super) settings: Settings,
    pub(super) status: Status,
    cancellable: Cancellable,
    pub(super) statements: BTreeMap<String, Prepared>,
    pub(super) portals: BTreeMap<String, Portal>,
    /// After an error in messages that belong together, up to their end.
    is_skipping: bool,
}

impl<'d, S: AsyncRead + AsyncWrite + Unpin> Session<'d, S> {
    /// Finds out who it is.
    pub(super) async fn begin(
        door: &'d Inner,
        mut wire: Wire<S>,
        peer: Peer,
        is_secret: bool,
        version: u32,
        parameters: Vec<(String, String)>,
    ) -> Result<Self, Ended> {
        let told = async {
            let unknown: Vec<&str> =
                parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
            if version >> 16 != 3 {
                return Err(fatal("0A000", "only version 3 of the protocol is spoken here").into());
            }
            if version & 0xffff > 0 || !unknown.is_empty() {
                wire.out.negotiate(&unknown);
            }
            let parameter =
                |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let user = parameter("user").unwrap_or_default();
            let mut settings = Settings::new();
            for (name, value) in
                parameters.iter().filter(|(name, _)| !matches!(name.as_str(), "user" | "database" | "options"))
            {
                settings.set(name, value).map_err(|why| fatal("22023", why))?;
            }
            if parameter("replication").is_some_and(|value| !matches!(value, "false" | "off" | "0" | "no")) {
                return Err(fatal("0A000", "there is no replication here: GET /api/v1/tail follows the log").into());
            }
            check_secrecy(door, &peer, is_secret)?;
            let headers = credential(&mut wire, &peer, user).await?;
            let caller = identify(door, &headers, &peer).await?;
            Ok::<_, Failure>((headers, settings, caller))
        };
        let (headers, settings, caller) = match told.await {
            Ok(begun) => begun,
            Err(Failure::Ended(Ended::Malformed(malformed))) => {
                return Err(tell_last(&mut wire, &fatal("08P01", malformed.to_string())).await);
            }
            Err(Failure::Ended(ended)) => return Err(ended),
            Err(Failure::Told(report)) => return Err(tell_last(&mut wire, &report).await),
        };
        let user = caller.identity.as_ref().map_or_else(String::new, |identity| identity.id.clone());
        let mut session = Self {
            door,
            wire,
            peer,
            headers,
            catalog: Catalog { user },
            settings,
            status: Status::Idle,
            cancellable: door.cancelling.enter(),
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            is_skipping: false,
        };
        session.greet();
        Ok(session)
    }

    fn greet(&mut self) {
        let out = &mut self.wire.out;
        out.authenticated();
        out.setting("server_version", &format!("{SERVER_VERSION} (Testimony {})", env!("CARGO_PKG_VERSION")));
        out.setting("session_authorization", &self.catalog.user);
        out.setting("application_name", &self.settings.application);
        for name in TOLD {
            out.setting(name, search::setting(name).unwrap_or_default());
        }
        let (process, secret) = self.cancellable.key;
        out.key(process, secret);
        out.ready(self.status);
    }

    /// Answers until either side ends it.
    pub(super) async fn serve(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Ended> {
        loop {
            self.wire.flush().await?;
            let next = tokio::time::timeout(self.door.settings.idle, self.wire.message(MESSAGE_BYTES_MAX));
            let next = tokio::select! {
                next = next => next,
                () = stopped(&mut stop) => {
                    return Err(tell_last(&mut self.wire, &fatal("57P01", "this server is being stopped")).await);
                }
            };
            let message = match next {
                Ok(Ok(Message::Terminate)) => return Ok(()),
                Ok(Ok(message)) => message,
                Ok(Err(Ended::Malformed(malformed))) => {
                    return Err(tell_last(&mut self.wire, &fatal("08P01", malformed.to_string())).await);
                }
                Ok(Err(ended)) => return Err(ended),
                Err(_) => {
                    let idle = fatal("57P05", "nothing was asked for as long as a connection may be idle");
                    return Err(tell_last(&mut self.wire, &idle).await);
                }
            };
            self.answer(message).await?;
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), Ended> {
        let is_extended = !matches!(message, Message::Query(_) | Message::Call);
        if self.is_skipping && message != Message::Sync {
            return Ok(());
        }
        let answered = match message {
            Message::Query(text) => {
                let answered = self.query(&text).await;
                self.portals.clear();
                answered
            }
            Message::Call => Err(error("0A000", "functions are called in statements here").into()),
            Message::Sync => {
                self.is_skipping = false;
                if self.status == Status::Idle {
                    self.portals.clear();
                }
                self.wire.out.ready(self.status);
                Ok(())
            }
            Message::Password(_) => Err(fatal("08P01", "nobody has asked for a password").into()),
            Message::Flush | Message::Copy | Message::Terminate => Ok(()),
            message => self.extended(message).await,
        };
        match answered {
            Ok(()) => {}
            Err(Failure::Ended(ended)) => return Err(ended),
            Err(Failure::Told(report)) if report.severity == postgres::Severity::Fatal => {
                return Err(tell_last(&mut self.wire, &report).await);
            }
            Err(Failure::Told(report)) => {
                self.wire.out.report(&report);
                self.is_skipping = is_extended;
                if self.status == Status::Open {
                    self.status = Status::Failed;
                }
            }
        }
        if !is_extended {
            self.wire.out.ready(self.status);
        }
        Ok(())
    }

    /// Statements one after the other, up to the first that fails.
    async fn query(&mut self, text: &str) -> Result<(), Failure> {
        let statements = Statement::all(text).map_err(|error| reports::of_sql(&error, text))?;
        if statements.is_empty() {
            self.wire.out.empty();
        }
        for statement in statements {
            if statement.parameters() > 0 {
                return Err(
                    error("42P02", "there is no parameter $1: parameters are given to a prepared statement").into()
                );
            }
            let command = Command::of(statement.words());
            if !command.has_rows() {
                self.command(&command)?;
                continue;
            }
            let held = self.ask(&command, statement.text()).await?;
            self.wire.out.columns(held.rows.columns(), &[]);
            self.send(&held, 0, held.rows.len(), &[]).await?;
            self.end(&command, &held, held.rows.len())?;
        }
        Ok(())
    }

    /// Does what has no rows.
    pub(super) fn command(&mut self, command: &Command) -> Result<(), Failure> {
        self.check_transaction(command)?;
        let mut tag = command.tag();
        match command {
            Command::Begin => self.status = Status::Open,
            Command::Commit | Command::Rollback => {
                // What failed is not committed, and is told so.
                tag = if self.status == Status::Failed { "ROLLBACK" } else { tag };
                self.status = Status::Idle;
            }
            Command::Nothing("ROLLBACK") if self.status == Status::Failed => self.status = Status::Open,
            Command::Set(name, value) => {
                self.settings.set(name, value).map_err(|why| error("22023", why))?;
                if name == "application_name" {
                    self.wire.out.setting(name, &self.settings.application);
                }
            }
            Command::Deallocate(Some(name)) => {
                let known = self.statements.remove(name);
                known.ok_or_else(|| error("26000", format!("there is no prepared statement {name:?}")))?;
            }
            Command::Deallocate(None) | Command::Discard => {
                self.statements.clear();
                self.portals.clear();
            }
            Command::NotOffered(instead) => {
                return Err(with_hint(error("0A000", "this is not offered here"), instead).into());
            }
            _ => {}
        }
        self.wire.out.done(tag);
        Ok(())
    }

    fn check_transaction(&self, command: &Command) -> Result<(), Failure> {
        let ends = matches!(command, Command::Commit | Command::Rollback | Command::Nothing("ROLLBACK"));
        if self.status == Status::Failed && !ends {
            return Err(error("25P02", "the transaction has failed: nothing is done in it until it ends").into());
        }
        Ok(())
    }

    /// The statement that gives what a command asks for.
    pub(super) fn statement_of(&self, command: &Command, text: &str) -> Result<String, Failure> {
        let Command::Show(name) = command else { return Ok(text.to_owned()) };
        let value = self.settings.value(name);
        let value = value.ok_or_else(|| error("42704", format!("there is no setting {name:?}")))?;
        let doubled = |text: &str, quote: &str| text.replace(quote, &quote.repeat(2));
        Ok(format!("SELECT '{}' AS \"{}\"", doubled(&value, "'"), doubled(name, "\"")))
    }

    /// Runs a statement for as long as its client waits, and records that its rows are about to be shown.
    pub(super) async fn ask(&mut self, command: &Command, text: &str) -> Result<Held, Failure> {
        self.check_transaction(command)?;
        let text = self.statement_of(command, text)?;
        let caller = identify(self.door, &self.headers, &self.peer).await?;
        let limits = Limits { rows_max: ROWS_MAX, deadline: self.settings.deadline, ..Limits::default() };
        let asked = self.door.engine.sql_of(&caller.view, text.clone(), &self.catalog, limits);
        let listed = self.door.engine.queries().listed(QueryKind::Sql, &text, caller.identity.clone(), asked);
        let answer = self.wait_for(listed, &text).await?;
        let reading = Reading::rows("sql", &text, answer.rows(), answer.is_truncated());
        reading.record(&self.door.intake, &caller).await;
        let rows = answer.typed().map_err(|error| reports::error("22003", error.to_string()))?;
        Ok(Held { rows, is_truncated: answer.is_truncated() })
    }

    /// Who asks, for what shows no rows.
    pub(super) async fn caller(&self) -> Result<Caller, Failure> {
        identify(self.door, &self.headers, &self.peer).await
    }

    /// Waits for an answer, unless the client goes or has it ended.
    pub(super) async fn wait_for<T>(&mut self, running: Running<T>, text: &str) -> Result<T, Failure> {
        let asked = self.cancellable.asked();
        tokio::select! {
            answer = running => answer.map_err(|error: EngineError| reports::of_engine(&error, text).into()),
            () = asked.notified() => Err(error("57014", "the statement was cancelled, as its client asked").into()),
            ended = self.wire.gone() => Err(ended.into()),
        }
    }

    /// Sends so many rows from one of them on.
    pub(super) async fn send(
        &mut self,
        held: &Held,
        from: usize,
        count: usize,
        formats: &[Format],
    ) -> Result<(), Failure> {
        let end = from.saturating_add(count).min(held.rows.len());
        let format = |nth: usize| formats.get(nth).copied().unwrap_or(Format::Text);
        for from in (from..end).step_by(ROWS_AT_ONCE) {
            let out = &mut self.wire.out;
            let write = |values: Vec<postgres::Value<'_>>| {
                out.row(values.into_iter().enumerate().map(|(nth, value)| (value, format(nth))));
                Ok(())
            };
            held.rows.each(from, ROWS_AT_ONCE.min(end - from), write).map_err(Unwritten::report)?;
            self.wire.relieve().await?;
        }
        Ok(())
    }

    /// Says that there are no more rows. An answer that a limit has cut has no good end: whoever counts its rows would be wrong.
    pub(super) fn end(&mut self, command: &Command, held: &Held, count: usize) -> Result<(), Failure> {
        if held.is_truncated {
            let total = held.rows.len();
            let cut =
                error("54000", format!("the answer was cut after {total} rows: there were more, or more than 64 MiB"));
            let hint =
                format!("ask for fewer rows or columns: LIMIT, or an aggregate; at most {ROWS_MAX} rows come out");
            return Err(with_hint(cut, &hint).into());
        }
        match command {
            Command::Ask => self.wire.out.done(&format!("SELECT {count}")),
            other => self.wire.out.done(other.tag()),
        }
        Ok(())
    }

    /// The columns of a statement's rows, before it is run.
    pub(super) async fn columns_of(
        &mut self,
        statement: Statement,
        samples: Vec<String>,
    ) -> Result<(Vec<Column>, Vec<u32>), Failure> {
        let caller = self.caller().await?;
        let text = statement.text().to_owned();
        let limits = Limits { deadline: self.settings.deadline, ..Limits::default() };
        let described = self.door.engine.describe(&caller.view, statement, samples, &self.catalog, limits);
        let described = self.wait_for(described, &text).await?;
        let types = described.parameters.iter().map(|kind| kind.unwrap_or(postgres::Type::Text).oid()).collect();
        Ok((described.columns, types))
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as the server.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A value that could not be written.
struct Unwritten(String);

impl Unwritten {
    fn report(self) -> Failure {
        error("22P05", self.0).into()
    }
}

impl<E: std::error::Error> From<E> for Unwritten {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Says why the connection ends.
async fn tell_last<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, report: &Report) -> Ended {
    wire.out.report(report);
    wire.flush().await.map_or_else(|ended| ended, |()| Ended::Told)
}

/// A key is not sent where others could read it.
fn check_secrecy(door: &Inner, peer: &Peer, is_secret: bool) -> Result<(), Failure> {
    let is_here = peer.address.ip().to_canonical().is_loopback();
    if is_secret || is_here && !door.settings.certificate_required {
        return Ok(());
    }
    let refused = if door.settings.certificate_required {
        fatal("28000", "a connection goes by TLS here, with a client certificate")
    } else {
        fatal("28000", "a connection from another machine goes by TLS, since it carries a key")
    };
    Err(with_hint(refused, "connect with sslmode=require; the server needs [tls] cert and key for that").into())
}

/// What a client shows, as the headers of a request.
async fn credential<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    peer: &Peer,
    user: &str,
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if user == NOBODY || peer.certificate.is_some() {
        return Ok(headers);
    }
    wire.out.ask_password();
    wire.flush().await?;
    let Message::Password(mut password) = wire.message(PASSWORD_BYTES_MAX).await? else {
        return Err(fatal("08P01", "a password was asked for").into());
    };
    if password.pop() != Some(0) {
        return Err(fatal("08P01", "a password ends with a zero").into());
    }
    let bearer = [b"Bearer ", password.as_slice()].concat();
    let mut value =
        HeaderValue::from_bytes(&bearer).map_err(|_| fatal("28P01", "the password is neither a key nor a token"))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

async fn identify(door: &Inner, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Failure> {
    let attempt = Attempt { method: METHOD, path: PATH, peer: peer.address.ip() };
    let certificate = peer.certificate.as_deref();
    let asked = Some((Action::Search, Target::Filtered));
    let identified = door.admission.identify(asked, &Method::GET, headers, certificate, &attempt).await;
    identified.map_err(|denied| match denied {
        Denied::Refused(refused) => refusal(&refused, headers.is_empty()).into(),
        Denied::Unrecorded(problem) => fatal("53000", problem.detail()).into(),
    })
}

fn refusal(refused: &Refused, shows_nothing: bool) -> Report {
    match refused.status() {
        StatusCode::FORBIDDEN => fatal("42501", refused.sentence()),
        StatusCode::UNAUTHORIZED if shows_nothing => with_hint(
            fatal("28000", "nobody is let in here without a credential"),
            "connect as any other user, with an API key or a token as the password",
        ),
        StatusCode::UNAUTHORIZED => with_hint(
            fatal("28P01", refused.sentence()),
            "the password is an API key or a token; as user anonymous there is none, on this machine and while access.anonymous says so",
        ),
        _ => fatal("28000", refused.sentence()),
    }
}
