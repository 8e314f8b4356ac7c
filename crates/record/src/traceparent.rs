//! The trace that an event names (W3C Trace Context, section 3.2).

use crate::{Trace, is_hex_id};

impl Trace {
    /// The trace of a `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`. The span that it names is the parent of what happened.
    #[must_use]
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.trim().splitn(5, '-').collect();
        let [version, trace_id, span_id, flags, rest @ ..] = parts.as_slice() else { return None };
        let is_two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Section 3.2.2.1: 00 has four parts, later versions may have more, ff is none.
        let is_version = is_two_digits(version) && *version != "ff" && (*version != "00" || rest.is_empty());
        let is_good = is_version && is_two_digits(flags) && is_hex_id(trace_id, 32) && is_hex_id(span_id, 16);
        is_good.then(|| Self {
            trace_id: Some((*trace_id).to_owned()),
            span_id: None,
            parent_span_id: Some((*span_id).to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_recommendation_allows_names_a_trace() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for good in [format!("00-{trace}-{span}-01"), format!("01-{trace}-{span}-00-later")] {
            let read = Trace::of_traceparent(&good).unwrap();
            assert_eq!((read.trace_id.as_deref(), read.parent_span_id.as_deref()), (Some(trace), Some(span)));
        }
        for bad in [
            String::new(),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}-1"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
        ] {
            assert_eq!(Trace::of_traceparent(&bad), None, "{bad}");
        }
    }
}
