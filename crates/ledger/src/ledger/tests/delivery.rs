//! What is to be delivered elsewhere is kept until it is, and no more than may be.

use super::*;

const SEGMENT_BYTES: u64 = 20_000;

fn bench(backlog_bytes_max: u64) -> Bench {
    let mut bench = Bench::new();
    bench.options.wal_segment_bytes = SEGMENT_BYTES;
    bench.options.recent_bytes_max = 1;
    bench.options.backlog_bytes_max = Some(backlog_bytes_max);
    bench
}

fn own_draft(bench: &Bench) -> Draft {
    let mut draft = bench.draft(Kind::Control, 0);
    draft.call_id = None;
    draft.source = Arc::new(Source { producer: "system".into(), ..draft.source.as_ref().clone() });
    draft
}

#[tokio::test]
async fn at_the_bound_nothing_is_taken_but_what_the_log_says_of_itself_and_it_goes_on_when_some_is_delivered() {
    let bench = bench(300_000);
    let opened = bench.open();
    let ledger = &opened.ledger;
    let mut acknowledged = Vec::new();
    let refused = loop {
        match ledger.append(bench.draft(Kind::InferenceRequest, acknowledged.len() as u128)).await {
            Ok(receipt) => acknowledged.push(*receipt),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Full);
    assert!(ledger.is_full() && ledger.is_tight());
    let backlog = ledger.backlog().unwrap();
    assert_eq!((backlog.from, backlog.records), (0, acknowledged.len() as u64));
    assert!(backlog.bytes <= backlog.bytes_max && backlog.bytes > 290_000, "{backlog:?}");
    acknowledged.push(*ledger.append(own_draft(&bench)).await.unwrap());

    ledger.delivered(acknowledged.len() as u64 / 2);
    assert!(!ledger.is_full());
    acknowledged.push(*ledger.append(bench.draft(Kind::InferenceRequest, 1)).await.unwrap());
    opened.ledger.close();
    bench.check(&acknowledged);
}

#[tokio::test]
async fn what_is_not_delivered_keeps_its_content_over_restarts() {
    let bench = bench(u64::MAX);
    let mut records = 0_u64;
    for _ in 0..3 {
        let opened = bench.open();
        assert_eq!(opened.ledger.backlog().map(|backlog| (backlog.from, backlog.records)), Some((0, records)));
        // Whoever follows does not decide: without this the tiles would let the first segments go.
        opened.ledger.hold("search", u64::MAX);
        for call in 0..400 {
            append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, call)]).await;
            records += 1;
        }
        let mut follower = opened.ledger.follow(0);
        while let Some(portion) = follower.try_next().unwrap() {
            assert!(portion.entries().all(|entry| !entry.content.is_empty()), "from {}", portion.from());
        }
        assert_eq!(follower.position(), records);
        opened.ledger.close();
    }

    let opened = bench.open();
    opened.ledger.hold("search", u64::MAX);
    opened.ledger.delivered(records);
    assert_eq!(opened.ledger.backlog().unwrap().bytes, 0);
    let first_segment = || crate::wal::list_segments(&bench.disk, &Path::new(DATA).join("wal")).unwrap()[0];
    let mut call = 0;
    while first_segment() == 0 {
        append(&opened.ledger, vec![bench.draft(Kind::InferenceRequest, call)]).await;
        call += 1;
    }
    opened.ledger.close();
    bench.check(&[]);
}
