"""Evidence: proofs that need neither server nor data directory."""

import base64
import json
import pathlib
import subprocess

import pytest
from conftest import BINARY, chat, run

CHECKER = pathlib.Path(BINARY).with_name("testimony-verify")


@pytest.fixture
def call(server):
    """A call whose records are durable, and the key of its log, kept elsewhere."""
    _, headers, _ = server.post(chat("Where is my parcel?"))
    records = json.loads(server.get(f"/api/v1/calls/{headers['testimony-call']}")[2])["records"]
    assert [record["kind"] for record in records] == ["inference.request", "inference.response"]
    return records, (pathlib.Path(server.data) / "identity" / "log.vkey").read_text().strip()


def test_a_record_is_proven_and_checked_offline(server, call, tmp_path):
    (request, response), key = call
    file = tmp_path / "answer.tlog-proof"
    run("prove", response["id"], "--disclose", "output", "-o", file, "--server", server.api)
    server.stop()
    said = run("check", file, "--key", key).stdout
    assert said.endswith("verified\n") and "This answer is scripted." in said, said
    text = file.read_text()
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ") and f"\nindex {response['log_index']}\n" in text
    assert "Where is my parcel?" not in base64.b64decode(text.split("extra ")[1].split("\n")[0]).decode()
    assert run("key", "show", "--data", server.data).stdout.strip() == key
    policy = tmp_path / "policy"
    policy.write_text(f"log {key}\nquorum none\n")
    assert run("check", file, "--policy", policy).returncode == 0
    # The record before it, from the directory of the stopped server.
    other = tmp_path / "question.tlog-proof"
    run("prove", request["log_index"], "--disclose", "gen_ai.input.messages", "-o", other, "--data", server.data)
    assert "Where is my parcel?" in run("check", other, "--key", key).stdout


def test_the_small_checker_agrees(server, call, tmp_path):
    (_, response), key = call
    file = tmp_path / "answer.tlog-proof"
    run("prove", response["id"], "-o", file, "--server", server.api)
    server.stop()
    check = lambda *arguments: subprocess.run([CHECKER, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    log = pathlib.Path(server.data) / "log"
    assert check("evidence", file, "--key", key).stdout == run("check", file, "--key", key).stdout
    assert check("log", log, "--key", key).returncode == 0
    text = file.read_text()
    file.write_text(text.replace("\nindex 1\n", "\nindex 0\n"))
    assert check("evidence", file, "--key", key).returncode == run("check", file, "--key", key, check=False).returncode == 3
    checkpoint = log / "checkpoint"
    signed = checkpoint.read_text()
    size = signed.splitlines()[1]
    checkpoint.write_text(signed.replace(f"\n{size}\n", "\n1\n"))
    assert check("log", log, "--key", key).returncode == 3
    checkpoint.write_text(signed)
    assert check("log", log).returncode == 2


def test_what_cannot_be_proven_is_said(server, call, tmp_path):
    (request, _), key = call
    other = key.replace("testimony.local/", "testimony.local/x")
    unknown = run("prove", "0190-none", "--server", server.api, check=False)
    assert unknown.returncode == 4 and "there is no record" in unknown.stderr
    secret = run("prove", request["id"], "--disclose", "result", "--server", server.api, check=False)
    assert secret.returncode == 1 and "gen_ai.input.messages" in secret.stderr
    assert run("check", tmp_path / "nothing", "--key", key, check=False).returncode == 1
    assert run("check", tmp_path / "nothing", check=False).returncode == 2
    assert run("check", tmp_path / "nothing", "--key", other, check=False).returncode == 1
    status, headers, text = server.get(f"/api/v1/records/{request['id']}/proof")
    assert status == 200 and headers["content-type"].startswith("text/plain") and text.startswith("c2sp.org/tlog-proof@v1")


def test_a_rotated_key_leaves_old_evidence_good(server, call, tmp_path):
    (_, response), old = call
    before, after = tmp_path / "before.tlog-proof", tmp_path / "after.tlog-proof"
    run("prove", response["id"], "-o", before, "--server", server.api)
    running = run("key", "rotate", "--data", server.data, check=False)
    assert running.returncode == 1 and "in use by process" in running.stderr
    server.stop()
    said = run("key", "rotate", "--data", server.data).stdout
    new = run("key", "show", "--data", server.data).stdout.strip()
    assert new != old and old in said and new in said
    # The record of the rotation is the last that the old key signed.
    sql = "select actor_id, attributes, log_index from records where kind = 'control'"
    [rotation] = [json.loads(line) for line in run("sql", sql, "-o", "jsonl", "--data", server.data).stdout.splitlines()]
    attributes = rotation["attributes"]
    attributes = json.loads(attributes) if isinstance(attributes, str) else attributes
    assert attributes["testimony.key.former"] == old and attributes["testimony.key.next"] == new
    assert f"Record {rotation['log_index']}," in said
    run("verify", "--data", server.data, "--key", new)
    assert run("verify", "--data", server.data, "--key", old, check=False).returncode == 3
    run("prove", response["id"], "-o", after, "--data", server.data)
    for file, good, bad in [(before, old, new), (after, new, old)]:
        assert run("check", file, "--key", good).returncode == 0
        assert run("check", file, "--key", bad, check=False).returncode == 3
