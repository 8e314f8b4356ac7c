"""What Fluent Bit and Vector send with the settings of docs/ingest/shippers.md. Neither program is here: their requests are made as their sources
make them, and the code in the settings is run by what runs it there."""

import gzip
import http.client
import json
import tomllib
import urllib.parse

import pytest
import yaml
from conftest import documented
from conftest import http as ask
from lupa.luajit21 import LuaRuntime, lua_type
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from test_access import make, rows
from test_rules import settings

PATH = "/var/log/app/bot.jsonl"
LINES = ['{"tool":"weather","ok":true,"args":{"city":"Bonn","days":[1,2]}}', "Traceback (most recent call last):", '{"tool":"größe","ok":false,"took":1.5}', '["no object"]']
OTHER_LINES = [line.replace("weather", "station") for line in LINES[:1]]
# When the lines were read, and when those were that stand in their place after a rotation.
READ, READ_LATER = 1795601405.125, 1795605005.125


def as_lua(lua, value):
    if isinstance(value, dict):
        return lua.table_from({name: as_lua(lua, one) for name, one in value.items()})
    return lua.table_from([as_lua(lua, one) for one in value]) if isinstance(value, list) else value


def from_lua(value):
    if lua_type(value) != "table":
        return value
    items = dict(value.items())
    if items and list(items) == list(range(1, len(items) + 1)):
        return [from_lua(one) for one in items.values()]
    return {name: from_lua(one) for name, one in items.items()}


def offsets(lines):
    """The lines with the places where they begin."""
    place = 0
    for line in lines:
        yield line, place
        place += len(line.encode()) + 1


def iso(seconds):
    """That time as `json_date_format: iso8601` writes it; all the tests' seconds are of one day."""
    minutes, rest = divmod(seconds - 1795564800, 60)
    return f"2026-11-25T{int(minutes) // 60:02}:{int(minutes) % 60:02}:{rest:09.6f}Z"


class FluentBit:
    """`in_tail` with its parser, `filter_lua` and `out_http`."""

    time = "2026-11-25T10:10:05.125Z"
    no_json = "log"

    def __init__(self):
        self.settings = yaml.safe_load(documented("shippers.md", "yaml", "lua"))
        pipeline = self.settings["pipeline"]
        [self.input], [self.filter], [self.output] = pipeline["inputs"], pipeline["filters"], pipeline["outputs"]
        assert (self.input["name"], self.filter["name"], self.output["name"]) == ("tail", "lua", "http")
        assert [self.filter["match"], self.output["match"]] == [self.input["tag"]] * 2
        assert {"name": self.input["parser"], "format": "json"} in self.settings["parsers"]
        self.lua = LuaRuntime()
        self.lua.execute(self.filter["code"])

    def read(self, lines):
        for line, place in offsets(lines):
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            # What the parser does not take goes on as it is.
            said = said if isinstance(said, dict) else {"log": line}
            yield {self.input["offset_key"]: place, self.input["path_key"]: PATH, **said}

    def body(self, lines, when):
        assert (self.output["format"], self.output["json_date_format"]) == ("json_lines", "iso8601")
        for line in self.read(lines):
            code, time, record = self.lua.globals()[self.filter["call"]](self.input["tag"], when, as_lua(self.lua, line))
            assert code == 2 and time == when
            yield json.dumps({self.output["json_date_key"]: iso(when), **from_lua(record)}, separators=(",", ":"), ensure_ascii=False) + "\n"

    def request(self, lines, when, secret, compressed=True):
        body = "".join(self.body(lines, when)).encode()
        headers = [("Content-Type", "application/x-ndjson")]
        if compressed:
            assert self.output["compress"] == "gzip"
            body = gzip.compress(body)
            headers += [("Content-Encoding", "gzip")]
        headers += [("User-Agent", "Fluent-Bit"), *(one.replace("tsm_…", secret).split(" ", 1) for one in self.output["header"])]
        return self.output["uri"], headers, body


class Vector:
    """The sources and sinks `file`, `remap` and `http`."""

    time = "2026-11-25T10:10:05.125Z"
    no_json = "testimony.log.body"

    def __init__(self):
        self.settings = tomllib.loads(documented("shippers.md", "toml", "[sinks.testimony]"))
        self.source, self.remap, self.sink = self.settings["sources"]["app"], self.settings["transforms"]["records"], self.settings["sinks"]["testimony"]
        assert (self.source["type"], self.remap["type"], self.sink["type"]) == ("file", "remap", "http")
        assert (self.remap["inputs"], self.sink["inputs"]) == (["app"], ["records"])
        pyvrl = pytest.importorskip("pyvrl", reason="no wheel of pyVRL for this Python")
        self.transform = pyvrl.Transform(self.remap["source"])

    def body(self, lines, when):
        assert (self.sink["encoding"]["codec"], self.sink["framing"]["method"]) == ("json", "newline_delimited")
        for line, place in offsets(lines):
            # Times have nanoseconds.
            event = {"file": PATH, "host": "edge-7", "message": line, "source_type": "file", "timestamp": iso(when).replace("Z", "001Z"), self.source["offset_key"]: place}
            yield json.dumps(self.transform.remap(event), separators=(",", ":"), ensure_ascii=False)

    def request(self, lines, when, secret, compressed=True):
        auth, body = self.sink["auth"], "\n".join(self.body(lines, when)).encode()
        assert auth["strategy"] == "bearer" and auth["token"] == "tsm_…" and len(lines) <= self.sink["batch"]["max_events"]
        headers = [("content-type", "application/x-ndjson")]
        if compressed:
            assert self.sink["compression"] == "gzip"
            body = gzip.compress(body)
            headers += [("content-encoding", "gzip")]
        headers += [("authorization", f"Bearer {secret}"), ("user-agent", "Vector/0.50.0 (x86_64-unknown-linux-gnu)"), ("accept-encoding", "zstd,gzip,deflate,br")]
        return urllib.parse.urlsplit(self.sink["uri"]).path, headers, body


@pytest.fixture(params=[FluentBit, Vector])
def program(request):
    return request.param()


def send(server, path, headers, body, times=1):
    """The request on one connection, as often as that: statuses, headers and what was answered."""
    address = urllib.parse.urlsplit(server.api)
    connection, answers = http.client.HTTPConnection(address.hostname, address.port, timeout=60), []
    for _ in range(times):
        connection.putrequest("POST", path, skip_accept_encoding=True)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        answers.append((answer.status, answer.headers, json.loads(answer.read() or b"{}")))
    connection.close()
    return answers


@pytest.fixture
def keyed(serve, scripted, tmp_path):
    """A server where nobody is let in without a key: a sender's and a reader's. It can be started with a log that cannot be written, too."""
    server = serve(scripted)
    sender, reader = make(server, "shipper", "ingest")["secret"], make(server, "root", "admin")["secret"]
    server.stop()

    def start(full=False):
        return serve(scripted, *settings(tmp_path, f"[ledger]\nreserve_bytes = {10**18}\n" if full else ""))

    return start, sender, reader


QUERY = "SELECT kind, time, service, host, attributes FROM records WHERE producer = 'records' ORDER BY log_index"


@pytest.mark.parametrize("compressed", [True, False])
def test_lines_come_as_records_and_are_stored_once_however_often_they_are_sent(keyed, program, compressed):
    start, sender, reader = keyed
    server = start(full=True)
    request = program.request(LINES, READ, sender, compressed)
    # The log cannot be written: both programs keep what they have, and send it again.
    [(status, headers, answer)] = send(server, *request)
    assert (status, answer["code"]) == (503, "not_recorded") and int(headers["retry-after"]) > 0
    server.stop()
    server = start()
    first, again = send(server, *request, times=2)
    assert (first[0], again[0]) == (200, 200) and not first[2]["rejected"], first
    assert [receipt["repeat"] for receipt in first[2]["receipts"]] == [False] * len(LINES)
    # As after an answer that was lost.
    assert [receipt["repeat"] for receipt in again[2]["receipts"]] == [True] * len(LINES)
    found = rows(server, QUERY, reader)
    assert [(row["kind"], row["service"]) for row in found] == [("system", "app")] * len(LINES)
    assert [row["time"] for row in found] == [program.time] * len(LINES)
    said = [dict(row["attributes"]) for row in found]
    assert (said[0]["tool"], said[0]["ok"], json.loads(said[0]["args"])) == ("weather", "true", {"city": "Bonn", "days": [1, 2]})
    assert (said[2]["tool"], said[2]["ok"], said[2]["took"]) == ("größe", "false", "1.5")
    assert [said[n][program.no_json] for n in (1, 3)] == [LINES[1], LINES[3]]


def test_after_rotation_other_lines_in_the_same_place_are_other_records(keyed, program):
    start, sender, reader = keyed
    server = start()
    for lines, when in [(LINES[:1], READ), (OTHER_LINES, READ_LATER)]:
        assert len(lines[0]) == len(LINES[0])
        [(status, _, answer)] = send(server, *program.request(lines, when, sender))
        assert status == 200 and [receipt["repeat"] for receipt in answer["receipts"]] == [False]
    assert [dict(row["attributes"])["tool"] for row in rows(server, QUERY, reader)] == ["weather", "station"]


def test_without_a_good_key_nothing_is_taken(keyed, program):
    start, _, reader = keyed
    server = start()
    assert [status for status, *_ in send(server, *program.request(LINES, READ, "tsm_nobody"))] == [401]
    assert [status for status, *_ in send(server, *program.request(LINES, READ, reader))] == [200]
    assert len(rows(server, QUERY, reader)) == len(LINES)


def test_a_long_path_makes_no_key_that_is_refused(keyed, monkeypatch, program):
    start, sender, _ = keyed
    monkeypatch.setitem(globals(), "PATH", "/" + "long/" * 100 + "bot.jsonl")
    [(status, _, answer)] = send(start(), *program.request(LINES, READ, sender))
    assert status == 200 and not answer["rejected"], answer


def tell(value, said):
    """A value as one of OpenTelemetry's."""
    if isinstance(value, dict):
        for name, one in value.items():
            tell(one, said.kvlist_value.values.add(key=name).value)
    elif isinstance(value, list):
        for one in value:
            tell(one, said.array_value.values.add())
    else:
        name = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(said, name, value)


def test_fluent_bits_log_records_come_by_opentelemetry(serve, scripted, tmp_path):
    [output] = yaml.safe_load(documented("shippers.md", "yaml", "name: opentelemetry"))["pipeline"]["outputs"]
    assert (output["name"], output["compress"]) == ("opentelemetry", "gzip")
    lines = list(FluentBit().read(LINES))
    export = ExportLogsServiceRequest()
    logs = export.resource_logs.add().scope_logs.add()
    for line in lines:
        # The whole line, where it has no field `log` or `message`.
        tell(line.get("log", line), logs.log_records.add(time_unix_nano=int(READ * 1000) * 1_000_000).body)
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip", "user-agent": "Fluent-Bit"}
    server = serve(scripted, *settings(tmp_path, documented("shippers.md", "toml", "other_logs")))
    for _ in range(2):
        status, _, text = ask(f"{server.api}{output['logs_uri']}", gzip.compress(export.SerializeToString()), headers)
        assert (status, text) == (200, "")
    found = server.sql("SELECT id, kind, time FROM records WHERE producer = 'otlp' ORDER BY log_index")
    assert [(row["kind"], row["time"]) for row in found] == [("system", FluentBit.time)] * len(LINES)
    bodies = [json.loads(server.get(f"/api/v1/records/{row['id']}")[2])["content"]["testimony.log.body"] for row in found]
    assert json.loads(bodies[0]) == lines[0] and bodies[1] == LINES[1]
