"""Results that can be proven: what a server answers is held against what its log has signed."""

import base64
import hashlib
import json
import pathlib
import urllib.error
import urllib.request

import pytest
from conftest import chat, http, run
from test_access import make

QUESTIONS = 5


class Through:
    """The pages of a server, with changes by path: what makes the changed body of the body and its query."""

    def __init__(self, api):
        self.api, self.changes = api, {}

    def get(self, path, _):
        def page(request):
            headers = {name: value for name, value in request.headers.items() if name.lower() == "authorization"}
            try:
                with urllib.request.urlopen(urllib.request.Request(f"{self.api}{request.path}", headers=headers), timeout=60) as answer:
                    body = answer.read()
                    return answer.status, {"content-type": answer.headers["content-type"]}, self.changes.get(path, lambda body: body)(body)
            except urllib.error.HTTPError as error:
                return error.code, {"content-type": error.headers["content-type"]}, error.read()

        return page


@pytest.fixture
def asked(server):
    """A server with some calls, and its key, kept elsewhere."""
    server.calls = [server.post(chat(f"Question {nth}", user="alice"))[1]["testimony-call"] for nth in range(QUESTIONS)]
    server.key = (pathlib.Path(server.data) / "identity" / "log.vkey").read_text().strip()
    return server


def search(server, *more, query="user:alice", check=True):
    """Of a server, or of what stands in front of it."""
    url = server if isinstance(server, str) else server.api
    return run("search", query, "--prove", "--server", url, *more, check=check)


def root_of(index, size, leaf, hashes):
    """RFC 9162, section 2.1.3.2."""
    node, last = index, size - 1
    for sibling in hashes:
        if node % 2 or node == last:
            leaf = hashlib.sha256(b"\x01" + sibling + leaf).digest()
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = hashlib.sha256(b"\x01" + leaf + sibling).digest()
        node, last = node >> 1, last >> 1
    assert last == 0
    return leaf


def test_every_row_is_proven_and_the_proofs_are_there_for_others(asked):
    origin = asked.key.split("+")[0]
    table = search(asked, "-o", "table", "--key", asked.key).stdout.splitlines()
    assert table[-1].startswith(f"{QUESTIONS * 2} records verified against checkpoint ")
    assert table[-1].endswith(f", signed by {origin}, cosigned by no witness that is known here")
    assert not any("first sight" in line for line in table) and any("--disclose" in line for line in table)
    told = search(asked, "-o", "jsonl")
    assert "trusted on first sight" in told.stderr and asked.key in told.stderr and "records verified against" in told.stderr
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(rows) == QUESTIONS * 2 and len({row["proof"]["size"] for row in rows}) == 1
    size, roots = rows[0]["proof"]["size"], set()
    assert size <= int(asked.get("/log/checkpoint")[2].splitlines()[1])
    bundle = urllib.request.urlopen(f"{asked.api}/log/tile/entries/000.p/{size}").read()
    entries = []
    while bundle:
        end = 2 + int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2:end])
        bundle = bundle[end:]
    for row in rows:
        proof, entry = row["proof"], entries[row["log_index"]]
        leaf = base64.b64decode(proof["leaf_hash"])
        assert proof["index"] == row["log_index"] and json.loads(entry)["id"] == row["id"]
        assert hashlib.sha256(b"\x00" + entry).digest() == leaf
        roots.add(root_of(proof["index"], size, leaf, [base64.b64decode(hash) for hash in proof["hashes"]]))
    assert len(roots) == 1
    [one] = json.loads(search(asked, "-o", "json", "--limit", 1).stdout)
    assert one["proof"]["hashes"]
    assert search(asked, query="user:nobody", check=False).returncode == 0


def test_of_a_stopped_log_too_and_by_a_policy(asked, tmp_path):
    policy = tmp_path / "policy"
    policy.write_text(f"log {asked.key}\nquorum none\n")
    assert "10 records verified" in search(asked, "-o", "table", "--policy", policy).stdout
    asked.stop()
    told = run("search", "user:alice", "--prove", "-o", "table", "--data", asked.data).stdout
    assert "10 records verified against checkpoint" in told and "the key is that of the data directory" in told
    shown = run("show", asked.calls[0], "--data", asked.data).stdout.splitlines()
    assert shown[-1].startswith("verified against checkpoint ")


def test_what_cannot_be_proven_is_said_before_anything_is_asked(asked):
    for arguments, said in [(["-o", "csv"], "no place"), (["--chart"], "--prove")]:
        refused = search(asked, *arguments, check=False)
        assert refused.returncode in (1, 2) and said in refused.stderr
    staged = search(asked, query="| top model", check=False)
    assert staged.returncode == 1 and "a stage" in staged.stderr
    without = run("search", "x", "--key", asked.key, "--server", asked.api, check=False)
    assert without.returncode == 1 and "with --prove" in without.stderr


def changed_row(change):
    def of(body):
        answer = json.loads(body)
        change(answer["rows"])
        return json.dumps(answer).encode()

    return of


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda rows: rows[3].update(outcome="denied"), "the answer says outcome \"denied\", its leaf says"),
        (lambda rows: rows[3].update(actor_id="mallory"), "the answer says actor_id \"mallory\", its leaf says \"alice\""),
        (lambda rows: rows[3].pop("model"), "the answer leaves out model"),
        (lambda rows: rows[3].update(log_index=rows[4]["log_index"]), "the answer says id"),
        (lambda rows: rows[3].update(input="[]"), "bytes of input"),
        (lambda rows: rows[3].update(time="2020-01-01T00:00:00Z"), "the answer says time"),
    ],
)
def test_a_lying_answer_is_found(asked, web, change, said):
    web.pages = Through(asked.api)
    arguments = ["search", "user:alice kind:inference.request", "--prove", "--key", asked.key, "--server", web.url("")]
    good = run(*arguments, "-o", "jsonl")
    assert len(good.stdout.splitlines()) == QUESTIONS
    web.pages.changes["/api/v1/search"] = changed_row(change)
    found = run(*arguments, "-o", "jsonl", check=False)
    assert found.returncode == 3 and found.stdout == "", found.stderr
    assert said in found.stderr and "NOT VERIFIED: 1 of 5 records" in found.stderr and "✗ record " in found.stderr


def test_a_lying_log_is_found(asked, web):
    web.pages = Through(asked.api)
    bundles = {f"/log/tile/entries/000.p/{width}": lambda body: body.replace(b'"allowed"', b'"denied!"') for width in range(1, 256)}
    web.pages.changes.update(bundles)
    web.pages.changes["/api/v1/search"] = lambda body: body.replace(b'"allowed"', b'"denied!"')
    found = search(web.url(""), "--key", asked.key, check=False)
    assert found.returncode == 3 and "the proof leads to the root" in found.stderr
    web.pages.changes = {"/log/checkpoint": lambda body: body.replace(b"\n\n", b"\nmore\n\n", 1)}
    found = search(web.url(""), "--key", asked.key, check=False)
    assert found.returncode == 3 and "does not fit" in found.stderr
    # Another server's key is not believed, whatever it signs.
    web.pages.changes = {}
    other = asked.key.split("+")[0] + "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert search(web.url(""), "--key", other, check=False).returncode != 0
    web.pages.changes = {f"/api/v1/calls/{asked.calls[0]}": lambda body: body.replace(b"Question 0", b"Questi0n 00")}
    shown = run("show", asked.calls[0], "--server", web.url(""), "--key", asked.key, check=False)
    assert shown.returncode == 3 and shown.stdout.endswith("NOT VERIFIED\n") and "bytes of input" in shown.stdout


def test_show_says_at_its_end_what_its_records_were_held_against(asked):
    told = run("show", asked.calls[0], "--server", asked.api).stdout
    assert "trusted on first sight" in told
    last = run("show", asked.calls[0], "--server", asked.api, "--key", asked.key).stdout.splitlines()[-1]
    assert last.startswith("verified against checkpoint ") and f"signed by {asked.key.split('+')[0]}" in last


def test_a_reader_with_a_scope_proves_one_by_one_and_is_never_refused(asked):
    secret = make(asked, "scoped", "reader", ["env=default"])["secret"]
    told = search(asked, "-o", "table", "--key", asked.key, "--api-key", secret).stdout.splitlines()
    assert told[-1].startswith("10 records verified against checkpoint"), told
    shown = run("show", asked.calls[0], "--server", asked.api, "--key", asked.key, "--api-key", secret).stdout
    assert "\nverified against checkpoint" in shown
    refused = asked.sql("SELECT count(*) AS n FROM records WHERE kind = 'auth' AND outcome = 'denied'")
    assert refused == [{"n": 0}]
    status, _, _ = http(f"{asked.api}/log/checkpoint", headers={"authorization": f"Bearer {secret}"})
    assert status == 403
