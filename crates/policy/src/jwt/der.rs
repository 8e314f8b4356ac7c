//! The public key within a certificate or a SubjectPublicKeyInfo (RFC 5280), and no more of DER than that takes.

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The version of a certificate.
const EXPLICIT_0: u8 = 0xa0;

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Tag, content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, _, _)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The key of a SubjectPublicKeyInfo, and whether it is one of RSA (else of an elliptic curve).
pub(super) fn public_key(bytes: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (content, _) = expect(bytes, SEQUENCE)?;
    let (algorithm, rest) = expect(content, SEQUENCE)?;
    let (identifier, _) = expect(algorithm, OBJECT_IDENTIFIER)?;
    let (bits, _) = expect(rest, BIT_STRING)?;
    let (&unused, key) = bits.split_first()?;
    let rsa = identifier == RSA;
    (unused == 0 && (rsa || identifier == EC)).then(|| (rsa, key.to_vec()))
}

/// The key of a certificate. Whether anybody vouches for it is not asked: rules name the certificate that they trust.
pub(super) fn certificate_key(bytes: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (certificate, _) = expect(bytes, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if let Some((EXPLICIT_0, _, rest)) = element(fields) {
        fields = rest;
    }
    // Serial number, signature, issuer, validity, subject.
    for _ in 0..5 {
        fields = element(fields)?.2;
    }
    public_key(fields)
}
