//! The two forms in which metrics are written.

use std::fmt::{Display, Write as _};

use ledger::Durations;

use crate::families::{Family, Label, Type};
use crate::format::Format;
use crate::sink::{Number, Sink};
use crate::tables::{Count, Exemplar, Labels, Spread, Table};
use crate::words::Words;

/// A text in the making.
pub(crate) struct Text {
    format: Format,
    out: String,
}

impl Text {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(32 << 10) }
    }

    /// The text, ended as its form wants.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    /// What the samples that follow are.
    fn head(&mut self, family: &Family) {
        let Family { name, kind, unit, help, .. } = family;
        let (name, kind) = match (self.format, kind) {
            // There the names of samples are described, and there is no such type as `info`.
            (Format::Text, Type::Counter) => (format!("{name}_total"), "counter"),
            (Format::Text, Type::Info) => (format!("{name}_info"), "gauge"),
            (_, kind) => ((*name).to_owned(), kind.word()),
        };
        let _ = writeln!(self.out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display, exemplar: Option<&Exemplar>) {
        let braces = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _ = write!(self.out, "{name}{}{labels}{} {value}", braces.0, braces.1);
        if let Some(Exemplar { call, value, micros }) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
            let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            let _ = write!(self.out, " # {{call_id=\"{call}\"}} {value} {seconds}.{rest:06}");
        }
        self.out.push('\n');
    }

    fn classes<'e>(
        &mut self,
        family: &Family,
        labels: &str,
        classes: impl Iterator<Item = (u64, Option<&'e Exemplar>)>,
        sum: f64,
    ) {
        let (name, comma) = (family.name, if labels.is_empty() { "" } else { "," });
        let (bucket, mut total) = (format!("{name}_bucket"), 0);
        let bounds = family.classes.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
        for ((count, exemplar), bound) in classes.zip(bounds) {
            total += count;
            self.sample(&bucket, &format!("{labels}{comma}le=\"{bound}\""), total, exemplar);
        }
        self.sample(&format!("{name}_sum"), labels, sum, None);
        self.sample(&format!("{name}_count"), labels, total, None);
    }
}

impl Sink for Text {
    fn single(&mut self, family: &Family, value: Option<Number>) {
        self.head(family);
        let end = if family.kind == Type::Counter { "_total" } else { "" };
        if let Some(value) = value {
            self.sample(&format!("{}{end}", family.name), "", value, None);
        }
    }

    fn info(&mut self, family: &Family, label: Label, text: &str) {
        self.head(family);
        self.sample(&format!("{}_info", family.name), &labelled(label.name(), text), 1, None);
    }

    fn counts(&mut self, words: &Words, table: &Table<Count>) {
        self.head(table.family);
        let name = format!("{}_total", table.family.name);
        for (labels, count) in &table.series {
            self.sample(&name, &labels_of(words, table.family, labels), count.total, count.exemplar.as_ref());
        }
    }

    fn spreads(&mut self, words: &Words, table: &Table<Spread>) {
        self.head(table.family);
        for (labels, Spread { classes, sum }) in &table.series {
            let classes = classes.iter().map(|(count, exemplar)| (*count, exemplar.as_ref()));
            self.classes(table.family, &labels_of(words, table.family, labels), classes, *sum);
        }
    }

    fn durations(&mut self, family: &Family, durations: &Durations) {
        self.head(family);
        self.classes(family, "", durations.counts.iter().map(|count| (*count, None)), durations.sum_seconds);
    }
}

fn labels_of(words: &Words, family: &Family, labels: &Labels) -> String {
    let said = family.labels.iter().zip(labels).filter_map(|(label, word)| Some((label, words.text(*label, *word)?)));
    let said: Vec<String> = said.map(|(label, text)| labelled(label.name(), text)).collect();
    said.join(",")
}

fn labelled(name: &str, text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{text}\"")
}
