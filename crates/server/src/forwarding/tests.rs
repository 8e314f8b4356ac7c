use std::collections::BTreeMap;

use access::{ActorKind, Grant, Identity, Method, Role};
use forward::Parcel;
use gateway::RulesInForce;
use ledger::{Opened, Options};
use proptest::prelude::*;
use record::{Envelope, Field, Kind, Source, Uuid, Value, once_id, uuid_v7};
use world::{Disk, Fault, ManualClock, SeededEntropy, SimulatedDisk, World};

use super::*;

const NODE: &str = "example.com/node";

/// A centre in memory, and what nodes have.
struct Bench {
    disk: SimulatedDisk,
    world: World,
    runtime: tokio::runtime::Runtime,
}

/// One run of the centre's process.
struct Centre {
    opened: Opened,
    intake: Intake,
    forwarded: Forwarded,
}

/// A record as a node has it.
#[derive(Clone)]
struct Recorded {
    id: Uuid,
    leaf: Vec<u8>,
    content: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let disk = SimulatedDisk::default();
        let world = World {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(ManualClock::at(1_763_890_442_000_000)),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { disk, world, runtime }
    }

    fn centre(&self) -> Centre {
        let data = std::path::Path::new("data");
        let options = Options { origin: Some("example.com/centre".into()), ..Options::default() };
        let opened = ledger::Ledger::open(&self.world, data, &options).unwrap();
        let intake = Intake {
            ledger: opened.ledger.clone(),
            reads: Arc::new(source("example.com/centre", "reads")),
            event_kinds: ingest::cloudevents::Kinds::default(),
            telemetry: ingest::otlp::Options::default(),
            rules: RulesInForce::default(),
            world: self.world.clone(),
        };
        let forwarded = Forwarded::new(&self.world, data, &opened.ledger);
        Centre { opened, intake, forwarded }
    }

    fn record(&self, nth: u64, id: Option<Uuid>) -> Recorded {
        let time = Timestamp::from_micros(self.world.clock.now_micros());
        let id = id.unwrap_or_else(|| uuid_v7(time, &self.world.entropy.bytes()));
        let mut draft = Draft::new(id, time, Kind::System, Arc::new(source(NODE, "gateway")));
        draft.attributes.set("n", i64::try_from(nth).unwrap());
        let bytes = format!("record {nth}").into_bytes();
        draft.content.push(Field { name: "said".into(), media: "text/plain".into(), bytes });
        let sealed = draft.seal([3; 32]).unwrap();
        let mut leaf = Vec::new();
        sealed.write_leaf(time, nth, &mut leaf);
        Recorded { id, leaf, content: sealed.content().to_vec() }
    }

    fn records(&self, count: u64) -> Vec<Recorded> {
        (0..count).map(|nth| self.record(nth, None)).collect()
    }

    /// Sends the records of a node from one index to before another.
    fn send(&self, centre: &Centre, node: &[Recorded], from: u64, to: u64) -> (u16, Option<u64>, String) {
        let at = |index: u64| usize::try_from(index).unwrap();
        let after = from.checked_sub(1).and_then(|before| node.get(at(before))).map(|last| tlog::leaf_hash(&last.leaf));
        let mut parcel = Parcel::new(from, after);
        for recorded in &node[at(from)..at(to)] {
            let Recorded { leaf, content, .. } = recorded;
            parcel.push(&ledger::Entry { index: 0, leaf, hash: tlog::leaf_hash(leaf), content }, usize::MAX);
        }
        self.post(centre, Caller::owner(), NODE, from, after.map(|hash| hash.to_string()), parcel.bytes())
    }

    fn post(
        &self,
        centre: &Centre,
        caller: Caller,
        origin: &str,
        from: u64,
        after: Option<String>,
        body: &[u8],
    ) -> (u16, Option<u64>, String) {
        let delivery = Delivery {
            intake: centre.intake.clone(),
            forwarded: centre.forwarded.clone(),
            caller,
            origin: origin.into(),
            from,
            after,
            body: Bytes::copy_from_slice(body),
        };
        self.runtime.block_on(async {
            let response = delivery.take().await.unwrap_or_else(Problem::into_response);
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
            (status, said["next"].as_u64(), said["code"].as_str().unwrap_or_default().to_owned())
        })
    }

    fn ask(&self, centre: &Centre) -> u64 {
        self.post(centre, Caller::owner(), NODE, 0, None, b"").1.unwrap()
    }
}

impl Centre {
    /// What stands here of a node, by its index there: identifiers and what is said to be wrong.
    fn held(&self) -> BTreeMap<u64, Vec<(String, Option<String>)>> {
        let mut held: BTreeMap<u64, Vec<(String, Option<String>)>> = BTreeMap::new();
        let mut follower = self.opened.ledger.follow(0);
        while let Some(portion) = follower.try_next().unwrap() {
            for entry in portion.entries() {
                let envelope = Envelope::parse(entry.leaf).unwrap();
                let Some(Value::Int(index)) = envelope.attributes.value(forwarded::INDEX) else { continue };
                let problem = envelope.attributes.value("testimony.forwarded.problem").map(Value::to_json);
                held.entry(u64::try_from(*index).unwrap()).or_default().push((envelope.id.to_string(), problem));
            }
        }
        held
    }

    /// Every record of a node stands here, once, in its place.
    #[track_caller]
    fn check(&self, node: &[Recorded]) {
        let held = self.held();
        assert_eq!(held.len(), node.len());
        for ((index, there), (nth, recorded)) in held.iter().zip((0_u64..).zip(node)) {
            assert_eq!(*index, nth);
            assert_eq!(there, &[(recorded.id.to_string(), None)], "record {nth}");
        }
    }
}

fn source(origin: &str, producer: &str) -> Source {
    Source {
        service: "bot".into(),
        environment: "test".into(),
        host: "here".into(),
        origin: origin.into(),
        producer: producer.into(),
    }
}

#[test]
fn what_is_sent_again_is_passed_over_and_what_comes_too_early_is_told_where_to_begin() {
    let bench = Bench::new();
    let (centre, node) = (bench.centre(), bench.records(9));
    assert_eq!(bench.ask(&centre), 0);
    assert_eq!(bench.send(&centre, &node, 3, 5), (409, Some(0), "ahead".into()));
    assert_eq!(bench.send(&centre, &node, 0, 4).1, Some(4));
    assert_eq!(bench.send(&centre, &node, 0, 4).1, Some(4));
    assert_eq!(bench.send(&centre, &node, 2, 7).1, Some(7));
    assert_eq!(bench.send(&centre, &node, 5, 6).1, Some(7));
    assert_eq!(bench.send(&centre, &node, 7, 9).1, Some(9));
    assert_eq!(bench.ask(&centre), 9);
    centre.check(&node);
    centre.opened.ledger.close();
}

#[test]
fn how_far_it_is_is_read_back_from_the_log_with_the_file_without_it_and_with_one_of_another_log() {
    let bench = Bench::new();
    let node = bench.records(20);
    let file = std::path::Path::new("data/forwarded.json");
    for (round, spoil) in
        [None, Some(r#"{"read":3,"leaf":"no","origins":{"example.com/node":{"next":99}}}"#), Some("{")]
            .into_iter()
            .enumerate()
    {
        let centre = bench.centre();
        let from = u64::try_from(round).unwrap() * 5;
        assert_eq!(bench.ask(&centre), from);
        assert_eq!(bench.send(&centre, &node, from, from + 5).1, Some(from + 5));
        if round == 0 {
            let origins = bench.runtime.block_on(centre.forwarded.origins()).unwrap();
            bench.runtime.block_on(centre.forwarded.write(&origins));
            assert!(bench.disk.read(file).is_ok());
        }
        centre.opened.ledger.close();
        if let Some(spoilt) = spoil {
            bench.disk.replace_durably(file, spoilt.as_bytes()).unwrap();
        }
    }
    let centre = bench.centre();
    assert_eq!(bench.ask(&centre), 15);
    assert_eq!(bench.send(&centre, &node, 10, 20).1, Some(20));
    centre.check(&node);
    centre.opened.ledger.close();
}

#[test]
fn every_place_is_told_of_whatever_becomes_of_the_record() {
    let bench = Bench::new();
    let centre = bench.centre();
    let mut node = bench.records(5);
    // Known already, by another way.
    let known = once_id("otlp", "span");
    let twin = bench.record(0, Some(known));
    let other = {
        let mut parcel = Parcel::new(0, None);
        let hash = tlog::leaf_hash(&twin.leaf);
        parcel.push(&ledger::Entry { index: 0, leaf: &twin.leaf, hash, content: &twin.content }, usize::MAX);
        bench.post(&centre, Caller::owner(), "example.com/other", 0, None, parcel.bytes())
    };
    assert_eq!(other.1, Some(1));
    node[1] = bench.record(1, Some(known));
    node[2].leaf = b"{}".to_vec();
    node[4].content = node[3].content.clone();
    let last = node[4].content.len() - 1;
    node[4].content[last] ^= 1;
    assert_eq!(bench.send(&centre, &node, 0, 5).1, Some(5));
    assert_eq!(bench.send(&centre, &node, 0, 5).1, Some(5));
    let held = centre.held();
    let twin_id = &twin.id.to_string();
    let of_node = |index: u64| held[&index].iter().filter(move |(id, _)| id != twin_id || index != 0);
    let problems: Vec<Option<String>> =
        (0..5).map(|index| of_node(index).map(|(_, problem)| problem.clone()).next_back().unwrap()).collect();
    assert!((0..5).all(|index| of_node(index).count() == 1), "{held:?}");
    assert_eq!(problems.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true, false, true]);
    assert!(problems[1].as_ref().unwrap().contains("came by another way"), "{problems:?}");
    assert!(problems[4].as_ref().unwrap().contains("does not match the commitment"), "{problems:?}");
    centre.opened.ledger.close();
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_nothing_is_twice_when_there_is_room() {
    let bench = Bench::new();
    let (centre, node) = (bench.centre(), bench.records(6));
    assert_eq!(bench.send(&centre, &node, 0, 2).1, Some(2));
    bench.disk.break_(Fault::AppendFull);
    assert_eq!(bench.send(&centre, &node, 2, 6).0, 503);
    bench.disk.mend(Fault::AppendFull);
    assert_eq!(bench.ask(&centre), 2);
    assert_eq!(bench.send(&centre, &node, 2, 6).1, Some(6));
    centre.check(&node);
    centre.opened.ledger.close();
}

#[test]
fn two_logs_of_one_name_do_not_fill_each_others_gaps() {
    let bench = Bench::new();
    let (centre, node, other) = (bench.centre(), bench.records(6), bench.records(9));
    assert_eq!(bench.send(&centre, &node, 0, 6).1, Some(6));
    assert_eq!(bench.send(&centre, &other, 6, 9), (409, None, "other_log".into()));
    assert_eq!(bench.send(&centre, &other, 4, 9), (409, None, "other_log".into()));
    centre.check(&node);
    centre.opened.ledger.close();
}

fn caller(id: &str, scope: &str) -> Caller {
    let identity = Identity {
        kind: ActorKind::Service,
        id: id.into(),
        groups: Vec::new(),
        grants: vec![Grant { role: Role::Ingest, scope: scope.parse().unwrap() }],
        method: Method::ApiKey,
        key_id: None,
        expires_at: None,
    };
    let mut caller = Caller::owner();
    caller.identity = Some(Arc::new(identity));
    caller
}

#[test]
fn a_key_delivers_one_log_and_a_log_is_delivered_by_one_key_over_restarts() {
    let bench = Bench::new();
    let node = bench.records(2);
    let body = |nth: usize| {
        let mut parcel = Parcel::new(0, None);
        let Recorded { leaf, content, .. } = &node[nth];
        parcel.push(&ledger::Entry { index: 0, leaf, hash: tlog::leaf_hash(leaf), content }, usize::MAX);
        parcel.bytes().to_vec()
    };
    for round in 0..2 {
        let centre = bench.centre();
        let post = |who: &str, scope: &str, origin: &str, from: u64| {
            bench.post(&centre, caller(who, scope), origin, from, None, &body(usize::try_from(from).unwrap().min(1)))
        };
        if round == 0 {
            // Out of its scope: nothing is stored, and nothing is bound.
            assert_eq!(post("edge-1", "env=production", NODE, 0).0, 403);
        }
        assert_eq!(post("edge-1", "env=test", NODE, round).1, Some(round + 1));
        assert_eq!(post("edge-2", "*", NODE, round + 1), (403, None, "foreign_log".into()));
        assert_eq!(post("edge-1", "*", "example.com/free", 0).0, 403);
        assert_eq!(bench.post(&centre, caller("edge-2", "*"), NODE, 0, None, b"").0, 403);
        centre.opened.ledger.close();
    }
    let centre = bench.centre();
    centre.check(&node);
    centre.opened.ledger.close();
}

/// What may happen between a node and its centre.
#[derive(Debug, Clone)]
enum Step {
    /// A request with these records, of the node as it stands.
    Send { from: prop::sample::Index, length: u64 },
    /// The node goes on where the centre stands, as it does.
    GoOn { length: u64 },
    /// The centre is killed and starts again.
    Restart,
    /// … or loses power.
    LosePower,
    /// The centre notes how far it is.
    Note,
    /// The centre's disk is full for the next request.
    Full,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<prop::sample::Index>(), 1_u64..8).prop_map(|(from, length)| Step::Send { from, length }),
        4 => (1_u64..8).prop_map(|length| Step::GoOn { length }),
        1 => Just(Step::Restart),
        1 => Just(Step::LosePower),
        1 => Just(Step::Note),
        1 => Just(Step::Full),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Requests cut anywhere, repeated, overlapping and too early, over kills and losses of power: what was acknowledged is here
    /// once and in order, and nothing else is.
    #[test]
    fn every_record_is_here_once(steps in prop::collection::vec(step(), 1..30)) {
        let bench = Bench::new();
        let node = bench.records(40);
        let (mut centre, mut acknowledged) = (bench.centre(), 0_u64);
        for step in steps {
            let restarts = matches!(step, Step::Restart | Step::LosePower);
            match step {
                Step::Send { from, length } => {
                    let from = from.index(node.len()) as u64;
                    let (status, next, _) = bench.send(&centre, &node, from, (from + length).min(40));
                    prop_assert_eq!(status == 409, from > acknowledged);
                    acknowledged = acknowledged.max(next.unwrap_or(0));
                }
                Step::GoOn { length } => {
                    let from = bench.ask(&centre);
                    prop_assert_eq!(from, acknowledged);
                    let (status, next, _) = bench.send(&centre, &node, from, (from + length).min(40));
                    prop_assert_eq!((status, next), (200, Some((from + length).min(40))));
                    acknowledged = next.unwrap_or(0);
                }
                Step::Note => {
                    let origins = bench.runtime.block_on(centre.forwarded.origins()).unwrap();
                    bench.runtime.block_on(centre.forwarded.write(&origins));
                }
                Step::Full => {
                    bench.disk.break_(Fault::AppendFull);
                    let to = (acknowledged + 3).min(40);
                    let status = bench.send(&centre, &node, acknowledged, to).0;
                    prop_assert!(status == 503 || to == acknowledged);
                    bench.disk.mend(Fault::AppendFull);
                }
                Step::Restart => centre.opened.ledger.close(),
                Step::LosePower => {
                    bench.disk.lose_power();
                    centre.opened.ledger.close();
                    bench.disk.lose_power();
                }
            }
            if restarts {
                centre = bench.centre();
            }
        }
        centre.check(&node[..usize::try_from(acknowledged).unwrap()]);
        centre.opened.ledger.close();
    }
}
