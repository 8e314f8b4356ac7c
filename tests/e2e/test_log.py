"""The log under bad luck: killed, full, damaged, in use."""

import contextlib
import http.client
import http.server
import json
import os
import random
import subprocess
import threading
import urllib.request

import pytest
from conftest import Server, chat, run, wait_for


def test_a_killed_process_leaves_an_outcome_with_what_was_said_so_far(serve, scripted):
    server = serve(scripted)
    request = urllib.request.Request(
        f"{server.models}/v1/chat/completions",
        json.dumps(chat("[[words 1000]] [[slow 5]]", stream=True, user="alice")).encode(),
        {"content-type": "application/json"},
    )
    response = urllib.request.urlopen(request, timeout=30)
    call = response.headers["testimony-call"]
    shown = b""
    while b"word40" not in shown:
        shown += response.read1(65536)
    server.kill()
    with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
        shown += response.read()

    server = serve(scripted)
    assert server.outcomes(call) == [("request", "allowed"), ("response", "interrupted")]
    said = json.loads(server.output(call))[0]["content"]
    for line in shown.decode().split("\n\n"):
        if line.startswith("data: ") and line.endswith("}"):
            content = json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            assert content in said, "something was shown that the record does not hold"
    assert server.sql("SELECT actor_id FROM records WHERE outcome = 'interrupted'") == [{"actor_id": "alice"}]
    assert "interrupted" in server.errors()


def test_a_second_process_is_refused_and_told_who_has_it(serve, scripted):
    server = serve(scripted)
    done = run("serve", "--data", server.data, "--upstream", scripted, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", check=False)
    assert done.returncode == 1
    assert f"in use by process {server.process.pid} (" in done.stderr
    assert "in use by process" in run("search", "--data", server.data, check=False).stderr


def test_everything_survives_a_restart(serve, scripted):
    server = serve(scripted)
    for n in range(20):
        server.post(chat(f"number {n}"))
    calls = "SELECT log_index, id, input, output FROM records WHERE kind LIKE 'inference%' ORDER BY log_index"
    before = server.sql(calls)
    server.kill()
    server = serve(scripted)
    assert server.sql(calls) == before
    assert len(before) == 40


def test_a_torn_tail_is_cut_and_reported(serve, scripted):
    server = serve(scripted)
    server.post(chat("x"))
    server.kill()
    [wal] = (server.data / "wal").iterdir()
    with wal.open("ab") as file:
        file.write(b"TFRM\0\0\1\0half a frame")
    assert "never acknowledged" in run("verify", "--data", server.data).stdout
    server = serve(scripted)
    assert "cut away the torn end" in server.errors()
    assert len(server.sql("SELECT 1 FROM records")) == 2


def filled(serve, scripted):
    """A stopped log with segments, full tiles and a write-ahead log."""
    server = serve(scripted)
    for n in range(3):
        server.post(chat(f"number {n}"))
    server.stop()
    return server.data


def test_every_flipped_bit_is_found(serve, scripted, tmp_path):
    data = filled(serve, scripted)
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    dice = random.Random(seed)
    files = [file for file in sorted(data.rglob("*")) if file.is_file() and file.name not in ("lock", "state.redb") and file.stat().st_size]
    assert len(files) >= 6
    for file in files:
        whole = file.read_bytes()
        for _ in range(4):
            at, bit = dice.randrange(len(whole)), dice.randrange(8)
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            file.write_bytes(changed)
            done = run("verify", "--data", data, check=False)
            torn = file.suffix == ".wal" and "never acknowledged" in done.stdout
            assert done.returncode == 3 or torn, f"bit {bit} of byte {at} of {file.name}: {done.stdout}{done.stderr}"
            assert torn or file.name.split(".")[0] in done.stdout or file.parent.name.split(".")[0] in done.stdout, f"{file}: {done.stdout}"
        file.write_bytes(whole)


def test_verify_with_the_wrong_key_fails_and_with_the_right_one_does_not(serve, scripted, tmp_path):
    data = filled(serve, scripted)
    key = tmp_path / "kept.vkey"
    key.write_text((data / "identity" / "log.vkey").read_text())
    assert "give --key" not in run("verify", "--data", data, "--key", key).stdout
    other = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    assert run("verify", "--data", data, "--key", other, check=False).returncode == 3


def test_a_running_server_is_verified_by_its_published_log(serve, scripted):
    server = serve(scripted)
    for n in range(5):
        server.post(chat(f"number {n}"))
    wait_for(lambda: "\n10\n" in server.get("/log/checkpoint")[2])
    done = run("verify", "--server", server.api)
    assert "10 records" in done.stdout and "content and segments: they are not served" in done.stdout


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB that is really full when it is full."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


@pytest.fixture
def counting_model():
    """A model server that counts what is forwarded to it."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["content-length"])))
            body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    model = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{model.server_port}/v1", seen
    model.shutdown()


@pytest.mark.parametrize("reserve", [4 << 20, 0])
def test_on_a_full_disk_nothing_is_forwarded_and_with_space_it_goes_on(small_disk, counting_model, tmp_path, reserve):
    model, forwarded = counting_model
    config = tmp_path / "testimony.toml"
    config.write_text(f"[ledger]\nreserve_bytes = {reserve}\n")
    data = small_disk / "data"
    server = Server(data, model, "--config", config)
    ballast = small_disk / "ballast"
    try:
        assert server.post(chat("before"))[0] == 200
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        ballast.write_bytes(b"\0" * (free - reserve - (64 << 10)))
        answered = []
        for _ in range(40):
            answered.append(server.post(chat("x" * 20_000)))
        statuses = [status for status, _, _ in answered]
        assert 503 in statuses, statuses
        status, headers, text = answered[-1]
        assert (status, json.loads(text)["error"]["code"]) == (503, "not_recorded")
        assert int(headers["retry-after"]) > 0
        assert server.get("/readyz")[0] == 503
        before = len(forwarded)
        assert server.post(chat("y" * 20_000))[0] == 503
        assert len(forwarded) == before, "a call was forwarded that could not be recorded"
        assert server.process.poll() is None
        ballast.unlink()
        assert server.get("/readyz")[0] == 200
        assert wait_for(lambda: server.post(chat("after"))[0] == 200, 5)
        good = statuses.count(200) + 2
        completed = server.sql("SELECT count(*) AS n FROM calls WHERE outcome = 'completed'")[0]["n"]
        assert completed >= good, "an answer was released that is not recorded"
    finally:
        server.stop()
    assert "verified" in run("verify", "--data", data).stdout


def test_parallel_calls_are_all_there(serve, scripted):
    server = serve(scripted)
    calls = []

    def work(worker):
        for n in range(25):
            status, headers, _ = server.post(chat(f"{worker}/{n}", stream=n % 2 == 0))
            calls.append((status, headers["testimony-call"]))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    recorded = {row["call_id"] for row in server.sql("SELECT call_id FROM calls WHERE outcome = 'completed'")}
    assert {call for _, call in calls} == recorded and {status for status, _ in calls} == {200}
