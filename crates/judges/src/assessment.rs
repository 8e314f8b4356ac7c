//! The only forms of a model's answer that count.
//!
//! A model that was talked into something, that explains itself or that was cut short does not answer in them, so that is a failure.

use std::collections::BTreeSet;

use crate::category::Categories;
use crate::failure::Failure;

/// What a model said about a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assessment {
    /// Nothing is wrong with it.
    Safe,
    /// Something is, by the places of its categories; none where the model was not asked which.
    Unsafe(BTreeSet<usize>),
}

/// Llama Guard 3's: `safe`; or `unsafe`, and on a second line codes of categories, with commas between. Space around it and around
/// codes is let pass.
pub(crate) fn read_safety(answer: &str, categories: &Categories) -> Result<Assessment, Failure> {
    const FORM: Failure = Failure::Unclear("\"safe\", or \"unsafe\" and a line with codes of the categories");
    let mut lines = answer.trim().lines().map(str::trim);
    match (lines.next(), lines.next(), lines.next()) {
        (Some("safe"), None, None) => Ok(Assessment::Safe),
        (Some("unsafe"), Some(codes), None) => {
            let places = codes.split(',').map(|code| categories.find(code.trim()));
            Ok(Assessment::Unsafe(places.collect::<Option<_>>().ok_or(FORM)?))
        }
        _ => Err(FORM),
    }
}

/// One word, `yes` or `no`, in whichever case, with or without a full stop.
pub(crate) fn read_yes_or_no(answer: &str) -> Result<Assessment, Failure> {
    let answer = answer.trim();
    let word = answer.strip_suffix('.').unwrap_or(answer);
    if word.eq_ignore_ascii_case("no") {
        Ok(Assessment::Safe)
    } else if word.eq_ignore_ascii_case("yes") {
        Ok(Assessment::Unsafe(BTreeSet::new()))
    } else {
        Err(Failure::Unclear("\"yes\" or \"no\""))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hazards() -> Categories {
        Categories::new("judge", &[]).unwrap()
    }

    #[track_caller]
    fn check_safety(answer: &str, expected: Option<&[usize]>) {
        let expected = expected.map(|places| match places {
            [] => Assessment::Safe,
            places => Assessment::Unsafe(places.iter().copied().collect()),
        });
        assert_eq!(read_safety(answer, &hazards()).ok(), expected, "{answer:?}");
    }

    #[test]
    fn safe_and_unsafe_are_told_apart() {
        check_safety("safe", Some(&[]));
        check_safety("\n\nsafe \n", Some(&[]));
        check_safety("unsafe\nS1", Some(&[0]));
        check_safety("\n\nunsafe\nS14, S2,S2", Some(&[1, 13]));
        check_safety("unsafe\r\nS5\r\n", Some(&[4]));
    }

    #[test]
    fn everything_else_is_a_failure() {
        let wrong = [
            "",
            "Safe",
            "SAFE",
            "safe.",
            "safe\nS1",
            "safe, since nothing is wrong",
            "the text is safe",
            "safe\n\nbut",
            "unsafe",
            "unsafe\n",
            "unsafe S1",
            "unsafe\n\nS1",
            "unsafe\nS0",
            "unsafe\nS15",
            "unsafe\nS01",
            "unsafe\nS+1",
            "unsafe\ns1",
            "unsafe\nS1;S2",
            "unsafe\nS1,",
            "unsafe\nviolence",
            "unsafe\nS1\nS2",
            "unsafe\nS99999999999999999999999",
            "\"safe\"",
            "saf\u{200b}e",
            "unsafesafe",
            "not safe",
            "safe safe",
            "safe\u{0}",
        ];
        for answer in wrong {
            check_safety(answer, None);
        }
    }

    #[test]
    fn yes_and_no_are_one_word() {
        for (answer, expected) in [("no", true), ("No.\n", true), (" NO", true), ("yes", false), ("Yes.", false)] {
            assert_eq!(read_yes_or_no(answer).unwrap() == Assessment::Safe, expected, "{answer}");
        }
        for answer in ["", "none", "no, but", "yes and no", "no..", "n", "unsafe", "safe", "no\nyes", "not", "ｎｏ"] {
            assert!(read_yes_or_no(answer).is_err(), "{answer}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_exact_word_is_safe(answer in "(?s)[ \n]{0,2}(safe|unsafe|no|yes|S1|.{0,6})[ \n.]{0,3}(S1[0-9]?|,|.{0,3})[ \n]?") {
            prop_assert_eq!(read_safety(&answer, &hazards()) == Ok(Assessment::Safe), answer.trim() == "safe");
            let word = answer.trim().to_ascii_lowercase();
            prop_assert_eq!(read_yes_or_no(&answer) == Ok(Assessment::Safe), word == "no" || word == "no.");
        }

        #[test]
        fn no_answer_ends_the_reading(answer in "(?s).{0,200}", codes in prop::collection::vec(any::<u128>(), 0..4)) {
            let _ = read_safety(&answer, &hazards());
            let _ = read_yes_or_no(&answer);
            let codes: Vec<String> = codes.iter().map(|code| format!("S{code}")).collect();
            let _ = read_safety(&format!("unsafe\n{}", codes.join(",")), &hazards());
        }

        #[test]
        fn every_code_of_a_category_is_found_and_no_other(number in 0usize..100) {
            let found = hazards().find(&format!("S{number}"));
            prop_assert_eq!(found, (1..=14).contains(&number).then(|| number - 1));
        }
    }
}
