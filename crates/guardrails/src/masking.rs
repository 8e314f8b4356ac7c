//! One text on its way through all checks: readings, what they found in order, what is covered by markers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::check::{Candidate, Check, Judgement, Reading, Window};
use crate::{Action, FINDINGS_MAX, Finding, Outcome, Verdict};

/// The state of one text.
#[derive(Debug)]
pub(crate) struct Pass {
    readers: Vec<Reader>,
    /// Up to where the text has gone out or is covered by a marker.
    covered_to: usize,
    /// The first [`FINDINGS_MAX`] findings.
    pub(crate) findings: Vec<Finding>,
    /// How many bytes the checks have looked at.
    pub(crate) work: u64,
}

/// One check and what it said so far.
#[derive(Debug)]
struct Reader {
    check: Arc<dyn Check>,
    reading: Box<dyn Reading>,
    /// Where its latest finding ends; what begins before that is counted only for what lies behind it.
    found_to: usize,
    count: usize,
    rules: BTreeSet<std::borrow::Cow<'static, str>>,
    severest: Option<Finding>,
    score: f32,
}

/// A finding, and whether it is a place that a marker can cover.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    pub(crate) is_place: bool,
}

impl Found {
    pub(crate) fn is_covered(&self) -> bool {
        self.is_place && self.finding.action >= Action::Redact
    }
}

/// Where, in the text that went out of one step, the first block lies.
#[derive(Debug)]
pub(crate) struct BlockedAt {
    pub(crate) position: usize,
    pub(crate) finding: Finding,
}

impl Pass {
    pub(crate) fn new(checks: &[Arc<dyn Check>]) -> Self {
        let readers = checks.iter().map(|check| Reader {
            check: Arc::clone(check),
            reading: Arc::clone(check).begin(),
            found_to: 0,
            count: 0,
            rules: BTreeSet::new(),
            severest: None,
            score: 0.0,
        });
        Self { readers: readers.collect(), covered_to: 0, findings: Vec::new(), work: 0 }
    }

    /// Lets every check read a window; what is found comes in the order of the text.
    pub(crate) fn read(&mut self, window: &Window<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        for reader in &mut self.readers {
            let mut candidates = Vec::new();
            reader.reading.read(window, &mut candidates);
            reader.accept(candidates, &mut found);
        }
        self.work = self.work.saturating_add(window.work.get());
        // Stable: of two that begin together and are equally long, the check that comes first names the marker.
        found.sort_by_key(|found| (found.finding.range.start, usize::MAX - found.finding.range.end));
        self.keep(&found);
        found
    }

    /// Lets every check say what only the whole text tells.
    pub(crate) fn finish(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for reader in &mut self.readers {
            let mut candidates = Vec::new();
            let Judgement { score } = reader.reading.finish(&mut candidates);
            reader.score = reader.score.max(score);
            reader.accept(candidates, &mut found);
        }
        self.keep(&found);
        found
    }

    fn keep(&mut self, found: &[Found]) {
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        self.findings.extend(found.iter().take(room).map(|found| found.finding.clone()));
    }

    /// Appends to `out` what is decided in a window, with markers over what was found, and says where the first block is.
    pub(crate) fn release(&mut self, window: &Window<'_>, found: &[Found], out: &mut String) -> Option<BlockedAt> {
        let begin = out.len();
        let mut blocked: Option<BlockedAt> = None;
        for Found { finding, is_place } in found {
            let is_block = finding.action == Action::Block;
            if !is_place {
                if is_block {
                    // The text as a whole may not go on, so nothing of this step does.
                    blocked = Some(BlockedAt { position: begin, finding: finding.clone() });
                }
                continue;
            }
            if finding.action == Action::Flag {
                continue;
            }
            self.copy(window, finding.range.start, out);
            if is_block && blocked.is_none() {
                blocked = Some(BlockedAt { position: out.len(), finding: finding.clone() });
            }
            if finding.range.end > self.covered_to {
                out.push_str(&finding.marker());
                self.covered_to = finding.range.end;
            }
        }
        self.copy(window, window.base + window.decided, out);
        blocked
    }

    /// Copies what is not covered yet up to a place in the whole text.
    fn copy(&mut self, window: &Window<'_>, to: usize, out: &mut String) {
        if to > self.covered_to {
            let from = self.covered_to.saturating_sub(window.base);
            out.push_str(window.text.get(from..to.saturating_sub(window.base)).unwrap_or_default());
            self.covered_to = to;
        }
    }

    /// The verdicts, one a check.
    pub(crate) fn verdicts(self) -> Vec<Verdict> {
        self.readers.into_iter().map(Reader::verdict).collect()
    }
}

impl Reader {
    /// Takes candidates in the order of the text. What an earlier one covers is not found twice, and of what reaches beyond it
    /// only the rest counts: that depends on what came before alone, hence not on how the text was cut.
    fn accept(&mut self, mut candidates: Vec<Candidate>, found: &mut Vec<Found>) {
        // Of two rules that find the same bytes, the surer one names them.
        candidates.sort_by(|a, b| {
            let by_place = (a.range.start, b.range.end).cmp(&(b.range.start, a.range.end));
            by_place.then(b.score.total_cmp(&a.score)).then_with(|| a.rule.cmp(&b.rule))
        });
        let is_place = self.check.finds_places();
        for Candidate { rule, action, mut range, score, explanation } in candidates {
            if is_place {
                if range.end <= self.found_to {
                    continue;
                }
                range.start = range.start.max(self.found_to);
                self.found_to = range.end;
            }
            let finding = Finding { check: self.check.name(), rule, action, range, score, explanation };
            self.count += 1;
            self.score = self.score.max(score);
            if !self.rules.contains(&finding.rule) {
                self.rules.insert(finding.rule.clone());
            }
            if self.severest.as_ref().is_none_or(|severest| finding.action > severest.action) {
                self.severest = Some(finding.clone());
            }
            found.push(Found { finding, is_place });
        }
    }

    fn verdict(self) -> Verdict {
        let explanation = match &self.severest {
            None => String::new(),
            Some(finding) if self.count == 1 => finding.explanation.to_string(),
            Some(finding) => {
                format!("{} findings by {} rules, the severest: {}", self.count, self.rules.len(), finding.explanation)
            }
        };
        Verdict {
            check: self.check.name(),
            action: self.severest.map_or(Outcome::Pass, |finding| finding.action.into()),
            score: self.score,
            findings: self.count,
            rules: self.rules.into_iter().collect(),
            explanation,
        }
    }
}
