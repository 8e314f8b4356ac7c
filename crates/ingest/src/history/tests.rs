use super::*;
use crate::mutated::source;
use proptest::prelude::*;
use record::{Actor, Kind, Timestamp, Value as Attribute};
use std::fmt::Write as _;

macro_rules! sample {
    ($file:literal) => {
        include_bytes!(concat!("../../testdata/", $file)).as_slice()
    };
}

const BATCH_IN: &[u8] = sample!("openai-jsonl/batch_input.jsonl");
const BATCH_OUT: &[u8] = sample!("openai-jsonl/batch_output.jsonl");
const FINE_TUNING: &[u8] = sample!("openai-jsonl/fine_tuning.jsonl");
const PAIRS: &[u8] = sample!("openai-jsonl/pairs.jsonl");
const OBSERVATIONS_V2: &[u8] = sample!("langfuse/observations_v2.jsonl");
const SCORES: &[u8] = sample!("langfuse/scores.jsonl");
const TRACE: &[u8] = sample!("langfuse/trace.json");
const TRACES: &[u8] = sample!("langfuse/traces.jsonl");
const OBSERVATIONS: &[u8] = sample!("langfuse/observations.jsonl");
const SPEND_CSV: &[u8] = sample!("litellm/spend_logs.csv");
/// What PostgreSQL 15 writes of the same rows by `row_to_json`.
const SPEND_SAME: &[u8] = sample!("litellm/spend_logs_same.jsonl");
const SPEND_LINES: &[u8] = sample!("litellm/spend_logs.jsonl");
const PAYLOAD: &[u8] = sample!("litellm/payload.json");

/// Every sample, with how it is read.
const SAMPLES: [(Origin, Form, &[u8]); 13] = [
    (Origin::OpenaiJsonl, Form::Lines, BATCH_IN),
    (Origin::OpenaiJsonl, Form::Lines, BATCH_OUT),
    (Origin::OpenaiJsonl, Form::Lines, FINE_TUNING),
    (Origin::OpenaiJsonl, Form::Lines, PAIRS),
    (Origin::Langfuse, Form::Lines, OBSERVATIONS_V2),
    (Origin::Langfuse, Form::Lines, SCORES),
    (Origin::Langfuse, Form::Json, TRACE),
    (Origin::Langfuse, Form::Lines, TRACES),
    (Origin::Langfuse, Form::Lines, OBSERVATIONS),
    (Origin::Litellm, Form::Csv, SPEND_CSV),
    (Origin::Litellm, Form::Lines, SPEND_SAME),
    (Origin::Litellm, Form::Lines, SPEND_LINES),
    (Origin::Litellm, Form::Json, PAYLOAD),
];

fn with_arrival<T>(work: impl FnOnce(&Arrival<'_>) -> T) -> T {
    let source = source("import");
    let received = Timestamp::from_micros(1_763_890_442_000_000);
    work(&Arrival { source: &source, sender: None, received, random: &|| [7; 10] })
}

/// What files of one origin come to, with their bytes in pieces of this size.
fn imported(origin: Origin, files: &[(Form, &[u8])], piece: usize) -> Vec<Result<Draft, Rejected>> {
    with_arrival(|arrival| {
        let mut import = Import::new(origin);
        let mut taken = Vec::new();
        for (form, bytes) in files {
            import.begin(*form, Position::default());
            bytes.chunks(piece).for_each(|piece| taken.extend(import.push(piece, arrival)));
            taken.extend(import.end_of_file(arrival));
        }
        let mut drafts: Vec<Result<Draft, Rejected>> = taken.into_iter().flat_map(|taken| taken.drafts).collect();
        drafts.extend(import.finish(arrival).into_iter().map(Ok));
        drafts
    })
}

fn lines(origin: Origin, text: &str) -> Vec<Result<Draft, Rejected>> {
    imported(origin, &[(Form::Lines, text.as_bytes())], 4_096)
}

/// A draft as a reader would tell it.
fn shown(draft: &Result<Draft, Rejected>) -> String {
    let draft = match draft {
        Ok(draft) => draft,
        Err(rejected) => return format!("rejected: {rejected}\n"),
    };
    let mut out =
        format!("{} {} at {}\n", draft.kind, draft.outcome.map_or("", |outcome| outcome.as_str()), draft.time);
    let _ = writeln!(out, "  environment {}, call {}", draft.source.environment, draft.call_id.unwrap_or_default());
    if let Some(Actor { kind, id, auth, ip, fingerprint, .. }) = &draft.actor {
        let _ = writeln!(out, "  actor {kind} {id:?} {auth:?} {ip:?} {fingerprint:?}");
    }
    if draft.trace != record::Trace::default() {
        let _ = writeln!(out, "  {:?}", draft.trace);
    }
    for (name, value) in draft.attributes.iter() {
        let _ = writeln!(out, "  {name} = {}", value.to_json());
    }
    for field in &draft.content {
        let _ = writeln!(out, "  {} ({}): {}", field.name, field.media, String::from_utf8_lossy(&field.bytes));
    }
    out
}

fn all_shown(drafts: &[Result<Draft, Rejected>]) -> String {
    drafts.iter().map(shown).collect::<Vec<_>>().join("\n")
}

fn ids(drafts: &[Result<Draft, Rejected>]) -> Vec<String> {
    drafts.iter().map(|draft| draft.as_ref().map_or_else(ToString::to_string, |draft| draft.id.to_string())).collect()
}

#[test]
fn a_batch_is_joined_by_custom_id_and_what_nobody_answered_stands_alone() {
    let drafts = imported(Origin::OpenaiJsonl, &[(Form::Lines, BATCH_IN), (Form::Lines, BATCH_OUT)], 4_096);
    insta::assert_snapshot!(all_shown(&drafts));
}

#[test]
fn answers_without_their_requests_are_answers() {
    let drafts = imported(Origin::OpenaiJsonl, &[(Form::Lines, BATCH_OUT)], 4_096);
    let kinds: Vec<Kind> = drafts.iter().map(|draft| draft.as_ref().unwrap().kind).collect();
    assert_eq!(kinds, [Kind::InferenceResponse; 4]);
    let joined = imported(Origin::OpenaiJsonl, &[(Form::Lines, BATCH_IN), (Form::Lines, BATCH_OUT)], 4_096);
    let joined: Vec<String> = ids(&joined);
    assert!(ids(&drafts).iter().all(|id| joined.contains(id)), "they are the same records as with their requests");
}

#[test]
fn two_batches_with_the_same_names_are_kept_apart() {
    let files = [(Form::Lines, BATCH_IN), (Form::Lines, BATCH_IN)];
    let rejected = imported(Origin::OpenaiJsonl, &files, 4_096).into_iter().find_map(Result::err).unwrap();
    insta::assert_snapshot!(rejected.to_string());
}

#[test]
fn examples_of_fine_tuning_and_pairs_are_calls() {
    let drafts = imported(Origin::OpenaiJsonl, &[(Form::Lines, FINE_TUNING), (Form::Lines, PAIRS)], 4_096);
    insta::assert_snapshot!(all_shown(&drafts));
}

#[test]
fn enriched_observations_and_scores_of_langfuse() {
    let drafts = imported(Origin::Langfuse, &[(Form::Lines, OBSERVATIONS_V2), (Form::Lines, SCORES)], 4_096);
    insta::assert_snapshot!(all_shown(&drafts));
}

#[test]
fn a_trace_of_the_api_holds_its_observations_and_scores() {
    let drafts = imported(Origin::Langfuse, &[(Form::Json, TRACE)], 4_096);
    insta::assert_snapshot!(all_shown(&drafts));
    let text = std::str::from_utf8(TRACE).unwrap();
    for page in [format!("[{text}]"), format!("{{\"data\":[{text}],\"meta\":{{}}}}"), format!("{{\"trace\":{text}}}")] {
        let paged = imported(Origin::Langfuse, &[(Form::Json, page.as_bytes())], 4_096);
        assert_eq!(all_shown(&paged), all_shown(&drafts), "{page}");
    }
}

#[test]
fn older_exports_of_langfuse_are_joined_with_their_traces() {
    let drafts = imported(Origin::Langfuse, &[(Form::Lines, TRACES), (Form::Lines, OBSERVATIONS)], 4_096);
    insta::assert_snapshot!(all_shown(&drafts));
}

#[test]
fn rows_of_litellm_as_csv() {
    insta::assert_snapshot!(all_shown(&imported(Origin::Litellm, &[(Form::Csv, SPEND_CSV)], 4_096)));
}

#[test]
fn a_table_says_the_same_as_csv_and_as_json() {
    let csv = imported(Origin::Litellm, &[(Form::Csv, SPEND_CSV)], 4_096);
    let json = imported(Origin::Litellm, &[(Form::Lines, SPEND_SAME)], 4_096);
    assert_eq!(all_shown(&csv), all_shown(&json));
    assert_eq!(ids(&csv), ids(&json));
}

#[test]
fn rows_of_litellm_as_json_and_its_logging_payload() {
    let drafts = [
        imported(Origin::Litellm, &[(Form::Lines, SPEND_LINES)], 4_096),
        imported(Origin::Litellm, &[(Form::Json, PAYLOAD)], 4_096),
    ];
    insta::assert_snapshot!(all_shown(&drafts.into_iter().flatten().collect::<Vec<_>>()));
}

#[test]
fn no_credential_of_the_samples_is_in_any_record() {
    for (origin, form, bytes) in SAMPLES {
        let said = all_shown(&imported(origin, &[(form, bytes)], 4_096));
        assert!(!said.contains("sk-canary") && !said.contains("secret@"), "{said}");
        assert!(!said.contains("9f86d081884c7d659"), "more than the beginning of a key's hash: {said}");
    }
    let canaries = SAMPLES.iter().filter(|(.., bytes)| String::from_utf8_lossy(bytes).contains("sk-canary"));
    assert_eq!(canaries.count(), 5, "the samples hold credentials to be left behind");
}

#[test]
fn every_draft_becomes_a_record_and_says_where_it_is_from() {
    for (origin, form, bytes) in SAMPLES {
        for draft in imported(origin, &[(form, bytes)], 4_096) {
            let draft = draft.unwrap();
            assert_eq!(draft.attributes.value("testimony.imported.from"), Some(&Attribute::from(origin.as_str())));
            assert!(record::is_once(draft.id));
            draft.seal([0; 32]).unwrap();
        }
    }
}

#[test]
fn the_same_history_has_the_same_identifiers_and_no_two_records_share_one() {
    for (origin, form, bytes) in SAMPLES {
        let first = ids(&imported(origin, &[(form, bytes)], 4_096));
        assert_eq!(first, ids(&imported(origin, &[(form, bytes)], 7)));
        let mut once = first.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), first.len());
    }
}

#[test]
fn what_is_no_history_says_why_and_leaves_the_others_good() {
    let said = |origin, text: &str| {
        let drafts = lines(origin, text);
        drafts
            .into_iter()
            .map(|draft| draft.map_or_else(|why| why.to_string(), |draft| draft.kind.to_string()))
            .collect()
    };
    let openai: Vec<String> = said(
        Origin::OpenaiJsonl,
        "{\"custom_id\":\"a\"}\nnot json\n7\n{}\n{\"request\":1,\"response\":{}}\n{\"messages\":[{\"role\":\"user\"}]}\n",
    );
    let langfuse: Vec<String> =
        said(Origin::Langfuse, "{\"id\":\"a\"}\n{\"type\":\"GENERATION\"}\n[[[[[[{}]]]]]]\nnull\n");
    let litellm: Vec<String> = said(Origin::Litellm, "{}\n{\"request_id\":\"a\"}\n\"text\"\n");
    insta::assert_snapshot!([openai, langfuse, litellm].concat().join("\n"));
}

#[test]
fn a_row_with_other_fields_than_the_first_line_names_is_rejected_alone() {
    let csv = "request_id,call_type\n\na,completion\nb\nc,completion,more\nd,completion";
    let drafts = imported(Origin::Litellm, &[(Form::Csv, csv.as_bytes())], 3);
    let said: Vec<String> =
        drafts.iter().map(|draft| draft.as_ref().map_or_else(ToString::to_string, |_| "ok".into())).collect();
    let short = "row: it has 1 fields, and the first line names 2 columns";
    let long = "row: it has 3 fields, and the first line names 2 columns";
    assert_eq!(said, ["ok", "ok", short, long, "ok", "ok"]);
}

#[test]
fn a_document_that_is_too_large_is_rejected_and_the_next_is_read() {
    let large = "x".repeat(DOCUMENT_BYTES_MAX);
    let row = "{\"request_id\":\"a\",\"call_type\":\"completion\"}";
    for (form, text) in [
        (Form::Lines, format!("{{\"a\":\"{large}\"}}\n{row}\n")),
        (Form::Json, format!("[{{\"a\":\"{large}\"}},{row}]")),
        (Form::Csv, format!("request_id,call_type\n\"{large}x\",b\na,completion\n")),
    ] {
        let drafts = imported(Origin::Litellm, &[(form, text.as_bytes())], 1 << 20);
        let said: Vec<String> =
            drafts.iter().map(|draft| draft.as_ref().map_or_else(ToString::to_string, |_| "ok".into())).collect();
        assert_eq!(said, ["document: it has more than 67108864 bytes", "ok", "ok"], "{form:?}");
    }
}

#[test]
fn a_table_with_too_many_columns_does_no_harm() {
    let csv = format!("{}\n{}\n", ",".repeat(5_000), "a,".repeat(5_000));
    assert!(imported(Origin::Litellm, &[(Form::Csv, csv.as_bytes())], 100).iter().all(Result::is_err));
}

#[test]
fn a_byte_order_mark_is_passed_over_in_pieces_too() {
    let marked = [b"\xef\xbb\xbf".as_slice(), SPEND_CSV].concat();
    let plain = ids(&imported(Origin::Litellm, &[(Form::Csv, SPEND_CSV)], 4_096));
    for piece in [1, 2, 5, 4_096] {
        assert_eq!(ids(&imported(Origin::Litellm, &[(Form::Csv, marked.as_slice())], piece)), plain);
    }
    assert_eq!(lines(Origin::Litellm, "{}").len(), 1, "a file shorter than the mark");
}

#[test]
fn an_import_that_is_resumed_gives_what_is_left_and_nothing_else() {
    let files = [
        (Origin::OpenaiJsonl, Form::Lines, Some(BATCH_IN), BATCH_OUT),
        (Origin::Langfuse, Form::Lines, Some(TRACES), OBSERVATIONS),
    ];
    let alone = SAMPLES.iter().map(|(origin, form, bytes)| (*origin, *form, None, *bytes));
    for (origin, form, before, bytes) in files.into_iter().chain(alone) {
        with_arrival(|arrival| {
            let taken_from = |from: Position| {
                let mut import = Import::new(origin);
                if let Some(before) = before {
                    import.begin(form, Position { bytes: before.len() as u64, records: 0 });
                    assert!(import.push(before, arrival).is_empty());
                    assert!(import.end_of_file(arrival).is_empty());
                }
                import.begin(form, from);
                let mut taken = import.push(bytes, arrival);
                taken.extend(import.end_of_file(arrival));
                assert_eq!(import.position().bytes, bytes.len() as u64);
                let rest = import.finish(arrival);
                (taken, rest.iter().map(|draft| draft.id).collect::<Vec<_>>())
            };
            let (whole, rest) = taken_from(Position::default());
            assert!(!whole.is_empty());
            for (nth, one) in whole.iter().enumerate() {
                assert_eq!(one.end.records, nth as u64 + 1);
                let (left, left_rest) = taken_from(one.end);
                let drafts = |taken: &[Taken]| taken.iter().map(|taken| all_shown(&taken.drafts)).collect::<Vec<_>>();
                assert_eq!(drafts(&left), drafts(&whole[nth + 1..]));
                assert_eq!(left_rest, rest);
            }
        });
    }
}

#[test]
fn a_position_beyond_the_end_of_the_file_is_told_of() {
    with_arrival(|arrival| {
        let mut import = Import::new(Origin::Litellm);
        import.begin(Form::Lines, Position { bytes: 1_000_000, records: 9 });
        assert!(import.push(SPEND_LINES, arrival).is_empty());
        let told = import.end_of_file(arrival);
        assert!(matches!(told[0].drafts[0], Err(Rejected::Member { .. })));
    });
    let kept = serde_json::to_string(&Position { bytes: 7, records: 1 }).unwrap();
    assert_eq!(kept, r#"{"bytes":7,"records":1}"#);
    assert_eq!(serde_json::from_str::<Position>(&kept).unwrap(), Position { bytes: 7, records: 1 });
}

#[test]
fn names_tell_the_form_and_words_the_origin() {
    for (name, form) in [
        ("a.jsonl", Some(Form::Lines)),
        ("A.NDJSON.GZ", Some(Form::Lines)),
        ("b.json", Some(Form::Json)),
        ("c.csv.zst", Some(Form::Csv)),
        ("csv", None),
        ("d.parquet", None),
    ] {
        assert_eq!(Form::of_name(name), form, "{name}");
    }
    for origin in Origin::ALL {
        assert_eq!(origin.as_str().parse::<Origin>().unwrap(), origin);
    }
    assert!("helicone".parse::<Origin>().is_err());
}

#[test]
fn hostile_names_and_values_become_bounded_records() {
    let huge = "n".repeat(1 << 20);
    let tags = vec!["\"tag\""; 1_000].join(",");
    let line = format!(
        r#"{{"request_id":"{huge}","call_type":"{huge}","model":"\u0000{huge}","user":"{huge}","end_user":"{huge}",
        "api_base":"http://{huge}:99999/","custom_llm_provider":"{huge}","session_id":"{huge}","trace_id":"{huge}",
        "request_tags":[{tags}],"metadata":{{"__proto__":{{"a.b":1}},"{huge}":"{huge}"}},"spend":"1e999","prompt_tokens":-4,
        "startTime":"9999-12-31T23:59:59Z","endTime":"0001-01-01T00:00:00Z"}}"#
    );
    let drafts = lines(Origin::Litellm, &line.replace('\n', " "));
    assert_eq!(drafts.len(), 2);
    for draft in drafts {
        let draft = draft.unwrap();
        assert_eq!(draft.attributes.value("testimony.cost_usd"), None);
        if let Some(Attribute::List(tags)) = draft.attributes.value("testimony.imported.tags") {
            assert_eq!(tags.len(), 64);
        }
        let sealed = draft.seal([0; 32]).unwrap();
        let mut leaf = Vec::new();
        sealed.write_leaf(Timestamp::from_micros(0), 0, &mut leaf);
        assert!(leaf.len() < 8_192, "{}", leaf.len());
    }
}

#[test]
fn one_document_that_holds_too_many_others_is_rejected() {
    for (origin, count) in [(Origin::Litellm, 10_001), (Origin::Langfuse, 100_001)] {
        let list = format!("{{\"data\":[{}]}}", vec!["{}"; count].join(","));
        let drafts = lines(origin, &list);
        assert!(drafts.len() == 1 && drafts[0].as_ref().unwrap_err().to_string().contains("holds more than"));
    }
}

fn any_sample() -> impl Strategy<Value = (Origin, Form, &'static [u8])> {
    proptest::sample::select(SAMPLES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn however_the_bytes_are_cut_the_same_comes_out((origin, form, bytes) in any_sample(), piece in 1_usize..600) {
        let whole = imported(origin, &[(form, bytes)], bytes.len());
        let pieces = imported(origin, &[(form, bytes)], piece);
        prop_assert_eq!(all_shown(&pieces), all_shown(&whole));
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        origin in proptest::sample::select(Origin::ALL.to_vec()),
        form in proptest::sample::select(vec![Form::Lines, Form::Json, Form::Csv]),
    ) {
        for draft in imported(origin, &[(form, bytes.as_slice())], 64).into_iter().flatten() {
            prop_assert!(draft.seal([0; 32]).is_ok());
        }
    }

    #[test]
    fn damaged_samples_do_no_harm(
        (origin, form, bytes) in any_sample(),
        damages in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0_u8..3), 1..20),
    ) {
        let mut bytes = bytes.to_vec();
        for (at, byte, how) in damages {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => { bytes.remove(at); }
                _ => {}
            }
        }
        for draft in imported(origin, &[(form, bytes.as_slice())], 4_096).into_iter().flatten() {
            prop_assert!(draft.seal([0; 32]).is_ok());
        }
    }

    #[test]
    fn members_of_any_type_do_no_harm(
        (origin, _, bytes) in any_sample(),
        value in proptest::sample::select(vec!["null", "7", "-1.5e300", "\"\"", "\"x\"", "[]", "[1]", "{}", "{\"a\":[]}", "true", "\"[\"", "\"{}\""]),
        nth in any::<proptest::sample::Index>(),
    ) {
        let value: Value = serde_json::from_str(value).unwrap();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(Value::Object(mut members)) = serde_json::from_slice::<Value>(line) else { continue };
            let name = members.keys().nth(nth.index(members.len())).unwrap().clone();
            members.insert(name, value.clone());
            for draft in lines(origin, &Value::Object(members).to_string()).into_iter().flatten() {
                prop_assert!(draft.seal([0; 32]).is_ok());
            }
        }
    }
}
