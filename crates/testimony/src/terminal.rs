//! What a person sees: errors, progress, and text from models that must not move the cursor.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

pub(crate) use record::escaped;
use tracing_subscriber::EnvFilter;

/// Sends the program's own log to standard error; `TESTIMONY_LOG=debug` shows more.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_env("TESTIMONY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        // Where standard error cannot be written to (a full disk takes it too), it would be told so itself, and panic.
        .log_internal_errors(false)
        .init();
}

/// Prints an error and what caused it.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut text = format!("error: {}", escaped(&error.to_string()));
    for cause in error.chain().skip(1) {
        let _ = write!(text, "\n  because: {}", escaped(&cause.to_string()));
    }
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints text, or what is none, to standard output. A reader that went away (`| head`) ends the program in good order.
pub(crate) fn print(what: &(impl AsRef<[u8]> + ?Sized)) -> anyhow::Result<()> {
    match io::stdout().write_all(what.as_ref()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Says something to the person that is not the answer: on standard error, which may be closed.
pub(crate) fn hint(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
