"""Strangers agree: programs on the code of others find a log of ours whole, and refuse it when one byte is flipped."""

import asyncio
import base64
import collections
import hashlib
import importlib.util
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import urllib.parse

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SEED = int(os.environ.get("SEED", 70_000))
RECORDS = 70_000
CONNECTIONS = 64
ANSWER_SECONDS = 60
PATIENCE_SECONDS = 120
TOOLS = ["go", "crates", "tlog-scales", "aics-tlog"]

# Making the log is part of the first test.
pytestmark = pytest.mark.timeout(900)


def _end_to_end():
    # Both folders' files would be called conftest, so that one is loaded under a name of its own.
    spec = importlib.util.spec_from_file_location("end_to_end", HERE.parent / "e2e" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


end_to_end = _end_to_end()


@pytest.fixture(autouse=True)
def seed():
    # Captured output is shown with a failure.
    print(f"SEED={SEED}")


def dice(*names):
    """A generator that gives the same for the same seed and names, whatever else was drawn before."""
    return random.Random("/".join(map(str, (SEED, *names))))


# The log


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The directory of a log of 70,000 records that was stopped in good order, and the witness that has cosigned it."""
    folder = tmp_path_factory.mktemp("interop")
    model = end_to_end.Process(["scripted-model"], r"(http://\S+)\n", folder / "model.log")
    upstream, running = model.match.group(1), [model]

    def serve(name, config=""):
        (folder / f"{name}.toml").write_text(config)
        server = end_to_end.Server(folder / name, upstream, "--config", folder / f"{name}.toml")
        running.append(server)
        return server

    try:
        serve("data").stop()
        log_key = (folder / "data/identity/log.vkey").read_text().strip()
        witness = serve("witness", f'[witnessing]\ncosigns = ["{log_key}"]\n')
        witness_key = (folder / "witness/identity/witness.vkey").read_text().strip()
        server = serve("data", f'[[witness]]\nvkey = "{witness_key}"\nurl = "{witness.api}/witness"\n')
        asyncio.run(call(server.models, RECORDS // 2))
        cosigned = lambda: (note := server.get("/log/checkpoint")[2]).count("\u2014 ") == 2 and f"\n{RECORDS}\n" in note
        end_to_end.wait_for(cosigned, seconds=ANSWER_SECONDS)
        assert server.stop() == 0, server.errors()
    finally:
        for process in reversed(running):
            process.stop()
    return folder / "data", witness_key


@pytest.fixture(scope="session")
def data(made):
    return made[0]


@pytest.fixture(scope="session")
def log(data):
    return data / "log"


@pytest.fixture(scope="session")
def vkey(data):
    return (data / "identity" / "log.vkey").read_text().strip()


@pytest.fixture(scope="session")
def witness_vkey(made):
    """Who has cosigned the log's last checkpoint."""
    return made[1]


async def call(models, calls):
    """Makes so many calls and no more, over connections that stay open; a call makes two records."""
    address = urllib.parse.urlsplit(models)
    left = iter(range(calls))
    async with asyncio.TaskGroup() as callers:
        for _ in range(CONNECTIONS):
            callers.create_task(caller(address.hostname, address.port, left))


async def caller(host, port, left):
    reader, writer = await asyncio.open_connection(host, port)
    for number in left:
        body = json.dumps(end_to_end.chat(f"Is {number} in the log?")).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", answer).group(1)))
    writer.close()


# The tools


@pytest.fixture(scope="session")
def go_check(tmp_path_factory):
    assert shutil.which("go"), "Go is missing: apt-get install golang-go golang-golang-x-mod-dev"
    built = tmp_path_factory.mktemp("go") / "check"
    settings = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
    command = ["go", "build", "-o", built, HERE / "check.go"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, f"apt-get install golang-go golang-golang-x-mod-dev? {done.stderr}"
    return built


@pytest.fixture(params=TOOLS)
def stranger(request, vkey):
    """A foreign tool: it is asked about a directory and gives its verdict."""
    programs = {
        "go": lambda: [request.getfixturevalue("go_check"), "--seed", str(SEED)],
        "crates": lambda: [pathlib.Path(end_to_end.BINARY).parent / "examples" / "strangers"],
    }
    python = lambda: [sys.executable, HERE / "check.py", request.param, "--seed", str(SEED)]
    program = programs.get(request.param, python)()

    def ask(log, key=vkey, witness=None):
        command = [*program, *(["--witness", witness] if witness else []), log, key]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    ask.tool = request.param
    return ask


def accepts(done):
    return done.returncode == 0 and ": good: " in done.stdout


def rejects(done):
    # A tool that cannot start ends with 1 as well.
    return done.returncode == 1 and done.stderr.startswith("rejected: ")


# The layout


def number(n):
    """The end of a tile's path in groups of three digits."""
    path = f"{n % 1000:03}"
    while n := n // 1000:
        path = f"x{n % 1000:03}/{path}"
    return path


def layout(size):
    """The path and the count of hashes or entries of each file that a log of this size has."""
    files, level = {}, 0
    while count := size // 256**level:
        for kind in [f"tile/{level}", "tile/entries"][: 2 if level == 0 else 1]:
            files |= {f"{kind}/{number(n)}": 256 for n in range(count // 256)}
            if width := count % 256:
                files[f"{kind}/{number(count // 256)}.p/{width}"] = width
        level += 1
    return files


def test_the_log_has_the_files_that_its_size_asks_for_and_no_others(log):
    size = int((log / "checkpoint").read_text().splitlines()[1])
    assert size == RECORDS
    files = {str(file.relative_to(log)) for file in log.rglob("*") if file.is_file()}
    expected = layout(size)
    assert files == {"checkpoint", *expected}
    for path, width in expected.items():
        if not path.startswith("tile/entries/"):
            assert (log / path).stat().st_size == 32 * width, path


def test_70_000_leaves_lie_as_the_specification_says(log):
    files = [file.relative_to(log) for file in log.rglob("*") if file.is_file()]
    full = collections.Counter(str(file.parent) for file in files if file.parent.suffix != ".p")
    partial = {str(file) for file in files if file.parent.suffix == ".p"}
    assert full == {".": 1, "tile/entries": 273, "tile/0": 273, "tile/1": 1}
    assert partial == {"tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"}


# The verdicts


def test_a_stranger_finds_the_log_whole(stranger, log, witness_vkey):
    # What Go and the crates have knows no cosignatures.
    done = stranger(log, witness=None if stranger.tool in ("go", "crates") else witness_vkey)
    assert accepts(done), done
    assert f" {RECORDS} records" in done.stdout


def test_a_stranger_wants_the_right_key(stranger, log, vkey):
    assert rejects(stranger(log, key=made_up_key(vkey.split("+")[0], b"\x01")))


@pytest.mark.parametrize("stranger", ["tlog-scales", "aics-tlog"], indirect=True)
def test_a_stranger_misses_who_did_not_cosign(stranger, log):
    assert rejects(stranger(log, witness=made_up_key("example.com/nobody", b"\x04")))


def made_up_key(name, kind):
    key = kind + hashlib.sha256(b"nobody").digest()
    key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(key).decode()}"


DAMAGED = [
    "tile/0/100",
    "tile/0/273.p/112",
    "tile/1/000",
    "tile/1/001.p/17",
    "tile/2/000.p/1",
    "tile/entries/100",
    "tile/entries/273.p/112",
]


@pytest.mark.parametrize("path", DAMAGED)
def test_a_stranger_finds_a_flipped_byte(stranger, log, tmp_path, path):
    at, flipped = flip(log / path)
    damaged = linked(log, tmp_path / "log", path, flipped)
    done = stranger(damaged)
    assert rejects(done), f"byte {at} of {path}: {done}"


@pytest.mark.parametrize("part", ["origin", "size", "root", "empty line", "signature"])
def test_a_stranger_finds_a_flipped_byte_in_each_part_of_the_checkpoint(stranger, log, vkey, tmp_path, part):
    lines = (log / "checkpoint").read_bytes().splitlines(keepends=True)
    name = vkey.split("+")[0].encode()
    # Who does not know a witness may overlook its line.
    [signed] = [at for at, line in enumerate(lines) if line.startswith(b"\xe2\x80\x94 " + name + b" ")]
    line = {"origin": 0, "size": 1, "root": 2, "empty line": 3, "signature": signed}[part]
    begin = sum(map(len, lines[:line]))
    at, flipped = flip(log / "checkpoint", range(begin, begin + len(lines[line])))
    done = stranger(linked(log, tmp_path / "log", "checkpoint", flipped))
    assert rejects(done), f"byte {at} of the checkpoint: {done}"


def flip(file, places=None):
    """A place in the file, and the file with one bit there turned over."""
    whole, chance = bytearray(file.read_bytes()), dice(*file.parts[-3:], places)
    at = chance.choice(places or range(len(whole)))
    whole[at] ^= 1 << chance.randrange(8)
    return at, whole


def linked(log, copy, path, changed):
    """A copy of the log that has other bytes in one file and the very same files otherwise."""
    shutil.copytree(log, copy, copy_function=os.link)
    (copy / path).unlink()
    (copy / path).write_bytes(changed)
    return copy
