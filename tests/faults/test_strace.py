"""Every file system call of the server fails once, or is the last thing that it does.

A first run under strace tells which calls there are; each is then a point at which `strace -e inject` puts an error
or SIGKILL. Afterwards the server starts again without strace, every acknowledged call is there, and the log verifies.
`TESTIMONY_STRACE_POINTS` sets how many points are drawn; 0 takes all."""

import collections
import base64
import hashlib
import http.client
import pathlib
import re
import shutil
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

import pytest
import rig

POINTS = rig.setting("STRACE_POINTS", 80)
SEALING_POINTS = rig.setting("STRACE_SEALING_POINTS", POINTS // 10)
WORKERS = 2
CLEAN_RUNS = 3
TAKES_SPACE = {"openat", "write", "pwrite64", "rename", "renameat", "renameat2", "mkdir"}


@dataclass(frozen=True)
class Fault:
    """The `nth` such call of a thread on this file, and what happens then."""

    call: str
    path: str
    nth: int
    what: str

    def __str__(self):
        return f"{self.what} at {self.call} {self.nth} of {self.path}"

    def wrap(self, data, trace):
        kind = "signal=SIGKILL" if self.what == "SIGKILL" else f"error={self.what.removesuffix(' from then on')}"
        when = f"{self.nth}{'+' if self.what.endswith('from then on') else ''}"
        return [*rig.STRACE, "-o", trace, "-P", data / self.path, "-e", f"inject={self.call}:{kind}:when={when}"]


@dataclass(frozen=True)
class Scenario:
    """What a server finds, and what it is then asked to do."""

    name: str
    base: pathlib.Path | None
    config: pathlib.Path

    def begin(self, folder):
        data = folder / "data"
        if self.base:
            subprocess.run(["cp", "-al", self.base, data], check=True)
            own_what_grows(data)
        return data

    def act(self, server, told):
        """Calls one after the other and two at once; what callers were told goes into `told`."""

        def one(n):
            answer = server.call(f"call {n} [[words {n}]]", stream=n % 2 == 0)
            if answer:
                told.append(answer)

        for n in range(4):
            one(n)
        rig.in_parallel(2, lambda worker: one(4 + worker))
        # Tiles are published four times a second.
        time.sleep(0.35)
        one(6)


def own_what_grows(data):
    """Hard links are shared with every other run; the files that are written in place get copies."""
    last = max((data / "wal").iterdir())
    for path in [last, data / "lock", data / "state.redb", *(data / "inflight").iterdir()]:
        whole = path.read_bytes()
        path.unlink()
        path.write_bytes(whole)


def traced(scenario, model, folder):
    """The file system calls of a run in which nothing fails: thread, call, and path below the data directory."""
    data, trace = scenario.begin(folder), folder / "trace"
    server = rig.Server(data, model, scenario.config, wrap=[*rig.STRACE, "-o", trace])
    scenario.act(server, told := [])
    assert server.stop() == 0 and len(told) == 7
    found = []
    for line in rig.whole_trace(trace, server).splitlines():
        begun = re.match(r"(\d+) +(\w+)\((.*)", line)
        path = begun and file_of(begun[3])
        if path and pathlib.Path(path).is_relative_to(data):
            found.append((begun[1], begun[2], str(pathlib.Path(path).relative_to(data))))
    return found


def file_of(arguments):
    """The path in a call's arguments as strace prints them: the first string, or the file of the descriptor."""
    named = re.match(r'(?:AT_FDCWD<[^>]*>, )?"([^"]*)"', arguments) or re.match(r"\d+<([^>]*)>", arguments)
    return named and named[1]


def points_of(calls):
    """The points of a run. strace counts for each thread by itself, so the same point is met by all."""
    counts, points = collections.Counter(), {}
    for thread, call, path in calls:
        counts[thread, call, path] += 1
        points[call, path, counts[thread, call, path]] = None
    return points


def faults_of(runs):
    """Every fault that a run can have: at each point that all of these runs came by. How often tiles are published, and which
    thread makes a call, is not the same in every run."""
    first, *others = map(points_of, runs)
    for call, path, nth in (point for point in first if all(point in other for other in others)):
        errors = ["EIO", "ENOSPC"] if call in TAKES_SPACE else ["EIO"]
        for what in [*errors, *(f"{error} from then on" for error in errors), "SIGKILL"]:
            yield Fault(call, path, nth, what)


def published_hashes(data):
    """The leaf hashes of a published log, read from its entry bundles without the help of the binary."""
    size = int((data / "log" / "checkpoint").read_text().split("\n")[1])
    hashes = []
    for number in range(-(-size // 256)):
        width = min(256, size - number * 256)
        bundle = data / "log/tile/entries" / (f"{number:03}" if width == 256 else f"{number:03}.p/{width}")
        whole = bundle.read_bytes()
        while whole:
            [length] = struct.unpack(">H", whole[:2])
            hashes.append(base64.b64encode(hashlib.sha256(b"\0" + whole[2 : 2 + length]).digest()).decode())
            whole = whole[2 + length :]
    return hashes


def run_with(fault, scenario, model, folder):
    """Runs a scenario with a fault, then looks at what is left. Gives what was wrong, or nothing."""
    data, told, seen = scenario.begin(folder), [], 0
    try:
        server = rig.Server(data, model, scenario.config, wrap=fault.wrap(data, folder / "trace"))
        scenario.act(server, told)
        seen = published_size(server)
        server.stop()
    except rig.NotUp:
        pass
    except rig.DoesNotStop as error:
        return str(error)
    if "panicked" in (said := pathlib.Path(f"{data}.log").read_text(errors="replace")):
        return f"it panicked: {said}"
    try:
        server = rig.Server(data, model, scenario.config)
    except rig.NotUp as error:
        return f"it does not start again: {error}"
    lost = rig.missing(server, told)
    if not server.call("afterwards"):
        lost.append(f"it takes no calls afterwards: {server.errors()}")
    server.stop()
    lost += [f"a checkpoint over {seen} records was published"] if seen > len(published_hashes(data)) else []
    hashes = published_hashes(data)
    lost += [f"the leaf of {one} is another one" for one in told if hashes[one.index : one.index + 1] != [one.leaf]]
    done = rig.run("verify", "--data", data)
    lost += [done.stdout + done.stderr] if done.returncode != 0 else []
    return "\n".join(lost)


def was_met(folder):
    trace = (folder / "trace").read_text()
    return "INJECTED" in trace or "killed by SIGKILL" in trace


def published_size(server):
    try:
        status, text = server.get("/log/checkpoint")
        return int(text.split("\n")[1]) if status == 200 else 0
    except (OSError, http.client.HTTPException):
        return 0


def inject_all(scenario, model, folder, count):
    began = time.monotonic()
    every = list(faults_of([traced(scenario, model, rig.make(folder / f"clean{run}")) for run in range(CLEAN_RUNS)]))
    drawn = rig.dice("strace", scenario.name).sample(every, min(count, len(every))) if count else every
    rig.announce(TESTIMONY_STRACE_POINTS=count, scenario=scenario.name)
    numbered, lock, bad = iter(enumerate(drawn)), threading.Lock(), []
    met = []

    def work(_):
        while True:
            with lock:
                number, fault = next(numbered, (None, None))
            if fault is None:
                return
            place = rig.make(folder / str(number))
            wrong = run_with(fault, scenario, model, place)
            met.append(was_met(place))
            if wrong:
                bad.append(f"{fault}: {wrong}")
            else:
                shutil.rmtree(place)

    rig.in_parallel(WORKERS, work)
    seconds = time.monotonic() - began
    print(f"{scenario.name}: {len(drawn)} of {len(every)} faults in {seconds:.1f} s, {sum(met)} met, {len(bad)} bad")
    # Which thread makes a call is not the same in every run, but mostly: a draw that is hardly met tests nothing.
    assert sum(met) > len(met) * 0.6
    assert not bad, "\n".join([f"TESTIMONY_FAULT_SEED={rig.SEED}", *bad])


@pytest.fixture
def small_segments(tmp_path):
    """Segments of a few records, so that every run begins new ones."""
    return rig.configured(tmp_path / "testimony.toml", 6_000)


def test_a_new_log_survives_every_fault(can_trace, model, small_segments, tmp_path):
    inject_all(Scenario("new", None, small_segments), model, tmp_path, POINTS * 5 // 8)


def test_a_log_that_was_killed_survives_every_fault(can_trace, model, small_segments, tmp_path):
    base = rig.make(tmp_path / "base") / "data"
    server = rig.Server(base, model, small_segments)
    for n in range(5):
        server.call(f"before {n}")
    begin_a_stream(server)
    server.kill()
    with max((base / "wal").iterdir()).open("ab") as file:
        file.write(b"TFRM\0\0\1\0half a frame")
    inject_all(Scenario("killed", base, small_segments), model, tmp_path, POINTS * 3 // 8)


def begin_a_stream(server):
    """A call of which something has been shown and whose end is far away."""
    connection = http.client.HTTPConnection(server.models)
    body = '{"model": "scripted-demo", "stream": true, "messages": [{"role": "user", "content": "[[words 999]] [[slow 20]]"}]}'
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    assert connection.getresponse().read1(100)


def test_a_log_that_seals_a_segment_survives_every_fault(can_trace, model, nearly_sealed, tmp_path):
    config = rig.configured(tmp_path / "testimony.toml", 64 << 10)
    inject_all(Scenario("sealing", nearly_sealed, config), model, tmp_path, SEALING_POINTS)
