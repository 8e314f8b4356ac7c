//! The table of what tokens look like. The ideas (a keyword first, then the form, then the entropy) and most forms are those of the
//! rule set of gitleaks and of what the issuers publish; lengths that issuers do not promise are ranges.

use super::shape::{Class, Part};
use Class::{Alnum, Base32, Base64, Capitals, Digit, Dotted, Hex, Padded, Percent, Tilde, Token};
use Part::{Run, Text};

/// A kind of token that a keyword announces.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// What it begins with, or what stands at its beginning.
    pub(crate) keywords: &'static [&'static str],
    /// A run directly before the keyword that belongs to the token.
    pub(crate) before: Option<(Class, usize, usize)>,
    /// What comes after the keyword.
    pub(crate) parts: &'static [Part],
    /// The least entropy of what comes after the keyword (and before it), in bits a byte.
    pub(crate) entropy_min: f32,
    pub(crate) covers: Covers,
    /// How sure it is.
    pub(crate) score: f32,
}

/// What of a match is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covers {
    /// All of it: the keyword is a part of the token, and its letters are as given.
    Token,
    /// What comes after the keyword, which is written in any case.
    Value,
}

const fn token(name: &'static str, keywords: &'static [&'static str], parts: &'static [Part]) -> Rule {
    Rule { name, keywords, before: None, parts, entropy_min: 2.8, covers: Covers::Token, score: 0.95 }
}

const fn hex(name: &'static str, keywords: &'static [&'static str], parts: &'static [Part]) -> Rule {
    Rule { name, keywords, before: None, parts, entropy_min: 2.4, covers: Covers::Token, score: 0.95 }
}

const fn value(name: &'static str, keywords: &'static [&'static str], parts: &'static [Part]) -> Rule {
    Rule { name, keywords, before: None, parts, entropy_min: 3.0, covers: Covers::Value, score: 0.85 }
}

const fn around(
    name: &'static str,
    keywords: &'static [&'static str],
    before: (Class, usize, usize),
    parts: &'static [Part],
) -> Rule {
    Rule { name, keywords, before: Some(before), parts, entropy_min: 2.4, covers: Covers::Token, score: 0.9 }
}

/// One line a kind.
pub(crate) const RULES: &[Rule] = &[
    token("age-secret-key", &["AGE-SECRET-KEY-1"], &[Run(Capitals, 58, 58)]),
    token("airtable-token", &["pat"], &[Run(Alnum, 14, 14), Text("."), Run(Hex, 64, 64)]),
    token("anthropic-key", &["sk-ant-"], &[Run(Token, 32, 160)]),
    token("atlassian-token", &["ATATT3xFf"], &[Run(Token, 100, 240), Run(Padded, 0, 12)]),
    token("aws-access-key", &["AKIA", "ASIA", "ABIA", "ACCA"], &[Run(Base32, 16, 16)]),
    around("azure-client-secret", &["Q~"], (Tilde, 4, 4), &[Run(Tilde, 31, 34)]),
    value("azure-sas-signature", &["?sig=", "&sig=", ";sig="], &[Run(Percent, 40, 80)]),
    value("azure-storage-key", &["AccountKey=", "SharedAccessKey="], &[Run(Base64, 42, 88), Run(Padded, 1, 4)]),
    value("bearer-token", &["bearer "], &[Run(Tilde, 24, 512), Run(Padded, 0, 4)]),
    hex("databricks-token", &["dapi"], &[Run(Hex, 32, 32)]),
    hex("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], &[Run(Hex, 64, 64)]),
    token("discord-webhook", &["discord.com/api/webhooks/"], &[Run(Digit, 17, 20), Text("/"), Run(Token, 60, 80)]),
    token("docker-token", &["dckr_pat_", "dckr_oat_"], &[Run(Token, 27, 40)]),
    token("doppler-token", &["dp.pt.", "dp.st."], &[Run(Dotted, 40, 80)]),
    token("dropbox-token", &["sl.u."], &[Run(Token, 100, 1500)]),
    token("figma-token", &["figd_"], &[Run(Token, 38, 48)]),
    token("github-fine-grained-token", &["github_pat_"], &[Run(Token, 82, 82)]),
    token("github-token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], &[Run(Alnum, 36, 36)]),
    token("gitlab-token", &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-"], &[Run(Dotted, 20, 300)]),
    token("google-api-key", &["AIza"], &[Run(Token, 35, 35)]),
    token("google-oauth-secret", &["GOCSPX-"], &[Run(Token, 28, 28)]),
    token("google-oauth-token", &["ya29."], &[Run(Token, 40, 1024)]),
    token("grafana-token", &["glsa_"], &[Run(Alnum, 32, 32), Text("_"), Run(Hex, 8, 8)]),
    token("grafana-cloud-token", &["glc_"], &[Run(Padded, 40, 400)]),
    token("groq-key", &["gsk_"], &[Run(Alnum, 52, 52)]),
    token("hashicorp-vault-token", &["hvs.", "hvb.", "hvr."], &[Run(Token, 24, 300)]),
    token("heroku-key", &["HRKU-AA"], &[Run(Token, 58, 58)]),
    token("huggingface-token", &["hf_"], &[Run(Alnum, 34, 40)]),
    token("jwt", &["eyJ"], &[Run(Token, 12, 1024), Text(".eyJ"), Run(Token, 4, 4096), Text("."), Run(Token, 16, 1024)]),
    token("linear-key", &["lin_api_"], &[Run(Alnum, 40, 40)]),
    around("mailchimp-key", &["-us"], (Hex, 32, 32), &[Run(Digit, 1, 2)]),
    hex("mailgun-key", &["key-"], &[Run(Hex, 32, 32)]),
    token("new-relic-key", &["NRAK-"], &[Run(Capitals, 27, 27)]),
    token("notion-token", &["ntn_"], &[Run(Alnum, 40, 50)]),
    token("npm-token", &["npm_"], &[Run(Alnum, 36, 36)]),
    token("openai-key", &["sk-proj-", "sk-svcacct-", "sk-admin-"], &[Run(Token, 40, 256)]),
    token("openai-legacy-key", &["sk-"], &[Run(Alnum, 32, 64)]),
    token("openrouter-key", &["sk-or-v1-"], &[Run(Hex, 64, 64)]),
    token("perplexity-key", &["pplx-"], &[Run(Alnum, 48, 56)]),
    token("planetscale-token", &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], &[Run(Dotted, 32, 64)]),
    hex("postman-key", &["PMAK-"], &[Run(Hex, 24, 24), Text("-"), Run(Hex, 34, 34)]),
    hex("pulumi-token", &["pul-"], &[Run(Hex, 40, 40)]),
    token("pypi-token", &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZ"], &[Run(Token, 50, 1000)]),
    token("replicate-token", &["r8_"], &[Run(Alnum, 37, 37)]),
    hex("rubygems-key", &["rubygems_"], &[Run(Hex, 48, 48)]),
    token("sendgrid-key", &["SG."], &[Run(Token, 22, 22), Text("."), Run(Token, 43, 43)]),
    token("sentry-token", &["sntrys_", "sntryu_"], &[Run(Padded, 60, 400)]),
    hex("shopify-token", &["shpat_", "shpca_", "shppa_", "shpss_"], &[Run(Hex, 32, 32)]),
    token("slack-token", &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-"], &[Run(Token, 24, 255)]),
    token("slack-webhook", &["hooks.slack.com/services/"], &[Run(Base64, 40, 60)]),
    token("square-token", &["sq0atp-", "sq0csp-"], &[Run(Token, 22, 48)]),
    token("stripe-key", &["sk_live_", "rk_live_", "sk_test_", "rk_test_"], &[Run(Alnum, 16, 128)]),
    token("stripe-webhook-secret", &["whsec_"], &[Run(Padded, 32, 64)]),
    around("telegram-bot-token", &[":AA"], (Digit, 8, 10), &[Run(Token, 32, 34)]),
    around("terraform-token", &[".atlasv1."], (Alnum, 14, 14), &[Run(Token, 60, 70)]),
    hex("twilio-key", &["SK"], &[Run(Hex, 32, 32)]),
    token("xai-key", &["xai-"], &[Run(Alnum, 70, 90)]),
];

/// A PEM block with a private key, RFC 7468 section 10 and 11, OpenSSH's and OpenPGP's.
pub(crate) const PRIVATE_KEY: &str = "private-key";
/// A password in an address, RFC 3986 section 3.2.1.
pub(crate) const URL_PASSWORD: &str = "url-password";
/// A secret assigned to something whose name says so.
pub(crate) const GENERIC_SECRET: &str = "generic-secret";
/// The secret half of an AWS access key: 40 bytes without a mark of their own, known by what they are assigned to.
pub(crate) const AWS_SECRET_KEY: &str = "aws-secret-key";

/// What announces a PEM block.
pub(crate) const PRIVATE_KEY_KEYWORD: &str = "-----BEGIN";
/// What announces a password in an address.
pub(crate) const URL_PASSWORD_KEYWORD: &str = "://";
/// What the name of a secret has in it, in any case.
pub(crate) const GENERIC_KEYWORDS: &[&str] = &[
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "access-key",
    "accesskey",
    "auth_key",
    "authkey",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "token",
];

/// What makes a finding harmless when it stands in it, in any case: examples of manuals and what one is to fill in oneself.
pub(crate) const PLACEHOLDERS: &[&str] = &[
    "example",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "replace",
    "redacted",
    "dummy",
    "insert",
    "your_",
    "your-",
    "yourkey",
    "yourtoken",
    "yoursecret",
    "xxxxx",
    "*****",
    ".....",
    "00000000",
    "11111111",
    "12345678",
    "abcdefgh",
    "sample",
    "notreal",
    "deadbeef",
    "lorem",
    "process.env",
    "${",
];

/// The names of all rules, in the order of their numbers: the table, then those with code of their own.
pub(crate) fn names() -> Vec<&'static str> {
    let own = [PRIVATE_KEY, URL_PASSWORD, GENERIC_SECRET, AWS_SECRET_KEY];
    RULES.iter().map(|rule| rule.name).chain(own).collect()
}
