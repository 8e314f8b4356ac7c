"""Files that others write, followed: each line once, whatever happens to the file and to the server."""

import json
import os
import shutil
import threading

import pytest
from conftest import run, wait_for
from test_rules import settings

BODY = "attributes['testimony.log.body']"
SECONDS = 60.0


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@pytest.fixture
def follow(serve, scripted, tmp_path, logs):
    """Starts a server that follows `logs/<pattern>`; the same data directory every time."""

    def start(pattern="app.log*", more="", name="app"):
        group = f'[[files]]\nname = "{name}"\ninclude = ["{logs}/{pattern}"]\n{more}\n'
        return serve(scripted, *settings(tmp_path, group))

    return start


def write(path, numbers):
    with open(path, "a") as file:
        file.writelines(f"line {n}\n" for n in numbers)


def count(server):
    """How many records files have become, and how many different lines."""
    row = server.sql(f"SELECT count(*) AS stored, count(DISTINCT {BODY}) AS lines FROM records WHERE producer = 'files'")[0]
    return row["stored"], row["lines"]


def wait_for_lines(server, lines, seconds=SECONDS):
    """All of these lines are stored, each once."""
    stored = []

    def is_there():
        stored[:] = count(server)
        return stored[1] >= lines

    try:
        wait_for(is_there, seconds, pause=0.1)
    except AssertionError:
        raise AssertionError(f"{stored} instead of {lines}: {server.errors()[-4000:]}") from None
    assert stored == [lines, lines]


def bodies(server):
    rows = server.sql(f"SELECT {BODY} AS body FROM records WHERE producer = 'files' ORDER BY log_index")
    return [row["body"] for row in rows]


def wait_for_bodies(server, expected):
    wait_for(lambda: len(bodies(server)) >= len(expected), SECONDS, pause=0.1)
    assert bodies(server) == expected


def test_json_lines_become_what_the_mapping_says(follow, logs, tmp_path):
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        '[[mapping]]\nname = "noise"\nmatch = { where = { "/level" = "debug" } }\ndrop = true\n\n'
        '[[mapping]]\nname = "tools"\nkind = "tool.call"\nmatch = { where = { "/tool" = "*" } }\ntime = "/ts"\nactor = "/user"\n'
        'outcome = { from = "/ok", values = { true = "completed" }, otherwise = "failed" }\nattributes = { "gen_ai.tool.name" = "/tool" }\n'
    )
    lines = [
        {"ts": "2026-11-25T04:00:00Z", "user": "alice", "tool": "weather", "ok": True},
        {"level": "debug", "tool": "weather"},
        {"ts": "2026-11-25T04:00:01Z", "user": "bob", "tool": "maps", "ok": False},
        {"something": "else"},
    ]
    (logs / "app.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    server = follow(more=f'mapping = "{mapping}"')
    query = "SELECT kind, time, actor_id, outcome, attributes['gen_ai.tool.name'] AS tool, attributes['log.file.path'] AS path FROM records WHERE producer = 'files' ORDER BY log_index"
    wait_for(lambda: len(server.sql(query)) == 3, SECONDS)
    weather, maps, other = server.sql(query)
    assert (weather["kind"], weather["actor_id"], weather["outcome"], weather["tool"]) == ("tool.call", "alice", "completed", "weather")
    assert weather["time"].startswith("2026-11-25T04:00:00") and weather["path"] == str(logs / "app.log")
    assert (maps["actor_id"], maps["outcome"], maps["tool"]) == ("bob", "failed", "maps")
    assert other["kind"] == "system"
    found = run("search", "gen_ai.tool.name:weather", "--server", server.api, "-o", "jsonl").stdout
    assert len(found.splitlines()) == 1 and "alice" in found


def test_a_file_that_is_renamed_while_it_is_written_is_read_whole_in_order(follow, logs):
    server = follow("app.log*")
    for turn in range(4):
        if turn:
            os.rename(logs / "app.log", logs / f"app.log.{turn}")
        write(logs / "app.log", range(turn * 100, turn * 100 + 50))
        # The writer has not noticed yet that its file has another name.
        if turn:
            write(logs / f"app.log.{turn}", range(turn * 100 + 50, turn * 100 + 60))
    wait_for_lines(server, 4 * 50 + 3 * 10)


def test_what_is_written_after_a_rename_to_what_no_pattern_fits_is_read(follow, logs):
    server = follow("*.log")
    with open(logs / "app.log", "a", buffering=1) as writer:
        writer.write("line 0\n")
        wait_for_lines(server, 1)
        os.rename(logs / "app.log", logs / "app.log-20261125")
        write(logs / "app.log", [1])
        wait_for_lines(server, 2)
        writer.write("line 2\n")
        wait_for_lines(server, 3)
    os.remove(logs / "app.log-20261125")
    write(logs / "app.log", [3])
    wait_for_lines(server, 4)
    wait_for(lambda: "has ended" in server.errors(), SECONDS)
    assert bodies(server) == [f"line {n}" for n in range(4)]


def test_what_is_copied_and_truncated_is_no_file_of_its_own(follow, logs):
    server = follow("app.log*")
    lines = 0
    for turn in range(3):
        write(logs / "app.log", range(lines, lines + 500))
        lines += 500
        if turn == 1:
            # Looked at on the way; otherwise what is left has to be found in the copy.
            wait_for_lines(server, lines)
        if turn:
            os.rename(logs / "app.log.1", logs / f"app.log.{turn + 1}")
        shutil.copy(logs / "app.log", logs / "app.log.1")
        os.truncate(logs / "app.log", 0)
        wait_for_lines(server, lines)
    write(logs / "app.log", [lines])
    wait_for_lines(server, lines + 1)


def test_a_file_that_is_deleted_is_read_to_its_end(follow, logs):
    server = follow("*.log")
    write(logs / "app.log", [0])
    wait_for_lines(server, 1)
    write(logs / "app.log", range(1, 2000))
    os.remove(logs / "app.log")
    wait_for_lines(server, 2000)
    write(logs / "app.log", [2000])
    wait_for_lines(server, 2001)


def test_a_restart_goes_on_where_the_server_was_stopped(follow, logs):
    write(logs / "app.log", range(100))
    write(logs / "gone.log", range(100, 110))
    server = follow("*.log*")
    wait_for_lines(server, 110)
    server.stop()
    kept = json.loads((server.data / "cursors" / "app.json").read_text())
    assert {file["durable"]["offset"] for file in kept["files"]} == {os.path.getsize(logs / name) for name in ("app.log", "gone.log")}
    write(logs / "app.log", range(200, 250))
    os.rename(logs / "app.log", logs / "app.log.1")
    write(logs / "app.log", range(300, 350))
    os.remove(logs / "gone.log")
    write(logs / "new.log", range(400, 410))
    server = follow("*.log*")
    wait_for_lines(server, 110 + 50 + 50 + 10)
    server.stop()
    server = follow("*.log*")
    write(logs / "app.log", [500])
    wait_for_lines(server, 221)


def test_a_line_is_one_record_however_often_the_server_is_killed(follow, logs):
    written, enough = [0], threading.Event()

    def writer():
        """Half a line at a time, and another file every so often."""
        while not enough.wait(0.004):
            for _ in range(4):
                n = written[0]
                with open(logs / "app.log", "a") as file:
                    file.write(f"line {n}")
                    file.flush()
                    file.write("\n")
                written[0] = n + 1
                if n % 3000 == 2999:
                    os.rename(logs / "app.log", logs / f"app.log.{n // 3000}")

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        for _ in range(5):
            server = follow("app.log*")
            reached = written[0]
            wait_for(lambda: count(server)[1] > reached, SECONDS, pause=0.05)
            server.kill()
    finally:
        enough.set()
        thread.join()
    server = follow("app.log*")
    wait_for_lines(server, written[0])


def test_a_line_without_its_end_waits_for_it(follow, logs):
    server = follow("*.log")
    with open(logs / "app.log", "a", buffering=1) as writer:
        writer.write("line 0\nli")
        wait_for_lines(server, 1)
        server.stop()
        server = follow("*.log")
        write(logs / "other.log", [1])
        wait_for_lines(server, 2)
        writer.write("ne 2\n")
        wait_for_lines(server, 3)
    assert sorted(bodies(server)) == ["line 0", "line 1", "line 2"]


def test_logs_of_containers_are_joined_and_their_links_followed(follow, logs, tmp_path):
    pod = tmp_path / "pods" / "bot"
    pod.mkdir(parents=True)
    for n in range(2):
        os.symlink(pod / "0.log", logs / f"bot-{n}.log")
    first = "2026-11-25T04:00:00.123456789Z stdout P one, \n2026-11-25T04:00:00.2Z stderr F other\n2026-11-25T04:00:00.3Z stdout P two, \n"
    (pod / "0.log").write_text(first)
    server = follow("*.log", 'wrapping = "cri"')
    wait_for_bodies(server, ["other"])
    with open(pod / "0.log", "a") as file:
        file.write("2026-11-25T04:00:00.4Z stdout F three\n2026-11-25T04:00:01Z stdout F next\n")
    wait_for_bodies(server, ["other", "one, two, three", "next"])
    # As the kubelet rotates it: the link leads to another file, and the rest of the first has no name that is looked at.
    os.rename(pod / "0.log", pod / "0.log.20261125-040002")
    (pod / "0.log").write_text("2026-11-25T04:00:02Z stderr F new file\n")
    wait_for_bodies(server, ["other", "one, two, three", "next", "new file"])
    rows = server.sql("SELECT time, attributes['log.iostream'] AS stream FROM records WHERE producer = 'files' ORDER BY log_index")
    assert [row["stream"] for row in rows] == ["stderr", "stdout", "stdout", "stderr"]
    assert rows[1]["time"].startswith("2026-11-25T04:00:00.123456")


def test_lines_of_docker_are_unwrapped(follow, logs):
    lines = [{"log": "half ", "stream": "stdout", "time": "2026-11-25T04:00:00Z"}, {"log": "whole\n", "stream": "stdout", "time": "2026-11-25T04:00:01Z"}]
    (logs / "app-json.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    wait_for_bodies(follow("*.log", 'wrapping = "docker"'), ["half whole"])


def test_a_stack_trace_is_one_record(follow, logs):
    trace = "2026-11-25 ERROR it broke\nTraceback (most recent call last):\n  File \"a.py\", line 1\nValueError: no"
    (logs / "app.log").write_text(f"{trace}\n2026-11-25 INFO on it goes\n")
    server = follow("*.log", "begins = '^\\d{4}-\\d{2}-\\d{2} '")
    # The last one is whole when nothing has come for a while.
    wait_for_bodies(server, [trace, "2026-11-25 INFO on it goes"])
    assert run("search", "testimony.log.body:*ValueError*", "--server", server.api, "-o", "jsonl").stdout.count("it broke") == 1


def test_what_is_no_file_or_left_out_does_no_harm(follow, logs):
    os.mkfifo(logs / "pipe.log")
    (logs / "folder.log").mkdir()
    os.symlink(logs / "nowhere", logs / "broken.log")
    os.symlink(logs / "pipe.log", logs / "linked.log")
    (logs / "old.log.gz").write_text("line 8\n")
    (logs / "empty.log").touch()
    write(logs / "app.log", range(3))
    server = follow("*.log*", 'exclude = ["*.gz"]')
    wait_for_lines(server, 3)
    write(logs / "empty.log", [3])
    wait_for_lines(server, 4)
    assert server.get("/readyz")[0] == 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told_once_and_read_when_it_may(follow, logs):
    write(logs / "secret.log", [0])
    os.chmod(logs / "secret.log", 0)
    write(logs / "app.log", [1])
    server = follow("*.log")
    wait_for_lines(server, 1)
    write(logs / "app.log", [2])
    wait_for_lines(server, 2)
    assert server.errors().count("cannot be read") == 1
    os.chmod(logs / "secret.log", 0o644)
    wait_for_lines(server, 3)


def test_a_folder_that_comes_later_is_found(follow, logs):
    server = follow("later/**/*.log")
    wait_for(lambda: "cannot be read" in server.errors(), SECONDS)
    (logs / "later" / "deep" / "er").mkdir(parents=True)
    write(logs / "later" / "deep" / "er" / "app.log", range(5))
    wait_for_lines(server, 5)


def test_cursors_that_are_damaged_keep_the_server_from_starting(follow, logs, tmp_path):
    write(logs / "app.log", range(5))
    server = follow()
    wait_for_lines(server, 5)
    server.stop()
    cursors = server.data / "cursors" / "app.json"
    whole = cursors.read_bytes()
    cursors.write_bytes(whole[:20])
    done = run("serve", "--data", server.data, "--upstream", "http://127.0.0.1:1/v1", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--config", tmp_path / "settings.toml", check=False)
    assert done.returncode == 1 and "app.json does not say how far" in done.stderr
    cursors.write_bytes(whole)
    server = follow()
    write(logs / "app.log", [5])
    wait_for_lines(server, 6)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[files]]\nname = "app"\ninclude = ["logs/*.log"]\n', '"logs/*.log" does not say where it begins: write all of the path'),
        ('[[files]]\nname = "app"\ninclude = []\n', "include names no files: write where they are"),
        ('[[files]]\nname = "app"\ninclude = ["/a"]\n' * 2, 'two groups are called "app": give each a name of its own'),
        ('[[files]]\nname = "My App"\ninclude = ["/a"]\n', "write 1 to 64 of a-z, 0-9 and -"),
        ('[[files]]\nname = "app"\ninclude = ["/a"]\nbegins = "("\n', "[[files]] app: begins:"),
        ('[[files]]\nname = "app"\ninclude = ["/a"]\nwrapping = "k8s"\n', "expected one of `bare`, `cri`, `docker`"),
    ],
)
def test_a_group_that_cannot_be_followed_tells_what_to_write(text, told, tmp_path):
    done = run("serve", "--data", tmp_path / "unused", "--upstream", "http://127.0.0.1:1/v1", *settings(tmp_path, text), check=False)
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert not (tmp_path / "unused").exists()


def test_audit_log_files_of_kubernetes_become_what_the_webhook_makes_of_them(follow, logs):
    event = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "a-1", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/default/pods/p", "verb": "delete", "user": {"username": "jane", "groups": ["ops"]},
        "objectRef": {"resource": "pods", "namespace": "default", "name": "p", "apiVersion": "v1"},
        "responseStatus": {"code": 200}, "requestReceivedTimestamp": "2026-11-25T04:00:00.000000Z", "stageTimestamp": "2026-11-25T04:00:00.005000Z",
    }
    (logs / "audit.log").write_text(f"{json.dumps(event)}\n{json.dumps({**event, 'level': 'None'})}\nnot json\n")
    server = follow("audit*.log", 'format = "kubernetes"')
    wait_for(lambda: count(server)[0] == 3, SECONDS)
    query = f"SELECT kind, actor_id, outcome, attributes['k8s.pod.name'] AS pod, {BODY} AS body, attributes['testimony.ingest.problems'] AS problem FROM records WHERE producer = 'files' ORDER BY log_index"
    deleted, *others = server.sql(query)
    assert (deleted["kind"], deleted["actor_id"], deleted["pod"]) == ("system", "jane", "p")
    assert "level" in others[0]["problem"] and others[1]["body"] == "not json" and others[1]["problem"]
