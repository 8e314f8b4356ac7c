use std::collections::BTreeMap;

use proptest::prelude::*;
use world::World;

use super::*;

fn opened(bytes: &[u8]) -> (tempfile::TempDir, Result<Arc<Terms>, TermsError>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.terms");
    let disk = World::real().disk;
    disk.replace(&path, bytes).unwrap();
    let terms = Terms::open(disk.as_ref(), &path);
    (dir, terms)
}

/// A row in which the words and the key of each block stand, and the blocks in which each word stands.
fn built(blocks: &[Vec<String>]) -> (Vec<u8>, BTreeMap<String, Blocks>) {
    let mut builder = Builder::of_rows(1_000);
    let mut expected: BTreeMap<String, Blocks> = BTreeMap::new();
    for (block, words) in blocks.iter().enumerate() {
        for row in 0..BLOCK_ROWS {
            builder.begin_row((block * BLOCK_ROWS + row) as i64 - 5);
            if row == block % BLOCK_ROWS {
                builder.content(&words.join(" "));
                builder.key(&format!("key-{block}"));
            }
        }
        for word in words {
            let blocks = expected.entry(word.clone()).or_default();
            if blocks.last() != Some(&block) {
                blocks.push(block);
            }
        }
    }
    (builder.finish(), expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn words_are_where_they_were_put(blocks in prop::collection::vec(prop::collection::vec("[a-e]{1,4}|[a-z]{5}", 0..80), 1..40), prefix in "[a-f]{1,2}") {
        let (bytes, expected) = built(&blocks);
        let (_dir, terms) = opened(&bytes);
        let (terms, disk) = (terms.unwrap(), World::real().disk);
        prop_assert_eq!(terms.rows, blocks.len() * BLOCK_ROWS);
        prop_assert_eq!(terms.times, (-5, (blocks.len() * BLOCK_ROWS) as i64 - 6));
        for (word, blocks) in &expected {
            prop_assert!(terms.may_have(word));
            prop_assert_eq!(&terms.blocks(disk.as_ref(), word).unwrap(), blocks);
        }
        for block in 0..blocks.len() {
            let key = format!("key-{block}");
            prop_assert!(terms.may_have(&key));
        }
        for absent in ["", "aa0", "zzzzzz", "f"] {
            prop_assert_eq!(terms.blocks(disk.as_ref(), absent).unwrap(), expected.get(absent).cloned().unwrap_or_default());
        }
        let begins: std::collections::BTreeSet<usize> =
            expected.iter().filter(|(word, _)| word.starts_with(&prefix)).flat_map(|(_, blocks)| blocks.clone()).collect();
        prop_assert_eq!(terms.blocks_of_prefix(disk.as_ref(), &prefix).unwrap(), Some(begins.into_iter().collect::<Blocks>()));
    }

    #[test]
    fn damage_is_found_or_changes_nothing(at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<prop::sample::Index>()) {
        let (bytes, expected) = built(&[vec!["alpha".into(), "beta".into()], vec!["beta".into(), "gamma".into()]]);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= flip;
        for bytes in [&damaged[..], &bytes[..cut.index(bytes.len())]] {
            let (_dir, terms) = opened(bytes);
            let Ok(terms) = terms else { continue };
            for (word, blocks) in &expected {
                match terms.blocks(World::real().disk.as_ref(), word) {
                    Ok(found) => prop_assert_eq!(&found, blocks),
                    Err(TermsError::Damaged(_)) => {}
                    Err(error) => prop_assert!(false, "{error}"),
                }
            }
        }
    }
}

#[test]
fn there_are_few_false_answers() {
    let blocks: Vec<Vec<String>> = vec![(0..20_000).map(|n| format!("w{n}")).collect()];
    let (_dir, terms) = opened(&built(&blocks).0);
    let terms = terms.unwrap();
    let wrong = (20_000..120_000).filter(|n| terms.may_have(&format!("w{n}"))).count();
    assert!(wrong < 2_500, "{wrong} of 100,000");
}

#[test]
fn characters_without_spaces_are_indexed_in_pairs_too() {
    let mut builder = Builder::of_rows(1_000);
    builder.begin_row(0);
    builder.content("退款政策 abc 日");
    let (_dir, terms) = opened(&builder.finish());
    let (terms, disk) = (terms.unwrap(), World::real().disk);
    for (word, is_there) in
        [("退", true), ("退款", true), ("款政", true), ("策abc", false), ("日", true), ("策日", false), ("退政", false)]
    {
        assert_eq!(terms.blocks(disk.as_ref(), word).unwrap() == [0], is_there, "{word}");
    }
}
