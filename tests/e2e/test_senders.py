"""Senders as they are met: killed while they send, with very many small requests, with one as large as may be, with clocks that are wrong."""

import http.client
import json
import os
import random
import subprocess
import sys
import time
import urllib.parse

import pytest
from conftest import http as ask
from conftest import run, wait_for
from test_telemetry import export, span

SENDER = os.path.join(os.path.dirname(__file__), "killed_sender.py")
NEVER = 1_000_000
# A hundred thousand by hand.
TINY = int(os.environ.get("E2E_TINY", "5000"))


def lines_of(path):
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_was_acknowledged_to_a_sender_that_is_killed_is_stored_once(server, tmp_path, protocol):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    notes = tmp_path / "acknowledged"
    for _ in range(5):
        before = len(lines_of(notes))
        sender = subprocess.Popen([sys.executable, SENDER, protocol, server.api, notes, str(NEVER)], stderr=subprocess.PIPE)
        try:
            wait_for(lambda: len(lines_of(notes)) > before or sender.poll() is not None, 60)
            assert sender.poll() is None, sender.stderr.read()
            # Anywhere in a request, not after one.
            time.sleep(chance.random() * 0.2)
        finally:
            sender.kill()
            sender.wait(30)
    known = len(lines_of(notes))
    done = subprocess.run([sys.executable, SENDER, protocol, server.api, notes, str(known + 100)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    acknowledged = lines_of(notes)
    assert len(acknowledged) == len(set(acknowledged)) and set(map(int, acknowledged)) >= set(range(known + 100))
    stored = server.sql("SELECT trace_id, count(*) AS n, count(DISTINCT kind) AS kinds FROM records WHERE producer = 'otlp' GROUP BY trace_id")
    calls = {int(row["trace_id"], 16) - 1: (row["n"], row["kinds"]) for row in stored}
    assert set(calls.values()) == {(2, 2)}
    # What a process did not hear of any more may be there too.
    assert set(map(int, acknowledged)) <= set(calls)


@pytest.mark.timeout(180 + TINY / 50)
def test_thousands_of_requests_of_one_record_over_one_connection(server):
    address = urllib.parse.urlsplit(server.api)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.connect()
    # It does not open another one by itself.
    connection.auto_open = 0
    indexes = []
    for n in range(TINY):
        body = json.dumps({"kind": "system", "key": f"tiny-{n}", "attributes": {"n": n}})
        connection.request("POST", "/api/v1/records", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        [receipt] = json.loads(text)["receipts"]
        assert not receipt["repeat"]
        indexes.append(receipt["index"])
    connection.close()
    assert indexes == sorted(set(indexes))
    numbered = "SELECT CAST(attributes['n'] AS BIGINT) AS n, row_number() OVER (ORDER BY log_index) - 1 AS nth FROM records WHERE producer = 'records'"
    [row] = server.sql(f"SELECT count(*) AS n, sum(CASE WHEN n = nth THEN 0 ELSE 1 END) AS misplaced FROM ({numbered})")
    assert row == {"n": TINY, "misplaced": 0}


def test_a_request_as_large_as_may_be_is_stored_whole_and_a_larger_one_not_at_all(server):
    most, count = 16 << 20, 10_000
    bare = [json.dumps({"kind": "tool.call", "attributes": {"n": n}, "content": {"gen_ai.tool.call.result": ""}}) for n in range(count)]
    room = most - sum(len(line) + 1 for line in bare)
    sizes = [room // count + (n < room % count) for n in range(count)]
    body = "".join(line[:-3] + "x" * size + line[-3:] + "\n" for line, size in zip(bare, sizes)).encode()
    assert len(body) == most
    media = {"content-type": "application/jsonl"}
    assert ask(f"{server.api}/api/v1/records", body + b"\n", media)[0] == 413
    assert server.sql("SELECT count(*) AS n FROM records WHERE producer = 'records'") == [{"n": 0}]
    status, _, text = ask(f"{server.api}/api/v1/records", body, media)
    answer = json.loads(text)
    assert status == 200 and answer["rejected"] == [], text[:1000]
    assert [receipt["record"] for receipt in answer["receipts"]] == list(range(count))
    rows = server.sql("SELECT attributes['n'] AS n, length(result) AS size FROM records WHERE producer = 'records' ORDER BY log_index")
    assert [(int(row["n"]), row["size"]) for row in rows] == list(enumerate(sizes))


# As they are sent, and as they are stored.
TIMES = [
    ("2031-05-06T07:08:09.123456Z", "2031-05-06T07:08:09.123456Z"),
    ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
    ("2026-11-25T10:00:00.000001Z", "2026-11-25T10:00:00.000001Z"),
    ("1999-12-31T23:59:59.999999-11:00", "2000-01-01T10:59:59.999999Z"),
    ("2099-01-01T00:00:00+14:00", "2098-12-31T10:00:00Z"),
    ("2026-11-25T09:00:00Z", "2026-11-25T09:00:00Z"),
    # A second that was put in, and the ends of what can be written.
    ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
    ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
]


def test_times_out_of_order_and_clocks_that_are_years_off_are_stored_as_they_are(serve, scripted):
    server = serve(scripted)
    records = [{"kind": "system", "time": sent, "attributes": {"n": n}} for n, (sent, _) in enumerate(TIMES)]
    status, _, text = ask(f"{server.api}/api/v1/records", json.dumps(records).encode())
    assert status == 200 and json.loads(text)["rejected"] == [], text
    stored = [time for _, time in TIMES]
    for again in (False, True):
        if again:
            server.stop()
            server = serve(scripted)
        rows = server.sql("SELECT time, received FROM records WHERE producer = 'records' ORDER BY log_index")
        assert [row["time"] for row in rows] == stored
        # When it came is the server's own word.
        assert len({row["received"] for row in rows}) == 1 and rows[0]["received"].startswith("20")
        in_time = server.sql("SELECT time FROM records WHERE producer = 'records' ORDER BY time")
        assert [row["time"] for row in in_time] == sorted(stored)
        old = server.sql("SELECT time FROM records WHERE producer = 'records' AND time < '2001-01-01T00:00:00Z' ORDER BY time")
        assert [row["time"] for row in old] == sorted(time for time in stored if time < "2001")
        found = run("search", "type:system", "--since", "1999-12-01T00:00:00Z", "--until", "2000-02-01T00:00:00Z", "-o", "jsonl", "--server", server.api).stdout
        assert [json.loads(line)["time"] for line in found.splitlines()] == ["2000-01-01T10:59:59.999999Z"]


def test_spans_of_clocks_that_are_years_off_are_stored_with_their_own_times(server):
    # 1975, and one that ended before it began, in 2097.
    for n, (start, end) in enumerate([("157766400000000000", "157766401000000000"), ("4007000000000000000", "4006999999000000000")]):
        status, _, text = export(server, [span(spanId=f"{n + 1:016x}", startTimeUnixNano=start, endTimeUnixNano=end)])
        assert status == 200 and json.loads(text) == {}
    rows = server.sql("SELECT kind, time FROM records WHERE producer = 'otlp' ORDER BY log_index")
    assert [(row["kind"].removeprefix("inference."), row["time"]) for row in rows] == [
        ("request", "1975-01-01T00:00:00Z"),
        ("response", "1975-01-01T00:00:01Z"),
        ("request", "2096-12-22T07:33:20Z"),
        ("response", "2096-12-22T07:33:19Z"),
    ]
