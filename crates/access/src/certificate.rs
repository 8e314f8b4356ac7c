//! Names in client certificates.
//!
//! That a certificate is genuine, was issued by an authority that is trusted here, and that its holder has the key, is what rustls has
//! checked before anything of this is called. Here only names are read, by a reader of the few elements of DER that lead to them.

use record::Timestamp;

use crate::glob::Glob;
use crate::identity::{ActorKind, Grant, Identity, Method};
use crate::role::Role;
use crate::scope::Scope;
use der::Reader;

mod der;

/// The largest certificate that is read.
const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
/// The most names of one kind that are kept, and the longest.
const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 512;
/// The most names that a refusal tells.
const NAMES_TOLD_MAX: usize = 4;

/// `id-at-commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
/// `id-ce-subjectAltName` (RFC 5280 §4.2.1.6).
const SUBJECT_ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 17];

/// Where in a certificate a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A URI of the subject's alternative names: SPIFFE has its identifiers there.
    Uri,
    /// A DNS name of the subject's alternative names.
    Dns,
    /// An address of the subject's alternative names.
    Email,
    /// The common name of the subject.
    CommonName,
}

/// The names in a certificate, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateNames {
    /// All of them, in the order of the certificate.
    pub names: Vec<(NameKind, String)>,
    /// `notAfter`.
    pub expires_at: Timestamp,
}

/// Whom a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// Where the name stands.
    pub kind: NameKind,
    /// What it looks like. `*` stands for dots and slashes too.
    pub pattern: Glob,
    /// Person or program.
    pub actor: ActorKind,
    /// What its holder may.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

/// From certificates to identities. The first rule that fits a certificate says by which name its holder is known; what they may is
/// what all rules that fit that name say.
#[derive(Debug, Clone, Default)]
pub struct CertificateMapping {
    /// The rules, in order.
    pub rules: Vec<CertificateRule>,
}

/// Why a certificate was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate, or with names in a form that nobody uses.
    #[error("the client certificate cannot be read: {0}")]
    Malformed(&'static str),
    /// Nobody is configured to have such a name; these are its first ones.
    #[error("no rule is for a name of the client certificate: {}", if .0.is_empty() { "it has none" } else { .0 })]
    NoRule(String),
    /// It ended while the connection was open.
    #[error("the client certificate has expired")]
    Expired,
}

impl CertificateMapping {
    /// Whom a certificate (DER) stands for.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn identity(&self, certificate: &[u8], now: Timestamp) -> Result<Identity, CertificateError> {
        let CertificateNames { names, expires_at } = CertificateNames::parse(certificate)?;
        if now > expires_at {
            return Err(CertificateError::Expired);
        }
        let fits = |rule: &CertificateRule, (kind, name): &(NameKind, String)| {
            rule.kind == *kind && rule.pattern.matches(name)
        };
        let first =
            self.rules.iter().find_map(|rule| names.iter().find(|name| fits(rule, name)).map(|name| (rule, name)));
        let (first, name) = first.ok_or_else(|| CertificateError::NoRule(told(&names)))?;
        let fitting = self.rules.iter().filter(|rule| fits(rule, name));
        Ok(Identity {
            kind: first.actor,
            id: name.1.clone(),
            groups: Vec::new(),
            grants: fitting.map(|rule| Grant { role: rule.role, scope: rule.scope.clone() }).collect(),
            method: Method::Mtls,
            key_id: None,
            expires_at: Some(expires_at),
        })
    }
}

impl CertificateNames {
    /// Reads a certificate's names (RFC 5280 §4.1). A name with control characters, or in a character set of before UTF-8, is passed
    /// over: nobody is known by it.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn parse(certificate: &[u8]) -> Result<Self, CertificateError> {
        if certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed("it is larger than 64 KiB"));
        }
        read(certificate).ok_or(CertificateError::Malformed("it is not a certificate in DER"))
    }
}

fn told(names: &[(NameKind, String)]) -> String {
    let first: Vec<&str> = names.iter().take(NAMES_TOLD_MAX).map(|(_, name)| name.as_str()).collect();
    first.join(", ")
}

fn read(certificate: &[u8]) -> Option<CertificateNames> {
    let mut outer = Reader(certificate);
    let mut certificate = Reader(outer.content(der::SEQUENCE)?);
    let mut inner = Reader(certificate.content(der::SEQUENCE)?);
    outer.end()?;
    inner.optional(der::context(0));
    inner.content(der::INTEGER)?;
    let _algorithm = inner.content(der::SEQUENCE)?;
    let _issuer = inner.content(der::SEQUENCE)?;
    let mut validity = Reader(inner.content(der::SEQUENCE)?);
    let subject = Reader(inner.content(der::SEQUENCE)?);
    let _key = inner.content(der::SEQUENCE)?;
    let _not_before = validity.any()?;
    let expires_at = time(validity.any()?)?;
    let mut names = Vec::new();
    while let Some((tag, content)) = inner.any() {
        if tag == der::context(3) {
            alternative_names(content, &mut names)?;
        }
    }
    common_names(subject, &mut names)?;
    inner.end()?;
    names.truncate(NAMES_MAX);
    Some(CertificateNames { names, expires_at })
}

/// `RDNSequence`: sets of pairs of type and value.
fn common_names(mut subject: Reader<'_>, names: &mut Vec<(NameKind, String)>) -> Option<()> {
    while !subject.is_empty() {
        let mut set = Reader(subject.content(der::SET)?);
        while !set.is_empty() {
            let mut pair = Reader(set.content(der::SEQUENCE)?);
            let kind = pair.content(der::OBJECT_IDENTIFIER)?;
            let (tag, value) = pair.any()?;
            if kind == COMMON_NAME && [der::UTF8_STRING, der::PRINTABLE_STRING, der::IA5_STRING].contains(&tag) {
                names.extend(text(value).map(|name| (NameKind::CommonName, name)));
            }
        }
    }
    Some(())
}

/// `Extensions`, and of these the one with alternative names.
fn alternative_names(extensions: &[u8], names: &mut Vec<(NameKind, String)>) -> Option<()> {
    let mut extensions = Reader(Reader(extensions).content(der::SEQUENCE)?);
    while !extensions.is_empty() {
        let mut extension = Reader(extensions.content(der::SEQUENCE)?);
        let kind = extension.content(der::OBJECT_IDENTIFIER)?;
        extension.optional(der::BOOLEAN);
        let value = extension.content(der::OCTET_STRING)?;
        if kind != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        let mut general = Reader(Reader(value).content(der::SEQUENCE)?);
        while !general.is_empty() {
            let (tag, value) = general.any()?;
            let kind = match tag {
                0x81 => NameKind::Email,
                0x82 => NameKind::Dns,
                0x86 => NameKind::Uri,
                _ => continue,
            };
            names.extend(text(value).map(|name| (kind, name)));
        }
    }
    Some(())
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_name = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned())
}

/// `UTCTime` until 2049 and `GeneralizedTime` after, to the second and in UTC (RFC 5280 §4.1.2.5).
fn time((tag, bytes): (u8, &[u8])) -> Option<Timestamp> {
    let digits = std::str::from_utf8(bytes).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        der::UTC_TIME if digits.len() == 12 => {
            let century = if digits.as_bytes().first()? >= &b'5' { "19" } else { "20" };
            format!("{century}{digits}")
        }
        der::GENERALIZED_TIME if digits.len() == 14 => digits.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| digits.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests;
