"""A file system of 64 MiB that is really full again and again while calls come in.

`TESTIMONY_FULL_DISK_SECONDS` sets for how long, in all."""

import collections
import os
import subprocess
import threading
import time

import pytest
import rig

SECONDS = rig.setting("FULL_DISK_SECONDS", 20)
DISK_BYTES = 64 << 20
LOG_BYTES_MAX = 40 << 20
WORKERS = 3
WRITES_AGAIN_SECONDS = 5


class SmallDisk:
    """A mounted file system, and a file that takes what space there is."""

    def __init__(self, mount):
        self.mount, self.ballast = mount, mount / "ballast"

    def free(self):
        found = os.statvfs(self.mount)
        return found.f_bavail * found.f_frsize

    def used_by_log(self):
        found = os.statvfs(self.mount)
        ballast = self.ballast.stat().st_size if self.ballast.exists() else 0
        return (found.f_blocks - found.f_bfree) * found.f_frsize - ballast

    def fill(self):
        """Leaves not a single block."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def make_room(self):
        self.ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield SmallDisk(mount)
    subprocess.run(["umount", "-l", mount], check=True)


class Load:
    """Callers that go on whatever they are told, and remember what they were told."""

    def __init__(self, server, disk, seconds):
        self.server, self.disk, self.seconds = server, disk, seconds
        self.told, self.refused, self.ended = [], 0, threading.Event()
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.work, args=(worker,)) for worker in range(WORKERS)]
        [thread.start() for thread in self.threads]

    def work(self, worker):
        dice = rig.dice("load", worker)
        while not self.ended.is_set():
            if self.is_ahead():
                time.sleep(0.05)
                continue
            answer = self.server.call("x" * dice.choice([10, 2_000, 30_000]), stream=dice.random() < 0.5)
            if answer:
                self.told.append(answer)
            else:
                self.refused += 1
                time.sleep(0.01)

    def is_ahead(self):
        """The log may not fill the disk by itself before the time is up: nothing could make room again."""
        passed = (time.monotonic() - self.began) / self.seconds
        return self.disk.used_by_log() > LOG_BYTES_MAX * min(passed, 1)

    def end(self):
        self.ended.set()
        [thread.join() for thread in self.threads]


def reads_work(server, key):
    status, text = server.get("/api/v1/search?q=outcome:completed&limit=5")
    assert status == 200, text
    status, text = server.get("/log/checkpoint")
    assert status == 200 and text.count("\n") >= 4, text
    done = rig.run("verify", "--server", f"http://{server.api}", "--key", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.is_alive()


def full_for_a_while(server, disk, key, seconds):
    end = time.monotonic() + seconds
    disk.fill()
    rig.wait_for(lambda: disk.fill() or server.call("is it full?") is None, 5)
    reads = 0
    while time.monotonic() < end or not reads:
        disk.fill()
        assert disk.free() == 0
        reads_work(server, key)
        reads += 1
    return reads


def room_for_a_while(server, disk, seconds):
    disk.make_room()
    began = time.monotonic()
    rig.wait_for(lambda: server.call("is there room?"), WRITES_AGAIN_SECONDS)
    passed = time.monotonic() - began
    time.sleep(seconds)
    return passed


def stop_while_full(server):
    assert server.stop(seconds=8) == 0, server.errors()


@pytest.mark.parametrize("reserve", [4 << 20, 0])
def test_on_a_full_disk_nothing_is_answered_that_is_not_recorded(disk, model, tmp_path, reserve):
    rig.announce(TESTIMONY_FULL_DISK_SECONDS=SECONDS, reserve=reserve)
    config = tmp_path / "testimony.toml"
    config.write_text(f"[ledger]\nreserve_bytes = {reserve}\nwal_segment_bytes = {1 << 20}\n")
    data = disk.mount / "data"
    server = rig.Server(data, model, config, log=tmp_path / "server.log")
    assert server.call("before")
    rig.wait_for((data / "log" / "checkpoint").exists)
    key = (data / "identity" / "log.vkey").read_text().strip()
    load, times, counts = Load(server, disk, SECONDS / 2), [], collections.Counter()
    try:
        while time.monotonic() < load.began + SECONDS / 2:
            counts["reads while full"] += full_for_a_while(server, disk, key, 1.0)
            times.append(room_for_a_while(server, disk, 0.7))
            counts["times full"] += 1
    finally:
        load.end()
    counts["answered"], counts["refused"] = len(load.told), load.refused
    assert load.told and load.refused, counts

    disk.fill()
    stop_while_full(server)
    assert rig.run("verify", "--data", data, "--key", key).returncode == 0
    disk.make_room()
    server = rig.Server(data, model, config, log=tmp_path / "server.log")
    assert rig.missing(server, load.told) == []
    assert server.call("afterwards")
    assert server.stop() == 0
    rig.verified(data, key)
    assert "panicked" not in server.errors()
    print(f"{dict(counts)}, writing again after at most {max(times) * 1000:.0f} ms")
