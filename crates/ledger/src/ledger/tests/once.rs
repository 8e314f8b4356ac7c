//! Records that come again.

use record::once_id;

use super::*;

fn named(bench: &Bench, key: &str) -> Draft {
    let mut draft = bench.draft(Kind::System, 0);
    draft.id = once_id("test", key);
    draft
}

fn indexes(receipts: &[Receipt]) -> Vec<(u64, bool)> {
    receipts.iter().map(|receipt| (receipt.index, receipt.is_repeat)).collect()
}

#[tokio::test]
async fn a_record_that_comes_again_keeps_its_first_place() {
    let bench = Bench::new();
    let opened = bench.open();
    let first = append(&opened.ledger, vec![named(&bench, "a"), named(&bench, "b")]).await;
    assert_eq!(indexes(&first), [(0, false), (1, false)]);

    let mixed = vec![named(&bench, "b"), named(&bench, "c"), bench.draft(Kind::System, 0), named(&bench, "c")];
    let mixed = append(&opened.ledger, mixed).await;
    assert_eq!(indexes(&mixed), [(1, true), (2, false), (3, false), (2, true)]);
    assert_eq!((mixed[0].leaf_hash, mixed[3].leaf_hash), (first[1].leaf_hash, mixed[1].leaf_hash));

    let size = opened.ledger.durable().size;
    let again = append(&opened.ledger, vec![named(&bench, "a"), named(&bench, "c")]).await;
    assert_eq!(indexes(&again), [(0, true), (2, true)]);
    assert_eq!(*opened.ledger.append_here(named(&bench, "b")).await.unwrap(), Receipt { is_repeat: true, ..first[1] });
    assert_eq!(opened.ledger.durable().size, size, "nothing was written for what was there");

    let next = append(&opened.ledger, vec![bench.draft(Kind::System, 0)]).await;
    assert_eq!(next[0].index, size);
    opened.ledger.close();
    bench.check(&[first, again, next].concat());
}

#[tokio::test]
async fn what_was_refused_for_want_of_space_is_new_when_it_comes_again() {
    let bench = Bench::new();
    let opened = bench.open();
    bench.disk.break_(Fault::AppendFull);
    assert_eq!(opened.ledger.append(named(&bench, "a")).await.err(), Some(AppendError::Full));
    bench.disk.mend(Fault::AppendFull);
    assert_eq!(indexes(&append(&opened.ledger, vec![named(&bench, "a")]).await), [(0, false)]);
}

#[tokio::test]
async fn it_is_known_after_a_start_even_where_the_write_ahead_log_has_let_it_go() {
    let mut bench = Bench::new();
    bench.options.wal_segment_bytes = 40_000;
    let opened = bench.open();
    opened.ledger.hold("search", u64::MAX);
    let mut receipts = append(&opened.ledger, vec![named(&bench, "first")]).await;
    let first_segment = || crate::wal::list_segments(&bench.disk, &Path::new(DATA).join("wal")).unwrap()[0];
    while first_segment() == 0 {
        receipts.extend(append(&opened.ledger, vec![bench.draft(Kind::System, 0)]).await);
    }
    receipts.extend(append(&opened.ledger, vec![named(&bench, "last")]).await);
    opened.ledger.close();

    let opened = bench.open();
    let again = append(&opened.ledger, vec![named(&bench, "last"), named(&bench, "first")]).await;
    let expected = [receipts[receipts.len() - 1], receipts[0]].map(|receipt| Receipt { is_repeat: true, ..receipt });
    assert_eq!(again, expected);
    opened.ledger.close();
    bench.check(&receipts);
}
