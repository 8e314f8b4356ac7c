use proptest::prelude::*;

use super::*;
use crate::words::{Phrase, Wanted};
use datafusion::prelude::col;
use record::Timestamp;

use crate::language::{compile, parse};
use crate::matching::has_words;

fn sought(query: &str) -> Sought {
    Sought::of(&compile(query, &parse(query).unwrap(), Timestamp::from_micros(0)).unwrap())
}

/// The passages of a row that says this as its output, with marks in brackets and an ellipsis where they are cut.
fn shown(query: &str, output: &str) -> Vec<String> {
    let snippets = sought(query).snippets(|name| (name == "output").then_some(output));
    snippets.iter().map(marked).collect()
}

fn marked(snippet: &Snippet) -> String {
    let mut shown = String::new();
    let mut marks = snippet.marks.iter().flat_map(|(start, end)| [(*start, '['), (*end, ']')]).peekable();
    let ends = snippet.text.chars().map(Some).chain([None]);
    for (at, c) in ends.enumerate() {
        while let Some((_, bracket)) = marks.next_if(|(mark, _)| usize::try_from(*mark).unwrap() == at) {
            shown.push(bracket);
        }
        shown.extend(c);
    }
    assert_eq!(marks.next(), None, "a mark beyond the text: {snippet:?}");
    let (start, end) = snippet.is_cut;
    format!("{}{shown}{}", if start { "…" } else { "" }, if end { "…" } else { "" })
}

#[track_caller]
fn check(query: &str, output: &str, expected: &[&str]) {
    assert_eq!(shown(query, output), expected, "{query} in {output}");
}

#[test]
fn what_matched_is_marked_as_it_matched() {
    check("refund", "A full REFUND, please.", &["A full [REFUND], please."]);
    check("refund*", "Refunds and refundable", &["[Refunds] and [refundable]"]);
    check("\"refund policy\"", "the refund -\n policy; a policy", &["the [refund -\n policy]; a policy"]);
    check("refund policy", "policy of a refund", &["[policy] of a [refund]"]);
    check("\"a b\" \"b c\"", "x a b c, b", &["x [a b c], b"]);
    check("退款", "关于退款政策和退款", &["关于[退款]政策和[退款]"]);
    check("งิน", "การคืนเงิน", &["การคืนเ[งิน]"]);
    check("élève OR 👍", "l'ÉLÈVE 👍🏽", &["l'[ÉLÈVE] [👍]🏽"]);
    check("output:x input:x", "an x", &["an [x]"]);
}

#[test]
fn what_is_not_looked_for_is_not_marked() {
    check("-refund", "a refund", &[]);
    check("refund -(policy OR -full)", "full refund policy", &["[full] [refund] policy"]);
    check("refund OR input:policy", "refund policy", &["[refund] policy"]);
    check("model:refund", "a refund", &[]);
    check("output:*", "a refund", &[]);
    check("", "a refund", &[]);
}

#[test]
fn of_json_a_passage_is_of_one_value_as_it_was() {
    let json = r#"[{"role":"user","content":"the \"full\"\nrefund"},{"content":"no refund, 退款"}]"#;
    check("refund", json, &["the \"full\"\n[refund]"]);
    check("refund \\退款", json, &["the \"full\"\n[refund]", "no [refund], [退款]"]);
    check("user", json, &["[user]"]);
    check("role", json, &[]);
    check("42", r#"{"amount": 42.5, "of": [41]}"#, &["[42].5"]);
    check("york", r#"{"arguments":"{\"city\":\"New\\nYork\"}"}"#, &["New\n[York]"]);
    check("r\u{e9}sum\u{e9}", r#"["my r\u00e9sum\u00e9"]"#, &["my [résumé]"]);
}

#[test]
fn a_passage_is_cut_between_words_and_no_row_has_more_than_three() {
    let long = format!("{}needle{}", "some hay ".repeat(30), " more hay".repeat(30));
    let [passage] = shown("needle", &long).try_into().unwrap();
    assert!(passage.starts_with("…some hay") || passage.starts_with("…hay some"), "{passage}");
    assert!(passage.contains(" [needle] ") && passage.ends_with(" hay…") || passage.ends_with(" more…"), "{passage}");
    assert!((120..=162).contains(&passage.chars().filter(|c| !"[]".contains(*c)).count()), "{passage}");
    let apart = ["one", "two", "three", "four"].map(|word| format!("{word} {}", "hay ".repeat(200))).concat();
    let passages = shown("one two three four", &apart);
    assert_eq!(passages.len(), 3, "{passages:#?}");
    assert!(passages[2].contains("[three]"), "{passages:?}");
    // In two columns, what is said in the first comes first.
    let both = sought("result:b a b").snippets(|name| match name {
        "input" => Some("a b"),
        "result" => Some("b"),
        _ => None,
    });
    assert_eq!(
        both.iter().map(|snippet| (snippet.field, marked(snippet))).collect::<Vec<_>>(),
        [("input", "[a] [b]".into()), ("result", "[b]".into())]
    );
}

#[test]
fn what_is_longer_than_a_passage_is_cut_with_its_mark() {
    let word = "x".repeat(1_000);
    let [passage] = sought("x*").snippets(|_| Some(&word)).into_iter().take(1).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((passage.text.len(), passage.marks, passage.is_cut), (160, vec![(0, 160)], (false, true)));
    // Half a word before it looks like another, and is not marked as that.
    let half = format!("{}refund{} needle", "y".repeat(50), "z".repeat(54));
    for snippet in sought(&format!("needle OR {}*", "z".repeat(6))).snippets(|name| (name == "output").then_some(&half))
    {
        assert_eq!(snippet.marks.len(), 1, "{snippet:?}");
    }
}

/// Words of plain text, found otherwise: by looking at each character and its neighbour.
fn plain_words(text: &str) -> Vec<(String, Range<usize>)> {
    let chars: Vec<char> = text.chars().collect();
    let mut words: Vec<(String, Range<usize>)> = Vec::new();
    for (at, c) in chars.iter().enumerate() {
        let is_alone = *c == '退' || *c == '款';
        if !is_alone && !c.is_alphanumeric() {
            continue;
        }
        match words.last_mut() {
            Some((word, place)) if place.end == at && !is_alone && !word.contains(['退', '款']) => {
                word.extend(c.to_lowercase());
                place.end = at + 1;
            }
            _ => words.push((c.to_lowercase().collect(), at..at + 1)),
        }
    }
    words
}

/// Which characters are marked where these phrases are looked for, by comparing words side by side.
fn marks_expected(phrases: &[String], text: &str) -> Vec<bool> {
    let words = plain_words(text);
    let mut is_marked = vec![false; text.chars().count()];
    for phrase in phrases {
        let phrase = plain_words(phrase);
        for window in words.windows(phrase.len().max(1)) {
            if !phrase.is_empty() && window.iter().zip(&phrase).all(|((a, _), (b, _))| a == b) {
                is_marked[window[0].1.start..window[window.len() - 1].1.end].fill(true);
            }
        }
    }
    is_marked
}

proptest! {
    #[test]
    fn the_marks_are_what_was_looked_for_and_nothing_else(
        phrases in prop::collection::vec("[abAé退款]{1,2}([ ,][abé退]{1,2}){0,2}", 1..4),
        text in "[abABé退款 ,.-]{0,150}",
    ) {
        let filter = phrases.iter().map(|phrase| has_words(col("output"), phrase)).reduce(Expr::or).unwrap();
        let snippets = Sought::of(&filter).snippets(|_| Some(&text));
        let expected = marks_expected(&phrases, &text);
        // All of a short text is one passage, but for the blanks around it.
        prop_assert_eq!(snippets.len(), usize::from(expected.contains(&true)));
        for snippet in snippets {
            let skipped = text.chars().take_while(|c| c.is_whitespace()).count();
            let length = snippet.text.chars().count();
            let mut told = vec![false; length];
            for (start, end) in &snippet.marks {
                told[usize::try_from(*start).unwrap()..usize::try_from(*end).unwrap()].fill(true);
            }
            prop_assert_eq!(&told, &expected[skipped..skipped + length], "{:?}", snippet);
        }
    }

    #[test]
    fn a_passage_of_any_text_is_a_part_of_it_and_its_marks_are_matches(
        wanted in "[ab退]{1,2}\\*?( [ab]\\*?){0,1}",
        text in "([ab]{1,3}[ ,.]|退|[ab]{30,90}|é|👍🏽|\n| {1,70}){0,60}",
    ) {
        let Some(phrase) = Phrase::of(&wanted) else { return Ok(()) };
        let finder = Finder::new(phrase.clone());
        let snippets = Sought::of(&has_words(col("output"), &wanted)).snippets(|_| Some(&text));
        prop_assert_eq!(snippets.len(), usize::from(finder.is_in(&text)));
        for snippet in snippets {
            prop_assert!(text.contains(&snippet.text));
            prop_assert!(snippet.text.chars().count() <= PASSAGE_CHARS);
            prop_assert!(!snippet.marks.is_empty());
            let chars: Vec<char> = snippet.text.chars().collect();
            for (start, end) in &snippet.marks {
                let (start, end) = (usize::try_from(*start).unwrap(), usize::try_from(*end).unwrap());
                let said: String = chars[start..end].iter().collect();
                let is_clipped = end == chars.len() && snippet.is_cut.1;
                prop_assert!(is_clipped || finder.is_in(&said), "{} is marked for {} in {:?}", said, wanted, snippet);
                prop_assert!(is_clipped || phrase.words().len() > 1 || !matches!(phrase.words()[0], Wanted::Word(_)) || !said.contains(' '));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), json in "[\"\\\\{}\\[\\]:, a退\u{301}]{0,40}") {
        for text in [text, json] {
            sought("a* OR 退 OR \"a a\"").snippets(|_| Some(&text)).iter().for_each(|snippet| drop(marked(snippet)));
        }
    }
}
