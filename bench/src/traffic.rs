//! Recorded calls as a team makes them, drawn from a seed: the same number always gives the same calls.
//!
//! Ninety days of some 5,000 users, a few of whom ask most; six models, three environments, busy days and quiet nights. Words are drawn by
//! Zipf's law from a vocabulary of 60,000 made-up words and those of English that are most frequent, so that some stand in every text and
//! most in hardly any; about one call in a million has a word of its own.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is drawn is small and not negative")]

use std::sync::Arc;

use record::{Actor, Attributes, Draft, Field, Kind, Outcome, Source, Timestamp, Trace, Value, content_names, uuid_v7};

use crate::chance::Chance;

/// The moment after the last call: 2026-11-25T00:00:00Z.
const END_MICROS: i64 = 1_795_564_800_000_000;
const DAYS: i64 = 90;
const USERS: u64 = 5_000;
const MODELS: [&str; 6] = ["gemma-3-270m", "gemma-3-1b", "qwen3-0.6b", "llama-3.2-1b", "phi-4-mini", "smollm2-360m"];
const ENVIRONMENTS: [&str; 3] = ["production", "staging", "development"];
const SERVICES: [&str; 4] = ["support-bot", "search-assist", "summaries", "triage"];
const FREQUENT: &str = "the of and to a in is you that it he was for on are as with his they at be this have from or one had by word but not \
    what all were we when your can said there use an each which she do how their if will up other about out many then them these so some \
    her would make like him into time has look two more write go see number no way could people my than first water been call who oil its \
    now find long down day did get come made may part customer order refund policy please account answer question model invoice delivery";
const SYLLABLES: [&str; 24] = [
    "ka", "lo", "mi", "ter", "san", "vel", "dor", "nix", "pra", "qui", "rem", "sol", "tan", "ur", "vis", "wen", "xi",
    "yor", "zed", "bel", "cor", "dun", "fal", "gor",
];
const VOCABULARY: u64 = 60_000;
/// Words of a question and of its answer, on average: some 1 kB of text together.
const WORDS: (u64, u64) = (60, 100);

/// Calls from a seed.
pub(crate) struct Traffic {
    calls: u64,
    sources: Vec<Arc<Source>>,
    words: Vec<String>,
}

impl Traffic {
    /// So many calls, spread over the days.
    pub(crate) fn new(calls: u64, origin: &str) -> Self {
        let source = |environment: &&str, service: &&str| {
            Arc::new(Source {
                service: (*service).into(),
                environment: (*environment).into(),
                host: format!("{environment}-1"),
                origin: origin.into(),
                producer: "gateway".into(),
            })
        };
        let sources = ENVIRONMENTS
            .iter()
            .flat_map(|environment| SERVICES.iter().map(move |service| source(environment, service)));
        let made = (0..VOCABULARY).map(|nth| {
            let mut draw = chance_of(nth, 7);
            (0..2 + draw.below(3)).map(|_| draw.one_of(&SYLLABLES)).collect()
        });
        let words = FREQUENT.split_whitespace().map(str::to_owned).chain(made).collect();
        Self { calls, sources: sources.collect(), words }
    }

    /// The request and the response of a call. Two words are its own: `solitary<n>` once in a million calls, `seldom<n>` once in 10,000.
    pub(crate) fn call(&self, nth: u64) -> [Draft; 2] {
        let draw = &mut chance_of(nth, 1);
        let time = self.time(nth, draw);
        let duration_ms = 200.0 + draw.zipf(20_000) as f64;
        let ended = Timestamp::from_micros(time.as_micros() + (duration_ms * 1_000.0) as i64);
        let call = uuid_v7(time, &draw.bytes());
        // Production has most of it.
        let environment = usize::from(draw.below(10) > 6) + usize::from(draw.below(10) > 7);
        let source = &self.sources[environment * SERVICES.len() + draw.index(SERVICES.len())];
        let model = MODELS[usize::try_from(draw.zipf(MODELS.len() as u64)).unwrap_or(0)];
        let user = draw.zipf(USERS);
        let trace = Trace { trace_id: Some(format!("{:016x}{nth:016x}", draw.number())), ..Trace::default() };
        let conversation = format!("conversation-{user}-{}", draw.below(200));
        let (asked, answered) = (WORDS.0 / 2 + draw.below(WORDS.0), WORDS.1 / 2 + draw.below(WORDS.1));
        let actor = Actor {
            kind: "user".into(),
            id: Some(format!("user{user}@example.com")),
            groups: Vec::new(),
            auth: Some("api_key".into()),
            ip: Some(format!("10.0.{}.{}", user / 250, user % 250)),
            fingerprint: None,
        };
        let record = |kind, time, outcome| {
            let mut draft = Draft::new(uuid_v7(time, &draw.bytes()), time, kind, source.clone());
            draft.call_id = Some(call);
            draft.trace = trace.clone();
            draft.actor = Some(actor.clone());
            draft.outcome = Some(outcome);
            draft.attributes.set("gen_ai.operation.name", "chat");
            draft.attributes.set("gen_ai.request.model", model);
            draft.attributes.set_text("gen_ai.conversation.id", &conversation);
            draft
        };
        let mut request = record(Kind::InferenceRequest, time, Outcome::Allowed);
        let outcome = if nth % 50 == 7 { Outcome::Failed } else { Outcome::Completed };
        let mut response = record(Kind::InferenceResponse, ended, outcome);
        set_request(&mut request.attributes, draw);
        request.content.push(said(content_names::INPUT, "user", &self.text(draw, asked)));
        set_response(&mut response.attributes, model, duration_ms, asked, answered, nth);
        let mut answer = self.text(draw, answered);
        if nth % 10_000 == 5 {
            answer.push_str(&format!(" seldom{}", nth % 100));
        }
        if nth % 1_000_000 == 77 {
            answer.push_str(&format!(" solitary{}", nth / 1_000_000));
        }
        response.content.push(said(content_names::OUTPUT, "assistant", &answer));
        [request, response]
    }

    /// Calls come in the order of their time; by day three times as many as at night.
    fn time(&self, nth: u64, draw: &mut Chance) -> Timestamp {
        let span = DAYS * 86_400_000_000;
        let share = nth as f64 / self.calls.max(1) as f64 * DAYS as f64;
        let (day, within) = (share.floor(), share.fract());
        let bent = within - (std::f64::consts::TAU * within).sin() / (2.0 * std::f64::consts::TAU);
        let micros = ((day + bent) * 86_400_000_000.0) as i64;
        Timestamp::from_micros(END_MICROS - span + micros + i64::try_from(draw.below(1_000)).unwrap_or(0))
    }

    fn text(&self, draw: &mut Chance, words: u64) -> String {
        let mut text = String::with_capacity(words as usize * 7);
        for nth in 0..words {
            text.push_str(if nth == 0 {
                ""
            } else if draw.below(12) == 0 {
                ". "
            } else {
                " "
            });
            text.push_str(&self.words[usize::try_from(draw.zipf(self.words.len() as u64)).unwrap_or(0)]);
        }
        text
    }
}

fn set_request(attributes: &mut Attributes<'static>, draw: &mut Chance) {
    attributes.set("http.request.method", "POST");
    attributes.set("url.path", "/v1/chat/completions");
    attributes.set("user_agent.original", "OpenAI/Python 2.8.1");
    attributes.set("server.address", "127.0.0.1");
    attributes.set("server.port", 8081_i64);
    attributes.set("gen_ai.request.stream", draw.below(2) == 0);
    attributes.set("gen_ai.request.temperature", draw.below(11) as f64 / 10.0);
    attributes.set("gen_ai.request.max_tokens", 256_i64 << draw.below(3));
    attributes.set("testimony.decision", "allow");
    attributes.set("testimony.decision.reasons", Value::List(vec![Value::Text("no policy is in force".into())]));
}

fn set_response(
    attributes: &mut Attributes<'static>,
    model: &'static str,
    duration_ms: f64,
    asked: u64,
    answered: u64,
    nth: u64,
) {
    attributes.set("testimony.duration_ms", duration_ms);
    attributes.set("http.response.status_code", if nth % 50 == 7 { 502_i64 } else { 200 });
    attributes.set("gen_ai.response.model", model);
    attributes.set_text("gen_ai.response.id", &format!("chatcmpl-{nth:x}"));
    attributes.set("gen_ai.usage.input_tokens", asked as i64 * 4 / 3);
    attributes.set("gen_ai.usage.output_tokens", answered as i64 * 4 / 3);
    attributes.set("gen_ai.response.finish_reasons", Value::List(vec![Value::Text("stop".into())]));
}

fn said(name: &'static str, role: &str, text: &str) -> Field {
    let bytes =
        serde_json::json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string().into_bytes();
    Field { name: name.into(), media: "application/json".into(), bytes }
}

/// The chance of one of many. Neighbours begin far apart: a number that is mixed itself is where each begins.
fn chance_of(nth: u64, stream: u64) -> Chance {
    Chance::new(Chance::new(nth ^ (stream << 56)).number())
}
