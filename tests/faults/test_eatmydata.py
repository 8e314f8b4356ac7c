"""A missing fsync is noticed: both checks here pass, and fail under `eatmydata`, whose fsync does nothing.

A killed process loses nothing that it has written, synced or not: the kernel still has it. So one check looks at the
order of system calls, and the other takes the power away: the log lies on an ext4 file system in an image file, and a
copy of the image has only what the file system has sent to its device.
`TESTIMONY_POWER_CUTS` sets how often."""

import re
import subprocess
import time

import pytest
import rig

POWER_CUTS = rig.setting("POWER_CUTS", 6)
WORKERS = 3


# The order of system calls.


class Order:
    """What a trace tells of when answers left and what was durable by then."""

    def __init__(self, trace):
        self.written, self.covered, self.durable = {}, {}, 0
        self.syncs = 0
        # For each socket the call that is answered on it; for each call its receipt's index and how far the log was durable
        # when the first and the last bytes of its answer left.
        self.calls, self.first, self.last, self.indexes = {}, {}, {}, {}
        self.unfinished = {}
        for line in trace.splitlines():
            self.read(line)

    def read(self, line):
        """A call may be printed in two parts, with others between: it counts as begun at the first, as done at the second."""
        if begun := re.match(r"(\d+) +(\w+)\((.*)", line):
            thread, call, arguments = begun.groups()
            self.unfinished[thread] = call, arguments
            self.begin(thread, call, arguments)
            if "<unfinished" not in line:
                self.end(thread, line)
        elif resumed := re.match(r"(\d+) +<\.\.\. \w+ resumed>", line):
            self.end(resumed[1], line)

    def begin(self, thread, call, arguments):
        if call == "fdatasync":
            self.covered[thread] = self.written.get(file_of(arguments), 0)
        elif call in ("writev", "sendto", "sendmsg") and file_of(arguments).startswith("socket:"):
            self.send(file_of(arguments), sent(arguments))

    def end(self, thread, line):
        call, arguments = self.unfinished.pop(thread, ("", ""))
        returned = re.search(r"\) += (-?\d+)", line)
        if not returned or int(returned[1]) < 0:
            return
        file = file_of(arguments)
        if call == "write" and file.endswith(".wal"):
            frame = sent(arguments)
            if frame.startswith(b"TFRM"):
                first, count = int.from_bytes(frame[12:20]), int.from_bytes(frame[20:24])
                self.written[file] = first + count
        elif call == "fdatasync" and file.endswith(".wal"):
            self.durable = max(self.durable, self.covered[thread])
            self.syncs += 1

    def send(self, socket, data):
        receipt = re.search(rb"\r\ntestimony-receipt: .*?index=(\d+)", data)
        if data.startswith(b"HTTP/1.1 200") and receipt:
            call = re.search(rb"\r\ntestimony-call: (\S+)", data)[1].decode()
            self.calls[socket] = call
            self.indexes[call] = int(receipt[1])
            self.first[call] = self.durable
        elif data.startswith((b"HTTP/1.1", b"GET ", b"POST ")):
            self.calls.pop(socket, None)
        if socket in self.calls:
            self.last[self.calls[socket]] = self.durable

    def wrong(self, call, request, response):
        if call not in self.first:
            return [f"call {call} is not in the trace"]
        assert self.indexes[call] == request
        wrong = []
        if self.first[call] <= request:
            wrong.append(f"call {call} was answered when {self.first[call]} records were synced, and its request is {request}")
        if self.last[call] <= response:
            wrong.append(f"call {call} ended when {self.last[call]} records were synced, and its response is {response}")
        return wrong


def file_of(arguments):
    named = re.match(r"\d+<((?:\\x[0-9a-f]{2})*)>", arguments)
    return unescaped(named[1]).decode() if named else ""


def sent(arguments):
    """The bytes of a call's buffers, as `strace -xx` prints them."""
    return b"".join(map(unescaped, re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)))


def unescaped(text):
    return bytes.fromhex(text.replace("\\x", ""))


def order_of_calls(folder, model, preload=()):
    """Every answer of a handful of calls that left before its records were synced, and how many there were."""
    data, trace = folder / "data", folder / "trace"
    watched = ["-e", "trace=write,writev,sendto,sendmsg,fdatasync"]
    strace = ["strace", "-D", "-f", "-y", "-xx", "-s", "70000", *watched, "-o", trace]
    server = rig.Server(data, model, rig.configured(folder / "testimony.toml", 20_000), wrap=[*strace, *preload])
    told = []

    def work(worker):
        for n in range(8):
            told.append(server.call(f"call {n} of {worker} [[words {n}]]", stream=n % 2 == 0))

    rig.in_parallel(WORKERS, work)
    rows = server.rows("SELECT call_id, request_index, response_index FROM calls")
    assert {one.call for one in told} == {row["call_id"] for row in rows}
    assert server.stop() == 0
    order = Order(rig.whole_trace(trace, server))
    wrong = [line for row in rows for line in order.wrong(row["call_id"], row["request_index"], row["response_index"])]
    print(f"{len(rows)} answers, {order.syncs} syncs of the write-ahead log, {len(wrong)} out of order")
    return wrong, len(rows)


def test_no_answer_leaves_before_its_records_are_synced(can_trace, model, tmp_path):
    wrong, _ = order_of_calls(tmp_path, model)
    assert not wrong, "\n".join(wrong)


def test_without_fsync_every_answer_leaves_too_early(can_trace, eatmydata, model, tmp_path):
    wrong, calls = order_of_calls(tmp_path, model, eatmydata)
    assert len(wrong) == 2 * calls, "a missing fsync was not noticed"


# The loss of power.


def load_until(server, dice):
    """Callers that are cut off with the power; what they were told by then."""
    told = []

    def work(worker):
        n = 0
        while answer := server.call(f"call {n} of {worker} [[words {n % 30}]]", stream=n % 2 == 0):
            told.append(answer)
            n += 1

    def cut(_):
        time.sleep(dice.uniform(0.05, 0.6))
        server.kill()

    rig.in_parallel(WORKERS + 1, lambda worker: cut(worker) if worker == WORKERS else work(worker))
    return told


def cut_again_and_again(device, model, folder, cuts, preload=()):
    """What is wrong after one of several losses of power, and what was acknowledged by then."""
    config, data = rig.configured(folder / "testimony.toml", 20_000), device.mount / "data"
    told, dice = [], rig.dice("power")
    for _ in range(cuts):
        server = rig.Server(data, model, config, wrap=preload, log=folder / "server.log")
        told += load_until(server, dice)
        device.cut_power()
        lost = after_restart(data, model, config, folder / "server.log", told)
        if lost:
            return lost, told
    return [], told


def seal_and_cut(device, model, nearly_sealed, folder, strace=()):
    """Power goes when the first segments of the write-ahead log have gone: the published log and the Parquet segment are all
    that is left of their records. Gives what is wrong then, or nothing."""
    data = device.mount / "data"
    subprocess.run(["cp", "-r", nearly_sealed, data], check=True)
    subprocess.run(["sync", "-f", data], check=True)
    config = rig.configured(folder / "testimony.toml", 64 << 10)
    server = rig.Server(data, model, config, wrap=strace, log=folder / "server.log")
    rig.let_go(server)
    # The device is told of a removal with the next sync.
    told = [server.call(f"after {n}") for n in range(3)]
    server.kill()
    device.cut_power()
    return "\n".join(after_restart(data, model, config, folder / "server.log", told))


def after_restart(data, model, config, log, told):
    """What is wrong with a log that is opened again and goes on: published files that were not durable are written anew."""
    try:
        server = rig.Server(data, model, config, log=log)
    except rig.NotUp as error:
        return [f"it does not start again: {error}"]
    taken = server.call("afterwards")
    server.stop()
    done = rig.run("verify", "--data", data)
    if done.returncode or not taken:
        return [done.stdout + done.stderr + server.errors()]
    server = rig.Server(data, model, config, log=log)
    lost = rig.missing(server, [*told, taken])
    server.stop()
    return lost


def test_what_the_write_ahead_log_let_go_of_survives_a_loss_of_power(device, model, nearly_sealed, tmp_path):
    assert not seal_and_cut(device, model, nearly_sealed, tmp_path)


def test_a_syncfs_that_only_pretends_is_noticed(can_trace, device, model, nearly_sealed, tmp_path):
    """The one sync that eatmydata does not reach: it is called without the C library."""
    pretend = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=syncfs", "-e", "inject=syncfs:retval=0"]
    found = seal_and_cut(device, model, nearly_sealed, tmp_path, pretend)
    assert found, "a missing syncfs was not noticed"
    print(found)


def test_what_was_acknowledged_survives_a_loss_of_power(device, model, tmp_path):
    rig.announce(TESTIMONY_POWER_CUTS=POWER_CUTS)
    lost, told = cut_again_and_again(device, model, tmp_path, POWER_CUTS)
    assert not lost, "\n".join([f"TESTIMONY_FAULT_SEED={rig.SEED}", *lost])
    assert len(told) > POWER_CUTS
    print(f"{POWER_CUTS} cuts, {len(told)} calls acknowledged, all there")


def test_without_fsync_a_loss_of_power_is_noticed(device, eatmydata, model, tmp_path):
    lost, told = cut_again_and_again(device, model, tmp_path, 1, eatmydata)
    assert lost and told, "a missing fsync was not noticed"
    print(f"{len(told)} calls acknowledged, noticed as: {lost[0].splitlines()[0][:200]} … {len(lost)} in all")
