//! A case that is found and one that is not, for every rule; the tokens are made up.

use std::fmt::Write as _;

use super::rules;
use crate::{Guardrails, Side};

fn guardrails() -> Guardrails {
    let side: Side = toml::from_str("[secrets]\naction = \"redact\"").unwrap();
    Guardrails::new(&side).unwrap()
}

/// So many letters and digits that follow no pattern, always the same for one seed.
fn noise(alphabet: &str, length: usize, seed: u32) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(97);
    let mut text = String::new();
    for _ in 0..length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(char::from(alphabet.as_bytes()[(state >> 16) as usize % alphabet.len()]));
    }
    text
}

const ALNUM: &str = "abcdefghijkmnpqrstuvwyzABCDEFGHIJKLMNPQRSTUVWYZ23456789";
const HEX: &str = "23456789abcdef";
const CAPITALS: &str = "ABCDEFGHIJKLMNPQRSTUVWYZ234567";

/// Texts with a secret between `«` and `»`, and texts that look like one.
fn cases() -> Vec<(&'static str, String, String)> {
    let alnum = |length| noise(ALNUM, length, 7);
    let hex = |length| noise(HEX, length, 11);
    let capitals = |length| noise(CAPITALS, length, 5);
    let mut cases = vec![
        ("age-secret-key", format!("«AGE-SECRET-KEY-1{}»", capitals(58)), format!("AGE-SECRET-KEY-1{}", capitals(57))),
        ("airtable-token", format!("«pat{}.{}»", alnum(14), hex(64)), "path.to/something".to_owned()),
        ("atlassian-token", format!("«ATATT3xFf{}»", alnum(180)), "ATATT3xFf-short".to_owned()),
        ("aws-access-key", format!("id=«AKIA{}»", capitals(16)), "AKIAIOSFODNN7EXAMPLE".to_owned()),
        (
            "aws-secret-key",
            format!("aws_secret_access_key = «{}»", alnum(40)),
            "aws_secret_access_key = ${AWS_SECRET_ACCESS_KEY_FROM_VAULT_9}".to_owned(),
        ),
        ("azure-client-secret", format!("it is «abc8Q~{}»", alnum(34)), "abc8Q~short".to_owned()),
        (
            "azure-sas-signature",
            format!("https://a.blob.net/c?sv=1&sig=«{}%3D»", alnum(43)),
            "https://a.example/c?sig=no".to_owned(),
        ),
        ("azure-storage-key", format!("AccountKey=«{}==»;", alnum(86)), "AccountKey=none;".to_owned()),
        (
            "bearer-token",
            format!("Authorization: Bearer «{}»", alnum(40)),
            "the bearer of this letter is to be let in".to_owned(),
        ),
        (
            "discord-webhook",
            format!("https://«discord.com/api/webhooks/283746529384756283/{}»", alnum(68)),
            "https://discord.com/api/webhooks/".to_owned(),
        ),
        ("grafana-token", format!("«glsa_{}_{}»", alnum(32), hex(8)), format!("glsa_{}", alnum(32))),
        (
            "jwt",
            format!("«eyJ{}.eyJ{}.{}»", alnum(33), alnum(60), alnum(43)),
            format!("eyJ{}.{}", alnum(33), alnum(60)),
        ),
        ("mailchimp-key", format!("«{}-us14»", hex(32)), "north-us14".to_owned()),
        ("postman-key", format!("«PMAK-{}-{}»", hex(24), hex(34)), format!("PMAK-{}", hex(24))),
        ("sendgrid-key", format!("«SG.{}.{}»", alnum(22), alnum(43)), "SG.short.not".to_owned()),
        (
            "slack-webhook",
            format!("https://«hooks.slack.com/services/T{}/B{}/{}»", capitals(8), capitals(8), alnum(24)),
            "https://hooks.slack.com/services/".to_owned(),
        ),
        ("telegram-bot-token", format!("bot «8394756283:AA{}»", alnum(33)), "12:AAb".to_owned()),
        ("terraform-token", format!("«{}.atlasv1.{}»", alnum(14), alnum(67)), "x.atlasv1.y".to_owned()),
        (
            "private-key",
            format!(
                "key:\n«-----BEGIN RSA PRIVATE KEY-----\n{}\n{}\n-----END RSA PRIVATE KEY-----»\nend",
                alnum(64),
                alnum(40)
            ),
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", alnum(64)),
        ),
        (
            "url-password",
            "postgres://admin:«tr0ub4dor»@db.internal/app".to_owned(),
            "http://localhost:8080/a@b".to_owned(),
        ),
        (
            "generic-secret",
            format!("\"api_key\": \"«{}42»\"", alnum(24)),
            "max_tokens = 4096, secret: somethingwithoutdigits".to_owned(),
        ),
        ("generic-secret", "password: «h7Kq2mZw9» then".to_owned(), "password = get_password(user1)".to_owned()),
    ];
    cases.extend(prefixed());
    cases
}

/// Those that are a prefix and one run.
fn prefixed() -> Vec<(&'static str, String, String)> {
    PREFIXED
        .iter()
        .map(|(name, prefix, length, alphabet)| {
            let token = format!("{prefix}{}", noise(alphabet, *length, 3));
            let without = format!("use {prefix}{}, or {}", "x".repeat(*length), &token[..prefix.len() + 6]);
            (*name, format!("use «{token}», please"), without)
        })
        .collect()
}

const PREFIXED: &[(&str, &str, usize, &str)] = &[
    ("anthropic-key", "sk-ant-api03-", 95, ALNUM),
    ("databricks-token", "dapi", 32, HEX),
    ("digitalocean-token", "dop_v1_", 64, HEX),
    ("docker-token", "dckr_pat_", 27, ALNUM),
    ("doppler-token", "dp.pt.", 43, ALNUM),
    ("dropbox-token", "sl.u.", 140, ALNUM),
    ("figma-token", "figd_", 40, ALNUM),
    ("github-fine-grained-token", "github_pat_", 82, ALNUM),
    ("github-token", "ghp_", 36, ALNUM),
    ("gitlab-token", "glpat-", 20, ALNUM),
    ("google-api-key", "AIza", 35, ALNUM),
    ("google-oauth-secret", "GOCSPX-", 28, ALNUM),
    ("google-oauth-token", "ya29.", 120, ALNUM),
    ("grafana-cloud-token", "glc_", 80, ALNUM),
    ("groq-key", "gsk_", 52, ALNUM),
    ("hashicorp-vault-token", "hvs.", 90, ALNUM),
    ("heroku-key", "HRKU-AA", 58, ALNUM),
    ("huggingface-token", "hf_", 34, ALNUM),
    ("linear-key", "lin_api_", 40, ALNUM),
    ("mailgun-key", "key-", 32, HEX),
    ("new-relic-key", "NRAK-", 27, CAPITALS),
    ("notion-token", "ntn_", 46, ALNUM),
    ("npm-token", "npm_", 36, ALNUM),
    ("openai-key", "sk-proj-", 120, ALNUM),
    ("openai-legacy-key", "sk-", 48, ALNUM),
    ("openrouter-key", "sk-or-v1-", 64, HEX),
    ("perplexity-key", "pplx-", 48, ALNUM),
    ("planetscale-token", "pscale_tkn_", 43, ALNUM),
    ("pulumi-token", "pul-", 40, HEX),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc", 120, ALNUM),
    ("replicate-token", "r8_", 37, ALNUM),
    ("rubygems-key", "rubygems_", 48, HEX),
    ("sentry-token", "sntrys_", 100, ALNUM),
    ("shopify-token", "shpat_", 32, HEX),
    ("slack-token", "xoxb-", 50, ALNUM),
    ("square-token", "sq0atp-", 22, ALNUM),
    ("stripe-key", "sk_live_", 24, ALNUM),
    ("stripe-webhook-secret", "whsec_", 32, ALNUM),
    ("twilio-key", "SK", 32, HEX),
    ("xai-key", "xai-", 80, ALNUM),
];

#[test]
fn every_rule_finds_its_token_and_nothing_else() {
    let guardrails = guardrails();
    let mut complaints = String::new();
    for (rule, with, without) in cases() {
        let start = with.find('«').unwrap();
        let end = with.find('»').unwrap() - '«'.len_utf8();
        let text = with.replace(['«', '»'], "");
        let found: Vec<_> =
            guardrails.examine(&text).findings.into_iter().map(|finding| (finding.rule, finding.range)).collect();
        if found != [(std::borrow::Cow::Borrowed(rule), start..end)] {
            writeln!(complaints, "{rule}: expected {start}..{end}, found {found:?} in {text}").unwrap();
        }
        let found = guardrails.examine(&without).findings;
        if !found.is_empty() {
            writeln!(complaints, "{rule}: found {found:?} in {without}").unwrap();
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn every_rule_has_a_case() {
    let cases = cases();
    let missing: Vec<&str> =
        rules::names().into_iter().filter(|name| cases.iter().all(|(rule, ..)| rule != name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_rule_that_knows_more_names_the_secret() {
    let text = format!("token=ghp_{}", noise(ALNUM, 36, 3));
    assert_eq!(guardrails().examine(&text).text, "token=[redacted:secrets/github-token]");
}

#[test]
fn what_is_found_is_never_told() {
    let guardrails = guardrails();
    for (_, with, _) in cases() {
        let text = with.replace(['«', '»'], "");
        let examination = guardrails.examine(&text);
        for finding in &examination.findings {
            let secret = &text[finding.range.clone()];
            assert!(!finding.explanation.contains(secret), "{}", finding.explanation);
            assert!(!format!("{:?}{}", examination.verdicts, examination.text).contains(secret));
        }
    }
}

#[test]
fn a_rule_can_be_off_or_treated_otherwise() {
    let token = format!("ghp_{}", noise(ALNUM, 36, 3));
    let side: Side = toml::from_str("[secrets]\naction = \"redact\"\nrules = { github-token = \"off\" }").unwrap();
    assert_eq!(Guardrails::new(&side).unwrap().examine(&token).findings, []);
    let side: Side = toml::from_str("[secrets]\naction = \"redact\"\nallow = [\"GHP_\"]").unwrap();
    assert_eq!(Guardrails::new(&side).unwrap().examine(&token).findings, []);
    let side: Side = toml::from_str("[secrets]\naction = \"redact\"\nrules = { github-token = \"flag\" }").unwrap();
    assert_eq!(Guardrails::new(&side).unwrap().examine(&token).text, token);
}
