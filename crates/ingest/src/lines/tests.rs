use super::*;
use crate::drafting::BODY;
use crate::mutated::source;
use proptest::prelude::*;
use record::{Timestamp, Value, once_id};

fn door(wrapping: Wrapping, begins: Option<&str>, mapping: Option<&str>) -> Arc<Lines> {
    let settings = LinesSettings { wrapping, begins: begins.map(str::to_owned), ..LinesSettings::default() };
    let mapping = mapping.map(|toml| Arc::new(Mapping::compile(toml).unwrap()));
    Arc::new(Lines::new(settings, mapping).unwrap())
}

fn with_arrival<T>(read: impl FnOnce(&Arrival<'_>) -> T) -> T {
    let source = source("ingest");
    let received = Timestamp::parse("2026-11-25T04:00:00Z").unwrap();
    read(&Arrival { source: &source, sender: None, received, random: &|| [7; 10] })
}

/// All entries of a file that is read in these chunks and then ends.
fn entries(door: &Arc<Lines>, chunks: &[&[u8]]) -> Vec<Entry> {
    with_arrival(|arrival| {
        let mut reader = door.open("f", "/log/app.log", Place::default());
        let mut entries: Vec<Entry> = chunks.iter().flat_map(|chunk| reader.push(chunk, arrival)).collect();
        entries.extend(reader.end(arrival));
        entries
    })
}

fn bodies(entries: &[Entry]) -> Vec<String> {
    let body = |entry: &Entry| match entry.draft.as_ref()?.attributes.value(BODY)? {
        Value::Text(text) => Some(text.to_string()),
        other => Some(other.to_json()),
    };
    entries.iter().filter_map(body).collect()
}

/// What a file becomes, in a line a fact.
fn shown(entries: &[Entry]) -> String {
    let mut out = String::new();
    for Entry { draft, place } in entries {
        let Some(draft) = draft else {
            out += &format!("nothing, up to {}\n", place.offset);
            continue;
        };
        out += &format!("{} {} up to {}\n", draft.time, draft.kind, place.offset);
        for (name, value) in draft.attributes.iter() {
            out += &format!("  {name} = {}\n", value.to_json());
        }
    }
    out
}

#[test]
fn logs_of_containers_become_these_records() {
    let cri = entries(&door(Wrapping::Cri, None, None), &[include_bytes!("../../testdata/lines/cri.log")]);
    let docker = entries(&door(Wrapping::Docker, None, None), &[include_bytes!("../../testdata/lines/docker.log")]);
    insta::assert_snapshot!(format!("{}\n{}", shown(&cri), shown(&docker)));
}

#[test]
fn settings_are_read_as_the_documentation_has_them() {
    let toml = "wrapping = \"cri\"\nbegins = '^\\d{4}-'\nbody = \"content\"";
    let settings = LinesSettings {
        wrapping: Wrapping::Cri,
        body: BodyPlace::Content,
        begins: Some(r"^\d{4}-".into()),
        ..LinesSettings::default()
    };
    assert_eq!(toml::from_str(toml), Ok(settings));
    assert!(toml::from_str::<LinesSettings>("begin = 'x'").is_err());
}

#[test]
fn lines_that_continue_others_are_one_record() {
    let text = b"  before\n2026-11-25 ERROR no\n  at a\n  at b\n2026-11-25 INFO yes\n2026-11-25 last";
    let entries = entries(&door(Wrapping::Bare, Some(r"^\d{4}-"), None), &[text]);
    let expected = ["  before", "2026-11-25 ERROR no\n  at a\n  at b", "2026-11-25 INFO yes", "2026-11-25 last"];
    assert_eq!(bodies(&entries), expected);
    let places: Vec<u64> = entries.iter().map(|entry| entry.place.offset).collect();
    assert_eq!(places, [9, 43, 63, text.len() as u64]);
    assert!(Lines::new(LinesSettings { begins: Some("(".into()), ..LinesSettings::default() }, None).is_err());
}

#[test]
fn what_waits_for_its_continuation_is_whole_when_nothing_comes() {
    let door = door(Wrapping::Bare, Some("^[a-z]"), None);
    with_arrival(|arrival| {
        let mut reader = door.open("f", "/log/app.log", Place::default());
        assert!(reader.push(b"first\n more\nhalf", arrival).is_empty());
        let flushed = reader.flush(arrival);
        assert_eq!((bodies(&flushed), flushed[0].place.offset), (vec!["first\n more".to_owned()], 12));
        assert_eq!(bodies(&reader.push(b" line\nnext\n", arrival)), ["half line"]);
    });
}

#[test]
fn the_same_bytes_of_the_same_file_are_the_same_record() {
    let door = door(Wrapping::Bare, None, None);
    let text = b"one\ntwo\n";
    let first = entries(&door, &[text]);
    let again = with_arrival(|arrival| door.open("f", "/log/app.log.1", first[0].place).push(b"two\n", arrival));
    let id = |entry: &Entry| entry.draft.as_ref().unwrap().id;
    assert_eq!(id(&first[1]), id(&again[0]));
    assert_eq!(id(&first[1]), once_id("ingest", "lines/f/4-8"));
    assert_eq!(first[1].place, again[0].place);
    assert_ne!(id(&first[0]), id(&first[1]));
}

#[test]
fn json_and_texts_go_through_the_mapping_and_what_is_empty_is_passed_over() {
    let mapping = r#"
        [[mapping]]
        match = { where = { "/level" = "debug" } }
        drop = true
        [[mapping]]
        time = "/ts"
        attributes = { n = "/n" }
        [[mapping]]
        pattern = '^user=(?<user>\S+)'
        actor = "user"
    "#;
    let text = b"{\"ts\":\"2026-11-25T01:00:00Z\",\"n\":1}\n\n{\"level\":\"debug\"}\r\nuser=alice\n{broken\n";
    let entries = entries(&door(Wrapping::Bare, None, Some(mapping)), &[text]);
    insta::assert_snapshot!(shown(&entries));
    assert_eq!(entries[3].draft.as_ref().unwrap().actor.as_ref().unwrap().id.as_deref(), Some("alice"));
}

#[test]
fn an_entry_has_an_end_however_long_it_is() {
    let settings = LinesSettings { entry_bytes_max: 10, begins: Some("^x".into()), ..LinesSettings::default() };
    let door = Arc::new(Lines::new(settings, None).unwrap());
    let read = entries(&door, &[b"x234567890123\ny\nx\n"]);
    assert_eq!(bodies(&read), ["x234567890", "x"]);
    let lost = |entry: &Entry| entry.draft.as_ref().unwrap().attributes.value(LOST_BYTES).cloned();
    assert_eq!((lost(&read[0]), lost(&read[1])), (Some(Value::Int(5)), None));
    assert_eq!((read[0].place.offset, read[1].place.offset), (16, 18));
    let many = "y\n".repeat(ENTRY_LINES_MAX + 1);
    assert_eq!(entries(&door, &[many.as_bytes()]).len(), 2);
}

#[test]
fn nobody_goes_on_behind_a_line_whose_rest_is_to_come() {
    let door = door(Wrapping::Cri, None, None);
    with_arrival(|arrival| {
        let mut reader = door.open("f", "p", Place::default());
        assert!(reader.push(b"2026-11-25T04:00:00Z stdout P half\n", arrival).is_empty());
        let error = reader.push(b"2026-11-25T04:00:00Z stderr F whole\n", arrival);
        assert_eq!((bodies(&error), error[0].place.offset), (vec!["whole".to_owned()], 0));
        let rest = reader.push(b"2026-11-25T04:00:01Z stdout F  rest\n", arrival);
        assert_eq!((bodies(&rest), rest[0].place.offset), (vec!["half rest".to_owned()], 107));
    });
}

proptest! {
    #[test]
    fn chunks_make_no_difference_and_no_bytes_panic(
        parts in prop::collection::vec(prop_oneof![
            Just(b"2026-11-25T04:00:00Z stdout P a\n".to_vec()),
            Just(b"2026-11-25T04:00:00Z stderr F b\n".to_vec()),
            Just(b"{\"log\":\"x\\n\",\"stream\":\"stdout\"}\n".to_vec()),
            any::<Vec<u8>>(),
        ], 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        wrapping in prop::sample::select(vec![Wrapping::Bare, Wrapping::Cri, Wrapping::Docker]),
        begins in prop::option::of(Just("^[a-m]")),
    ) {
        let text = parts.concat();
        let door = door(wrapping, begins, None);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let (whole, cut) = (entries(&door, &[&text]), entries(&door, &chunks));
        prop_assert_eq!(shown(&whole), shown(&cut));
        let places: Vec<u64> = whole.iter().map(|entry| entry.place.offset).collect();
        prop_assert!(places.is_sorted());
        prop_assert!(text.is_empty() || places.last() == Some(&(text.len() as u64)));
        for draft in whole.into_iter().filter_map(|entry| entry.draft) {
            prop_assert!(draft.seal([0; 32]).is_ok());
        }
    }
}
