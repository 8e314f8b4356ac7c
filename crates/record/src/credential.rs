//! Credentials never reach a record: only a keyed fingerprint does.

use crate::content::keyed_hash;

/// The secret of this installation under which credentials are fingerprinted.
#[derive(Clone)]
pub struct FingerprintKey([u8; 32]);

/// Query parameters whose values are credentials.
const SECRET_PARAMETERS: [&str; 3] = ["key", "api_key", "access_token"];

impl FingerprintKey {
    /// Takes 32 secret random bytes.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// `fp_` and the first 64 bits of HMAC-SHA-256 over the credential, in hex: equal for equal
    /// credentials of one installation, and useless to whoever lacks its secret.
    #[must_use]
    pub fn fingerprint(&self, credential: &[u8]) -> String {
        let mac = keyed_hash(&self.0, &[b"testimony/v1/credential\n", credential]);
        let hex: String = mac.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("fp_{hex}")
    }
}

/// A URL without user-info and with the values of credential parameters taken out, fit for a record.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(a, q)| (a, Some(q)));
    let address = match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    };
    let Some(query) = query else { return address };
    let kept: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) => {
                format!("{name}=removed")
            }
            _ => pair.to_owned(),
        })
        .collect();
    format!("{address}?{}", kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_loses_its_credentials_and_nothing_else() {
        assert_eq!(
            without_credentials("https://me:secret@host:1/v1?a=b&API_KEY=sk-1&key=x"),
            "https://host:1/v1?a=b&API_KEY=removed&key=removed"
        );
        assert_eq!(without_credentials("http://host/v1"), "http://host/v1");
        assert_eq!(without_credentials("/v1?access_token=x"), "/v1?access_token=removed");
    }

    #[test]
    fn a_fingerprint_depends_on_both_the_secret_and_the_credential() {
        let (a, b) = (FingerprintKey::new([1; 32]), FingerprintKey::new([2; 32]));
        assert_eq!(a.fingerprint(b"sk-1"), a.fingerprint(b"sk-1"));
        assert_ne!(a.fingerprint(b"sk-1"), a.fingerprint(b"sk-2"));
        assert_ne!(a.fingerprint(b"sk-1"), b.fingerprint(b"sk-1"));
    }
}
