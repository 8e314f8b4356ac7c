use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use world::World;

use super::*;
use crate::matching::has_words;
use crate::terms::Builder;

fn word(word: &str) -> Need {
    Need::Terms(vec![Term::Word(word.to_owned())])
}

#[test]
fn needs_are_what_a_filter_cannot_hold_without() {
    let key = |value: &str| Need::Key(value.to_owned());
    let text = |words: &str| has_words(col("input"), words).or(has_words(col("output"), words));
    for (filter, expected) in [
        (col("model").eq(lit("a")), Need::Open),
        (col("call_id").eq(lit("a")), key("a")),
        (lit("a").eq(col("id")), key("a")),
        (col("call_id").not_eq(lit("a")), Need::Open),
        (col("trace_id").in_list(vec![lit("a"), lit("b")], false), Need::Any(vec![key("a"), key("b")])),
        (col("trace_id").in_list(vec![lit("a"), lit("b")], true), Need::Open),
        (text("refund"), word("refund")),
        (
            text("refund").and(text("policy")).and(col("model").eq(lit("a"))),
            Need::All(vec![word("refund"), word("policy")]),
        ),
        (text("refund").or(col("model").eq(lit("a"))), Need::Open),
        (text("refund").or(col("id").eq(lit("a"))), Need::Any(vec![word("refund"), key("a")])),
        (text("refund").is_not_true(), Need::Open),
        (text("*fund"), Need::Terms(vec![])),
        (text("re*nd"), Need::Terms(vec![Term::Prefix("re".into())])),
        (text("退款 a"), Need::Terms(vec![Term::Word("a".into()), Term::Word("退款".into())])),
        (text("a 退 b"), Need::Terms(vec![Term::Word("a".into()), Term::Word("退".into()), Term::Word("b".into())])),
    ] {
        assert_eq!(Need::of(std::slice::from_ref(&filter)), expected, "{filter}");
    }
}

#[test]
fn rows_are_those_of_the_blocks_that_have_everything() {
    let dir = tempfile::tempdir().unwrap();
    let disk = World::real().disk;
    let mut builder = Builder::of_rows(1_000);
    for row in 0..BLOCK_ROWS * 3 + 10 {
        builder.begin_row(row as i64);
        match row {
            7 => builder.content("refund policy"),
            1_030 => builder.content("refund"),
            1_031 => builder.content("policy"),
            3_075 => builder.key("k"),
            _ => {}
        }
    }
    let path = dir.path().join("x.terms");
    disk.replace(&path, &builder.finish()).unwrap();
    let terms = Terms::open(disk.as_ref(), &path).unwrap();
    let text = |words: &str| has_words(col("input"), words);
    for (filter, expected) in [
        (text("refund"), Rows::Blocks(vec![0, 1])),
        (text("policy").and(text("refund")), Rows::Blocks(vec![0, 1])),
        (text("nothing"), Rows::None),
        (text("refund").and(text("nothing")), Rows::None),
        (text("refund").or(text("nothing")), Rows::Blocks(vec![0, 1])),
        (text("pol*"), Rows::Blocks(vec![0, 1])),
        (text("q*"), Rows::None),
        (text("*y"), Rows::All),
        (col("id").eq(lit("k")), Rows::All),
        (col("id").eq(lit("another")), Rows::None),
    ] {
        assert_eq!(Need::of(std::slice::from_ref(&filter)).rows(&terms, disk.as_ref()).unwrap(), expected, "{filter}");
    }
}

#[test]
fn a_selection_covers_all_rows() {
    for (blocks, expected) in [
        (vec![0], vec![RowSelector::select(1_024), RowSelector::skip(1_076)]),
        (vec![1], vec![RowSelector::skip(1_024), RowSelector::select(1_024), RowSelector::skip(52)]),
        (vec![0, 2], vec![RowSelector::select(1_024), RowSelector::skip(1_024), RowSelector::select(52)]),
        // What a damaged index says beyond the last row.
        (vec![9], vec![RowSelector::skip(2_100)]),
    ] {
        assert_eq!(Vec::<RowSelector>::from(selection(&blocks, 2_100)), expected, "{blocks:?}");
    }
}
