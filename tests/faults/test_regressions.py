"""What the suites beside this one have found, each as small as it gets. All of it is mended, and stays so."""

import hashlib
import re
import shutil
import time

import pytest
import rig


@pytest.fixture
def stopped(model, tmp_path):
    """The directory of a stopped log with a few records."""
    data = tmp_path / "data"
    server = rig.Server(data, model)
    for n in range(3):
        server.call(f"number {n}")
    assert server.stop() == 0
    return data


def test_a_start_without_the_signing_key_leaves_the_other_keys_alone(stopped, model):
    """`Identity::open` takes a missing log.key for a directory that is new, and `create` writes over what is there."""
    before = (stopped / "identity" / "fingerprint.key").read_bytes()
    (stopped / "identity" / "log.key").unlink()
    with pytest.raises(rig.NotUp):
        rig.Server(stopped, model)
    assert (stopped / "identity" / "fingerprint.key").read_bytes() == before


def test_a_missing_signing_key_is_a_finding_with_its_name(stopped):
    (stopped / "identity" / "log.key").unlink()
    done = rig.run("verify", "--data", stopped)
    assert done.returncode == 3 and "identity/log.key" in done.stdout, done.stdout + done.stderr


def test_another_key_in_the_place_of_the_fingerprint_key_is_a_finding(stopped):
    """The name in the key's text is written but never looked at."""
    shutil.copy(stopped / "identity" / "log.key", stopped / "identity" / "fingerprint.key")
    done = rig.run("verify", "--data", stopped)
    assert done.returncode == 3, done.stdout


def test_a_file_that_is_not_ours_among_the_segments_does_no_harm(stopped, model):
    """`segment::list` takes every name in `segments/` for a directory; a file manager's leavings end the server."""
    (stopped / "segments").mkdir(exist_ok=True)
    (stopped / "segments" / ".DS_Store").write_bytes(b"x")
    rig.Server(stopped, model).stop()
    rig.verified(stopped)


METADATA = bytes.fromhex("1502191c4806") + b"schema" + bytes.fromhex("1500001600190c00")
EMPTY_PARQUET = b"PAR1" + METADATA + len(METADATA).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize("name", ["000000000000-18446744073709551615.parquet", "000000000005-000000000001.parquet"])
def test_a_segment_with_an_impossible_name_is_a_finding_and_no_panic(stopped, name):
    """`last + 1` and `end - first` overflow."""
    folder = stopped / "segments" / "x" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(EMPTY_PARQUET)
    (folder / f"{name}.sha256").write_text(f"{hashlib.sha256(EMPTY_PARQUET).hexdigest()}  {name}\n")
    done = rig.run("verify", "--data", stopped)
    assert done.returncode == 3 and not rig.is_crash(done), done.stderr


def test_a_first_start_that_was_killed_can_be_repeated(can_trace, model, tmp_path):
    """A segment of the write-ahead log without a whole head is taken for damage when there is none before it."""
    data = tmp_path / "data"
    first = data / "wal" / f"{0:020}.wal"
    with pytest.raises(rig.NotUp):
        rig.Server(data, model, wrap=[*rig.STRACE, "-o", "/dev/null", "-P", first, "-e", "inject=write:signal=SIGKILL:when=1"])
    rig.Server(data, model).stop()


def test_a_server_that_cannot_publish_stops_all_the_same(can_trace, model, tmp_path):
    """The thread that writes tiles waits a second for every batch that it has not yet taken."""
    data = tmp_path / "data"
    full_tile = data / "log" / "tile" / "0" / "000.tmp"
    server = rig.Server(data, model, wrap=[*rig.STRACE, "-o", "/dev/null", "-P", full_tile, "-e", "inject=openat:error=ENOSPC:when=1+"])
    rig.small_calls(server, 180)
    server.stop(seconds=6)


def test_nothing_is_let_go_of_after_a_failed_syncfs(can_trace, model, nearly_sealed, tmp_path):
    """After a failed sync the kernel may have dropped the pages and call the next one good: what was to be synced has to be
    written again, or the process has to stop. The thread that writes tiles just syncs again."""
    data, trace = tmp_path / "data", tmp_path / "trace"
    shutil.copytree(nearly_sealed, data)
    config = rig.configured(tmp_path / "testimony.toml", 64 << 10)
    server = rig.Server(data, model, config, wrap=[*rig.STRACE, "-o", trace, "-e", "inject=syncfs:error=EIO:when=1"])
    # A process that stops is right too, so calls may fail.
    for _ in range(300):
        if not server.call("let go") or rig.wal_first(data) > rig.SEGMENT_RECORDS // 2:
            break
        time.sleep(0.03)
    server.stop()
    after = rig.whole_trace(trace, server).partition("EIO (Input/output error) (INJECTED)")[2]
    if not after:
        pytest.skip("nothing was synced, so nothing failed")
    released, written = re.search(r"unlink\(\S+/wal/\d+\.wal", after), re.search(r"rename\(\S+/tile/entries/000.tmp", after)
    assert not released or (written and written.start() < released.start()), released


def test_what_was_published_is_whole_again_after_a_loss_of_power(device, model, tmp_path):
    """The checkpoint survives and the partial tiles beside it do not. The next start finds the checkpoint published already
    and leaves them empty until another record comes."""
    data, log = device.mount / "data", tmp_path / "server.log"
    server = rig.Server(data, model, log=log)
    for records in (10, 20):
        rig.small_calls(server, 5)
        rig.wait_for(lambda records=records: f"\n{records}\n" in server.get("/log/checkpoint")[1])
    # The journal is durable every few seconds; the bytes of new files follow only after half a minute.
    device.sync_names()
    server.kill()
    device.cut_power()
    server = rig.Server(data, model, log=log)
    time.sleep(0.6)
    server.stop()
    rig.verified(data)


def test_a_server_that_says_it_is_up_stops_in_good_order(stopped, model):
    """Signals are listened for only after the greeting: whoever waits for that and stops the server may end it the hard way."""
    codes = [rig.Server(stopped, model).stop() for _ in range(30)]
    assert set(codes) == {0}, codes


def test_a_new_segment_that_cannot_be_synced_does_not_keep_the_log_from_opening(can_trace, model, tmp_path):
    """Had the old segment grown on, the head of the new one would contradict the records acknowledged since."""
    data, trace = tmp_path / "data", tmp_path / "trace"
    config = rig.configured(tmp_path / "testimony.toml", 6_000)
    second = data / "wal" / f"{second_segment(tmp_path / 'clean', model, config):020}.wal"
    faults = ["-e", "inject=fdatasync:error=EIO:when=1", "-e", "inject=unlink:error=EIO:when=1"]
    server = rig.Server(data, model, config, wrap=[*rig.STRACE, "-o", trace, "-P", second, *faults])
    for n in range(8):
        server.call(f"number {n}")
    server.stop()
    assert "INJECTED" in rig.whole_trace(trace, server), "the second segment began elsewhere"
    rig.Server(data, model, config).stop()


def second_segment(data, model, config):
    server = rig.Server(data, model, config)
    for n in range(8):
        server.call(f"number {n}")
    server.stop()
    return sorted(int(path.stem) for path in (data / "wal").iterdir())[1]


def test_messages_that_cannot_be_written_do_no_harm(model, tmp_path):
    """A full disk takes the server's own messages too, and printing in vain must not end what was to be done."""
    server = rig.Server(tmp_path / "data", model, wrap=["sh", "-c", 'exec "$0" "$@" 2>/dev/full'])
    assert server.call("before")
    checkpoint = server.data / "log" / "checkpoint"
    rig.wait_for(checkpoint.exists)
    checkpoint.unlink()
    checkpoint.mkdir()
    # The server has something to say about that.
    assert server.get("/log/checkpoint")[0] == 500
    checkpoint.rmdir()
    assert server.call("after")
    assert server.stop() == 0
    rig.verified(server.data)
