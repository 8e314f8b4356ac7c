//! What policy and guardrails cost a gateway: requests a second without them, and with both; and how long a replay of those calls takes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::Places;
use crate::gateway::scripted_model;
use crate::load::measure;
use crate::process::{binary, serve_with};

const TIME: Duration = Duration::from_secs(8);
const CONNECTIONS: usize = 64;
/// Without and with take turns, so that a machine that changes its speed changes both.
const ROUNDS: usize = 3;

const POLICY: &[u8] = include_bytes!("../../crates/policy/examples/fifty.rego");
const SETTINGS: &str = "
[guardrails.input.secrets]
action = \"redact\"
[guardrails.input.personal_data]
action = \"redact\"
[guardrails.input.prompt_injection]
action = \"flag\"
[guardrails.output.secrets]
action = \"redact\"
[guardrails.output.personal_data]
action = \"redact\"
";

pub(crate) fn run(places: &Places) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = places.disk.join("policy");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("fifty.rego"), POLICY)?;
    // The fifty rules are about others' models: this one lets the load pass.
    std::fs::write(
        folder.join("load.rego"),
        "package testimony.request\n\nallow if input.actor.type == \"anonymous\"\n",
    )?;
    let settings = places.disk.join("ruled.toml");
    std::fs::write(&settings, format!("[policy]\npath = {folder:?}\n{SETTINGS}"))?;
    let (_model, model) = scripted_model(Duration::ZERO)?;
    let (mut without, mut with) = (0.0, 0.0);
    for round in 0..ROUNDS {
        for (file, sum) in [(None, &mut without), (Some(settings.as_path()), &mut with)] {
            let data = places.disk.join(format!("ruled-{round}-{}", file.is_some()));
            let (_server, address) = serve_with(&data, &format!("http://{model}/v1"), "models     http://", file)?;
            *sum += runtime.block_on(measure(address, CONNECTIONS, TIME))?.requests_per_second;
        }
    }
    let (without, with) = (without / ROUNDS as f64, with / ROUNDS as f64);
    println!(
        "\ngateway, instant model, {CONNECTIONS} connections, data on disk, mean of {ROUNDS} rounds of {} s",
        TIME.as_secs()
    );
    println!("  without policy and guardrails   {without:>8.0} requests/s");
    println!(
        "  a policy of 50 rules and three guardrails, two on answers   {with:>8.0} requests/s   {:.0} % of that",
        100.0 * with / without
    );
    replay(&places.disk.join(format!("ruled-{}-true", ROUNDS - 1)), &folder)
}

/// The whole command over the calls of the last round: reading them by SQL, asking the same policy again, comparing.
fn replay(data: &Path, folder: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let output = Command::new(binary()?)
        .args(["policy", "replay", "--json", "--since", "1d", "--data"])
        .arg(data)
        .arg(folder)
        .output()?;
    let seconds = began.elapsed().as_secs_f64();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the replay failed: {}", String::from_utf8_lossy(&output.stderr)))?;
    let decisions = report.get("decisions").and_then(serde_json::Value::as_f64).context("no decisions")?;
    println!(
        "  testimony policy replay, the whole command   {decisions:.0} decisions in {seconds:.1} s, {:.0} a minute",
        60.0 * decisions / seconds
    );
    Ok(())
}
