"""Writers, readers of random proofs and readers of everything, all at once, judged by a second implementation.

`TESTIMONY_HAMMER_SECONDS` sets for how long."""

import base64
import collections
import contextlib
import http.client
import json
import pathlib
import threading
import time

import merkle
import pytest
import rig

SECONDS = rig.setting("HAMMER_SECONDS", 120)
WRITERS = 3
PROOF_READERS = 2
# A full reader in Python hashes everything by itself; it rests a little, so that the writers are not starved of two cores.
REST_SECONDS = 0.2


class Hammer:
    """What all workers share: the server, its key, and what was told and found so far."""

    def __init__(self, server):
        self.server, self.end = server, time.monotonic() + SECONDS
        vkey = pathlib.Path(server.data) / "identity" / "log.vkey"
        self.key = merkle.VerifierKey(vkey.read_text())
        self.lock, self.told, self.counts = threading.Lock(), [], collections.Counter()
        self.failed = threading.Event()

    def goes_on(self):
        return time.monotonic() < self.end and not self.failed.is_set()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def some_told(self, dice):
        with self.lock:
            return dice.choice(self.told) if self.told else None

    def run(self, work, worker):
        try:
            work(self, rig.dice(work.__name__, worker))
        except BaseException:
            self.failed.set()
            raise


def write(hammer, dice):
    """Calls of every kind; an answered one is remembered with its receipt."""
    server = hammer.server
    while hammer.goes_on():
        kind = dice.choices(["whole", "stream", "refused", "cut off"], [6, 4, 1, 1])[0]
        prompt = f"{'x' * dice.choice([10, 300, 5_000])} [[words {dice.randrange(1, 60)}]]"
        if kind == "refused":
            status, _, _ = rig.exchange(server.models, "POST", "/v1/chat/completions", "{}")
            assert status == 400, status
        elif kind == "cut off":
            hang_up(server, prompt)
        else:
            told = server.call(prompt, stream=kind == "stream")
            assert told, "a call was not answered"
            with hammer.lock:
                hammer.told.append(told)
        hammer.count(kind)


def hang_up(server, prompt):
    """Asks for a stream and goes away after its first bytes."""
    connection = http.client.HTTPConnection(server.models.removesuffix("/v1"), timeout=30)
    with contextlib.closing(connection):
        body = json.dumps(rig.chat(prompt, stream=True))
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        connection.getresponse().read(1)


def read_proofs(hammer, dice):
    """Takes calls at random, asks for proofs of their records and checks them."""
    while hammer.goes_on():
        told = hammer.some_told(dice)
        if told is None:
            rig.wait_for(lambda: hammer.told)
            continue
        status, text = hammer.server.get(f"/api/v1/calls/{told.call}")
        assert status == 200, text
        first = json.loads(text)["records"][0]
        assert first["log_index"] == told.index, f"{told} is found at {first['log_index']}"
        status, proof = hammer.server.get(f"/api/v1/records/{first['id']}/proof")
        assert status == 200, proof
        proven = merkle.check_proof(proof, hammer.key, base64.b64decode(told.leaf))
        assert proven == told.index, f"{told} is proven at {proven}"
        hammer.count("proofs")


def read_everything(hammer, _dice):
    """Follows the log from its beginning to the end; every sequence is without a gap."""
    reader = merkle.FullReader(lambda path: fetch(hammer.server, path), hammer.key)
    sequences = collections.Counter()
    rig.wait_for(lambda: hammer.server.get("/log/checkpoint")[0] == 200)
    while hammer.goes_on():
        take_in(reader, sequences)
        time.sleep(REST_SECONDS)
    assert reader.frontier.size > 0
    hammer.reader = reader
    hammer.sequences = sequences


def take_in(reader, sequences):
    first, entries = reader.follow()
    for index, entry in enumerate(entries, first):
        leaf = json.loads(entry)
        producer = leaf["source"]["producer"]
        assert leaf["seq"] == sequences[producer], f"record {index} of {producer} has seq {leaf['seq']}"
        sequences[producer] += 1


def fetch(server, path):
    connection = http.client.HTTPConnection(server.api, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"/log/{path}")
        response = connection.getresponse()
        assert response.status == 200, f"{path}: {response.status}"
        return response.read()


def test_writers_and_readers_agree_all_the_time(model, tmp_path):
    # Segments of the write-ahead log come and go, so that readers see tiles that were written in between.
    config = rig.configured(tmp_path / "testimony.toml", 1 << 20)
    server = rig.Server(tmp_path / "data", model, config)
    hammer = Hammer(server)
    workers = [(write, n) for n in range(WRITERS)] + [(read_proofs, n) for n in range(PROOF_READERS)] + [(read_everything, 0)]
    rig.in_parallel(len(workers), lambda n: hammer.run(*workers[n]))
    last = max(told.index for told in hammer.told)
    rig.wait_for(lambda: hammer.key.open(fetch(server, "checkpoint").decode()).size > last)
    take_in(hammer.reader, hammer.sequences)
    leaves = hammer.reader.leaves
    lost = [told for told in hammer.told if leaves[told.index] != base64.b64decode(told.leaf)]
    assert not lost, f"{len(lost)} receipts are not kept, such as {lost[0]}"
    assert len({told.index for told in hammer.told}) == len(hammer.told), "one index was given twice"
    assert not rig.missing(server, hammer.told[-1_000:])
    assert server.stop() == 0
    rig.verified(server.data, (server.data / "identity" / "log.vkey").read_text().strip())
    rig.announce(seconds=SECONDS, records=len(leaves), checkpoints=hammer.reader.checkpoints, **hammer.counts)


def is_refused(reader):
    """Whether a log is refused: as wrong, as unreadable, or for a file that its checkpoint asks for and that is not there."""
    try:
        reader.follow()
    except (merkle.Wrong, ValueError, KeyError):
        return True
    return False


@pytest.fixture
def small_log(model, tmp_path):
    """The published log of a few hundred calls, as a table of files that can be changed, and its key."""
    server = rig.Server(tmp_path / "data", model)
    rig.small_calls(server, 300)
    assert server.stop() == 0
    log = server.data / "log"
    files = {str(path.relative_to(log)): path.read_bytes() for path in log.rglob("*") if path.is_file()}
    return files, merkle.VerifierKey((server.data / "identity" / "log.vkey").read_text())


def test_the_second_implementation_refuses_a_flipped_bit_anywhere(small_log):
    files, key = small_log
    good = merkle.FullReader(files.__getitem__, key)
    good.follow()
    size, width = good.frontier.size, merkle.TILE_WIDTH
    tiles = [(n, min(size - n * width, width)) for n in range(-(-size // width))]
    for name in ["checkpoint", *(merkle.tile_path(level, *tile) for tile in tiles for level in (0, "entries"))]:
        dice = rig.dice("flip", name)
        for _ in range(20):
            at, bit = dice.randrange(len(files[name])), 1 << dice.randrange(8)
            changed = bytearray(files[name])
            changed[at] ^= bit
            damaged = merkle.FullReader({**files, name: bytes(changed)}.__getitem__, key)
            assert is_refused(damaged), f"a flipped bit {bit} at {at} of {name} was not noticed"


def test_the_second_implementation_refuses_a_log_that_is_no_extension(small_log):
    files, key = small_log
    good = merkle.FullReader(files.__getitem__, key)
    good.follow()
    another = merkle.leaf_hash(b"another record")
    for seen, wrong in (([*good.leaves[:-1], another], "has changed|is not that of"), ([*good.leaves, another], "has shrunk")):
        reader = merkle.FullReader(files.__getitem__, key)
        for leaf in seen:
            reader.take_in(leaf)
        with pytest.raises(merkle.Wrong, match=wrong):
            reader.follow()
