//! `testimony-verify`: the checker for those who read what they run.
//!
//! It checks evidence files and published logs with a key or a trust policy that was kept elsewhere. Exit codes: 0 good,
//! 1 error, 2 usage, 3 verification failed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use record::escaped;
use tlog::{TrustPolicy, VerifierKey};
use verify::{Evidence, LogDirectory, check_log};

const USAGE: &str = "usage: testimony-verify evidence FILE (--key VKEY | --policy FILE)
       testimony-verify log DIR --key VKEY

evidence  checks a .tlog-proof file that `testimony prove` wrote, and the content that it discloses
log       checks a published log (the directory log/ of a data directory, or a copy of what /log/ serves)

VKEY is the log's public key or a file that holds it. Take it from where you keep it, not from the log.
Exit codes: 0 good, 1 error, 2 usage, 3 verification failed.
";

enum Trust {
    Key(String),
    Policy(PathBuf),
}

enum Failure {
    Usage,
    Error(String),
    NotVerified(Vec<String>),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let verdict = match words.as_slice() {
        ["-h" | "--help"] => Ok(USAGE.to_owned()),
        ["evidence", file, "--key", key] => evidence(Path::new(file), &Trust::Key((*key).to_owned())),
        ["evidence", file, "--policy", policy] => evidence(Path::new(file), &Trust::Policy(policy.into())),
        ["log", dir, "--key", key] => log(Path::new(dir), key),
        _ => Err(Failure::Usage),
    };
    let (text, code) = match verdict {
        Ok(text) => (text, 0),
        Err(Failure::Usage) => (USAGE.to_owned(), 2),
        Err(Failure::Error(what)) => (format!("error: {}\n", escaped(&what)), 1),
        Err(Failure::NotVerified(findings)) => {
            let lines: String = findings.iter().map(|finding| format!("✗ {}\n", escaped(finding))).collect();
            (format!("{lines}NOT VERIFIED\n"), 3)
        }
    };
    // A reader that went away has seen what it wanted.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn evidence(file: &Path, trust: &Trust) -> Result<String, Failure> {
    let policy = match trust {
        Trust::Key(key) => TrustPolicy::of_log(read_key(key)?),
        Trust::Policy(path) => {
            TrustPolicy::parse(&read(path)?).map_err(|error| Failure::Error(format!("{}: {error}", path.display())))?
        }
    };
    let bytes = read(file)?;
    let checked = Evidence::parse(&bytes).and_then(|evidence| evidence.check(&policy));
    let checked = checked.map_err(|error| Failure::NotVerified(vec![error.to_string()]))?;
    Ok(format!("{checked}\nverified\n"))
}

fn log(dir: &Path, key: &str) -> Result<String, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checked = check_log(&LogDirectory(dir.to_owned()), &read_key(key)?, threads, &|_, _| Ok(()), &|_| ());
    let checked = checked
        .map_err(|findings| Failure::NotVerified(findings.iter().map(ToString::to_string).collect()))?
        .checkpoint;
    Ok(format!(
        "✓ {} records of {}, every entry, every tile, root {} as signed\nverified\n",
        checked.size, checked.origin, checked.root
    ))
}

fn read_key(given: &str) -> Result<VerifierKey, Failure> {
    if let Ok(key) = VerifierKey::parse(given) {
        return Ok(key);
    }
    let text = read(Path::new(given))
        .map_err(|_| Failure::Error(format!("{given:?} is neither a vkey nor a file that holds one")))?;
    VerifierKey::parse(&String::from_utf8_lossy(&text)).map_err(|error| Failure::Error(format!("{given}: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "a checker has no world: it reads the files that it is given")]
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Error(format!("could not read {}: {error}", path.display())))
}
