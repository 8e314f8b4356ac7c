"""Witnesses: others remember what a log has signed."""

import json
import pathlib
import shutil
import subprocess

import pytest
from conftest import BINARY, chat, http, run, wait_for


def key_of(server, name):
    return (pathlib.Path(server.data) / "identity" / f"{name}.vkey").read_text().strip()


@pytest.fixture
def pair(serve, scripted, tmp_path):
    """A log with some records and a witness that knows it; the log's configuration names the witness."""
    log = serve(scripted, data=tmp_path / "log")
    log.post(chat("before there was a witness"))
    log.stop()
    (tmp_path / "witness.toml").write_text(f'[witnessing]\ncosigns = ["{key_of(log, "log")}"]\n')
    witness = serve(scripted, "--config", tmp_path / "witness.toml", data=tmp_path / "witness")
    config = tmp_path / "log.toml"
    config.write_text(f'[[witness]]\nvkey = "{key_of(witness, "witness")}"\nurl = "{witness.api}/witness"\n')
    return log, witness, config


def checkpoint(server):
    return server.get("/log/checkpoint")[2]


def test_checkpoints_are_cosigned_and_evidence_says_so(pair, serve, scripted, tmp_path):
    log, witness, config = pair
    again = serve(scripted, "--config", config, data=log.data)
    _, headers, _ = again.post(chat("Who has seen this?"))
    records = json.loads(again.get(f"/api/v1/calls/{headers['testimony-call']}")[2])["records"]
    # The question above is the record after those that it shows.
    size = records[-1]["log_index"] + 2
    note = wait_for(lambda: (text := checkpoint(again)).count("\u2014 ") == 2 and f"\n{size}\n" in text and text)
    assert http(f"{witness.api}/witness/checkpoint?origin={note.splitlines()[0]}")[2].splitlines()[1] == str(size)
    file, policy = tmp_path / "evidence", tmp_path / "policy"
    run("prove", records[0]["id"], "-o", file, "--server", again.api)
    policy.write_text(f"log {key_of(log, 'log')}\nwitness w {key_of(witness, 'witness')}\nquorum w\n")
    assert "seen by w at" in run("check", file, "--policy", policy).stdout
    stranger = serve(scripted, "--config", tmp_path / "witness.toml", data=tmp_path / "stranger")
    policy.write_text(f"log {key_of(log, 'log')}\nwitness w {key_of(stranger, 'witness')}\nquorum w\n")
    refused = run("check", file, "--policy", policy, check=False)
    assert refused.returncode == 3 and "not seen by enough witnesses" in refused.stdout


def test_a_restored_old_directory_is_refused(pair, serve, scripted, tmp_path):
    log, _, config = pair
    old = tmp_path / "old"
    shutil.copytree(log.data, old)
    again = serve(scripted, "--config", config, data=log.data)
    again.post(chat("remembered by the witness"))
    wait_for(lambda: checkpoint(again).count("\u2014 ") == 2 and "\n4\n" in checkpoint(again))
    again.stop()
    arguments = ["serve", "--data", old, "--config", config, "--upstream", scripted, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]
    refused = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1, refused
    assert "has seen another history" in refused.stderr and refused.stderr.count("testimony.local/") >= 4, refused.stderr
    assert "\n2\n" in refused.stderr and "\n4\n" in refused.stderr
    # Nothing was appended, and the newest directory is still taken.
    assert "verified" in run("verify", "--data", old).stdout
    third = serve(scripted, "--config", config, data=log.data)
    assert third.post(chat("and on"))[0] == 200


def test_recording_does_not_wait_for_a_witness(pair, serve, scripted):
    log, witness, config = pair
    witness.kill()
    again = serve(scripted, "--config", config, data=log.data)
    assert again.post(chat("nobody sees this"))[0] == 200
    wait_for(lambda: "\n4\n" in checkpoint(again), seconds=20)
    assert "does not cosign" in again.errors()


def test_a_witness_answers_as_the_specification_says(pair, serve, scripted):
    log, witness, _ = pair
    note = (pathlib.Path(log.data) / "log" / "checkpoint").read_text()
    ask = lambda body: http(f"{witness.api}/witness/add-checkpoint", body.encode(), {"content-type": "text/plain"})
    assert ask("hello")[0] == 400
    assert ask(f"old 3\n\n{note}")[0] == 400
    assert ask(f"old 0\n\n{note.replace('testimony.local', 'elsewhere.local')}")[0] == 404
    assert ask(f"old 0\n\n{note.replace(chr(10) + '2' + chr(10), chr(10) + '1' + chr(10))}")[0] == 403
    status, _, lines = ask(f"old 0\n\n{note}")
    assert status == 200 and lines.startswith("\u2014 ") and lines.endswith("\n")
    status, headers, body = ask(f"old 0\n\n{note}")
    assert (status, headers["content-type"], body) == (409, "text/x.tlog.size", "2\n")
    # The same checkpoint again is cosigned again, with a newer time.
    assert ask(f"old 2\n\n{note}")[0] == 200
    assert ask(f"old 1\n\n{note}")[0] == 409
