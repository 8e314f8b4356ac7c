"""Forms of answers for tools, and queries that are running: listed, cancelled, ended with their clients."""

import json
import os
import socket
import subprocess
import threading
import urllib.parse

from conftest import BINARY, chat, run, wait_for
from test_access import ask, make, rows

# Ends by its deadline, after 30 s.
# Ten tables of ten rows, side by side: ten thousand million.
TEN = ", ".join(f"({n})" for n in range(10))
ENDLESS = f"WITH d AS (SELECT * FROM (VALUES {TEN}) v (n)) SELECT sum(a.n + j.n) FROM {', '.join(f'd {name}' for name in 'abcdefghij')}"


class Asking(threading.Thread):
    """Somebody who waits for an answer."""

    def __init__(self, server, secret):
        super().__init__(daemon=True)
        self.server, self.secret = server, secret
        self.start()

    def run(self):
        self.status, _, self.text = ask(self.server, "POST", "/api/v1/sql", {"query": ENDLESS}, self.secret)


def queries(server, secret=None):
    status, _, text = ask(server, "GET", "/api/v1/queries", secret=secret)
    assert status == 200, text
    return json.loads(text)["queries"]


def test_running_queries_are_listed_and_cancelled_by_whoever_may(server):
    admin = make(server, "root", "admin")["secret"]
    secrets = {role: make(server, f"the-{role}", role, secret=admin)["secret"] for role in ["reader", "auditor", "operator"]}
    narrow = make(server, "narrow", "operator", ["env=staging"], admin)["secret"]
    asking = Asking(server, secrets["reader"])
    [query] = wait_for(lambda: queries(server, secrets["reader"]))
    assert (query["kind"], query["query"], query["actor_id"]) == ("sql", ENDLESS, "the-reader")
    assert query["duration_ms"] >= 0 and query["started_at"].endswith("Z")

    # Others have none of their own, and may not end this one.
    for secret in (secrets["auditor"], narrow):
        assert queries(server, secret) == []
        assert ask(server, "DELETE", f"/api/v1/queries/{query['id']}", secret=secret)[0] == 404
    [seen] = queries(server, secrets["operator"])
    assert seen["id"] == query["id"] and "query" not in seen
    assert queries(server, admin)[0]["query"] == ENDLESS
    table = run("queries", "--server", server.api, "--api-key", admin).stdout
    assert table.split()[:3] == ["ID", "KIND", "ACTOR_ID"] and query["id"] in table and "the-reader" in table and "WITH d AS" in table

    told = run("queries", "cancel", query["id"], "--server", server.api, "--api-key", secrets["operator"])
    assert query["id"] in told.stdout
    asking.join(10)
    assert asking.status == 409 and json.loads(asking.text)["code"] == "cancelled", asking.text
    assert queries(server, admin) == []
    again = run("queries", "cancel", query["id"], "--server", server.api, "--api-key", admin, check=False)
    assert again.returncode == 4 and "no query" in again.stdout
    assert ask(server, "DELETE", "/api/v1/queries/x", secret=admin)[0] == 404
    assert "no query is running" in run("queries", "--server", server.api, "--api-key", admin).stdout

    [record] = rows(server, "SELECT actor_id, outcome, attributes, id FROM records WHERE kind = 'control' AND producer = 'control'", admin)
    assert (record["actor_id"], record["outcome"]) == ("the-operator", "completed")
    said = {"control.change": "query_cancelled", "query.id": query["id"], "query.kind": "sql", "query.actor_id": "the-reader"}
    assert record["attributes"] == {f"testimony.{name}": value for name, value in said.items()}
    content = json.loads(ask(server, "GET", f"/api/v1/records/{record['id']}", secret=admin)[2])["content"]
    assert content["testimony.read.query"] == ENDLESS
    reads = rows(server, "SELECT attributes['testimony.read.action'] AS action FROM records WHERE kind = 'read'", admin)
    assert "queries" in {read["action"] for read in reads}

    asking = Asking(server, secrets["reader"])
    [own] = wait_for(lambda: queries(server, secrets["reader"]))
    assert ask(server, "DELETE", f"/api/v1/queries/{own['id']}", secret=secrets["reader"])[0] == 200
    asking.join(10)
    assert asking.status == 409


def test_a_query_ends_with_its_client(server):
    address = urllib.parse.urlsplit(server.api)
    body = json.dumps({"query": ENDLESS}).encode()
    head = f"POST /api/v1/sql HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + body)
        assert len(wait_for(lambda: queries(server))) == 1
    wait_for(lambda: queries(server) == [], seconds=5)


def test_an_analysis_says_what_was_passed_over(server):
    plan = server.sql("EXPLAIN ANALYZE SELECT * FROM calls WHERE call_id = 'x'")
    assert [row["plan_type"] for row in plan] == ["Plan with Metrics"] and "output_rows=0" in plan[0]["plan"]


def test_binary_forms_go_to_files_and_not_to_terminals(server, tmp_path):
    assert server.post(chat("one [[words 3]]"))[0] == 200
    target = ["--server", server.api]
    for form, begins, ends in [("parquet", b"PAR1", b"PAR1"), ("arrow", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x00")]:
        for command in (["sql", "SELECT * FROM calls"], ["search", "| stats count() by model"], ["search", "model:*"]):
            file = tmp_path / f"answer.{form}"
            with file.open("wb") as out:
                subprocess.run([BINARY, *command, "-o", form, *target], stdout=out, check=True, timeout=60)
            sent = file.read_bytes()
            assert sent.startswith(begins) and sent.endswith(ends), sent
        read = len(server.sql("SELECT id FROM records WHERE kind = 'read'"))
        terminal, ours = os.openpty()
        told = subprocess.run([BINARY, "sql", "SELECT 1", "-o", form, *target], stdout=ours, stderr=subprocess.PIPE, text=True, timeout=60)
        os.close(ours), os.close(terminal)
        assert told.returncode == 1 and f"> answer.{form}" in told.stderr
        # Nothing was asked but what this test asks itself.
        assert len(server.sql("SELECT id FROM records WHERE kind = 'read'")) == read + 1
    for path, media in {"search?format=parquet": "application/vnd.apache.parquet", "search?format=arrow": "application/vnd.apache.arrow.stream"}.items():
        status, headers, _ = ask(server, "GET", f"/api/v1/{path}&limit=0")
        assert status == 200 and headers["content-type"] == media
    assert "choose json, jsonl, csv, parquet or arrow" in ask(server, "GET", "/api/v1/search?format=xlsx")[2]
    assert "use -o jsonl" in run("tail", "-o", "parquet", *target, check=False).stderr
