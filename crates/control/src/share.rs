//! Shares of the conversations, in hundredths of a percent: they add up exactly.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A share of the conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(u32);

impl Share {
    /// Nobody.
    pub const NONE: Self = Self(0);
    /// Everybody.
    pub const WHOLE: Self = Self(10_000);

    /// Percent with at most two digits behind the point: `5`, `0.25`, `100`.
    #[must_use]
    pub fn parse(percent: &str) -> Option<Self> {
        let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
        let digits = |text: &str, most: usize| {
            ((1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse::<u32>().ok())
                .flatten()
        };
        let (whole, part, tenths) = (digits(whole, 3)?, digits(part, 2)?, part.len() == 1);
        let share = Self(whole * 100 + if tenths { part * 10 } else { part });
        (share <= Self::WHOLE).then_some(share)
    }

    /// In hundredths of a percent.
    #[must_use]
    pub const fn hundredths(self) -> u32 {
        self.0
    }

    /// In percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// What others have when one has this.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(Self::WHOLE.0.saturating_sub(self.0))
    }

    /// Divides a share as the parts are to each other. What cannot be divided goes to those who would lose most; none where
    /// the parts are all nothing and something is to be given.
    pub(crate) fn divided(self, parts: &[Self]) -> Option<Vec<Self>> {
        let total: u64 = parts.iter().map(|part| u64::from(part.0)).sum();
        if total == 0 {
            return (self == Self::NONE).then(|| parts.to_vec());
        }
        let exact = |part: &Self| u64::from(part.0) * u64::from(self.0);
        let mut given: Vec<Self> =
            parts.iter().map(|part| Self(u32::try_from(exact(part) / total).unwrap_or(self.0))).collect();
        let left = self.0 - given.iter().map(|share| share.0).sum::<u32>();
        let mut by_loss: Vec<usize> = (0..parts.len()).collect();
        by_loss.sort_by_key(|nth| std::cmp::Reverse(parts.get(*nth).map_or(0, |part| exact(part) % total)));
        for nth in by_loss.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            if let Some(share) = given.get_mut(nth) {
                share.0 += 1;
            }
        }
        Some(given)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}", self.0 / 100),
            part if part % 10 == 0 => write!(f, "{}.{}", self.0 / 100, part / 10),
            part => write!(f, "{}.{part:02}", self.0 / 100),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.percent())
    }
}

/// From a number of JSON by its digits, so that nothing is rounded on the way.
impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?.to_string();
        let digits = number.strip_suffix(".0").unwrap_or(&number);
        let wrong = || format!("{number} is no share: percent from 0 to 100, with at most two digits behind the point");
        Self::parse(digits).ok_or_else(|| serde::de::Error::custom(wrong()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_percent_with_two_digits() {
        for (text, hundredths) in
            [("5", 500), ("0.25", 25), ("0.5", 50), ("0.05", 5), ("100", 10_000), ("100.00", 10_000)]
        {
            assert_eq!(Share::parse(text).map(Share::hundredths), Some(hundredths), "{text}");
        }
        for bad in ["", "-1", "100.01", "5.", ".5", "5.123", "1e2", "+5", " 5", "NaN", "1000"] {
            assert_eq!(Share::parse(bad), None, "{bad}");
        }
        assert_eq!(serde_json::from_str::<Share>("5.0").unwrap(), Share(500));
        assert!(serde_json::from_str::<Share>("101").is_err());
    }

    proptest! {
        #[test]
        fn what_is_divided_is_given_away_to_the_last_hundredth(
            whole in 0_u32..=10_000, parts in prop::collection::vec(0_u32..=10_000, 1..9)
        ) {
            let parts: Vec<Share> = parts.into_iter().map(Share).collect();
            match Share(whole).divided(&parts) {
                Some(given) => {
                    let total: u32 = parts.iter().map(|part| part.0).sum();
                    prop_assert!(total == 0 || given.iter().map(|share| share.0).sum::<u32>() == whole);
                    prop_assert!(parts.iter().zip(&given).all(|(part, given)| part.0 > 0 || given.0 == 0));
                }
                None => prop_assert!(whole > 0 && parts.iter().all(|part| part.0 == 0)),
            }
        }

        #[test]
        fn a_share_reads_as_it_is_written(hundredths in 0_u32..=10_000) {
            let share = Share(hundredths);
            prop_assert_eq!(Share::parse(&share.to_string()), Some(share));
            let json = serde_json::to_string(&share).unwrap();
            prop_assert_eq!(serde_json::from_str::<Share>(&json).unwrap(), share);
        }
    }
}
