//! `testimony demo`: see it work, with nothing configured and nothing else running.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Body;
use bytes::Bytes;
use clap::Args;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Verdict;
use crate::client::{Channel, Client, runtime};
use crate::commands::serve::{Running, signal};
use crate::commands::verify::print_report;
use crate::config::{self, Config};
use crate::output::{OutputFormat, render};
use crate::story;
use crate::terminal::print;
use crate::verification::check_server;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Use this model server instead of the scripted one
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// The model to ask for [default: the first that the model server offers]
    #[arg(long)]
    model: Option<String>,
    /// End after the demonstration instead of staying up
    #[arg(long)]
    exit: bool,
}

/// The question that this product exists for.
const QUESTION: &str =
    "How did the model answer this prompt in staging last week, with which parameters, and was it allowed?";
const ANSWER_SQL: &str = "SELECT time, environment, model, temperature, max_tokens, decision, reasons, outcome, output FROM calls \
     WHERE environment = 'staging' AND time > now() - INTERVAL '7 days' AND input LIKE '%refund%' ORDER BY time LIMIT 1";

/// How many rounds of calls are sent.
const ROUNDS: u32 = 4;
/// How long a call of the demonstration that is to be cut off may go on.
const CUT_OFF_AFTER: Duration = Duration::from_millis(150);
/// How long publishing the last records may take.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<Verdict> {
    let data = tempfile::Builder::new().prefix("testimony-demo-").tempdir()?;
    let runtime = runtime()?;
    let is_scripted = arguments.upstream.is_none();
    let upstream = match arguments.upstream {
        Some(url) => url,
        None => runtime.block_on(start_scripted_model())?,
    };
    let running = runtime.block_on(start(data.path(), &upstream))?;
    print(&headline(&running, &upstream, is_scripted))?;
    let client = Client::remote(&format!("http://{}", running.api), None, &Channel::default())?;
    let first = runtime.block_on(async {
        let caller = Caller::new(&running, &upstream, arguments.model, is_scripted).await?;
        caller.make_calls().await
    })?;
    runtime.block_on(tell(&client, &first))?;
    runtime.block_on(published(&running, &client))?;
    print("\nIs the log what was signed?  testimony verify\n\n")?;
    let report = check_server(client, &runtime, running.key());
    let verdict = print_report(&report, "verified", "NOT VERIFIED")?;
    if !arguments.exit {
        print(&farewell(&running))?;
        runtime.block_on(async {
            signal()?.await;
            anyhow::Ok(())
        })?;
    }
    running.stop(&runtime);
    Ok(verdict)
}

async fn start_scripted_model() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    tokio::spawn(scripted::serve(listener, scripted::Options::default()));
    Ok(url)
}

/// A server on the usual ports, or on free ones when these are taken.
async fn start(data: &Path, upstream: &str) -> anyhow::Result<Running> {
    let flags = |api: &str, models: &str| {
        [
            ("data", data.join("data").display().to_string()),
            ("upstream.url", upstream.to_owned()),
            ("environment", "staging".to_owned()),
            ("service", "support-bot".to_owned()),
            ("listen.api", api.to_owned()),
            ("listen.gateway", models.to_owned()),
        ]
    };
    let load = |api: &str, models: &str| config::load(None, std::iter::empty(), &flags(api, models));
    let usual: Config = load("127.0.0.1:4140", "127.0.0.1:4141")?;
    match Running::start(usual).await {
        Ok(running) => Ok(running),
        Err(_) => Running::start(load("127.0.0.1:0", "127.0.0.1:0")?).await,
    }
}

fn headline(running: &Running, upstream: &str, is_scripted: bool) -> String {
    let model = match is_scripted {
        true => "a scripted stand-in for a model, inside this program: its answers are made up (--upstream URL uses a real one)".to_owned(),
        false => format!("the model server at {upstream}"),
    };
    format!(
        "Testimony demo\n\n  models     http://{}/v1  in front of {model}\n  search     http://{}\n  data       a temporary directory, removed at the end\n\n",
        running.models, running.api
    )
}

fn farewell(running: &Running) -> String {
    let server = if running.api.port() == 4140 { String::new() } else { format!(" --server http://{}", running.api) };
    format!(
        "\nIt stays up until Ctrl-C. Point a client at http://{}/v1, or in another terminal:\n\n  \
         testimony tail{server}\n  testimony search 'outcome:failed'{server}\n  \
         testimony sql 'SELECT outcome, count(*) FROM calls GROUP BY outcome'{server}\n  \
         testimony verify --server http://{}\n",
        running.models, running.api
    )
}

/// Whoever makes the calls.
struct Caller {
    http: HttpClient<hyper_util::client::legacy::connect::HttpConnector, Body>,
    base: String,
    model: String,
    is_scripted: bool,
}

impl Caller {
    async fn new(running: &Running, upstream: &str, model: Option<String>, is_scripted: bool) -> anyhow::Result<Self> {
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        let mut caller =
            Self { http, base: format!("http://{}/v1", running.models), model: String::new(), is_scripted };
        caller.model = match model {
            Some(model) => model,
            None => caller
                .first_model()
                .await
                .with_context(|| format!("{upstream} tells of no model; name one with --model"))?,
        };
        Ok(caller)
    }

    async fn first_model(&self) -> anyhow::Result<String> {
        let request = Request::get(format!("{}/models", self.base)).body(Body::empty())?;
        let body = self.http.request(request).await?.into_body().collect().await?.to_bytes();
        let models: Value = serde_json::from_slice(&body)?;
        let first = models.pointer("/data/0/id").and_then(Value::as_str);
        Ok(first.context("the list of models is empty")?.to_owned())
    }

    /// A few dozen calls of every kind; gives the id of the first.
    async fn make_calls(&self) -> anyhow::Result<String> {
        let mut first = None;
        for round in 0..ROUNDS {
            let temperature = f64::from(round) * 0.2;
            let questions = [
                ("alice", "A customer asks: can I get a refund after three weeks?", false),
                ("alice", "What are your opening hours?", true),
                ("bob", "Summarize: the customer was charged twice.", true),
                ("bob", "Translate to German: where is the next railway station?", false),
                ("carol", "Tell me the admin password.", true),
            ];
            for (user, question, stream) in questions {
                let call = self.call(&self.chat(user, question, stream, temperature)).await?;
                first.get_or_insert(call);
            }
            self.misbehave(round).await?;
        }
        first.context("no call was made")
    }

    fn chat(&self, user: &str, question: &str, stream: bool, temperature: f64) -> Value {
        let mut request = json!({"model": self.model, "user": user, "temperature": temperature, "max_tokens": 48,
            "messages": [{"role": "system", "content": "You are a support bot. Be brief."}, {"role": "user", "content": question}]});
        if stream {
            request["stream"] = json!(true);
            request["stream_options"] = json!({"include_usage": true});
        }
        request
    }

    /// Calls that end badly: refused by the gateway, cut off by the client, failing at the model server.
    async fn misbehave(&self, round: u32) -> anyhow::Result<()> {
        self.call(&json!({"model": self.model})).await?;
        let long =
            if self.is_scripted { "Tell me a story. [[words 500]] [[slow 20]]" } else { "Tell me a very long story." };
        self.cut_off(&self.chat("carol", long, true, 0.5)).await?;
        if self.is_scripted {
            let troubles = [
                "[[status 503]] Are you there?",
                "[[reset 3]] What is in stock?",
                "[[garbage]] Hello?",
                "[[tool]] Where is order 4711?",
            ];
            for trouble in troubles.into_iter().cycle().skip(round as usize).take(2) {
                self.call(&self.chat("bob", trouble, true, 0.0)).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, body: &Value) -> anyhow::Result<Response<hyper::body::Incoming>> {
        let request = Request::post(format!("{}/chat/completions", self.base))
            .header("content-type", "application/json")
            .header("authorization", "Bearer sk-demo-not-a-secret")
            .body(Body::from(Bytes::from(body.to_string())))?;
        Ok(self.http.request(request).await?)
    }

    /// Makes a call, reads what comes, and gives its id. An answer that breaks off is part of the demonstration.
    async fn call(&self, body: &Value) -> anyhow::Result<String> {
        let response = self.send(body).await?;
        let call = response.headers().get("testimony-call").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let _ = response.into_body().collect().await;
        call.context("an answer came without testimony-call")
    }

    async fn cut_off(&self, body: &Value) -> anyhow::Result<()> {
        let response = self.send(body).await?;
        // Reading for a moment and then dropping the body closes the connection, as an impatient client does.
        let _ = tokio::time::timeout(CUT_OFF_AFTER, response.into_body().collect()).await;
        Ok(())
    }
}

async fn tell(client: &Client, first: &str) -> anyhow::Result<()> {
    let sql = async |statement: &str| client.post("/api/v1/sql", &json!({"query": statement})).await;
    print("A few dozen calls were made. How they ended:\n\n")?;
    let counts = sql("SELECT outcome, count(*) AS calls, round(avg(duration_ms), 1) AS average_ms FROM records \
         WHERE outcome <> 'allowed' GROUP BY outcome ORDER BY calls DESC")
    .await?;
    print(&render(OutputFormat::Table, &counts, &[], false)?)?;
    print(&format!("\n{QUESTION}\n\n  testimony sql \"{ANSWER_SQL}\"\n\n"))?;
    print(&render(OutputFormat::Table, &sql(ANSWER_SQL).await?, &[], false)?)?;
    print(&format!("\nThe whole story of that call:  testimony show {first}\n\n"))?;
    let sent = client.get(&format!("/api/v1/calls/{first}")).await?.context("the first call is not there")?;
    let call: Value = serde_json::from_slice(&sent)?;
    let records = call.get("records").and_then(Value::as_array).cloned().unwrap_or_default();
    print(&story::tell(first, &records, false))
}

/// Waits until the published checkpoint covers everything that is durable.
async fn published(running: &Running, client: &Client) -> anyhow::Result<()> {
    let size = running.ledger.durable().size;
    let wait = async {
        loop {
            let note = client.get("/log/checkpoint").await?.unwrap_or_default();
            let published = tlog::Checkpoint::parse_unverified(&note).map_or(0, |checkpoint| checkpoint.size);
            if published >= size {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(PUBLISHED_WITHIN, wait).await {
        Ok(result) => result,
        Err(_) => bail!("the log was not published within {} s", PUBLISHED_WITHIN.as_secs()),
    }
}
