//! The metrics as OTLP has them: an `ExportMetricsServiceRequest` in JSON, with OpenTelemetry's names and units.

use ledger::Durations;
use serde_json::{Value, json};

use crate::families::{DURATION, FIRST_CHUNK, Family, Label, TOKEN_USAGE, Type};
use crate::sink::{Number, Sink};
use crate::tables::{Count, Exemplar, Labels, Spread, Table};
use crate::words::Words;

/// Values are since the start (`AGGREGATION_TEMPORALITY_CUMULATIVE`).
const CUMULATIVE: u8 = 2;

/// A request in the making.
pub(crate) struct Otlp {
    began_micros: i64,
    now_micros: i64,
    metrics: Vec<Value>,
}

impl Otlp {
    pub(crate) const fn new(began_micros: i64, now_micros: i64) -> Self {
        Self { began_micros, now_micros, metrics: Vec::new() }
    }

    /// The request; `origin` is the log's name.
    pub(crate) fn finish(self, version: &str, origin: &str) -> String {
        let resource = [("service.name", "testimony"), ("service.version", version), ("service.instance.id", origin)];
        let scope = json!({"name": "testimony", "version": version});
        json!({"resourceMetrics": [{
            "resource": {"attributes": attributes(resource)},
            "scopeMetrics": [{"scope": scope, "metrics": self.metrics}],
        }]})
        .to_string()
    }

    fn point<'l>(&self, labels: impl IntoIterator<Item = (&'l str, &'l str)>, more: Value) -> Value {
        let mut point = json!({
            "attributes": attributes(labels),
            "startTimeUnixNano": nanos(self.began_micros),
            "timeUnixNano": nanos(self.now_micros),
        });
        if let (Value::Object(point), Value::Object(more)) = (&mut point, more) {
            point.extend(more);
        }
        point
    }

    fn push(&mut self, family: &Family, points: Vec<Value>) {
        if points.is_empty() {
            return;
        }
        let (kind, data) = match family.kind {
            Type::Counter => {
                ("sum", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true}))
            }
            Type::Gauge | Type::Info => ("gauge", json!({"dataPoints": points})),
            Type::Histogram => ("histogram", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE})),
        };
        let (name, unit) = named(family);
        self.metrics.push(json!({"name": name, "description": family.help, "unit": unit, kind: data}));
    }

    fn classes<'l>(
        &self,
        family: &Family,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        classes: impl Iterator<Item = (u64, Option<Exemplar>)>,
        sum: f64,
    ) -> Value {
        let (counts, exemplars): (Vec<u64>, Vec<Option<Exemplar>>) = classes.unzip();
        let more = json!({
            "count": counts.iter().sum::<u64>().to_string(),
            "sum": sum,
            "bucketCounts": counts.iter().map(u64::to_string).collect::<Vec<_>>(),
            "explicitBounds": family.classes,
            "exemplars": exemplars.iter().flatten().map(exemplar).collect::<Vec<_>>(),
        });
        self.point(labels, more)
    }
}

impl Sink for Otlp {
    fn single(&mut self, family: &Family, value: Option<Number>) {
        let points = value.map(|value| self.point([], value.to_otlp()));
        self.push(family, points.into_iter().collect());
    }

    fn info(&mut self, family: &Family, label: Label, text: &str) {
        let point = self.point([(dotted(label), text)], Number::Whole(1).to_otlp());
        self.push(family, vec![point]);
    }

    fn counts(&mut self, words: &Words, table: &Table<Count>) {
        let points = table.series.iter().map(|(labels, count)| {
            let exemplars: Vec<Value> = count.exemplar.iter().map(exemplar).collect();
            self.point(
                said(words, table.family, labels),
                json!({"asInt": count.total.to_string(), "exemplars": exemplars}),
            )
        });
        let points = points.collect();
        self.push(table.family, points);
    }

    fn spreads(&mut self, words: &Words, table: &Table<Spread>) {
        let points = table.series.iter().map(|(labels, Spread { classes, sum })| {
            self.classes(table.family, said(words, table.family, labels), classes.iter().copied(), *sum)
        });
        let points = points.collect();
        self.push(table.family, points);
    }

    fn durations(&mut self, family: &Family, durations: &Durations) {
        let classes = durations.counts.iter().map(|count| (*count, None));
        let point = self.classes(family, [], classes, durations.sum_seconds);
        self.push(family, vec![point]);
    }
}

/// Name and unit in OpenTelemetry, from which Prometheus' own are made again.
fn named(family: &Family) -> (String, &'static str) {
    let conventional = [
        (&DURATION, "gen_ai.client.operation.duration", "s"),
        (&FIRST_CHUNK, "gen_ai.client.operation.time_to_first_chunk", "s"),
        (&TOKEN_USAGE, "gen_ai.client.token.usage", "{token}"),
    ];
    if let Some((_, name, unit)) = conventional.into_iter().find(|(one, ..)| one.name == family.name) {
        return (name.to_owned(), unit);
    }
    let name = family.name.strip_suffix(family.unit).unwrap_or(family.name).trim_end_matches('_');
    let unit = match family.unit {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    };
    (name.replacen('_', ".", 1), unit)
}

/// The name of a label in OpenTelemetry.
const fn dotted(label: Label) -> &'static str {
    match label {
        Label::Operation => "gen_ai.operation.name",
        Label::Provider => "gen_ai.provider.name",
        Label::RequestModel => "gen_ai.request.model",
        Label::ResponseModel => "gen_ai.response.model",
        Label::TokenType => "gen_ai.token.type",
        Label::ErrorType => "error.type",
        other => other.name(),
    }
}

fn said<'w>(words: &'w Words, family: &'w Family, labels: &'w Labels) -> impl Iterator<Item = (&'w str, &'w str)> {
    let labels = family.labels.iter().zip(labels);
    labels.filter_map(|(label, word)| Some((dotted(*label), words.text(*label, *word)?)))
}

fn attributes<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Vec<Value> {
    let attribute = |(name, text)| json!({"key": name, "value": {"stringValue": text}});
    labels.into_iter().map(attribute).collect()
}

fn exemplar(Exemplar { call, value, micros }: &Exemplar) -> Value {
    let call = call.to_string();
    json!({"timeUnixNano": nanos(*micros), "asDouble": value, "filteredAttributes": attributes([("call_id", call.as_str())])})
}

/// 64 bits are a text in the JSON of Protocol Buffers.
fn nanos(micros: i64) -> String {
    micros.max(0).saturating_mul(1_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::FAMILIES;

    #[test]
    fn prometheus_makes_of_these_names_its_own_again() {
        for family in FAMILIES {
            let (name, unit) = named(family);
            // As the specification has it ("Prometheus and OpenMetrics Compatibility", OTLP metric points to Prometheus).
            let suffix = match unit {
                "s" => "_seconds",
                "By" => "_bytes",
                _ => "",
            };
            assert_eq!(format!("{}{suffix}", name.replace('.', "_")), family.name);
            let labels = family.labels.iter().map(|label| dotted(*label).replace('.', "_"));
            assert_eq!(labels.collect::<Vec<_>>(), family.labels.iter().map(|label| label.name()).collect::<Vec<_>>());
        }
        let names: std::collections::BTreeSet<String> = FAMILIES.iter().map(|family| named(family).0).collect();
        assert_eq!(names.len(), FAMILIES.len());
    }
}
