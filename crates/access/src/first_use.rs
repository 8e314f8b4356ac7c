//! The first time that this process takes a credential: from then on it is in use here, and the log is told so once.

use std::sync::{PoisonError, RwLock};

use crate::digest::sha256;
use crate::recent::Recent;

/// The most credentials of which it is remembered that the log knows of them; one that is forgotten is told again.
const CREDENTIALS_MAX: usize = 16_384;

/// A credential that is taken for the first time. Until [`crate::Authenticator::has_recorded`] is told so, the next time is the first
/// one too: what could not be recorded is not passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstUse {
    /// The keyed fingerprint of the credential.
    pub fingerprint: String,
    digest: [u8; 32],
}

/// Credentials that the log knows of, by their SHA-256.
pub(crate) struct Known(RwLock<Recent<[u8; 32], ()>>);

impl Known {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Recent::new(CREDENTIALS_MAX)))
    }

    pub(crate) fn first_use(&self, credential: &[u8], fingerprint: impl FnOnce() -> String) -> Option<FirstUse> {
        let digest = sha256(credential);
        let is_known = self.0.read().unwrap_or_else(PoisonError::into_inner).peek(&digest).is_some();
        (!is_known).then(|| FirstUse { fingerprint: fingerprint(), digest })
    }

    pub(crate) fn insert(&self, first: &FirstUse) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(first.digest, ());
    }
}
