//! What every target does: some bytes go to a door, and whatever it makes of them must be a record that the log takes.

use std::sync::Arc;

use ingest::cloudevents::{self, Kinds};
use ingest::history::{Form as HistoryForm, Import, Origin, Position};
use ingest::otlp::{self, Encoding, Options, Signal};
use ingest::{
    Arrival, EntryFormat, Event, Form, Frames, Input, Lines, LinesSettings, MESSAGE_BYTES_MAX, Mapped, Mapping, Packet, Place, Syslog,
    Wrapping, forwarded, kubernetes, opa, records,
};
use record::{Draft, Source, Timestamp};

/// Calls a door with an arrival that is always the same.
fn arriving<T>(read: impl FnOnce(&Arrival<'_>) -> T) -> T {
    let text = str::to_owned;
    let source = Source {
        service: text("default"),
        environment: text("default"),
        host: text("here"),
        origin: text("example.com/log"),
        producer: text("door"),
    };
    let received = Timestamp::from_micros(1_763_890_442_000_000);
    read(&Arrival { source: &source, sender: None, received, random: &|| [7; 10] })
}

/// A door never makes what the log would refuse.
fn seals(draft: Draft) {
    if let Err(error) = draft.clone().seal([0; 32]) {
        panic!("the log would refuse this: {error}: {draft:?}");
    }
}

fn all_seal<E>(read: Vec<Result<Draft, E>>) {
    read.into_iter().flatten().for_each(seals);
}

pub fn otlp(data: &[u8], signal: Signal, encoding: Encoding) {
    let options = Options { other_spans: true, other_logs: true };
    if let Ok(batch) = arriving(|arrival| otlp::read(data, signal, encoding, arrival, options)) {
        batch.events.into_iter().flatten().flatten().for_each(seals);
    }
}

pub fn kubernetes(data: &[u8]) {
    all_seal(arriving(|arrival| kubernetes::read(data, Form::Json, arrival)));
    all_seal(arriving(|arrival| kubernetes::read(data, Form::Lines, arrival)));
}

pub fn opa(data: &[u8]) {
    all_seal(arriving(|arrival| opa::read(data, Form::Json, arrival)));
}

pub fn records(data: &[u8]) {
    // Whoever sends records of our own format says more than other doors can, and the log may refuse some of it.
    let _ = arriving(|arrival| records::read(data, Form::Lines, None, arrival));
    let _ = arriving(|arrival| records::read(data, Form::Json, Some("key"), arrival));
}

pub fn cloudevents(data: &[u8]) {
    let kinds = Kinds::default();
    for media in ["application/cloudevents+json", "application/cloudevents-batch+json"] {
        let headers = [("content-type", media.as_bytes())];
        all_seal(arriving(|arrival| cloudevents::read(data, &headers, &kinds, arrival)));
    }
    // In the binary mode the attributes are headers: here one a line, the body after them.
    let mut lines = data.splitn(7, |byte| *byte == b'\n');
    let names = ["ce-id", "ce-source", "ce-type", "ce-time", "ce-traceparent", "content-type"];
    let mut headers = vec![("ce-specversion", b"1.0".as_slice())];
    headers.extend(names.into_iter().zip(lines.by_ref()));
    all_seal(arriving(|arrival| cloudevents::read(lines.next().unwrap_or_default(), &headers, &kinds, arrival)));
}

pub fn syslog(data: &[u8]) {
    let door = Syslog::default();
    let draft = |bytes: &[u8], lost_bytes| {
        arriving(|arrival| door.draft(&Packet { bytes, lost_bytes, peer: None }, arrival)).map(seals);
    };
    draft(data, 0);
    let mut frames = Frames::new(MESSAGE_BYTES_MAX);
    let read: Vec<_> = data.chunks(7).flat_map(|chunk| frames.push(chunk)).collect();
    read.into_iter().chain(frames.end()).for_each(|frame| draft(&frame.bytes, frame.lost_bytes));
}

pub fn lines(data: &[u8]) {
    for (wrapping, format, begins) in [
        (Wrapping::Bare, EntryFormat::Lines, Some(r"^\S".to_owned())),
        (Wrapping::Cri, EntryFormat::Kubernetes, None),
        (Wrapping::Docker, EntryFormat::Lines, None),
    ] {
        let settings = LinesSettings { wrapping, format, begins, ..LinesSettings::default() };
        let Ok(door) = Lines::new(settings, None) else { return };
        let mut reader = Arc::new(door).open("name", "/var/log/app.log", Place::default());
        let mut entries: Vec<_> = data.chunks(11).flat_map(|chunk| arriving(|arrival| reader.push(chunk, arrival))).collect();
        entries.extend(arriving(|arrival| reader.flush(arrival)));
        entries.extend(arriving(|arrival| reader.end(arrival)));
        entries.into_iter().filter_map(|entry| entry.draft).for_each(seals);
    }
}

/// A mapping file, and after a line of three hyphens what it is given.
pub fn mapping(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (toml, said) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let Ok(mapping) = Mapping::compile(toml) else { return };
    let event = Event { input: Input::Text(said), source: "app", time: None, key: Some("key") };
    if let Mapped::Draft(draft) = arriving(|arrival| mapping.read(&event, arrival)) {
        seals(*draft);
    }
}

pub fn forwarded(data: &[u8]) {
    for entry in forwarded::split(data).into_iter().flatten() {
        if let Ok(draft) = forwarded::read(&entry, "example.com/node") {
            seals(draft);
        }
    }
}

pub fn history(data: &[u8], origin: Origin) {
    for form in [HistoryForm::Lines, HistoryForm::Json, HistoryForm::Csv] {
        let mut import = Import::new(origin);
        import.begin(form, Position::default());
        let mut taken: Vec<_> = data.chunks(13).flat_map(|chunk| arriving(|arrival| import.push(chunk, arrival))).collect();
        taken.extend(arriving(|arrival| import.end_of_file(arrival)));
        taken.into_iter().flat_map(|one| one.drafts).flatten().for_each(seals);
        arriving(|arrival| import.finish(arrival)).into_iter().for_each(seals);
    }
}

/// Messages of a client of PostgreSQL, and parameters of every type that is read.
pub fn postgres(data: &[u8]) {
    let _ = postgres::read_opening(data);
    let mut rest = data;
    while let Ok(Some((message, length))) = postgres::read_message(rest, 4_096) {
        rest = &rest[length..];
        let postgres::Message::Bind { values, are_binary, .. } = message else { continue };
        let oids = [0, 16, 20, 21, 23, 25, 26, 700, 701, 1_082, 1_114, 1_184, 1_700, 2_950];
        for (value, oid) in values.iter().zip(oids) {
            if let Ok(literal) = postgres::literal(1, oid, value.as_deref(), are_binary.first() == Some(&true)) {
                let quotes = literal.matches('\'').count();
                assert_eq!(quotes % 2, 0, "a text that does not end: {literal}");
            }
        }
    }
}
