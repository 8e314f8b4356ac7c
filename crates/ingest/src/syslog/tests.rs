use super::*;
use crate::mutated::source;
use proptest::prelude::*;

pub(crate) fn received() -> Timestamp {
    Timestamp::parse("2026-11-25T04:01:12Z").unwrap()
}

fn read(door: &Syslog, packet: &Packet<'_>) -> Option<Draft> {
    let source = source("ingest");
    let arrival = Arrival { source: &source, sender: None, received: received(), random: &|| [7; 10] };
    door.draft(packet, &arrival)
}

fn packet(bytes: &[u8]) -> Packet<'_> {
    Packet { bytes, lost_bytes: 0, peer: None }
}

/// What a message becomes, in a line a fact.
fn shown(draft: &Draft) -> String {
    let mut out = format!("{} {} {}@{}", draft.time, draft.kind, draft.source.service, draft.source.host);
    for (name, value) in draft.attributes.iter() {
        out += &format!("\n  {name} = {}", value.to_json());
    }
    for field in &draft.content {
        out += &format!("\n  content {} ({}): {}", field.name, field.media, String::from_utf8_lossy(&field.bytes));
    }
    assert!(draft.clone().seal([0; 32]).is_ok());
    out
}

fn record_of(text: &str) -> String {
    shown(&read(&Syslog::default(), &packet(text.as_bytes())).unwrap())
}

#[test]
fn messages_of_rfc_5424_become_these_records() {
    let samples = include_str!("../../testdata/syslog/rfc5424.log");
    let all: Vec<String> = samples.lines().map(|line| format!("{line}\n{}", record_of(line))).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn messages_of_rfc_3164_become_these_records() {
    let samples = include_str!("../../testdata/syslog/rfc3164.log");
    let all: Vec<String> = samples.lines().map(|line| format!("{line}\n{}", record_of(line))).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn a_time_without_a_year_is_the_one_nearest_to_its_receipt() {
    for (received, text, expected) in [
        ("2027-01-01T00:00:05Z", "<13>Dec 31 23:59:59 h a: x", "2026-12-31T23:59:59.000000Z"),
        ("2026-12-31T23:59:55Z", "<13>Jan  1 00:00:01 h a: x", "2027-01-01T00:00:01.000000Z"),
        ("2026-03-01T00:00:00Z", "<13>Feb 29 12:00:00 h a: x", "2026-03-01T00:00:00.000000Z"),
        ("2024-03-01T00:00:00Z", "<13>Feb 29 12:00:00 h a: x", "2024-02-29T12:00:00.000000Z"),
    ] {
        let source = source("ingest");
        let received = Timestamp::parse(received).unwrap();
        let arrival = Arrival { source: &source, sender: None, received, random: &|| [7; 10] };
        let draft = Syslog::default().draft(&packet(text.as_bytes()), &arrival).unwrap();
        assert_eq!(draft.time.to_string(), expected, "{text}");
    }
    let settings = SyslogSettings { utc_offset_minutes: 60, ..SyslogSettings::default() };
    let draft = read(&Syslog::new(settings, None), &packet(b"<13>Nov 25 05:01:10 vm demo: old")).unwrap();
    assert_eq!(draft.time.to_string(), "2026-11-25T04:01:10.000000Z");
}

#[test]
fn a_long_text_is_content_and_its_beginning_can_be_searched() {
    let text = format!("<13>1 - h a - - - {}", "é".repeat(3_000));
    let draft = read(&Syslog::default(), &packet(text.as_bytes())).unwrap();
    assert_eq!(draft.content[0].bytes.len(), 6_000);
    assert_eq!(draft.attributes.value(crate::drafting::BODY), Some(&Value::from("é".repeat(512))));
    let settings = SyslogSettings { body: BodyPlace::Content, ..SyslogSettings::default() };
    let draft = read(&Syslog::new(settings, None), &packet(b"<13>1 - h a - - - short")).unwrap();
    assert_eq!((draft.attributes.value(crate::drafting::BODY), draft.content.len()), (None, 1));
}

#[test]
fn structured_data_too_large_for_a_leaf_is_content_and_credentials_are_nowhere() {
    let many: String = (0..300).map(|n| format!(" p{n}=\"v\"")).collect();
    for params in [many, format!(" a=\"{}\"", "\u{1}".repeat(4_000)), format!(" {}=\"v\"", "n".repeat(300))] {
        let text = format!("<13>1 - h a - - [x@1 password=\"canary\"{params}] t");
        let draft = read(&Syslog::default(), &packet(text.as_bytes())).unwrap();
        assert_eq!(draft.content[0].name, STRUCTURED_DATA);
        assert!(!shown(&draft).contains("canary"));
    }
    let draft = read(&Syslog::default(), &packet(b"<13>1 - h a - - [x@1 api_key=\"canary\" b=\"1\"] t")).unwrap();
    assert!(!shown(&draft).contains("canary"));
}

#[test]
fn structured_data_cannot_say_what_the_header_says() {
    let draft =
        read(&Syslog::default(), &packet(b"<13>1 - h a - - [facility code=\"4\"][x__proto__ a.b=\"1\"] t")).unwrap();
    assert_eq!(draft.attributes.value("syslog.facility.code"), Some(&Value::Int(1)));
    assert_eq!(draft.attributes.value("syslog.x__proto__.a.b"), Some(&Value::from("1")));
}

#[test]
fn bytes_that_are_no_text_are_kept_as_they_are() {
    let draft = read(&Syslog::default(), &packet(b"<13>Nov 25 04:01:10 vm demo: caf\xe9")).unwrap();
    assert_eq!((draft.content[0].name.as_str(), draft.content[0].bytes.last()), (ORIGINAL, Some(&0xe9)));
    assert!(read(&Syslog::default(), &packet(b" \r\n\0")).is_none());
}

#[test]
fn what_was_cut_and_where_it_came_from_stands_in_the_record() {
    let packet =
        Packet { bytes: b"<13>1 - - - - - - x", lost_bytes: 9, peer: Some("::ffff:10.0.0.8".parse().unwrap()) };
    let draft = read(&Syslog::default(), &packet).unwrap();
    assert_eq!(draft.attributes.value(LOST_BYTES), Some(&Value::Int(9)));
    assert_eq!(draft.attributes.value("network.peer.address"), Some(&Value::from("10.0.0.8")));
}

#[test]
fn json_and_texts_go_through_the_mapping() {
    let mapping = Mapping::compile(
        r#"
        join = ["request_id"]
        [[mapping]]
        match = { source = "syslog/sshd" }
        pattern = '^Accepted \S+ for (?<user>\S+) from (?<ip>\S+)'
        kind = "auth"
        actor = "user"
        outcome = "=allowed"
        attributes = { "client.address" = "ip" }
        [[mapping]]
        match = { source = "syslog/bot" }
        kind = "tool.call"
        attributes = { request_id = "/rid", "gen_ai.tool.name" = "/tool" }
        content = { "gen_ai.tool.call.arguments" = "/args" }
        [[mapping]]
        match = { source = "syslog/noise" }
        drop = true
        "#,
    )
    .unwrap();
    let door = Syslog::new(SyslogSettings::default(), Some(Arc::new(mapping)));
    let read = |text: &str| read(&door, &packet(text.as_bytes()));
    let accepted = read("<38>Nov 25 04:01:10 vm sshd[7]: Accepted publickey for alice from 10.0.0.8 port 22").unwrap();
    let call = read(
        r#"<14>1 2026-11-25T04:01:10Z vm bot 1 - - @cee: {"rid":"r-7","tool":"weather","args":{"a":1,"cookie":"c"}}"#,
    );
    assert!(read("<14>1 - vm noise - - - x").is_none());
    insta::assert_snapshot!(format!("{}\n\n{}", shown(&accepted), shown(call.as_ref().unwrap())));
    assert_eq!(call.unwrap().call_id, Some(crate::join_id("request_id", "r-7")));
    assert_eq!(accepted.actor.unwrap().id.as_deref(), Some("alice"));
}

#[test]
fn a_message_that_goes_to_every_limit_still_fits_a_leaf() {
    let attributes: String = (0..100).map(|n| format!("a{n} = \"/a\"\n")).collect();
    let toml = format!(
        "[[mapping]]\nname = \"all\"\nactor = \"/n\"\noutcome = \"/n\"\ntrace_id = \"/n\"\nspan_id = \"/n\"\nparent_span_id = \"/n\"\n\
         time = \"/n\"\nbody = \"/a\"\noriginal = true\nsource = {{ service = \"/n\", environment = \"/n\", host = \"/n\" }}\n\
         [mapping.attributes]\n{attributes}"
    );
    let door = Syslog::new(SyslogSettings::default(), Some(Arc::new(Mapping::compile(&toml).unwrap())));
    // Six bytes in a leaf for each.
    let controls = |count: usize| "\u{1}".repeat(count);
    let document = json!({"a": controls(1_300), "n": controls(300)});
    let (word, value) = (controls(300), controls(1_900));
    let text = format!("<13>1 - {word} {word} {word} {word} [x@1 a=\"{value}\"] {document}");
    let packet = Packet { bytes: text.as_bytes(), lost_bytes: u64::MAX, peer: Some("2001:db8::1".parse().unwrap()) };
    let draft = read(&door, &packet).unwrap();
    assert!(draft.attributes.value("syslog.x@1.a").is_some() && draft.attributes.value("a0").is_some());
    assert_eq!(draft.seal([0; 32]).err(), None);
}

/// Everything a stream says, however it is cut into chunks.
fn frames(chunks: &[&[u8]], bytes_max: usize) -> Vec<(String, u64)> {
    let mut frames = Frames::new(bytes_max);
    let mut out: Vec<Frame> = chunks.iter().flat_map(|chunk| frames.push(chunk)).collect();
    out.extend(frames.end());
    out.into_iter().map(|frame| (String::from_utf8_lossy(&frame.bytes).into_owned(), frame.lost_bytes)).collect()
}

#[test]
fn counted_messages_and_lines_may_be_mixed() {
    let stream = b"10 <13>a\nb:c\n<14>second\r\n\n12 monkeys\n2026-11-25 text\n\n7 <15>end17 <13>cut off";
    let expected = [
        ("<13>a\nb:c", 0),
        ("<14>second", 0),
        ("12 monkeys", 0),
        ("2026-11-25 text", 0),
        ("<15>end", 0),
        ("<13>cut off", 6),
    ];
    let expected: Vec<(String, u64)> = expected.iter().map(|(text, lost)| ((*text).to_owned(), *lost)).collect();
    assert_eq!(frames(&[stream], 100), expected);
}

#[test]
fn what_rsyslog_forwards_by_its_templates_is_the_same() {
    // RSYSLOG_SyslogProtocol23Format with octets counted, the default, and RSYSLOG_ForwardFormat, of rsyslog 8.2302.
    let counted = "57 <13>1 2026-11-25T04:38:21+00:00 vm demo 7 - -  plain old\n115 <13>1 2026-11-25T04:38:21.010802+00:00 vm demo - \
        ID1 [timeQuality tzKnown=\"1\" isSynced=\"0\"][ex@32473 a=\"1\"] new é\n66 <13>1 2026-11-25T04:38:21+00:00 vm bot - - -  @cee: \
        {\"rid\":\"r-7\"}\n";
    let default = "<13>Nov 25 04:38:21 vm demo[7]: plain old\n<13>Nov 25 04:38:21 vm bot: @cee: {\"rid\":\"r-7\"}\n";
    let forward = "<13>2026-11-25T04:38:21+00:00 vm demo[7]: plain old\n<13>2026-11-25T04:38:21+00:00 vm bot: @cee: {\"rid\":\"r-7\"}\n";
    let said = |stream: &str| {
        let all = frames(&[stream.as_bytes()], MESSAGE_BYTES_MAX);
        let said = |(message, lost): (String, u64)| {
            let message = Message::parse(&message, received(), 0);
            let facts = [message.host, message.app, message.process, message.message_id, Some(message.text)];
            (
                message.time.unwrap().to_string().replace(".010802", ".000000"),
                facts.map(|fact| fact.unwrap_or("-").to_owned()),
                lost,
            )
        };
        all.into_iter().map(said).collect::<Vec<_>>()
    };
    let fact = |facts: [&str; 5]| ("2026-11-25T04:38:21.000000Z".to_owned(), facts.map(str::to_owned), 0);
    let old = fact(["vm", "demo", "7", "-", "plain old"]);
    let new = fact(["vm", "demo", "-", "ID1", "new é"]);
    let json = fact(["vm", "bot", "-", "-", "@cee: {\"rid\":\"r-7\"}"]);
    assert_eq!(said(counted), [old.clone(), new, json.clone()]);
    assert_eq!(said(default), [old.clone(), json.clone()]);
    assert_eq!(said(forward), [old, json]);
}

#[test]
fn no_message_takes_more_memory_than_it_may_have() {
    let mut stream = Frames::new(8);
    assert!(stream.push(b"999999999 <13>").is_empty());
    for _ in 0..100 {
        assert!(stream.push(&[b'x'; 1_000]).is_empty());
        assert_eq!(stream.held_bytes(), 8);
    }
    assert_eq!(
        frames(&[b"<13>a long line\n20 <13>a counted messag\n<13>b"], 8),
        [("<13>a lo".to_owned(), 7), ("<13>a co".to_owned(), 12), ("<13>b".to_owned(), 0),]
    );
}

fn sample() -> impl Strategy<Value = Vec<u8>> {
    let all =
        concat!(include_str!("../../testdata/syslog/rfc5424.log"), include_str!("../../testdata/syslog/rfc3164.log"));
    let lines: Vec<&'static str> = all.lines().collect();
    (prop::sample::select(lines), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |(line, changes)| {
            let mut bytes = line.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn every_message_becomes_a_record_that_can_be_sealed(bytes in prop_oneof![any::<Vec<u8>>(), sample()]) {
        for bytes in [bytes.clone(), [b"<13>1 - - - - - [".as_slice(), &bytes].concat(), [b"<13>".as_slice(), &bytes].concat()] {
            if let Some(draft) = read(&Syslog::default(), &packet(&bytes)) {
                prop_assert!(draft.seal([0; 32]).is_ok());
            }
        }
    }

    #[test]
    fn values_of_structured_data_come_back(value in "[\\x20-\\x7eé\"\\]\\\\]{0,40}", text in "([a-z][a-z ]{0,10})?") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        let message = format!("<13>1 - h a p m [x@1 a=\"{escaped}\"] {text}");
        let message = Message::parse(&message, received(), 0);
        prop_assert_eq!(message.structured[0].parameters[0].1.as_ref(), value.as_str());
        prop_assert_eq!((message.text, message.problem), (text.as_str(), None));
    }

    #[test]
    fn chunks_make_no_difference(
        stream in prop::collection::vec(prop_oneof![Just(b"7 <13>abc".to_vec()), Just(b"<13>x\n".to_vec()), Just(b"12 m\n".to_vec()), any::<Vec<u8>>()], 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        bytes_max in 1_usize..20,
    ) {
        let stream = stream.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(frames(&chunks, bytes_max), frames(&[&stream], bytes_max));
    }
}
