//! What is asked of every call: guardrails before the model, a policy, guardrails after it, and the policy again.
//!
//! The rules that are in force when a call begins are those that it is judged by to its end, whatever is put in force meanwhile.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use access::Identity;
use guardrails::{
    Action, Guardrails, PatternRule, PatternSettings, PersonalDataSettings, SecretSettings, Side, Verdict,
};
use judges::Judges;
use policy::{Administration, Decision, Delegate, Delegated, Input, Obligation, Point, Policy, Time};
use record::Timestamp;

use crate::question;

/// Compiled patterns of obligations that are kept: a policy names a few, over and over.
const PATTERNS_MAX: usize = 256;

/// Rules as they are set up.
#[derive(Default)]
pub struct Rules {
    /// Whether a call may be made, and its answer released; none: everything may.
    policy: Option<Policy>,
    /// Who decides at some points instead.
    opa: Option<Delegate>,
    /// Whether a policy that fails lets a call pass. Otherwise that is a denial.
    is_open: bool,
    pub(crate) input: Checks,
    pub(crate) output: Checks,
    /// Masks what a policy wants masked: by the name of a check, or by a pattern.
    masks: Mutex<HashMap<Obligation, Arc<Guardrails>>>,
}

/// What looks at the texts of one side of the model.
#[derive(Clone, Default)]
pub struct Checks {
    /// Those that answer at once.
    pub guardrails: Guardrails,
    /// Those that are asked elsewhere.
    pub judges: Judges,
}

/// The rules in force, which can be replaced while calls are under way.
#[derive(Clone, Default)]
pub struct RulesInForce(Arc<RwLock<Arc<Rules>>>);

/// What a policy said, with what a record tells of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ruling {
    pub(crate) decision: Decision,
    /// Of the policy: its digest, which nobody knows of an OPA's, and its revision.
    pub(crate) digest: String,
    pub(crate) revision: String,
    /// Under what an OPA logs it.
    pub(crate) decision_id: String,
    pub(crate) duration_us: f64,
    /// Whether it would have been a denial, had its failure not been let pass.
    pub(crate) is_let_pass: bool,
}

impl Rules {
    /// Puts rules together. An OPA is asked at its points, the policy at the others.
    #[must_use]
    pub fn new(policy: Option<Policy>, opa: Option<Delegate>, is_open: bool, input: Checks, output: Checks) -> Self {
        Self { policy, opa, is_open, input, output, masks: Mutex::default() }
    }

    /// Whether somebody is asked who wants to know what a call is about.
    pub(crate) const fn ask_questions(&self) -> bool {
        self.policy.is_some() || self.opa.is_some() || !self.input.judges.is_empty() || !self.output.judges.is_empty()
    }

    /// Whether somebody is asked about answers.
    pub(crate) fn ask_about_answers(&self) -> bool {
        let point = Point::Response;
        !self.output.judges.is_empty()
            || self.policy.as_ref().is_some_and(|policy| policy.answers(point))
            || self.opa.as_ref().is_some_and(|opa| opa.answers(point))
    }

    /// Asks the policy whether somebody may change something; `Ok` where it has no rules for that, since then roles alone decide.
    ///
    /// # Errors
    /// Its reasons.
    pub async fn administer(
        &self,
        identity: &Identity,
        ip: IpAddr,
        administration: Administration,
        now: Timestamp,
    ) -> Result<(), Vec<String>> {
        let time = Time { rfc3339: now.to_string(), unix_ns: now.as_micros().saturating_mul(1_000) };
        let actor = question::actor(identity, ip);
        let input = Input { actor, time, admin: Some(administration), ..Input::default() };
        match self.rule(Point::Admin, &input).await {
            Some(ruling) if !ruling.decision.allow => Err(ruling.decision.reasons),
            _ => Ok(()),
        }
    }

    /// A text that comes from elsewhere, with what the guardrails of prompts mask masked.
    ///
    /// # Errors
    /// Why it may not be kept.
    pub fn keep<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, String> {
        if self.input.guardrails.is_empty() {
            return Ok(Cow::Borrowed(text));
        }
        let examination = self.input.guardrails.examine(text);
        let blocked = examination.verdicts.iter().find(|verdict| verdict.action == guardrails::Outcome::Block);
        match blocked {
            Some(verdict) => Err(format!("withheld by a guardrail: {}", verdict.explanation)),
            None => Ok(examination.text),
        }
    }

    /// Asks the policy; nothing where there is none, or none for answers.
    pub(crate) async fn rule(&self, point: Point, input: &Input) -> Option<Ruling> {
        let began = Instant::now();
        let mut ruling = match (self.opa.as_ref().filter(|opa| opa.answers(point)), &self.policy) {
            (Some(opa), _) => {
                let Delegated { decision, revision, decision_id } = opa.decide(point, input).await;
                Ruling { decision, revision, decision_id, ..Ruling::default() }
            }
            // Every call is a question. That an answer is one too, the policy says by having rules for it.
            (None, Some(policy)) if point == Point::Request || policy.answers(point) => Ruling {
                decision: policy.decide(point, input),
                digest: policy.digest().to_owned(),
                revision: policy.revision().to_owned(),
                ..Ruling::default()
            },
            _ => return None,
        };
        ruling.duration_us = f64::from(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX)) / 1_000.0;
        ruling.is_let_pass = ruling.decision.error.is_some() && self.is_open;
        ruling.decision.allow |= ruling.is_let_pass;
        Some(ruling)
    }

    /// What masks as an obligation says.
    ///
    /// # Errors
    /// Why it cannot be done, in a sentence.
    pub(crate) fn mask(&self, obligation: &Obligation) -> Result<Option<Arc<Guardrails>>, String> {
        let Obligation::Redact { check, pattern } = obligation else { return Ok(None) };
        let known = self.masks.lock().unwrap_or_else(PoisonError::into_inner).get(obligation).cloned();
        if let Some(known) = known {
            return Ok(Some(known));
        }
        let side = match (check.as_deref(), pattern) {
            (Some("secrets"), _) => Side { secrets: Some(masking_secrets()), ..Side::default() },
            (Some("personal_data"), _) => Side { personal_data: Some(masking_personal_data()), ..Side::default() },
            (Some(other), _) => return Err(format!("{other:?} is no guardrail that can mask")),
            (None, pattern) => Side { patterns: Some(masking(pattern.clone().unwrap_or_default())), ..Side::default() },
        };
        let mask = Guardrails::new(&side).map_err(|error| format!("an obligation cannot be carried out: {error}"))?;
        let mask = Arc::new(mask);
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if masks.len() < PATTERNS_MAX {
            masks.insert(obligation.clone(), mask.clone());
        }
        Ok(Some(mask))
    }
}

fn masking_secrets() -> SecretSettings {
    SecretSettings { action: Action::Redact, rules: std::collections::BTreeMap::default(), allow: Vec::new() }
}

fn masking_personal_data() -> PersonalDataSettings {
    PersonalDataSettings { action: Action::Redact, rules: std::collections::BTreeMap::default() }
}

fn masking(pattern: String) -> PatternSettings {
    let rule = PatternRule { name: "policy".into(), action: None, regex: Some(pattern), words: Vec::new() };
    PatternSettings { action: Action::Redact, rules: vec![rule] }
}

impl RulesInForce {
    /// Puts rules in force for calls that begin from now on.
    pub fn replace(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// The rules in force now.
    #[must_use]
    pub fn now(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Findings as a policy sees them.
pub(crate) fn findings(verdicts: &[Verdict]) -> Vec<policy::Finding> {
    let finding = |verdict: &Verdict, rule: &Cow<'_, str>| policy::Finding {
        check: verdict.check.to_owned(),
        rule: rule.clone().into_owned(),
        action: outcome(verdict).to_owned(),
        score: Some(f64::from(verdict.score)),
    };
    verdicts.iter().flat_map(|verdict| verdict.rules.iter().map(move |rule| finding(verdict, rule))).collect()
}

/// A verdict's outcome as it stands in a record.
pub(crate) const fn outcome(verdict: &Verdict) -> &'static str {
    match verdict.action {
        guardrails::Outcome::Pass => "pass",
        guardrails::Outcome::Flag => "flag",
        guardrails::Outcome::Redact => "redact",
        guardrails::Outcome::Block => "block",
    }
}
