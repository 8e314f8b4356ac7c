//! A message of either format: priority, what the header says, structured data, text.

use record::Timestamp;

use super::legacy;
use super::structured::{self, Element};

/// Of a message that does not say: user, notice (RFC 3164, section 4.3.3).
const PRIORITY_UNSAID: u8 = 13;
/// The highest priority that there is: facility 23, severity 7.
const PRIORITY_MAX: u8 = 191;

/// One message, borrowed from its text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message<'a> {
    /// 0 to 23.
    pub(super) facility: u8,
    /// 0 (emergency) to 7 (debug).
    pub(super) severity: u8,
    /// The version of RFC 5424's format, or none for RFC 3164.
    pub(super) version: Option<u16>,
    pub(super) time: Option<Timestamp>,
    pub(super) host: Option<&'a str>,
    pub(super) app: Option<&'a str>,
    pub(super) process: Option<&'a str>,
    pub(super) message_id: Option<&'a str>,
    pub(super) structured: Vec<Element<'a>>,
    pub(super) text: &'a str,
    /// What of it could not be read.
    pub(super) problem: Option<&'static str>,
}

impl<'a> Message<'a> {
    /// Reads a message. What has a version after its priority and RFC 5424's header after that is RFC 5424, everything else RFC 3164.
    /// `received` gives the year to a time without one, `offset_minutes` the zone.
    pub(super) fn parse(text: &'a str, received: Timestamp, offset_minutes: i16) -> Self {
        let (priority, rest) = priority(text);
        let (code, problem) = match priority {
            Some(code) => (code, None),
            None => (PRIORITY_UNSAID, Some("there is no priority (<0> to <191>)")),
        };
        let mut message = version(rest)
            .filter(|_| priority.is_some())
            .and_then(|(version, rest)| Self::rfc5424(version, rest))
            .unwrap_or_else(|| legacy::read(rest, received, offset_minutes));
        (message.facility, message.severity) = (code / 8, code % 8);
        message.problem = message.problem.or(problem);
        message
    }

    pub(super) fn of_text(text: &'a str) -> Self {
        Self {
            facility: 0,
            severity: 0,
            version: None,
            time: None,
            host: None,
            app: None,
            process: None,
            message_id: None,
            structured: Vec::new(),
            text,
            problem: None,
        }
    }

    /// Section 6: `TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP STRUCTURED-DATA [SP MSG]`.
    fn rfc5424(version: u16, mut rest: &'a str) -> Option<Self> {
        let time = match token(&mut rest)? {
            "-" => None,
            // The RFC's own letters are capitals; RFC 3339 allows a space instead, which a token cannot have.
            time => Some(Timestamp::parse(time).ok()?),
        };
        let mut field = || Some(token(&mut rest)?).map(|field| (field != "-").then_some(field));
        let (host, app, process, message_id) = (field()?, field()?, field()?, field()?);
        let mut message = Self::of_text(rest);
        message.version = Some(version);
        (message.time, message.host, message.app) = (time, host, app);
        (message.process, message.message_id) = (process, message_id);
        match structured::parse(rest) {
            Some((structured, after)) => {
                message.structured = structured;
                let text = after.strip_prefix(' ').unwrap_or(after);
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                // rsyslog keeps the space between tag and text of what came to it as RFC 3164.
                message.text = text.strip_prefix(' ').unwrap_or(text);
            }
            None => message.problem = Some("the structured data is not as RFC 5424 has it; it is part of the text"),
        }
        Some(message)
    }
}

/// `<0>` to `<191>`, and what follows it.
fn priority(text: &str) -> (Option<u8>, &str) {
    let read = || {
        let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
        let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let code = is_number.then(|| digits.parse::<u8>().ok()).flatten()?;
        (code <= PRIORITY_MAX).then_some((Some(code), rest))
    };
    read().unwrap_or((None, text))
}

/// Section 6: `VERSION = NONZERO-DIGIT 0*2DIGIT`, and what follows it and its space.
fn version(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_once(' ')?;
    let is_version =
        (1..=3).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((is_version.then(|| digits.parse().ok()).flatten()?, rest))
}

/// What stands before the next space. The space is taken too.
pub(super) fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (token, after) = rest.split_once(' ').unwrap_or((rest, ""));
    *rest = after;
    (!token.is_empty()).then_some(token)
}
