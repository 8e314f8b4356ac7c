//! What a credential is called, and what stands around one.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Headers, members, variables, parameters and attributes whose values are credentials, or stand for one as the hash of a key does, in lower
/// case and with hyphens. Counts of tokens are none, nor are the aliases and owners of keys.
const NAMES: [&str; 33] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "x-amz-security-token",
    "ocp-apim-subscription-key",
    "x-auth-token",
    "x-vault-token",
    "x-forwarded-client-cert",
    "access-token",
    "auth-token",
    "bearer-token",
    "id-token",
    "refresh-token",
    "client-secret",
    "secret",
    "secret-key",
    "secret-access-key",
    "private-key",
    "password",
    "passwd",
    "openai-api-key",
    "aws-access-key-id",
    "aws-secret-access-key",
    "aws-session-token",
    "vertex-credentials",
    // LiteLLM's.
    "user-api-key",
    "user-api-key-hash",
    "user-api-key-auth",
];

/// Whether what stands under this name is a credential, whatever its case and whether with `-` or `_`. Only the last part of a dotted name
/// or path counts.
pub(crate) fn is_credential(name: &str) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let last = name.as_bytes().rsplit(|byte| b".:/".contains(byte)).next().unwrap_or_default();
    NAMES.iter().any(|known| known.len() == last.len() && known.bytes().eq(last.iter().map(plain)))
}

/// Whether a member of this name may say which header or variable another member beside it holds:
/// `{"name": "cookie", "value": …}` says in two members what a header says in one.
pub(super) fn is_name_of_another(member: &str) -> bool {
    matches!(member, "name" | "key" | "header")
}

/// The member that it says so of.
pub(super) fn is_named_by_another(member: &str) -> bool {
    matches!(member, "value" | "values" | "raw_value" | "rawValue")
}

/// Whether a member `type` says that the object is a JSON Schema. A tool that wants a password says so under its name.
pub(super) fn is_type_of_schema(said: &str) -> bool {
    matches!(said, "string" | "number" | "integer" | "boolean" | "object" | "array" | "null")
}

/// Whether a member of a JSON Schema says what is wanted, and gives no value that would do.
pub(super) fn is_describing(member: &str) -> bool {
    matches!(member, "type" | "title" | "description" | "format")
}

/// Whether a text that is JSON, or once was, may hold a credential: the end of a name that is quoted, a text that is one, or a letter that is
/// hidden in an escape. One pass, and nothing is taken apart where there is none.
pub(super) fn may_be_in(text: &str) -> bool {
    static QUOTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let names = NAMES.map(|name| name.replace('-', "[-_]")).join("|");
        let letter = r"\\u00(?:2d|5f|[46][1-9a-f]|[57][0-9a])";
        Regex::new(&format!(r#"(?i-u)(?:{names})\\*["']|"bearer [^\s"\\]+\\*"|{letter}"#)).ok()
    });
    QUOTED.as_ref().is_none_or(|quoted| quoted.is_match(text.as_bytes()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Each name in another way of writing.
    pub(crate) fn names() -> Vec<String> {
        NAMES.iter().map(|name| name.to_uppercase().replace('-', "_")).collect()
    }

    #[test]
    fn a_name_is_known_in_every_way_of_writing_and_by_its_last_part() {
        for name in NAMES.iter().map(|name| (*name).to_owned()).chain(names()) {
            for around in ["", "http.request.header.", "a:", "/metadata/", "a.b/"] {
                assert!(is_credential(&format!("{around}{name}")), "{around}{name}");
            }
            assert!(!is_credential(&format!("{name}_alias")) && !is_credential(&format!("{name}.b")), "{name}");
        }
    }

    #[test]
    fn what_only_speaks_of_tokens_and_keys_is_none() {
        for name in [
            "max_tokens",
            "usage.total_tokens",
            "completion_tokens",
            "prompt_tokens",
            "gen_ai.usage.input_tokens",
            "gen_ai.token.type",
            "token",
            "key",
            "eos_token_id",
            "user_api_key_alias",
            "user_api_key_user_id",
            "authorization_mode",
            "secretName",
            "imagePullSecrets",
            "secretKey",
            "api_key_id",
            "password_policy",
            "cookies_accepted",
            "",
            ".",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn every_name_of_a_credential_is_found_in_a_text() {
        for name in NAMES.iter().map(|name| (*name).to_owned()).chain(names()) {
            for quoted in [format!("{{\"{name}\":1}}"), format!("'a.{name}'"), format!("\\\\\\\"{name}\\\\\\\"")] {
                assert!(may_be_in(&quoted), "{quoted}");
            }
        }
        assert!(may_be_in(r#"{"\u0061pi_key":1}"#) && !may_be_in(r#"["\u003cb\u003e\u0000\u00e9"]"#));
        assert!(may_be_in(r#"["BEARER abc"]"#) && may_be_in(r#""[\"Bearer abc\"]""#));
        for without in ["the weather in Bern", "a secret, a cookie", r#"{"max_tokens":1}"#, "\"Bearer of news\""] {
            assert!(!may_be_in(without), "{without}");
        }
    }
}
