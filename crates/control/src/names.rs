//! Names, parsed once: whoever has one need not look at it again. None of them needs quoting in a header, a path or a record.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $bytes_max:literal, $also:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $type(String);

        impl $type {
            /// What it has to be, in a sentence.
            pub const RULE: &str = concat!("1 to ", $bytes_max, " of A-Z, a-z, 0-9 and ", $also);

            /// A name, if it is one.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let is_good = |byte: u8| byte.is_ascii_alphanumeric() || $also.as_bytes().contains(&byte);
                ((1..=$bytes_max).contains(&text.len()) && text.bytes().all(is_good)).then(|| Self(text.to_owned()))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not {}", Self::RULE)))
            }
        }
    };
}

name!(
    /// What callers name as a model: `support-bot`. It has no slash, which a policy puts between a route and its version.
    RouteName,
    64,
    "-._:@"
);
name!(
    /// A version of a route: `gemma-3-270m@2026-11-20`.
    VersionName,
    128,
    "-._:@/+"
);
name!(
    /// A model as its server calls it: `gemma3:270m`, `hf.co/unsloth/gemma-3-270m-it-GGUF:Q8_0`.
    ModelName,
    256,
    "-._:@/+"
);
name!(
    /// A model server by its name in the configuration.
    UpstreamName,
    64,
    "-._"
);

impl UpstreamName {
    /// The model server of the section `[upstream]`, where everything goes that names no route.
    #[must_use]
    pub fn usual() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_quotes_anywhere() {
        for good in ["support-bot", "a", "gemma3:270m", "x.y_z@1"] {
            assert!(RouteName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\"b", "a\n", "ä", "a,b", "a;b", &"x".repeat(65)] {
            assert!(RouteName::parse(bad).is_none(), "{bad}");
        }
        assert!(VersionName::parse("hf.co/a/b:Q8_0").is_some() && VersionName::parse("a\\b").is_none());
        assert!(UpstreamName::parse(UpstreamName::usual().as_str()).is_some());
        let said = serde_json::from_str::<RouteName>("\"a b\"").unwrap_err().to_string();
        assert_eq!(said, "\"a b\" is not 1 to 64 of A-Z, a-z, 0-9 and -._:@");
    }
}
