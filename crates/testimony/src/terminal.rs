//! What a person sees: errors, progress, and text from models that must not move the cursor.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use tracing_subscriber::EnvFilter;

/// Sends the program's own log to standard error; `TESTIMONY_LOG=debug` shows more.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_env("TESTIMONY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
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

/// Prints a line to standard output. A reader that went away (`| head`) ends the program in good order.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Text with everything made visible that could steer a terminal or turn its lines around: C0 and C1 controls but for the
/// line feed, escape, delete, and the bidirectional controls of Unicode (UAX 9, section 2).
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_made_visible() {
        assert_eq!(escaped("a\u{1b}[2Jb\r\u{9b}c\u{202e}d\ne\u{7f}"), "a\\u{1b}[2Jb\\u{d}\\u{9b}c\\u{202e}d\ne\\u{7f}");
        assert_eq!(escaped("plain é 漢 🙂"), "plain é 漢 🙂");
    }
}
