//! What is found, between `«` and `»`, and what is not, for every rule. The numbers are examples of manuals, or made up with the right
//! check digit.

use super::names;
use crate::{Guardrails, Side};

const CASES: &[(&str, &str, &[&str])] = &[
    (
        "e-mail",
        "write to «ada.lovelace+x@mail.example.org».",
        &["@decorator", "git@github.com:a/b", "icon@2x.png", "a@b", "npm i @a/b@1.2.3"],
    ),
    ("e-mail", "<«a@b.co»>", &["https://user:pass@host.example.com/", "me@-x.com", "x@y..com"]),
    ("phone", "call «+49 170 1234567», please", &["+1234567", "1+12345678901", "+49 170 12345678901234567890"]),
    ("phone", "call «+1 (555) 010-9999».", &["2024-01-01 12:30:45", "+0 123 456 789"]),
    ("iban", "to «DE89 3704 0044 0532 0130 00» today", &["DE89 3704 0044 0532 0130 01", "DE8937040044053201300"]),
    ("iban", "to «GB82WEST12345698765432»", &["GB82WEST12345698765431", "ZZ82WEST12345698765432"]),
    ("payment-card", "paid with «4242 4242 4242 4242» 12/29", &["4242 4242 4242 4243", "1234 5678 9012 3456"]),
    ("payment-card", "paid with «378282246310005»", &["378282246310006", "550e8400-e29b-41d4-a716-446655440000"]),
    ("us-ssn", "SSN «219-09-9998»", &["000-12-3456", "666-12-3456", "900-12-3456", "123-45-67890", "078-05-1120"]),
    ("de-steuer-id", "Steuer-ID «86095742719»", &["order 86095742719", "Steuer-ID 86095742718"]),
    ("nl-bsn", "BSN: «111222333»", &["111222333", "BSN: 111222334"]),
    ("es-dni", "DNI «12345678Z»", &["12345678A", "12345678ZZ"]),
    ("es-nie", "NIE «X1234567L»", &["X1234567A", "A1234567L"]),
    ("fr-nir", "NIR «2 55 08 14 168 025 38»", &["2 55 08 14 168 025 39", "255081416802539"]),
    ("it-codice-fiscale", "CF «RSSMRA85T10A562S»", &["RSSMRA85T10A562T", "RSSMRA85T99A562S"]),
    ("pl-pesel", "PESEL «44051401359»", &["44051401359", "PESEL 44051401358"]),
    ("br-cpf", "CPF «529.982.247-25»", &["529.982.247-26", "111.111.111-11", "52998224725"]),
    ("se-personnummer", "född «811218-9876»", &["811218-9877", "811318-9876"]),
    ("uk-nino", "NINO «AB 12 34 56 C»", &["GB123456A", "AB123456E", "DA123456A"]),
    ("ch-ahv", "AHV «756.9217.0769.85»", &["756.9217.0769.84", "978-3-16-148410-0"]),
    ("be-rijksregister", "nr «85.07.30-033.28»", &["85.07.30-033.29", "85.47.30-033.28"]),
];

fn guardrails() -> Guardrails {
    let side: Side = toml::from_str("[personal_data]\naction = \"redact\"").unwrap();
    Guardrails::new(&side).unwrap()
}

#[test]
fn every_rule_finds_its_own_and_nothing_else() {
    let guardrails = guardrails();
    let mut complaints = Vec::new();
    for (rule, with, without) in CASES {
        let start = with.find('«').unwrap();
        let end = with.find('»').unwrap() - '«'.len_utf8();
        let text = with.replace(['«', '»'], "");
        let found: Vec<_> = guardrails
            .examine(&text)
            .findings
            .into_iter()
            .map(|finding| (finding.rule.to_string(), finding.range))
            .collect();
        if found != [((*rule).to_owned(), start..end)] {
            complaints.push(format!("{rule}: expected {start}..{end}, found {found:?} in {text}"));
        }
        for text in *without {
            let found = guardrails.examine(text).findings;
            if !found.is_empty() {
                complaints.push(format!(
                    "{rule}: found {:?} in {text}",
                    found.iter().map(|finding| &finding.rule).collect::<Vec<_>>()
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_rule_has_a_case() {
    let missing: Vec<&str> = names().into_iter().filter(|name| CASES.iter().all(|(rule, ..)| rule != name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
