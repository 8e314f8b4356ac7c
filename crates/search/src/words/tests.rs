use proptest::prelude::*;

use super::*;

fn words(text: &str) -> Vec<(String, usize)> {
    struct All(Vec<(String, usize)>);
    impl Reader for All {
        fn word(&mut self, word: &str, place: usize) -> ControlFlow<()> {
            self.0.push((word.to_owned(), place));
            ControlFlow::Continue(())
        }
    }
    let mut all = All(Vec::new());
    read_content(text, &mut all);
    all.0
}

fn finder(words: &str) -> Finder {
    Finder::new(Phrase::of(words).unwrap())
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let found: Vec<String> = words(text).into_iter().map(|(word, _)| word).collect();
    assert_eq!(found.join(" "), expected, "{text}");
}

#[test]
fn words_are_letters_and_digits_in_lower_case() {
    check("The Quick-brown FOX_2, don't!", "the quick brown fox 2 don t");
    check("Größe ÉTÉ Ἀθῆναι Привет", "größe été ἀθῆναι привет");
    check("cafe\u{301}s", "cafe\u{301}s");
    check("हिन्दी क्षमा", "हिन्दी क्षमा");
    check("مَرحبا שָׁלוֹם", "مَرحبا שָׁלוֹם");
    check("한국어 텍스트", "한국어 텍스트");
    check("退款政策 abc日本", "退 款 政 策 abc 日 本");
    check("สวัสดี", "ส ว ั ส ด ี");
    check("ok👍🏽 → yes", "ok 👍 🏽 → yes");
    check("בית־ספר, ΟΔΟΣ οδός İSTANBUL", "בית ספר οδοσ οδόσ istanbul");
    check("人々 〇〇さん", "人 々 〇 〇 さ ん");
    check("", "");
}

#[test]
fn of_json_the_values_are_read_as_they_were() {
    check(
        r#"[{"role":"user","parts":[{"type":"text","content":"first\nnext \"q\" \u00e9t\u00e9"}]}]"#,
        "user text first next q été",
    );
    check(r#"{"amount": 42.5, "ok": true}"#, "42 5 true");
    check(r#"{"arguments":"{\"city\":\"New\\nYork\"}"}"#, "new york");
    check(r#"{"cut": "off"#, "off");
    check(r#"{"a": "b\"#, "b");
    check(r#"[info] "level": "high" \new"#, "info level high new");
    check(r#"[1] "refund": see, there"#, "1 refund see there");
    check("[1, -2.5]", "1 2 5");
    check(r"C:\new and [brackets]", "c new and brackets");
}

#[test]
fn what_stands_in_two_texts_does_not_follow_each_other() {
    assert!(finder("refund policy").is_in(r#"["the refund policy"]"#));
    assert!(!finder("refund policy").is_in(r#"["the refund","policy"]"#));
    assert!(!finder("refund policy").is_in("policy, refund of a policy"));
    assert!(!finder("1 2").is_in(r#"{"n":[1,2],"a":1,"b":2}"#));
    assert!(!finder("1 2").is_in("[1, 2]"));
    assert!(finder("2 5").is_in(r#"{"n": 2.5}"#));
    assert!(finder("see there").is_in(r#"[1] "refund": see, there"#));
}

#[test]
fn phrases_are_found_where_they_stand() {
    for (phrase, text, expected) in [
        ("refund", "A REFUND.", true),
        ("refund", "refunds", false),
        ("refund*", "refunds", true),
        ("*fund", "refund", true),
        ("re*nd", "refund", true),
        ("re*nd*s", "refunds", true),
        ("ref*fund", "refund", false),
        ("a a b", "a a a b", true),
        ("a b a c", "a b a b a c", true),
        ("don't", "I don't know", true),
        ("a@b.example", "mail a@b.example now", true),
        ("款政", "退款政策", true),
        ("退策", "退款政策", false),
        ("款*", "退款", true),
        ("the * policy", "the refund policy", true),
        ("the * policy", "the policy", false),
        ("été", "L'ÉTÉ", true),
    ] {
        assert_eq!(finder(phrase).is_in(text), expected, "{phrase} in {text}");
    }
    assert!(Phrase::of("...\" *").is_none());
    assert!(Phrase::of(&"a ".repeat(PHRASE_WORDS_MAX + 1)).is_none());
    for escaped in [r#"["the refund\npolicy"]"#, r#"["{\"a\":\"refund\\npolicy\"}"]"#, "refund\n\tPolicy"] {
        assert!(finder("refund pol*").is_in(escaped), "{escaped}");
    }
    // What is written by escapes is there all the same, and so is a letter whose small one is ASCII.
    assert!(finder("refund").is_in(r#"["re\u0066und"]"#));
    assert!(finder("kelvin").is_in("\u{212A}elvin"));
}

/// The same by words side by side.
fn is_in_plainly(phrase: &[(String, usize)], text: &[(String, usize)]) -> bool {
    text.windows(phrase.len()).any(|window| {
        let follow = window.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1);
        follow && window.iter().zip(phrase).all(|(a, b)| a.0 == b.0)
    })
}

proptest! {
    #[test]
    fn a_phrase_is_found_as_by_comparing_words(phrase in "[ab,退 ]{1,8}", text in "[ab,退\" \\[\\]:]{0,40}") {
        if let Some(found) = Phrase::of(&phrase) {
            prop_assert_eq!(Finder::new(found).is_in(&text), is_in_plainly(&words(&phrase), &words(&text)));
        }
    }

    #[test]
    fn a_text_that_has_the_words_has_their_shape(phrase in "[ab]{1,2}([ ,][ab*]{1,2}){0,2}", text in r#"(\[")?([abnt ,]|\\n|\\\\t|\\"){0,24}"#) {
        if let Some(mut found) = Phrase::of(&phrase).map(Finder::new) {
            let said = found.is_in(&text);
            found.shape = None;
            prop_assert_eq!(said, found.is_in(&text), "{} in {}", phrase, text);
        }
    }

    #[test]
    fn what_is_cut_out_of_a_plain_text_at_its_spaces_is_found_in_it(text in "[a-zA-Z0-9éß退 ,.-]{1,60}", from in 0..10_usize, count in 1..5_usize) {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let cut = parts.iter().skip(from).take(count).copied().collect::<Vec<_>>().join(" ");
        if let Some(phrase) = Phrase::of(&cut) {
            prop_assert!(Finder::new(phrase).is_in(&text), "{} in {}", cut, text);
        }
    }

    #[test]
    fn a_text_says_the_same_as_json(text in any::<String>()) {
        let json = serde_json::to_string(&[&text]).unwrap();
        let plain: Vec<String> = words(text.trim_start_matches(['[', '{'])).into_iter().map(|(word, _)| word).collect();
        if !text.trim_start().starts_with(['[', '{']) {
            let told: Vec<String> = words(&json).into_iter().map(|(word, _)| word).collect();
            prop_assert_eq!(told, plain);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), marks in "[\"\\\\{}\\[\\]:, a*退]{0,24}") {
        words(&text);
        words(&marks);
        Phrase::of(&marks).map(|phrase| Finder::new(phrase).is_in(&text));
    }
}
