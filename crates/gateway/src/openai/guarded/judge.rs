//! What the checks say about all texts of a call together.

use std::borrow::Cow;

use guardrails::{Action, Examination, Finding, Guardrails, Outcome, Verdict};

/// Checks about a text as a whole. They say nothing sensible about a name or a comment.
const WHOLE_CHECKS: [&str; 4] = ["length", "language", "prompt_injection", "json_schema"];
/// The check in findings about what cannot be examined.
const NAME: &str = "form";

/// The checks, and what they have said so far.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) guardrails: Guardrails,
    verdicts: Vec<Verdict>,
    /// The first finding that forbids to go on.
    pub(super) blocked: Option<Finding>,
}

impl Judge {
    pub(super) fn new(guardrails: &Guardrails) -> Self {
        Self { guardrails: guardrails.clone(), verdicts: Vec::new(), blocked: None }
    }

    /// Judges something that was said; gives the text that has to stand in its place, if any.
    pub(super) fn said(&mut self, text: &str) -> Option<String> {
        let guardrails = self.guardrails.clone();
        self.take(guardrails.examine(text), |_| true)
    }

    /// Judges a text that nobody said, such as a name or a comment: only places in it count.
    pub(super) fn other(&mut self, text: &str) -> Option<String> {
        let guardrails = self.guardrails.clone();
        let examination = guardrails.examine(text);
        let is_of_places = |check: &str| !WHOLE_CHECKS.contains(&check);
        // A verdict that passes would tell of a text where there was none.
        if examination.verdicts.iter().all(|verdict| verdict.action == Outcome::Pass || !is_of_places(verdict.check)) {
            return None;
        }
        self.take(examination, is_of_places)
    }

    fn take(&mut self, examination: Examination<'_>, counts: impl Fn(&str) -> bool) -> Option<String> {
        let Examination { mut verdicts, findings, text } = examination;
        verdicts.retain(|verdict| counts(verdict.check));
        if let Some(verdict) = verdicts.iter().find(|verdict| verdict.action == Outcome::Block) {
            let first = findings.into_iter().find(|finding| finding.action == Action::Block && counts(finding.check));
            // The list of findings has an end; the verdict counts those beyond it too.
            self.block(first.unwrap_or_else(|| Finding {
                check: verdict.check,
                rule: verdict.rules.first().cloned().unwrap_or_default(),
                action: Action::Block,
                range: 0..0,
                score: verdict.score,
                explanation: Cow::Owned(verdict.explanation.clone()),
            }));
        }
        self.add(verdicts);
        match text {
            Cow::Owned(text) => Some(text),
            Cow::Borrowed(_) => None,
        }
    }

    /// Forbids to go on; the first reason is kept.
    pub(super) fn block(&mut self, finding: Finding) {
        self.blocked.get_or_insert(finding);
    }

    /// Forbids to go on because of something that cannot be examined.
    pub(super) fn fault(&mut self, rule: &'static str, explanation: impl Into<Cow<'static, str>>) {
        let explanation = explanation.into();
        self.add(vec![Verdict {
            check: NAME,
            action: Outcome::Block,
            score: 1.0,
            findings: 1,
            rules: vec![Cow::Borrowed(rule)],
            explanation: explanation.to_string(),
        }]);
        let rule = Cow::Borrowed(rule);
        self.block(Finding { check: NAME, rule, action: Action::Block, range: 0..0, score: 1.0, explanation });
    }

    /// Merges verdicts: the strongest outcome with its explanation, the highest score, all findings and rules.
    pub(super) fn add(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            let Some(known) = self.verdicts.iter_mut().find(|known| known.check == verdict.check) else {
                self.verdicts.push(verdict);
                continue;
            };
            known.findings = known.findings.saturating_add(verdict.findings);
            known.score = known.score.max(verdict.score);
            known.rules.extend(verdict.rules);
            known.rules.sort();
            known.rules.dedup();
            if verdict.action > known.action {
                known.action = verdict.action;
                known.explanation = verdict.explanation;
            }
        }
    }

    /// The end: one verdict a check, and what forbids to go on.
    pub(super) fn finish(self) -> (Vec<Verdict>, Option<Finding>) {
        (self.verdicts, self.blocked)
    }
}
