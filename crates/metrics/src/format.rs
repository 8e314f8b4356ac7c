//! Which form somebody wants, by what they say they accept (RFC 9110, section 12.5.1).

/// A form of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// Prometheus' text format 0.0.4, which has none.
    Text,
}

impl Format {
    /// The form for whoever sends this header `accept`. Who does not ask for OpenMetrics 1.0 gets text.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0_u16, 0_u16);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut version, mut weight) = (None, 1_000);
            for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "version" => version = Some(value.trim().trim_matches('"')),
                    "q" => weight = thousandths(value.trim()),
                    _ => {}
                }
            }
            match (media.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => open_metrics = open_metrics.max(weight),
                ("text/plain", None | Some("0.0.4")) => text = text.max(weight),
                _ => {}
            }
        }
        if open_metrics > 0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A weight in thousandths; what is none counts as nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
fn thousandths(weight: &str) -> u16 {
    weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).map_or(0, |weight: f32| (weight * 1e3) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_gets_openmetrics_and_a_person_gets_text() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for accept in [prometheus_2, prometheus_3, "Application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8"] {
            assert_eq!(Format::wanted(accept), Format::OpenMetrics, "{accept}");
        }
        let others = [
            "",
            "*/*",
            "text/html,*/*;q=0.8",
            "text/plain",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.1,text/plain;q=0.2",
            "application/openmetrics-text;q=much",
            ";;,=;q",
        ];
        for accept in others {
            assert_eq!(Format::wanted(accept), Format::Text, "{accept}");
        }
    }
}
