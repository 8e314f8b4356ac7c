"""A node in the field: it keeps records while its centre is away and delivers them when it is back, none lost, none twice."""

import contextlib
import json
import socket
import threading
import urllib.parse

import pytest
from conftest import Process, chat, http, run, wait_for
from test_access import bearer, make
from test_access import rows as rows_for

# What a record says of itself, which is the same at the centre.
SAID = "id, time, kind, outcome, call_id, actor_type, actor_id, actor_auth, service, environment, host, origin, input, output, arguments, result, parameters"
DRAINED_SECONDS = 100


class Wire:
    """What lies between a node and its centre: it can be cut, and it can lose answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.target = None
        # The numbers of the answers that are lost, counted from 1.
        self.lost = set()
        self.answers = 0
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def connect(self, server):
        self.target = urllib.parse.urlsplit(server.api).netloc.split(":")

    def cut(self):
        self.target = None
        for one in self.open:
            self._end(one)

    def close(self):
        self.cut()
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near):
        target = self.target
        try:
            far = socket.create_connection((target[0], int(target[1])), 5) if target else None
        except OSError:
            far = None
        if far is None:
            self._end(near)
            return
        far.settimeout(None)
        self.open += [near, far]
        threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
        self._pump(far, near, True)

    def _pump(self, source, sink, are_answers):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if are_answers:
                    # Answers are small: each comes in one piece.
                    self.answers += 1
                    if self.answers in self.lost:
                        break
                sink.sendall(data)
        self._end(source)
        self._end(sink)

    @staticmethod
    def _end(one):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def centre(serve, scripted, tmp_path):
    return serve(scripted, data=tmp_path / "centre")


@pytest.fixture
def node(serve, scripted, tmp_path):
    """Starts nodes, each with a directory of its name."""

    def start(to, name="node", settings="", **forward):
        config = tmp_path / f"{name}.toml"
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in {"to": to, **forward}.items())
        config.write_text(f"[forward]\n{lines}{settings}")
        return serve(scripted, "--config", config, data=tmp_path / name)

    return start


def store(server, numbers, size=20, headers=None):
    """Stores records with these numbers, and gives the status and headers of the answer."""
    lines = (json.dumps({"kind": "tool.call", "attributes": {"n": n}, "content": {"gen_ai.tool.call.result": f"{n} " + "x" * size}}) for n in numbers)
    status, headers, text = http(f"{server.api}/api/v1/records", "\n".join(lines).encode(), {"content-type": "application/jsonl", **(headers or {})})
    if status == 200:
        assert json.loads(text)["rejected"] == [], text
    return status, headers


def log_of(server):
    return json.loads(server.get("/api/v1/log")[2])


def delivered(server):
    """Waits until everything that a node has is at its centre, and gives how much that is."""

    def all_there():
        log = log_of(server)
        return log["forward"]["delivered"] == log["size"] and log["forward"]["waiting"] == 0 and log

    return wait_for(all_there, DRAINED_SECONDS)["size"]


def rows(server, query, secret=None):
    status, _, text = http(f"{server.api}/api/v1/sql?format=jsonl", json.dumps({"query": query, "limit": 100_000}).encode(), bearer(secret))
    assert status == 200, text
    return [json.loads(line) for line in text.splitlines()]


def forwarded(server, origin, columns="id", secret=None):
    """What a centre has of a node, in the order in which it came."""
    index = "CAST(attributes['testimony.forwarded.index'] AS BIGINT)"
    query = f"SELECT {index} AS place, {columns} FROM records WHERE attributes['testimony.forwarded.origin'] = '{origin}' ORDER BY log_index"
    return rows(server, query, secret)


def check(centre, node, secret=None):
    """Everything that the node has stands at the centre: once, in order, and it says the same."""
    origin, size = log_of(node)["origin"], delivered(node)
    there = forwarded(centre, origin, SAID, secret)[:size]
    assert [row.pop("place") for row in there] == list(range(size))
    here = rows(node, f"SELECT {SAID} FROM records WHERE log_index < {size} ORDER BY log_index")
    assert there == here
    return size


def numbers(server, origin):
    return [int(row["n"]) for row in forwarded(server, origin, "attributes['n'] AS n") if row.get("n") is not None]


def test_records_arrive_with_all_that_they_say(centre, node):
    edge = node(centre.api)
    assert "every record is delivered there" in edge.said
    status, headers, _ = edge.post(chat("Who keeps this?"))
    assert status == 200
    assert edge.post(chat("and this", stream=True))[0] == 200
    assert store(edge, range(30))[0] == 200
    check(centre, edge)
    call = headers["testimony-call"]
    assert centre.outcomes(call) == edge.outcomes(call) == [("request", "allowed"), ("response", "completed")]
    assert centre.output(call) == edge.output(call)
    origin = log_of(edge)["origin"]
    [row] = rows(centre, f"SELECT producer, attributes FROM records WHERE call_id = '{call}' AND kind = 'inference.request'")
    assert row["producer"] == f"forward/{origin}"
    leaves = rows(centre, f"SELECT count(DISTINCT attributes['testimony.forwarded.leaf_hash']) AS n FROM records WHERE producer = 'forward/{origin}'")
    assert leaves[0]["n"] >= 34
    assert "records are delivered" in edge.errors()


def test_what_was_kept_while_the_centre_was_away_arrives_when_it_is_back(serve, scripted, node, wire, tmp_path):
    edge = node(wire.url)
    for first in range(0, 3_000, 500):
        assert store(edge, range(first, first + 500))[0] == 200
    standing = wait_for(lambda: (now := log_of(edge)["forward"])["last_error"] and now)
    assert standing["delivered"] is None and standing["waiting"] >= 3_000 and "cannot be reached" in standing["last_error"]
    assert edge.errors().count("records cannot be delivered") >= 1
    # The node may be stopped meanwhile.
    edge.stop()
    edge = node(wire.url)
    assert store(edge, range(3_000, 3_100))[0] == 200
    centre = serve(scripted, data=tmp_path / "centre")
    wire.connect(centre)
    check(centre, edge)
    assert numbers(centre, log_of(edge)["origin"]) == list(range(3_100))
    assert log_of(edge)["forward"]["last_error"] is None


def test_an_answer_that_is_lost_makes_no_second_record(centre, node, wire):
    wire.connect(centre)
    wire.lost = {2, 4, 5}
    edge = node(wire.url)
    for first in range(0, 400, 100):
        assert store(edge, range(first, first + 100))[0] == 200
    check(centre, edge)
    assert numbers(centre, log_of(edge)["origin"]) == list(range(400))
    assert wire.answers > 5


def test_two_nodes_at_one_centre_do_not_mix(centre, node):
    edges = [node(centre.api, "one"), node(centre.api, "two")]
    for nth, edge in enumerate(edges):
        assert store(edge, range(nth * 1_000, nth * 1_000 + 300))[0] == 200
    for nth, edge in enumerate(edges):
        check(centre, edge)
        assert numbers(centre, log_of(edge)["origin"]) == list(range(nth * 1_000, nth * 1_000 + 300))


class Load:
    """Stores records at a node that may be killed at any moment, and remembers which were acknowledged."""

    def __init__(self):
        self.node, self.acknowledged, self.next = None, [], 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over.is_set():
            numbers = range(self.next, self.next + 20)
            self.next += 20
            # A node that is being killed answers nothing, or not to its end.
            with contextlib.suppress(Exception):
                if self.node and store(self.node, numbers, 500)[0] == 200:
                    self.acknowledged += numbers
            self.is_over.wait(0.03)

    def more(self, count):
        """Waits until so many more have been acknowledged."""
        wanted = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= wanted, 60)

    def end(self):
        self.is_over.set()
        self.thread.join(60)


def test_killed_in_the_middle_on_either_side_every_record_is_there_once(serve, scripted, node, wire, tmp_path):
    centre = serve(scripted, data=tmp_path / "centre")
    wire.connect(centre)
    load = Load()
    load.node = edge = node(wire.url)
    for which in ["node", "centre", "both", "centre", "node", "centre"]:
        load.more(200)
        if which != "node":
            centre.kill()
            wire.cut()
        if which != "centre":
            load.node = None
            edge.kill()
        if which != "node":
            centre = serve(scripted, data=tmp_path / "centre")
            wire.connect(centre)
        if which != "centre":
            load.node = edge = node(wire.url)
    load.more(200)
    load.end()
    check(centre, edge)
    there = numbers(centre, log_of(edge)["origin"])
    assert len(there) == len(set(there))
    assert set(load.acknowledged) <= set(there)


def test_a_wrong_key_is_told_of_and_delivery_goes_on_once_it_is_mended(serve, scripted, node, tmp_path):
    open_centre = serve(scripted, data=tmp_path / "centre")
    admin = make(open_centre, "root", "admin")["secret"]
    open_centre.stop()
    centre = serve(scripted, data=tmp_path / "centre")
    edge = node(centre.api)
    store(edge, range(10))
    why = wait_for(lambda: log_of(edge)["forward"]["last_error"])
    assert "401" in why and "send a credential" in why
    edge.stop()
    assert "records cannot be delivered; they are kept until they can" in edge.errors()

    elsewhere = make(centre, "elsewhere", "ingest", ["env=nowhere"], secret=admin)["secret"]
    edge = node(centre.api, key=elsewhere)
    why = wait_for(lambda: log_of(edge)["forward"]["last_error"])
    assert "403" in why and "out of scope" in why
    edge.stop()

    key = make(centre, "edge-1", "ingest", secret=admin)["secret"]
    edge = node(centre.api, key=key)
    check(centre, edge, admin)
    origin = log_of(edge)["origin"]
    [bound] = rows_for(centre, f"SELECT actor_id FROM records WHERE kind = 'control' AND attributes['testimony.forward.origin'] = '{origin}'", admin)
    assert bound["actor_id"] == "edge-1"
    edge.stop()
    assert key not in edge.errors() and key not in edge.said

    # Another key, or another log under this key, is not this node.
    other = node(centre.api, key=key, name="other")
    why = wait_for(lambda: log_of(other)["forward"]["last_error"])
    assert "403" in why and origin in why


def alarms(server):
    query = "SELECT attributes['testimony.alarm.state'] AS state, attributes['testimony.alarm.threshold_percent'] AS percent FROM records WHERE attributes['testimony.alarm'] = 'backlog' ORDER BY log_index"
    return [(row["state"], int(row["percent"])) for row in rows(server, query)]


def test_the_backlog_is_bounded_and_rings_before_it_is_full(centre, node, wire):
    edge = node(wire.url, backlog_max="2MiB", settings="[ledger]\nwal_segment_bytes = 65536\n")
    n, raised = 0, []
    for percent in (50, 80, 95):
        while log_of(edge)["forward"]["waiting_bytes"] < (percent + 1) * (2 << 20) // 100:
            assert store(edge, [n], 5_000)[0] == 200
            n += 1
        raised.append(("raised", percent))
        # Asking is a record too: not often.
        wait_for(lambda: alarms(edge) == raised, 20, pause=0.5)
    for size in (5_000, 0):
        while (answer := store(edge, [n], size))[0] == 200:
            n += 1
    assert answer[0] == 503 and int(answer[1]["retry-after"]) > 0
    assert edge.get("/readyz")[0] == 503
    assert edge.post(chat("hello"))[0] == 503
    standing = log_of(edge)["forward"]
    assert standing["waiting_bytes"] <= standing["waiting_bytes_max"] + (64 << 10)
    assert "what waits to be delivered" in edge.errors()

    wire.connect(centre)
    wait_for(lambda: store(edge, [n], 5_000)[0] == 200, DRAINED_SECONDS, pause=0.5)
    wait_for(lambda: alarms(edge)[-1][0] == "cleared", 20, pause=0.5)
    check(centre, edge)
    assert numbers(centre, log_of(edge)["origin"]) == list(range(n + 1))
    assert edge.post(chat("hello"))[0] == 200


def test_a_node_is_one_command(centre, tmp_path):
    nowhere = run("forward", "--data", tmp_path / "nowhere", check=False)
    assert nowhere.returncode == 2 and "where is the centre" in nowhere.stderr
    small = run("forward", "--to", centre.api, "--backlog-max", "8GB", "--data", tmp_path / "nowhere", check=False)
    assert small.returncode == 2 and "forward.backlog_max" in small.stderr
    arguments = ["forward", "--to", centre.api, "--name", "edge-7", "--data", tmp_path / "edge", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]
    edge = Process(arguments, r"search +(https?://\S+).*?Try:", tmp_path / "edge.log")
    edge.api = edge.match.group(1)
    edge.get = lambda path: http(f"{edge.api}{path}")
    try:
        assert store(edge, range(3))[0] == 200
        delivered(edge)
    finally:
        edge.stop()
    assert numbers(centre, "edge-7") == [0, 1, 2]


def post(server, origin, body, query="", headers=None):
    url = f"{server.api}/api/v1/forward/{urllib.parse.quote(origin, safe='')}{query}"
    status, _, text = http(url, body, {"content-type": "application/octet-stream", **(headers or {})})
    return status, json.loads(text)


def test_a_centre_says_what_is_wrong_with_a_request(centre):
    assert post(centre, "example.com/x", b"") == (200, {"next": 0})
    status, answer = post(centre, "example.com/x", b"\0\0\0\x02{}\0\0\0\0", "?from=7")
    assert status == 409 and (answer["next"], answer["code"]) == (0, "ahead")
    assert post(centre, "example.com/x", b"\0\0\0\xff{}")[0] == 400
    assert post(centre, "example.com/x", b"x", headers={"content-encoding": "gzip"})[0] == 400
    assert post(centre, "example.com/x", b"x", headers={"content-type": "text/plain"})[0] == 415
    assert post(centre, "example.com/x", b"x", "?from=x")[0] == 400
    assert post(centre, "a b", b"")[0] == 400
    status, answer = post(centre, log_of(centre)["origin"], b"")
    assert status == 400 and "this log itself" in answer["detail"]
    # What is no leaf keeps its place, and a record says so.
    assert post(centre, "example.com/x", b"\0\0\0\x02{}\0\0\0\0") == (200, {"next": 1})
    [row] = forwarded(centre, "example.com/x", "kind, attributes['testimony.forwarded.problem'] AS problem")
    assert row["place"] == 0 and row["kind"] == "system" and "not a record" in row["problem"]
