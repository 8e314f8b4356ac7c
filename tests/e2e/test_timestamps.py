"""Trusted time: an authority's tokens, checked by openssl."""

import json
import pathlib
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import chat, http, run, wait_for

STAMPS = "SELECT log_index, attributes['testimony.timestamp.size'] AS size FROM records WHERE producer = 'timestamping' ORDER BY log_index"


class Authority:
    """tsa.py: `openssl ts` behind HTTP."""

    def __init__(self, folder, port=0):
        self.folder = folder
        command = [sys.executable, str(pathlib.Path(__file__).with_name("tsa.py")), str(port), str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def stop(self):
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def authority(tmp_path):
    running = Authority(tmp_path / "authority")
    yield running
    running.stop()


def configured(tmp_path, url):
    file = tmp_path / "testimony.toml"
    file.write_text(f"[timestamping]\nurl = '{url}'\nevery = '1s'\n")
    return ["--config", file]


def test_a_record_carries_a_time_that_openssl_verifies(serve, scripted, authority, tmp_path):
    server = serve(scripted, *configured(tmp_path, authority.url))
    _, headers, _ = server.post(chat("When was this said?"))
    records = json.loads(server.get(f"/api/v1/calls/{headers['testimony-call']}")[2])["records"]
    index = records[-1]["log_index"]
    wait_for(lambda: [row for row in server.sql(STAMPS) if int(row["size"]) > index], 20)
    key = (pathlib.Path(server.data) / "identity" / "log.vkey").read_text().strip()
    evidence = tmp_path / "answer.tlog-proof"
    folder = tmp_path / "stamps"

    def stamped():
        run("prove", records[-1]["id"], "-o", evidence, "--server", server.api)
        return "a time-stamp over this record says" in run("check", evidence, "--key", key).stdout

    wait_for(stamped, 20, 0.2)
    server.stop()
    authority.stop()
    assert run("check", evidence, "--key", key, "--timestamps", folder).returncode == 0
    verify = ["openssl", "ts", "-verify", "-token_in", "-in", folder / "checkpoint.tst", "-CAfile", authority.folder / "ca.pem"]
    good = subprocess.run([*verify, "-data", folder / "checkpoint"], capture_output=True, text=True, timeout=30)
    assert good.returncode == 0, good.stderr
    (folder / "other").write_text("another checkpoint\n")
    assert subprocess.run([*verify, "-data", folder / "other"], capture_output=True, timeout=30).returncode != 0


def test_recording_goes_on_without_the_authority(serve, scripted, authority, tmp_path):
    authority.stop()
    server = serve(scripted, *configured(tmp_path, authority.url))
    assert server.post(chat("one"))[0] == 200
    wait_for(lambda: "the checkpoints are not time-stamped" in server.errors(), 20)
    assert server.post(chat("two"))[0] == 200
    again = Authority(authority.folder, int(authority.url.rsplit(":", 1)[1].rstrip("/")))
    try:
        wait_for(lambda: server.sql(STAMPS), 20)
    finally:
        again.stop()


def stamps_in(server):
    """Index and size of each stamp in a log of less than 256 records."""
    status, _, checkpoint = http(f"{server.api}/log/checkpoint")
    if status == 404:
        return []
    size = int(checkpoint.splitlines()[1])
    with urllib.request.urlopen(f"{server.api}/log/tile/entries/000.p/{size}", timeout=10) as answer:
        bundle = answer.read()
    leaves = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        leaves.append(json.loads(bundle[2 : 2 + length]))
        bundle = bundle[2 + length :]
    stamped = [(n, leaf) for n, leaf in enumerate(leaves) if leaf["source"]["producer"] == "timestamping"]
    return [(n, leaf["attributes"]["testimony.timestamp.size"]) for n, leaf in stamped]


def test_a_quiet_log_is_not_stamped_again(serve, scripted, authority, tmp_path):
    server = serve(scripted, *configured(tmp_path, authority.url))
    # Seen from the published log: a search would be a record, and the log not quiet.
    stamps = lambda: stamps_in(server)
    server.post(chat("one"))
    last = wait_for(lambda: [index for index, size in stamps() if index == size], 20)[-1]
    wait_for(lambda: f"\n{last + 1}\n" in http(f"{server.api}/log/checkpoint")[2])
    # Three periods in which nothing happens: that nothing is stamped can only be seen by looking.
    time.sleep(3)
    assert stamps()[-1][0] == last
    server.post(chat("two"))
    wait_for(lambda: stamps()[-1][0] > last, 20)
