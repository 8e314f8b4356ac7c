"""systemd's journal, taken as docs/ingest/journal.md says: a real journal, the real journalctl, no code."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import documented, run, wait_for
from test_rules import settings

# Writes a journal without a running systemd.
REMOTE = pathlib.Path("/lib/systemd/systemd-journal-remote")
SECONDS = 60.0
QUERY = "SELECT kind, time, service, host, attributes FROM records WHERE producer = 'files' ORDER BY log_index"

# As `journalctl --all --output=json` (systemd 252) prints it.
ENTRY = '{"_BOOT_ID":"4bf92f3577b34da6a3ce929d0e0e4736","__CURSOR":"s=0e080c4c81d541ab99437804a7dcc3b8;i=1;b=4bf92f3577b34da6a3ce929d0e0e4736;m=3e8;t=6611707eef4c3;x=43ba94158f8eb589","_HOSTNAME":"edge-7","_UID":"1000","_TRANSPORT":"journal","SYSLOG_IDENTIFIER":"bot","SYSLOG_FACILITY":"3","_PID":"4711","_COMM":"bot","__REALTIME_TIMESTAMP":"1795601405506755","PRIORITY":"4","_MACHINE_ID":"9c1b2f3577b34da6a3ce929d0e0e4736","_SYSTEMD_UNIT":"bot.service","__MONOTONIC_TIMESTAMP":"1000","MESSAGE":"line 0"}'


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "journal.toml"
    path.write_text(documented("journal.md", "toml", "[[mapping]]"))
    return path


class Journal:
    """A journal, and the loop of the documentation's unit that writes what is new in it to a file."""

    def __init__(self, folder):
        self.file = folder / "system.journal"
        self.logs, self.state = folder / "logs", folder / "state"
        self.logs.mkdir()
        self.state.mkdir()
        self.written = 0
        self.process = None

    def write(self, numbers, **more):
        for n in numbers:
            self.written += 1
            fields = {
                "__REALTIME_TIMESTAMP": 1795601405000000 + self.written,
                "__MONOTONIC_TIMESTAMP": 1000 + self.written,
                "_BOOT_ID": "4bf92f3577b34da6a3ce929d0e0e4736",
                "_MACHINE_ID": "9c1b2f3577b34da6a3ce929d0e0e4736",
                "_HOSTNAME": "edge-7",
                "_SYSTEMD_UNIT": "bot.service",
                "SYSLOG_IDENTIFIER": "bot",
                "PRIORITY": 4,
                "MESSAGE": f"line {n}",
                **more,
            }
            exported = "".join(f"{name}={value}\n" for name, value in fields.items()) + "\n"
            subprocess.run([REMOTE, "-o", self.file, "-"], input=exported.encode(), check=True, capture_output=True, timeout=30)

    def start(self):
        [command] = re.findall(r"^ExecStart=(.*)$", documented("journal.md", "ini", "ExecStart"), re.M)
        command = shlex.split(command.replace("journalctl ", f"journalctl --file={self.file} "))
        environment = {**os.environ, "LOGS_DIRECTORY": str(self.logs), "STATE_DIRECTORY": str(self.state)}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True)

    def kill(self):
        """The shell and what it runs."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait(30)


@pytest.fixture
def journal(tmp_path):
    if not (REMOTE.exists() and shutil.which("journalctl")):
        pytest.skip("journalctl or systemd-journal-remote is not there")
    journal = Journal(tmp_path)
    yield journal
    journal.kill()


@pytest.fixture
def follow(serve, scripted, tmp_path, mapping):
    def start():
        group = documented("journal.md", "toml", "[[files]]").replace("/var/log/testimony-journal", str(tmp_path / "logs")).replace("/etc/testimony/journal.toml", str(mapping))
        return serve(scripted, *settings(tmp_path, group))

    return start


def bodies(server):
    return [row["attributes"].get("testimony.log.body") for row in server.sql(QUERY)]


def test_an_entry_becomes_a_record_with_its_fields(mapping, tmp_path):
    lines = tmp_path / "journal.jsonl"
    own = {**json.loads(ENTRY), "_SYSTEMD_UNIT": "testimony.service"}
    binary = {**json.loads(ENTRY), "MESSAGE": [103, 114, 255, 1]}
    lines.write_text(f"{ENTRY}\n{json.dumps(own)}\n{json.dumps(binary)}\n")
    shown = run("ingest", "try", lines, "--mapping", mapping)
    entry, bytes_of_it = map(json.loads, shown.stdout.splitlines())
    assert (entry["kind"], entry["time"]) == ("system", "2026-11-25T10:10:05.506755Z")
    assert (entry["source"]["service"], entry["source"]["host"]) == ("bot", "edge-7")
    assert entry["attributes"] == {
        "host.id": "9c1b2f3577b34da6a3ce929d0e0e4736",
        "process.executable.name": "bot",
        "process.pid": "4711",
        "process.real_user.id": "1000",
        "syslog.facility.code": "3",
        "syslog.severity.code": "4",
        "systemd.transport": "journal",
        "systemd.unit": "bot.service",
        "testimony.log.body": "line 0",
    }
    assert json.loads(bytes_of_it["attributes"]["testimony.log.body"]) == [103, 114, 255, 1]
    # The same entry, wherever it is read.
    assert entry["key"] == bytes_of_it["key"]


def test_what_is_in_the_journal_is_stored_once_whatever_is_killed_and_renamed(journal, follow):
    journal.write(range(20))
    journal.write(["of the server"], _SYSTEMD_UNIT="testimony.service")
    journal.start()
    server = follow()
    wait_for(lambda: len(bodies(server)) >= 20, SECONDS)
    os.rename(journal.logs / "journal.jsonl", journal.logs / "journal.jsonl.1")
    journal.write(range(20, 25))
    wait_for(lambda: len(bodies(server)) >= 25, SECONDS)
    journal.kill()
    journal.write(range(25, 30))
    # As after a crash between writing and remembering: all of it comes again, after half a line.
    (journal.state / "cursor").unlink()
    with open(journal.logs / "journal.jsonl", "a") as file:
        file.write(ENTRY[:100])
    journal.start()
    wait_for(lambda: {f"line {n}" for n in range(30)} <= set(bodies(server)), SECONDS)
    stored = bodies(server)
    assert [body for body in stored if body.startswith("line")] == [f"line {n}" for n in range(30)]
    # Half a line is what it is.
    assert [body for body in stored if not body.startswith("line")] == [ENTRY[:100]]
    first = server.sql(QUERY)[0]
    assert (first["kind"], first["service"], first["host"], first["attributes"]["systemd.unit"]) == ("system", "bot", "edge-7", "bot.service")
    assert first["time"] == "2026-11-25T10:10:05.000001Z"
