//! `io.jwt.*`: tokens decoded and verified in rules.

use regorus::Value;

use super::account::now_ns;
use super::crypto::{hex, text};
use super::{Failure, Function};
use crate::jwt::{Algorithm, Keys, Token};

/// Name, number of arguments, function.
pub(super) const FUNCTIONS: &[(&str, u8, Function)] = &[
    ("io.jwt.decode", 1, decode),
    ("io.jwt.decode_verify", 2, decode_verify),
    ("io.jwt.verify_hs256", 2, |a| verify(Algorithm::Hs256, a)),
    ("io.jwt.verify_hs384", 2, |a| verify(Algorithm::Hs384, a)),
    ("io.jwt.verify_hs512", 2, |a| verify(Algorithm::Hs512, a)),
    ("io.jwt.verify_rs256", 2, |a| verify(Algorithm::Rs256, a)),
    ("io.jwt.verify_rs384", 2, |a| verify(Algorithm::Rs384, a)),
    ("io.jwt.verify_rs512", 2, |a| verify(Algorithm::Rs512, a)),
    ("io.jwt.verify_ps256", 2, |a| verify(Algorithm::Ps256, a)),
    ("io.jwt.verify_ps384", 2, |a| verify(Algorithm::Ps384, a)),
    ("io.jwt.verify_ps512", 2, |a| verify(Algorithm::Ps512, a)),
    ("io.jwt.verify_es256", 2, |a| verify(Algorithm::Es256, a)),
    ("io.jwt.verify_es384", 2, |a| verify(Algorithm::Es384, a)),
];

fn token(arguments: &[Value]) -> Result<Token, Failure> {
    Token::parse(text(arguments, 0)?)
}

fn document(json: &serde_json::Map<String, serde_json::Value>) -> Value {
    Value::from(serde_json::Value::Object(json.clone()))
}

/// `[header, payload, signature in hexadecimal]`, of the innermost where a token is within a token; nothing is verified.
fn decode(arguments: &[Value]) -> Result<Value, Failure> {
    let token = Token::innermost(text(arguments, 0)?)?;
    Ok(Value::from(vec![document(&token.header), document(&token.payload), hex(&token.signature)]))
}

fn verify(algorithm: Algorithm, arguments: &[Value]) -> Result<Value, Failure> {
    let token = token(arguments)?;
    let keys = Keys::parse(algorithm, text(arguments, 1)?)?;
    Ok(Value::from(keys.verify(&token)))
}

/// `[valid, header, payload]` under constraints: `cert` or `secret`, and `alg`, `iss`, `aud`, `time`. Header and payload are
/// empty when the token is not valid. Without `time`, the time of the input counts.
fn decode_verify(arguments: &[Value]) -> Result<Value, Failure> {
    let constraints = Constraints::read(arguments.get(1))?;
    let token = token(arguments)?;
    let (header, payload) = if constraints.hold(&token)? {
        (document(&token.header), document(&token.payload))
    } else {
        return Ok(Value::from(vec![Value::from(false), Value::new_object(), Value::new_object()]));
    };
    Ok(Value::from(vec![Value::from(true), header, payload]))
}

#[derive(Default)]
struct Constraints {
    cert: Option<String>,
    secret: Option<String>,
    alg: Option<String>,
    iss: Option<String>,
    aud: Option<String>,
    time_s: Option<f64>,
}

impl Constraints {
    fn read(value: Option<&Value>) -> Result<Self, Failure> {
        let fields = value.and_then(|value| value.as_object().ok()).ok_or("the constraints must be an object")?;
        let mut constraints = Self::default();
        for (name, value) in fields.iter_sorted() {
            let name = name.as_string().map_err(|_| "a constraint's name must be a string")?;
            if name.as_ref() == "time" {
                constraints.time_s = Some(seconds(value).ok_or("the constraint time must be a number")?);
                continue;
            }
            let slot = match name.as_ref() {
                "cert" => &mut constraints.cert,
                "secret" => &mut constraints.secret,
                "alg" => &mut constraints.alg,
                "iss" => &mut constraints.iss,
                "aud" => &mut constraints.aud,
                _ => return Err(format!("the constraint {name} is not known")),
            };
            let text = value.as_string().map_err(|_| format!("the constraint {name} must be a string"))?;
            *slot = Some(text.to_string());
        }
        Ok(constraints)
    }

    fn hold(&self, token: &Token) -> Result<bool, Failure> {
        let header = |name: &str| token.header.get(name).and_then(serde_json::Value::as_str);
        let Some(algorithm) = header("alg").and_then(Algorithm::named) else { return Ok(false) };
        // An extension that must be understood is not; and the key decides the family, never the token.
        if token.header.contains_key("crit") || self.alg.as_deref().is_some_and(|alg| header("alg") != Some(alg)) {
            return Ok(false);
        }
        let key = match (&self.cert, &self.secret) {
            (Some(cert), None) if !algorithm.is_shared() => cert,
            (None, Some(secret)) if algorithm.is_shared() => secret,
            (Some(_), None) | (None, Some(_)) => return Ok(false),
            _ => return Err("exactly one of the constraints cert and secret must be given".to_owned()),
        };
        Ok(Keys::parse(algorithm, key.as_bytes())?.verify(token) && self.claims_hold(token))
    }

    fn claims_hold(&self, token: &Token) -> bool {
        let claim = |name: &str| token.payload.get(name);
        let issuer = self.iss.is_none() || claim("iss").and_then(serde_json::Value::as_str) == self.iss.as_deref();
        let audience = match (claim("aud"), &self.aud) {
            (None, None) => true,
            (Some(serde_json::Value::String(one)), Some(wanted)) => one == wanted,
            (Some(serde_json::Value::Array(some)), Some(wanted)) => some.iter().any(|one| one.as_str() == Some(wanted)),
            _ => false,
        };
        let now = self.time_s.or_else(|| seconds(&Value::from(now_ns())));
        let number = |name: &str| claim(name).map(|value| value.as_f64());
        // A time that is no number is not a time that has been kept.
        let begun = number("nbf").is_none_or(|at| at.zip(now).is_some_and(|(at, now)| at <= now));
        let ended = number("exp").is_some_and(|at| at.zip(now).is_none_or(|(at, now)| at <= now));
        issuer && audience && begun && !ended
    }
}

/// Nanoseconds as seconds. Those of our days are whole numbers with more digits than a float has, which as such they are not
/// read as.
fn seconds(ns: &Value) -> Option<f64> {
    let whole = ns.as_i64().ok().and_then(|ns| serde_json::Number::from(ns).as_f64());
    whole.or_else(|| ns.as_f64().ok()).map(|ns| ns / 1e9)
}
