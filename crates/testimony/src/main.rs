//! The signed, searchable record of what language models say and do. This file is the table of contents.

mod admitting;
mod alarm;
mod background;
mod backlog;
mod certificates;
mod chart;
mod client;
mod commands;
mod config;
mod files;
mod forwarding;
mod mapping;
mod models;
mod oidc;
mod output;
mod pages;
mod passages;
mod postgres;
mod proving;
mod pushing;
mod replay;
mod retention;
mod ruling;
mod story;
mod syslog;
mod terminal;
mod trust;
mod verification;
mod witnessing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    check, control, demo, forward, import, ingest, key, login, policy, prove, queries, rebuild, route, search,
    searches, serve, show, sql, tail, verify,
};

/// Every call makes and frees some hundred small objects on several threads: glibc's allocator took 13 % of the
/// gateway's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The signed, searchable record of what language models say and do.
#[derive(Parser)]
#[command(name = "testimony", version, about, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 good, 1 error, 2 usage, 3 verification failed, 4 not found.\n\
    Start with:  testimony demo   or   testimony serve --upstream http://127.0.0.1:11434/v1";

#[derive(Subcommand)]
enum Command {
    /// Record every call: a gateway in front of a model server, and everything around it
    Serve(serve::Arguments),
    /// A node in the field: serve, and deliver every record to a centre, however long that is away
    Forward(forward::Arguments),
    /// See it work: no configuration, nothing else running
    Demo(demo::Arguments),
    /// Find records: testimony search 'model:gemma* "refund"' --since 7d
    Search(search::Arguments),
    /// Saved searches: list, show, history, delete; `testimony search --save NAME QUERY` saves one, `testimony search @NAME` runs it
    Searches(searches::Arguments),
    /// Routes: list, show, promote, rollback, history
    Route(route::Arguments),
    /// Undo a change that the log tells of: testimony control revert RECORD
    Control(control::Arguments),
    /// Ask in SQL over the views `records` and `calls`
    Sql(sql::Arguments),
    /// What is being asked just now; `cancel ID` ends it
    Queries(queries::Arguments),
    /// The whole story of one call on one screen, or of a trace or conversation
    Show(show::Arguments),
    /// Watch records as they become durable
    Tail(tail::Arguments),
    /// Check everything there is to check; exit code 3 when something is wrong
    Verify(verify::Arguments),
    /// Make everything anew that is derived: tiles, the columns of segments, indexes
    Rebuild(rebuild::Arguments),
    /// Write evidence for one record into a file that can be checked offline
    Prove(prove::Arguments),
    /// Check a file of evidence with neither server nor data directory; exit code 3 when it does not hold
    Check(check::Arguments),
    /// Sign in with a browser: prints an address that works once
    Login(login::Arguments),
    /// The log's public key
    Key(key::Arguments),
    /// Policies as code: check, test, ask, and replay one over recorded calls
    Policy(policy::Arguments),
    /// Take over what another system has kept of calls until now
    Import(import::Arguments),
    /// See what a mapping makes of a file
    Ingest(ingest::Arguments),
    /// Run the scripted model server of the demonstration, for tests and benchmarks
    #[command(hide = true)]
    ScriptedModel(commands::scripted_model::Arguments),
}

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    VerificationFailed,
    NotFound,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    terminal::start_logging();
    // Before anything can open a TLS connection; an error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Forward(arguments) => forward::run(&arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Search(arguments) => search::run(arguments),
        Command::Searches(arguments) => searches::run(&arguments),
        Command::Route(arguments) => route::run(&arguments),
        Command::Control(arguments) => control::run(&arguments),
        Command::Sql(arguments) => sql::run(arguments),
        Command::Queries(arguments) => queries::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Tail(arguments) => tail::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Rebuild(arguments) => rebuild::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Login(arguments) => login::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::ScriptedModel(arguments) => commands::scripted_model::run(arguments),
    };
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::VerificationFailed) => ExitCode::from(3),
        Ok(Verdict::NotFound) => ExitCode::from(4),
        Err(error) => {
            terminal::print_error(&error);
            ExitCode::from(if error.is::<config::ConfigError>() { 2 } else { 1 })
        }
    }
}
