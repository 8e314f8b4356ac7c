use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::UInt64Type;

use access::{Grant, Identity, Role};
use record::{Draft, Field, Kind, Source, Timestamp, Uuid, uuid_v7};
use world::World;

use crate::tests::Log;
use crate::words::{Finder, Phrase};
use crate::{Limits, Search, View};

const ROWS: u64 = 5_000;
const TEXTS: [&str; 7] = [
    "The refund policy of order",
    "退款政策 和 订单",
    "A policy, no refund: order",
    r#"[{"role":"user","parts":[{"type":"text","content":"Größe\nrefunds 👍"}]}]"#,
    "nothing to see",
    "ORDER policies",
    "policy refund policy",
];

/// A log of which what was appended is known.
struct Told {
    log: Log,
    drafts: Vec<Draft>,
}

/// A log of which some is sealed and some is not: texts come round, some rows have a word or two of their own.
async fn told(rows: u64) -> Told {
    let world = World::real();
    let source = |environment: &str| {
        Arc::new(Source {
            service: "bot".into(),
            environment: environment.into(),
            host: "here".into(),
            origin: "example.com/log".into(),
            producer: "records".into(),
        })
    };
    let sources = [source("staging"), source("production")];
    let draft = |nth: u64| {
        let time = Timestamp::from_micros(1_700_000_000_000_000 + (nth as i64 * 7_919 % ROWS as i64) * 1_000);
        let source = sources[usize::from(nth.is_multiple_of(3))].clone();
        let mut draft = Draft::new(uuid_v7(time, &world.entropy.bytes()), time, Kind::InferenceRequest, source);
        draft.call_id = Some(Uuid::from_u128(u128::from(nth / 2) + 1));
        let mut text = TEXTS[usize::try_from(nth % 7).unwrap()].to_owned();
        if nth % 1_000 == 3 {
            text.push_str(&format!(" rare{nth}"));
        }
        let name = if nth.is_multiple_of(2) { "gen_ai.input.messages" } else { "gen_ai.output.messages" };
        draft.content.push(Field { name: name.into(), media: "text/plain".into(), bytes: text.into_bytes() });
        draft
    };
    let drafts: Vec<Draft> = (0..rows).map(draft).collect();
    Told { log: Log::of(drafts.clone()).await, drafts }
}

impl Told {
    async fn found(&self, view: &View, query: &str) -> BTreeSet<u64> {
        let search = Search { query: query.into(), ..Search::default() };
        let answer = self.log.engine.search(view, search, Limits::default()).await.unwrap();
        let indexes = answer.batches.iter().map(|batch| batch.column_by_name("log_index").unwrap());
        indexes.flat_map(|column| column.as_primitive::<UInt64Type>().values().to_vec()).collect()
    }

    fn expected(&self, holds: impl Fn(&Draft) -> bool) -> BTreeSet<u64> {
        (0..).zip(&self.drafts).filter(|(_, draft)| holds(draft)).map(|(index, _)| index).collect()
    }
}

fn says(words: &str) -> impl Fn(&Draft) -> bool {
    let finder = Finder::new(Phrase::of(words).unwrap());
    move |draft| draft.content.iter().any(|field| finder.is_in(std::str::from_utf8(&field.bytes).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_the_same_before_and_after_it_is_sealed_and_indexed() {
    let told = told(ROWS).await;
    let staging =
        View::of(&Identity::anonymous(vec![Grant { role: Role::Reader, scope: "env=staging".parse().unwrap() }]));
    let check = async || {
        for words in [
            "refund",
            "refund policy",
            "policy",
            "polic*",
            "*fund",
            "re*nds",
            "rare3",
            "rare3003",
            "rare*",
            "退款",
            "款",
            "政策 和",
            "größe",
            "👍",
            "absent",
            "abs*",
            "role",
        ] {
            let is_said = says(words);
            let expected = told.expected(&is_said);
            assert_eq!(told.found(&View::everything(), &format!("\"{words}\"")).await, expected, "{words}");
            let seen = told.expected(|draft| is_said(draft) && draft.source.environment == "staging");
            assert_eq!(told.found(&staging, &format!("\"{words}\"")).await, seen, "{words}");
        }
        assert!(told.expected(says("rare*")).len() == 5 && told.expected(says("role")).is_empty());
        let (order, refund, rare, and) = (says("order"), says("refund"), says("rare3"), says("和"));
        let both = told.expected(|draft| order(draft) && !refund(draft));
        assert_eq!(told.found(&View::everything(), "order -refund").await, both);
        let either = told.expected(|draft| rare(draft) || and(draft));
        assert_eq!(told.found(&View::everything(), "rare3 OR 和").await, either);
        let call = Uuid::from_u128(1_201);
        assert_eq!(told.found(&View::everything(), &format!("call_id:{call}")).await, [2_400, 2_401].into());
        assert_eq!(
            told.found(&View::everything(), &format!("call_id:{call} OR rare3")).await,
            [3, 2_400, 2_401].into()
        );
        let policy = says("policy");
        let is_output = |draft: &Draft| &*draft.content[0].name == "gen_ai.output.messages";
        let in_output = told.expected(|draft| is_output(draft) && policy(draft));
        assert_eq!(told.found(&View::everything(), "output:policy").await, in_output);
    };
    check().await;
    told.log.index();
    check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_has_match() {
    let told = told(ROWS).await;
    let sql = async |statement: &str| {
        told.log.engine.sql(&View::everything(), statement.into(), Search::default(), Limits::default()).await
    };
    let answer = sql("SELECT count(*) AS n FROM records WHERE match(input, 'refund policy') OR match(output, 'rare*')")
        .await
        .unwrap();
    let (policy, rare) = (says("refund policy"), says("rare*"));
    let expected = told.expected(|draft| {
        let is_input = &*draft.content[0].name == "gen_ai.input.messages";
        if is_input { policy(draft) } else { rare(draft) }
    });
    let line = String::from_utf8(answer.write(crate::Format::JsonLines).unwrap()).unwrap();
    assert_eq!(line.trim(), format!("{{\"n\":{}}}", expected.len()));
    // Of what is scanned no more is kept than the rows that are wanted.
    let plan = sql("EXPLAIN SELECT * FROM records WHERE match(input, 'rare*')").await.unwrap();
    let plan = String::from_utf8(plan.write(crate::Format::JsonLines).unwrap()).unwrap();
    assert_eq!(plan.matches("CutOutExec").count(), plan.matches("DataSourceExec").count(), "{plan}");
    let refused = sql("SELECT match(input, model) FROM records").await.unwrap_err().to_string();
    assert!(refused.contains("are written out: match(input, 'refund policy')"), "{refused}");
    let refused = sql("SELECT match(input, '...') FROM records").await.unwrap_err().to_string();
    assert!(refused.contains("and there are none"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_segment_has_is_not_found_where_nothing_else_is() {
    let told = told(1_100).await;
    told.log.index();
    assert_eq!(told.log.engine.segments(), (1, 0));
    let call = Uuid::from_u128(900_000).to_string();
    let everything = View::everything();
    assert!(told.found(&everything, "absent").await.is_empty());
    assert!(told.found(&everything, &format!("call_id:{call}")).await.is_empty());
    assert!(told.log.engine.story(&everything, "call_id", call.clone(), Limits::default()).await.unwrap().is_empty());
    assert!(told.log.engine.stored(&everything, call, Limits::default()).await.unwrap().is_none());
}
