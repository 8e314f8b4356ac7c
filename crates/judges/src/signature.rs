//! Standard Webhooks: by what a webhook knows that a question is from us and when it was asked.
//!
//! Specification: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, symmetric signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How a secret begins.
const SECRET_PREFIX: &str = "whsec_";
/// How long a secret can be, in bytes.
const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;

/// A secret that questions are signed with.
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    /// # Errors
    /// How a secret is written.
    pub(crate) fn new(secret: &str) -> Result<Self, &'static str> {
        const FORM: &str = "has to be \"whsec_\" and base64 of 24 to 64 random bytes";
        let key = secret.strip_prefix(SECRET_PREFIX).and_then(|text| STANDARD.decode(text).ok()).ok_or(FORM)?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&key.len()) {
            return Err(FORM);
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| FORM)
    }

    /// The value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{unix_seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_that_the_libraries_of_the_specification_share_comes_out() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_part_counts() {
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signer.sign("a", 1, b"{}");
        for (id, at, body) in [("b", 1, "{}"), ("a", 2, "{}"), ("a", 1, "{ }")] {
            assert_ne!(signer.sign(id, at, body.as_bytes()), signature);
        }
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        let bytes = |count| format!("whsec_{}", STANDARD.encode(vec![7; count]));
        for secret in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_no base64 at all!", &bytes(23), &bytes(65)]
        {
            assert!(Signer::new(secret).is_err(), "{secret}");
        }
        assert!(Signer::new(&bytes(24)).is_ok() && Signer::new(&bytes(64)).is_ok());
    }
}
