//! `testimony policy`: policies as code.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use policy::{Difference, Input, Outcome, Point, Policy};

use crate::Verdict;
use crate::client::Target;
use crate::config::{self, Config};
use crate::replay;
use crate::ruling::load;
use crate::terminal::{escaped, print};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a policy: a folder of Rego files, a file, or an OPA bundle; and what it changes of another
    Check {
        /// The policy
        path: PathBuf,
        /// The policy that is in force, to see what would change
        #[arg(long, value_name = "PATH")]
        against: Option<PathBuf>,
        /// A TOML file with settings, for the key of bundles
        #[arg(long, value_name = "FILE", env = "TESTIMONY_CONFIG")]
        config: Option<PathBuf>,
    },
    /// Run its tests (rules `test_…` in `_test.rego` files); exit code 3 when one fails
    Test {
        /// The policy
        path: PathBuf,
        /// List the lines that no test reached
        #[arg(long)]
        coverage: bool,
    },
    /// Ask it about an input document
    Eval {
        /// The policy
        path: PathBuf,
        /// Where it is asked
        #[arg(long, value_enum, default_value_t = At::Request)]
        point: At,
        /// A file with the input (docs/policy.md); - for standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        input: PathBuf,
    },
    /// Ask a candidate about recorded calls: what would be decided differently? No model is called
    Replay {
        /// The candidate
        path: PathBuf,
        /// Calls from this moment on: 7d, 24h, a date
        #[arg(long, value_name = "WHEN", default_value = "7d")]
        since: String,
        /// Only calls for which this query holds
        #[arg(long, value_name = "QUERY", default_value = "")]
        query: String,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum At {
    Request,
    Response,
    Admin,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    match &arguments.command {
        Command::Check { path, against, config } => {
            let config = config::load(config.as_deref(), std::env::vars(), &[])?;
            check(&load(path, &config)?, against.as_ref().map(|path| load(path, &config)).transpose()?)
        }
        Command::Test { path, coverage } => test(&load(path, &Config::default())?, *coverage),
        Command::Eval { path, point, input } => {
            let point = match point {
                At::Request => Point::Request,
                At::Response => Point::Response,
                At::Admin => Point::Admin,
            };
            let input: Input =
                serde_json::from_str(&read(input)?).context("the input is not as docs/policy.md says")?;
            let decision = load(path, &Config::default())?.decide(point, &input);
            print(&format!("{}\n", escaped(&serde_json::to_string_pretty(&decision)?)))?;
            Ok(Verdict::Good)
        }
        Command::Replay { path, since, query, json, target } => {
            let candidate = load(path, &Config::default())?;
            let replayed = replay::run(&candidate, &target.open()?, since, query)?;
            let text = if *json { serde_json::to_string_pretty(&replayed)? + "\n" } else { replay::story(&replayed) };
            print(&text)?;
            Ok(Verdict::Good)
        }
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        return Ok(std::io::read_to_string(std::io::stdin())?);
    }
    let bytes = world::World::real().disk.read(path);
    Ok(String::from_utf8(bytes.with_context(|| format!("could not read {}", path.display()))?)?)
}

fn check(policy: &Policy, against: Option<Policy>) -> anyhow::Result<Verdict> {
    let points = Point::ALL.into_iter().filter(|point| policy.answers(*point)).map(Point::name);
    let points: Vec<&str> = points.collect();
    let mut text = format!("digest    {}\n", policy.digest());
    if !policy.revision().is_empty() {
        text.push_str(&format!("revision  {}\n", escaped(policy.revision())));
    }
    text.push_str(&format!("answers   {}\n", if points.is_empty() { "nothing".to_owned() } else { points.join(", ") }));
    if let Some(other) = against {
        text.push_str(&changes(&other.difference(policy)));
    }
    print(&text)?;
    Ok(Verdict::Good)
}

fn changes(difference: &Difference) -> String {
    if difference.is_empty() {
        return "\nnothing changes\n".to_owned();
    }
    let mut text = "\n".to_owned();
    for (mark, what, names) in [
        ("+", "file", &difference.modules_added),
        ("-", "file", &difference.modules_removed),
        ("~", "file", &difference.modules_changed),
        ("+", "rule", &difference.rules_added),
        ("-", "rule", &difference.rules_removed),
    ] {
        names.iter().for_each(|name| text.push_str(&format!("{mark} {what} {}\n", escaped(name))));
    }
    if difference.data_changed {
        text.push_str("~ data\n");
    }
    text
}

fn test(policy: &Policy, with_lines: bool) -> anyhow::Result<Verdict> {
    let report = policy.test()?;
    let mut text = String::new();
    for result in &report.results {
        let how = match &result.outcome {
            Outcome::Pass => "pass ".to_owned(),
            Outcome::Fail => "FAIL ".to_owned(),
            Outcome::Skip => "skip ".to_owned(),
            Outcome::Error(why) => format!("ERROR {why}: "),
        };
        text.push_str(&format!(
            "{} {}:{} {}\n",
            escaped(&how),
            escaped(&result.file),
            result.line,
            escaped(&result.rule)
        ));
        result.prints.iter().for_each(|line| text.push_str(&format!("      {}\n", escaped(line))));
    }
    let failed =
        report.results.iter().filter(|result| matches!(result.outcome, Outcome::Fail | Outcome::Error(_))).count();
    let (covered, lines) = report.lines();
    text.push_str(&format!("\n{} tests, {failed} failed; {covered} of {lines} lines covered\n", report.results.len()));
    if with_lines {
        for file in report.coverage.iter().filter(|file| !file.not_covered.is_empty()) {
            let lines: Vec<String> = file.not_covered.iter().map(u32::to_string).collect();
            text.push_str(&format!("not covered  {}  {}\n", escaped(&file.file), lines.join(" ")));
        }
    }
    print(&text)?;
    Ok(if report.passed() { Verdict::Good } else { Verdict::VerificationFailed })
}
