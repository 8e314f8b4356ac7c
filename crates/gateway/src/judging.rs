//! Whether a call may be made, and as what; whether its answer may be released, and as what.
//!
//! Guardrails look first, and what they mask is masked for everybody after them: for judges, the policy, the model server and the record.

use std::borrow::Cow;

use bytes::Bytes;
use control::Routes;
use guardrails::{Guardrails, Outcome, Verdict};
use http::{HeaderMap, StatusCode};
use judges::{Asked, Direction, Judges, Text};
use policy::{Input, Obligation, Output, Point};
use record::{Timestamp, Uuid};

use crate::openai::completion::Completion;
use crate::openai::guarded::{Guarded, guard_answer, guard_request};
use crate::openai::refusal::Refusal;
use crate::openai::request::ChatRequest;
use crate::rules::{Rules, Ruling, findings};

/// What was said of one side of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judgement {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) ruling: Option<Ruling>,
    /// Whether a guardrail withheld the text: it then goes nowhere, not even into the record.
    pub(crate) is_withheld: bool,
}

/// A text that was judged: what there is of it now, and what was said.
pub(crate) struct Judged {
    pub(crate) body: Bytes,
    pub(crate) judgement: Judgement,
    /// Why it goes no further.
    pub(crate) refusal: Option<Refusal>,
    /// What the policy was asked; nothing without one.
    pub(crate) question: Option<Input>,
    /// The route, or the version of one, that the policy sends it to.
    pub(crate) sent_to: Option<String>,
}

/// What is told of a call to those who judge it elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Occasion {
    /// The call's identifier.
    pub(crate) call: Uuid,
    /// The time.
    pub(crate) now: Timestamp,
}

/// A request that was judged, and what is left of it: nothing where that is withheld, or no request any more.
pub(crate) struct JudgedRequest {
    pub(crate) judged: Judged,
    pub(crate) request: Option<ChatRequest>,
}

/// Judges a request. `ask` makes the question to whoever is asked, given what is left of the request and what the guardrails found.
pub(crate) async fn judge_request(
    rules: &Rules,
    request: ChatRequest,
    (headers, routes): (&HeaderMap, &Routes),
    occasion: Occasion,
    ask: impl FnOnce(&ChatRequest, Vec<policy::Finding>) -> Input,
) -> JudgedRequest {
    let mut judged = Judged::of(request.body().clone());
    if !rules.input.guardrails.is_empty() && !judged.guard(&rules.input.guardrails, guard_request) {
        return JudgedRequest { judged, request: None };
    }
    let Some(request) = judged.rest(request) else { return JudgedRequest { judged, request: None } };
    if !rules.ask_questions() {
        return JudgedRequest { judged, request: Some(request) };
    }
    let mut input = ask(&request, findings(&judged.judgement.verdicts));
    let verdicts = &mut judged.judgement.verdicts;
    judged.refusal = consult(&rules.input.judges, Direction::Input, occasion, &mut input, verdicts).await;
    if judged.refusal.is_none() {
        judged.rule(rules, Point::Request, &input).await;
        judged.carry_out(rules, headers, Some(routes), guard_request);
    }
    judged.question = Some(input);
    let request = judged.rest(request);
    JudgedRequest { judged, request }
}

/// Judges a whole answer to a question that was let pass.
pub(crate) async fn judge_answer(rules: &Rules, body: Bytes, question: Option<&Input>, occasion: Occasion) -> Judged {
    let mut judged = Judged::of(body);
    if !rules.output.guardrails.is_empty() && !judged.guard(&rules.output.guardrails, guard_answer) {
        return judged;
    }
    if let Some(question) = question {
        let output = Completion::read(&judged.body).map_or_else(Output::default, |completion| completion.output());
        let (ruling, refusal) = judge_end(rules, question, output, &mut judged.judgement.verdicts, occasion).await;
        (judged.judgement.ruling, judged.refusal) = (ruling, refusal);
        judged.carry_out(rules, &HeaderMap::new(), None, guard_answer);
    }
    judged
}

/// What judges and a policy say of an answer that has come to its end, and why that must not be released.
pub(crate) async fn judge_end(
    rules: &Rules,
    question: &Input,
    output: Output,
    verdicts: &mut Vec<Verdict>,
    occasion: Occasion,
) -> (Option<Ruling>, Option<Refusal>) {
    let mut input = Input { output: Some(output), findings: findings(verdicts), ..question.clone() };
    let refusal = consult(&rules.output.judges, Direction::Output, occasion, &mut input, verdicts).await;
    if refusal.is_some() {
        return (None, refusal);
    }
    let ruling = rules.rule(Point::Response, &input).await;
    let refusal = ruling.as_ref().and_then(|ruling| denial(Point::Response, ruling));
    (ruling, refusal)
}

/// Asks a judge and a webhook, whose verdicts are added to those that there are, for the policy too; tells why the text goes no further.
async fn consult(
    judges: &Judges,
    direction: Direction,
    occasion: Occasion,
    input: &mut Input,
    verdicts: &mut Vec<Verdict>,
) -> Option<Refusal> {
    if judges.is_empty() {
        return None;
    }
    let said = input.messages.iter().map(|message| Text { role: &message.role, text: &message.text });
    let answered = input.output.iter().map(|output| Text { role: "assistant", text: &output.text });
    let texts: Vec<Text<'_>> = said.chain(answered).collect();
    let call = occasion.call.to_string();
    let asked = Asked {
        direction,
        call: &call,
        unix_seconds: u64::try_from(occasion.now.as_micros() / 1_000_000).unwrap_or_default(),
        model: input.model.as_deref().unwrap_or_default(),
        actor: Some(&input.actor.id).filter(|id| !id.is_empty()).map(String::as_str),
        environment: input.environment.as_deref().unwrap_or_default(),
        texts: &texts,
    };
    let given = judges.judge(&asked).await;
    let is_withheld = given.iter().any(|verdict| verdict.action == Outcome::Block);
    input.findings.extend(findings(&given));
    let refusal = is_withheld.then(|| withheld(&given));
    verdicts.extend(given);
    refusal
}

/// What of a body that was refused before anybody judged it may stand in the record of that.
pub(crate) fn kept<'b>(rules: &Rules, body: &'b [u8]) -> Cow<'b, [u8]> {
    if rules.input.guardrails.is_empty() {
        return Cow::Borrowed(body);
    }
    let text = String::from_utf8_lossy(body);
    Cow::Owned(rules.keep(&text).map_or_else(|_| Vec::new(), |text| text.into_owned().into_bytes()))
}

/// A guardrail withholds a text.
pub(crate) fn withheld(verdicts: &[Verdict]) -> Refusal {
    let why: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| verdict.action == Outcome::Block)
        .map(|verdict| verdict.explanation.as_str())
        .collect();
    let message = format!("withheld by a guardrail: {}", why.join("; "));
    Refusal::invalid(StatusCode::FORBIDDEN, "content_filter", message)
}

fn denial(point: Point, ruling: &Ruling) -> Option<Refusal> {
    let what = if point == Point::Request { "the call" } else { "the answer" };
    let message = || format!("the policy does not allow {what}: {}", ruling.decision.reasons.join("; "));
    (!ruling.decision.allow).then(|| Refusal::invalid(StatusCode::FORBIDDEN, "policy_denied", message()))
}

/// Looks at all texts of a body.
type Look = for<'b> fn(&Guardrails, &'b [u8]) -> Guarded<'b>;

/// The body as it was changed; nothing where it was not.
fn masked(body: Cow<'_, [u8]>) -> Option<Bytes> {
    match body {
        Cow::Owned(body) => Some(body.into()),
        Cow::Borrowed(_) => None,
    }
}

impl Judged {
    fn of(body: Bytes) -> Self {
        Self { body, judgement: Judgement::default(), refusal: None, question: None, sent_to: None }
    }

    /// What is left of the request that was judged. What was masked must still be one; if it is none, nobody may see what was made of it.
    fn rest(&mut self, request: ChatRequest) -> Option<ChatRequest> {
        match request.with_body(&self.body) {
            Ok(request) => Some(request),
            Err(refusal) => {
                self.refusal = Some(refusal);
                None
            }
        }
    }

    /// Looks at the text; false when it goes no further.
    fn guard(&mut self, guardrails: &Guardrails, look: Look) -> bool {
        let Guarded { body, verdicts, blocked } = look(guardrails, &self.body);
        let masked = masked(body);
        self.body = masked.unwrap_or_else(|| self.body.clone());
        self.judgement.verdicts = verdicts;
        if blocked.is_some() {
            self.refusal = Some(withheld(&self.judgement.verdicts));
            self.judgement.is_withheld = true;
        }
        blocked.is_none()
    }

    async fn rule(&mut self, rules: &Rules, point: Point, input: &Input) {
        self.judgement.ruling = rules.rule(point, input).await;
        self.refusal = self.judgement.ruling.as_ref().and_then(|ruling| denial(point, ruling));
    }

    /// Does what the policy wants done. What cannot be done is a denial.
    /// There are routes where a request was judged.
    fn carry_out(&mut self, rules: &Rules, headers: &HeaderMap, routes: Option<&Routes>, look: Look) {
        if self.refusal.is_some() {
            return;
        }
        let obligations = self.judgement.ruling.as_ref().map(|ruling| ruling.decision.obligations.clone());
        for obligation in obligations.unwrap_or_default() {
            if let Err(why) = self.oblige(rules, headers, routes, &obligation, look) {
                let message = format!("the policy does not allow the call: {why}");
                self.refusal = Some(Refusal::invalid(StatusCode::FORBIDDEN, "policy_denied", message));
                if let Some(ruling) = &mut self.judgement.ruling {
                    ruling.decision.allow = false;
                    ruling.decision.reasons.push(why);
                }
                return;
            }
        }
    }

    fn oblige(
        &mut self,
        rules: &Rules,
        headers: &HeaderMap,
        routes: Option<&Routes>,
        obligation: &Obligation,
        look: Look,
    ) -> Result<(), String> {
        match obligation {
            Obligation::Flag { .. } => {}
            Obligation::Redact { .. } => {
                if let Some(mask) = rules.mask(obligation)? {
                    let Guarded { body, verdicts, .. } = look(&mask, &self.body);
                    let masked = masked(body);
                    self.body = masked.unwrap_or_else(|| self.body.clone());
                    let found = verdicts.into_iter().filter(|verdict| verdict.action != Outcome::Pass);
                    self.judgement.verdicts.extend(found);
                }
            }
            Obligation::Cap { max_tokens } => {
                let capped = ChatRequest::read(self.body.clone()).ok().and_then(|request| request.capped(*max_tokens));
                self.body = capped.map_or_else(|| self.body.clone(), Bytes::from);
            }
            Obligation::RequireHeader { name } if headers.contains_key(name.as_str()) => {}
            Obligation::RequireHeader { name } => return Err(format!("the header {name:?} is needed")),
            Obligation::Route { to } => match routes {
                None => return Err("an answer cannot be sent to a route".to_owned()),
                Some(routes) if routes.lead(to, "").is_none() => {
                    return Err(format!("there is no route {to:?} to send it to"));
                }
                // A policy that names two is one that does not know where to.
                Some(_) if self.sent_to.as_ref().is_some_and(|earlier| earlier != to) => {
                    return Err("it is to be sent to two routes at once".to_owned());
                }
                Some(_) => self.sent_to = Some(to.clone()),
            },
        }
        Ok(())
    }
}
