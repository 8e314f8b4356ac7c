"""Thousands of damaged data directories: `testimony verify` ends, does not crash, and names the place.

`TESTIMONY_CORRUPTIONS` sets how many, `TESTIMONY_CORRUPTION` repeats a single one of a seed."""

import collections
import re
import shutil
import subprocess
import threading
import time

import pytest
import rig

COUNT = rig.setting("CORRUPTIONS", 5_000)
ONLY = rig.setting("CORRUPTION", -1)
HANGS_AFTER = 10
WORKERS = 2
WRONG = 3

# How often each is done, and what to.
KINDS = {"flip": 40, "truncate": 16, "zeros": 8, "append": 4, "swap": 10, "duplicate": 12, "delete": 10}
PLACES = {
    "identity": 12,
    "wal": 24,
    "checkpoint": 8,
    "entries": 16,
    "tiles": 16,
    "segment": 14,
    "digest": 6,
    "unvouched": 4,
}
PATTERNS = {
    "identity": r"identity/",
    "wal": r"wal/",
    "checkpoint": r"log/checkpoint$",
    "entries": r"log/tile/entries/",
    "tiles": r"log/tile/\d+/",
    "segment": r"segments/.*\.parquet$",
    "digest": r"segments/.*\.sha256$",
    "unvouched": r"lock$|inflight/|.*\.tmp$",
}
# Contents of 11 MiB are more than a query gives out.
EVERYTHING = """SELECT log_index, id, call_id, time, outcome, length(input), left(input, 200), right(input, 200), output
    FROM records ORDER BY log_index"""


class Log:
    """A stopped log, all of its bytes in memory, and what is known of it."""

    def __init__(self, name, root):
        self.name, self.root = name, root
        paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
        self.files = {str(path.relative_to(root)): path.read_bytes() for path in paths}
        self.key = self.files["identity/log.vkey"].decode().strip()
        self.size = int(self.files["log/checkpoint"].split(b"\n")[1])
        self.wal_first = rig.wal_first(root)
        self.answers = answers(root)

    def in_place(self, place):
        return [path for path in self.files if place_of(path) == place]

    def is_needed(self, path):
        """Whether the published checkpoint needs a file of the published log."""
        partial = re.fullmatch(r"log/tile/(entries|\d+)/.*\.p/(\d+)", path)
        if not partial:
            return True
        level = 0 if partial[1] == "entries" else int(partial[1])
        return (self.size >> 8 * level) % 256 == int(partial[2])


def place_of(path):
    return next((place for place, pattern in PATTERNS.items() if re.match(pattern, path)), "other")


def wal_index(path):
    return int(path.removeprefix("wal/").removesuffix(".wal"))


def answers(root):
    """Everything that can be asked of a log."""
    done = rig.run("sql", "--data", root, "-o", "jsonl", "--limit", 100_000, EVERYTHING)
    return done.stdout if done.returncode == 0 else None


def young_log(folder, model):
    """Nothing is sealed yet: the write-ahead log holds every record. It was killed once, and stopped in good order."""
    data = folder / "data"
    config = rig.configured(folder / "testimony.toml", 64 << 10)
    server = rig.Server(data, model, config)
    rig.small_calls(server, 200)
    server.kill()
    server = rig.Server(data, model, config)
    rig.small_calls(server, 100)
    assert server.stop() == 0
    return Log("young", data)


def sealed_log(folder, model, base, segments):
    """The first records lie in Parquet segments, and the write-ahead log has let them go."""
    data = folder / "data"
    shutil.copytree(base, data)
    server = rig.Server(data, model, rig.configured(folder / "testimony.toml", 64 << 10))
    for sealed in range(segments):
        if sealed:
            rig.fill_segment(server, rig.SEGMENT_RECORDS // 2)
        rig.small_calls(server, 10)
        rig.wait_for(lambda: len(list(data.rglob("*.parquet"))) > sealed, 30)
    rig.let_go(server)
    rig.small_calls(server, 20)
    assert server.stop() == 0
    return Log("sealed", data)


@pytest.fixture(scope="module")
def logs(model, nearly_sealed, tmp_path_factory):
    began = time.monotonic()
    segments = 2 if COUNT >= 5_000 else 1
    young, sealed = tmp_path_factory.mktemp("young"), tmp_path_factory.mktemp("sealed")
    found = [young_log(young, model), sealed_log(sealed, model, nearly_sealed, segments)]
    for log in found:
        assert log.answers and log.answers.count("\n") >= log.size
        rig.verified(log.root, log.key)
        print(f"{log.name}: {log.size} records, {len(log.files)} files, write-ahead log from {log.wal_first}")
    print(f"made in {time.monotonic() - began:.1f} s")
    return found


def pick(dice, log):
    present = [place for place in PLACES if log.in_place(place)]
    # What is wrong with tiles is found in the same way in both logs, and in the sealed one it takes ten times as long.
    slow = ("entries", "tiles") if log.name == "sealed" else ()
    place = dice.choices(present, [1 if place in slow else PLACES[place] for place in present])[0]
    return dice.choice(log.in_place(place))


def damage(dice, log):
    """What is done, in words, and the files that change: their new bytes, or nothing for a file that goes."""
    while True:
        [kind], path = dice.choices(list(KINDS), KINDS.values()), pick(dice, log)
        words, changes = DAMAGES[kind](dice, log, path)
        changes = {path: after for path, after in changes.items() if after != log.files[path]}
        if changes:
            return kind, words, changes


def flip(dice, log, path):
    before = log.files[path]
    if not before:
        return "", {}
    at, bit = dice.randrange(len(before)), dice.randrange(8)
    after = bytearray(before)
    after[at] ^= 1 << bit
    return f"bit {bit} of byte {at} of {path} flipped", {path: bytes(after)}


def truncate(dice, log, path):
    before = log.files[path]
    # The edges are where the mistakes are.
    length = dice.choice([0, len(before) // 2, max(len(before) - 1, 0), dice.randrange(len(before) + 1)])
    return f"{path} cut from {len(before)} to {length} bytes", {path: before[:length]}


def zeros(dice, log, path):
    before = log.files[path]
    start, count = dice.randrange(len(before) + 1), dice.choice([1, 16, 512, 4096])
    after = before[:start] + bytes(len(before[start : start + count])) + before[start + count :]
    return f"{count} bytes from {start} of {path} zeroed", {path: after}


def append(dice, log, path):
    more = dice.choice([b"\0", b"\n", b"\0" * 4096, dice.randbytes(100), log.files[path]])
    return f"{len(more)} bytes appended to {path}: {more[:8]!r}", {path: log.files[path] + more}


def swap(dice, log, path):
    other = dice.choice(log.in_place(place_of(path))) if dice.random() < 0.7 else pick(dice, log)
    return f"{path} and {other} swapped", {path: log.files[other], other: log.files[path]}


def duplicate(dice, log, path):
    other = dice.choice(log.in_place(place_of(path))) if dice.random() < 0.7 else pick(dice, log)
    return f"{other} copied over {path}", {path: log.files[other]}


def delete(_, log, path):
    return f"{path} deleted", {path: None}


DAMAGES = {
    "flip": flip,
    "truncate": truncate,
    "zeros": zeros,
    "append": append,
    "swap": swap,
    "duplicate": duplicate,
    "delete": delete,
}


class Copy:
    """A worker's own copy of a log, damaged and mended again and again."""

    def __init__(self, log, folder):
        self.log, self.root = log, folder / log.name
        shutil.copytree(log.root, self.root)

    def write(self, path, content):
        target = self.root / path
        if content is None:
            target.unlink()
        else:
            target.write_bytes(content)

    def verify_with(self, changes):
        """How verify ends on the changed copy, what can still be asked of it if it finds nothing, and the copy mended."""
        for path, content in changes.items():
            self.write(path, content)
        try:
            done = rig.run("verify", "--data", self.root, "--key", self.log.key, seconds=HANGS_AFTER)
            told = answers(self.root) if done.returncode == 0 else None
            return done, told
        except subprocess.TimeoutExpired:
            return None, None
        finally:
            for path in changes:
                self.write(path, self.log.files[path])


def names(path):
    """What a finding may call a file: itself, or the one beside it against which it is checked."""
    if path.endswith(".sha256"):
        return [path.removesuffix(".sha256")]
    if path == "identity/log.key":
        return [path, "identity/log.vkey does not fit the key beside it"]
    # A leaf that does not fit its hash: either of the two may be the changed one.
    return [path, re.sub(r"^log/tile/entries/", "log/tile/0/", path)]


def gaps(log, path):
    """What a finding may call a gap: nobody knows the name of a file that is not there any more."""
    if place_of(path) == "wal":
        files = log.in_place("wal")
        after = files[files.index(path) + 1 :][:1]
        return [*after, f"only {wal_index(path)} are there", "no longer in the write-ahead log"]
    if place_of(path) == "segment":
        return ["no longer in the write-ahead log", "a segment is missing"]
    return []


def is_named(log, path, after, text):
    return any(name in text for name in [*names(path), *(gaps(log, path) if after is None else [])])


def why_harmless(log, changes, text, told):
    """Why a damage need not be found, or nothing. Whatever the reason: what can be asked of the log is as before."""
    reasons = [harmless_change(log, path, after, text) for path, after in changes.items()]
    return reasons[0] if all(reasons) and told == log.answers else None


def harmless_change(log, path, after, text):
    before = log.files[path]
    if place_of(path) == "unvouched":
        return "lock, spool and temporary files: no record is in them"
    if place_of(path) in ("entries", "tiles") and not log.is_needed(path):
        return "a partial tile that the checkpoint does not need"
    if place_of(path) == "identity" and after is not None and after.strip() == before.strip():
        return "the same key with other white space around it"
    if path == "log/checkpoint" and not after and log.wal_first == 0:
        return "log/checkpoint gone or empty while the write-ahead log still holds every record: it is published anew"
    if path == log.in_place("wal")[-1] and after and after.startswith(before) and "never acknowledged" in text:
        return "bytes after the last frame: verify tells of them as the end of a record that was never acknowledged"
    if place_of(path) in ("segment", "digest") and segment_first(path) >= log.wal_first and after is None:
        return "a segment gone whose records the write-ahead log still holds"
    return None


def segment_first(path):
    return int(path.split("/")[-1].split("-")[0])


def judge(log, changes, done, told):
    """`detected` or a reason why it need not be; else what is wrong with how verify took it."""
    if done is None:
        return "HANG"
    if rig.is_crash(done):
        return "CRASH"
    text = done.stdout + done.stderr
    if done.returncode == 0:
        reason = why_harmless(log, changes, text, told)
        return f"harmless: {reason}" if reason else "NOT DETECTED"
    if not any(is_named(log, path, after, text) for path, after in changes.items()):
        return f"NOT NAMED (exit {done.returncode})"
    return f"detected (exit {done.returncode})"


def test_every_damage_is_found_and_named_or_harmless(logs, tmp_path):
    rig.announce(TESTIMONY_CORRUPTIONS=COUNT)
    numbers = iter([ONLY] if ONLY >= 0 else range(COUNT))
    lock, verdicts, bad = threading.Lock(), collections.Counter(), []
    began = time.monotonic()

    def work(worker):
        copies = [Copy(log, tmp_path / str(worker)) for log in logs]
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            dice = rig.dice("corruption", number)
            copy = dice.choices(copies, [3, 2])[0]
            kind, words, changes = damage(dice, copy.log)
            done, told = copy.verify_with(changes)
            verdict = judge(copy.log, changes, done, told)
            with lock:
                verdicts[verdict] += 1
                if verdict[:3].isupper():
                    said = (done.stdout + done.stderr).strip() if done else ""
                    bad.append(f"{verdict}: TESTIMONY_CORRUPTION={number} ({copy.log.name}): {words}\n    {said}")
        for copy in copies:
            assert Log(copy.log.name, copy.root).files.keys() == copy.log.files.keys()
            rig.verified(copy.root, copy.log.key)

    rig.in_parallel(WORKERS, work)
    seconds = time.monotonic() - began
    print(f"{sum(verdicts.values())} corruptions in {seconds:.1f} s, {sum(verdicts.values()) / seconds:.1f} a second")
    for verdict, count in verdicts.most_common():
        print(f"{count:6} {verdict}")
    assert not bad, "\n".join([f"TESTIMONY_FAULT_SEED={rig.SEED}", *bad])
