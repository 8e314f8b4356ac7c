"""What all fault suites share: their settings, the dice, a server that may be wrapped in another program, and callers
that remember what they were told."""

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _settings():
    """Takes our settings out of the environment: the binary refuses variables of its prefix that it does not know."""
    names = [name for name in os.environ if name.startswith("TESTIMONY_")]
    return {name.removeprefix("TESTIMONY_"): os.environ.pop(name) for name in names}


SETTINGS = _settings()
SEED = int(SETTINGS.get("FAULT_SEED", random.randrange(1 << 32)))


def setting(name, default):
    return type(default)(SETTINGS.get(name, default))


def dice(*names):
    """A generator that gives the same for the same seed and names, whatever else was drawn before."""
    return random.Random("/".join(map(str, (SEED, *names))))


def announce(**facts):
    print(f"TESTIMONY_FAULT_SEED={SEED}", *(f"{name}={value}" for name, value in facts.items()))


def _end_to_end():
    # Both folders have a conftest, so this one is loaded under a name of its own.
    spec = importlib.util.spec_from_file_location("end_to_end", ROOT / "tests" / "e2e" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


end_to_end = _end_to_end()
BINARY, chat, wait_for = end_to_end.BINARY, end_to_end.chat, end_to_end.wait_for

UP_SECONDS = 20
STOP_SECONDS = 20
PANIC = 101
# What makes a Parquet segment.
SEGMENT_RECORDS = 1_024
SEGMENT_BYTES = 64 << 20
IMAGE_BYTES = 256 << 20
CALLS = "openat write pwrite64 fdatasync fsync syncfs rename renameat renameat2 ftruncate mkdir unlink unlinkat".split()
# Without --seccomp-bpf: with it, strace 6.1 injects errors but no signals.
STRACE = ["strace", "-D", "-f", "-y", "-s", "0", "-e", f"trace={','.join(CALLS)}"]


RUNNING = []


class NotUp(AssertionError):
    """The server ended, or was silent for too long, before it said that it was up."""


class DoesNotStop(AssertionError):
    """The server went on after SIGTERM."""


class Server:
    """`testimony serve` on free ports, wrapped in another program where one is given."""

    def __init__(self, data, upstream, config=None, wrap=(), log=None):
        self.data = pathlib.Path(data)
        arguments = ["serve", "--data", data, "--upstream", upstream, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]
        arguments += ["--config", config] if config else []
        self.log = open(log or f"{data}.log", "a+b")
        command = [*map(str, wrap), BINARY, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        RUNNING.append(self)
        self.said = ""
        self._read_until_up()

    def _read_until_up(self):
        impatience = threading.Timer(UP_SECONDS, self.process.kill)
        impatience.start()
        while not (match := re.search(r"models +http://(\S+?)/v1.*?search +http://(\S+).*?Try:", self.said, re.S)):
            line = self.process.stdout.readline()
            if not line:
                impatience.cancel()
                self.process.wait(STOP_SECONDS)
                raise NotUp(f"ended with {self.process.returncode}: {self.said}{self.errors()}")
            self.said += line
        impatience.cancel()
        self.models, self.api = match.groups()

    def errors(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def is_alive(self):
        return self.process.poll() is None

    def get(self, path):
        status, _, body = exchange(self.api, "GET", path)
        return status, body

    def rows(self, query):
        body = json.dumps({"query": query, "limit": 100_000})
        status, _, text = exchange(self.api, "POST", "/api/v1/sql?format=jsonl", body)
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines()]

    def call(self, prompt, stream=False):
        """What the caller was told of a call, or nothing when the answer was no whole 200."""
        body = json.dumps(chat(prompt, stream=stream))
        try:
            status, headers, _ = exchange(self.models, "POST", "/v1/chat/completions", body)
        except (OSError, http.client.HTTPException):
            return None
        return Told.of(headers) if status == 200 else None

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        return self._ended(STOP_SECONDS)

    def stop(self, seconds=STOP_SECONDS):
        """Stops it in good order and gives its exit code; one that does not stop is a failure."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self._ended(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DoesNotStop(f"it did not stop within {seconds} s: {self.errors()}") from None

    def _ended(self, seconds):
        code = self.process.wait(seconds)
        self.process.stdout.close()
        self.log.close()
        return code


@dataclass(frozen=True)
class Told:
    """What a caller holds in hand."""

    call: str
    index: int
    leaf: str

    @classmethod
    def of(cls, headers):
        index, leaf = re.search(r"index=(\d+), leaf=:(\S+):", headers["testimony-receipt"]).groups()
        return cls(headers["testimony-call"], int(index), leaf)


def kill_all():
    for server in RUNNING:
        if server.is_alive():
            server.kill()
    RUNNING.clear()


def exchange(address, method, path, body=None):
    """Status, headers and text of a whole answer; raises when it was not whole."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(f"//{address}").netloc, timeout=30)
    try:
        connection.request(method, path, body, {"content-type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def run(*arguments, seconds=60):
    """Runs a command of the binary and gives how it ended and what it printed."""
    command = [BINARY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds)


def is_crash(done):
    return done.returncode < 0 or done.returncode == PANIC or "panicked" in done.stderr


def verified(data, key=None):
    """Fails unless the directory verifies."""
    done = run("verify", "--data", data, *(["--key", key] if key else []))
    assert done.returncode == 0 and "\nverified" in done.stdout, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def missing(server, told):
    """Which of the acknowledged calls are not found whole, and what is found."""
    rows = {row["call_id"]: row for row in server.rows("SELECT call_id, request_index, outcome FROM calls")}
    lost = []
    for one in told:
        row = rows.get(one.call, {})
        if (row.get("request_index"), row.get("outcome")) != (one.index, "completed"):
            lost.append(f"{one} was acknowledged, but found is {row}")
    return lost


def in_parallel(workers, work):
    """Runs `work(worker)` on threads and raises what the first of them raised."""
    raised = []

    def one(worker):
        try:
            work(worker)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=one, args=(worker,)) for worker in range(workers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if raised:
        raise raised[0]


def configured(path, wal_segment_bytes):
    path.write_text(f"[ledger]\nwal_segment_bytes = {wal_segment_bytes}\n")
    return path


def wal_first(data):
    return min(int(path.stem) for path in (data / "wal").iterdir())


def small_calls(server, calls, workers=6):
    def work(worker):
        for n in range(worker, calls, workers):
            assert server.call(f"question {n} [[words {n % 40}]]", stream=n % 3 == 0)

    in_parallel(workers, work)


def let_go(server):
    """Calls until the write-ahead log has let its first segments go: that waits for tiles of 256 records."""
    for _ in range(40):
        small_calls(server, 8)
        time.sleep(0.3)
        if wal_first(server.data) > SEGMENT_RECORDS // 2:
            return
    raise AssertionError(f"the write-ahead log still begins at {wal_first(server.data)}")


def fill_segment(server, calls):
    """Calls that come nearly to the bytes that make a Parquet segment; what compresses well keeps it small. Large ones are weighed at once,
    small ones when there are as many of them as a segment's chunk has rows: together they are enough, and the large ones are not."""
    large = 6
    for n in range(large):
        assert server.call(f"{n} " + "x" * ((SEGMENT_BYTES - (512 << 10)) // large))
    small_calls(server, calls - large)


def whole_trace(trace, server):
    """What strace wrote of a server that has ended; it writes on for a moment after that."""
    wait_for(lambda: re.search(rf"^{server.process.pid} .*\+\+\+ (exited|killed)", trace.read_text(), re.M))
    return trace.read_text()


def make(folder):
    folder.mkdir()
    return folder


class Device:
    """An ext4 file system in an image file."""

    def __init__(self, folder):
        self.image, self.mount = folder / "device.img", make(folder / "device")
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        whole = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-E", whole, self.image], check=True)

    def attach(self):
        # Nothing is to become durable by itself in the meantime.
        return not subprocess.run(["mount", "-o", "loop,commit=600", self.image, self.mount], capture_output=True).returncode

    def sync_names(self):
        """What the file system does by itself every few seconds: its journal becomes durable, new files stay empty."""
        marker = self.mount / "marker"
        with marker.open("w") as file:
            os.fsync(file.fileno())

    def cut_power(self):
        """Goes on with what the device has been sent."""
        after = self.image.with_suffix(".after")
        subprocess.run(["cp", "--sparse=always", self.image, after], check=True)
        self.detach()
        after.rename(self.image)
        assert self.attach()

    def detach(self):
        subprocess.run(["umount", self.mount], check=True)
