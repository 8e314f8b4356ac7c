"""Debian's rsyslog, set up as docs/ingest/syslog.md says, and what it delivers."""

import pathlib
import shutil
import signal
import socket
import subprocess

import pytest
from conftest import documented, replaced, wait_for
from test_rules import settings
from test_syslog import free_port
from test_tls import Authority, authority, rows, trusting  # noqa: F401, one is a fixture

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/bin:/bin")
SECONDS = 100.0
# What rsyslog takes from a queue at once.
BATCH = 128
BODY = "attributes['testimony.log.body']"

pytestmark = pytest.mark.skipif(not (RSYSLOGD and shutil.which("logger")), reason="rsyslogd or logger is not there")


def recipe(marker, changes):
    """The settings that the documentation gives to rsyslog, with places of ours instead of its own."""
    return replaced(documented("syslog.md", "", marker), changes)


def by_tcp(server, **changes):
    return recipe('KeepAlive="on"', {'port="5514"': f'port="{server.syslog}"', **{f'{key}="{old}"': f'{key}="{new}"' for key, (old, new) in changes.items()}})


class Rsyslog:
    """`rsyslogd` in the foreground, with a socket that programs log to and a port for RFC 5424."""

    def __init__(self, folder, forwards):
        self.folder, self.socket, self.port = folder, folder / "log", free_port(socket.SOCK_STREAM)
        (folder / "spool").mkdir(exist_ok=True)
        self.settings = folder / "rsyslog.conf"
        self.settings.write_text(
            f'global(workDirectory="{folder}/spool")\n'
            'module(load="imuxsock" SysSock.Use="off")\nmodule(load="imtcp")\n'
            f'input(type="imuxsock" Socket="{self.socket}")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}")\n{forwards}'
        )
        self.log = open(folder / "rsyslog.err", "a+b")
        self.process = None
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        command = [RSYSLOGD, "-n", "-f", self.settings, "-i", self.folder / "rsyslog.pid"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        wait_for(lambda: self.socket.exists() or self.process.poll() is not None, 20)
        assert self.process.poll() is None, self.errors()

    def errors(self):
        return pathlib.Path(self.log.name).read_text()

    def log_lines(self, name, numbers):
        """A program logs numbered lines to the socket."""
        lines = "".join(f"line {n}\n" for n in numbers)
        subprocess.run(["logger", "-u", self.socket, "-t", name, "-p", "local3.warning"], input=lines, text=True, check=True, timeout=60)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def rsyslog(tmp_path):
    running = []

    def start(forwards, folder=tmp_path):
        running.append(Rsyslog(folder, forwards))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def listening(serve, scripted, tmp_path):
    """Starts a server with a syslog port that is the same every time."""
    port = free_port(socket.SOCK_STREAM)

    def start():
        server = serve(scripted, *settings(tmp_path, f'[syslog]\ntcp = "127.0.0.1:{port}"\n'))
        server.syslog = port
        return server

    return start


def bodies(server, service):
    return [row["body"] for row in server.sql(f"SELECT {BODY} AS body FROM records WHERE producer = 'syslog' AND service = '{service}' ORDER BY log_index")]


def wait_for_lines(server, rsyslog, service, numbers):
    """These lines are stored; gives all that are, as they were stored."""
    wanted, stored = set(lines(numbers)), []

    def are_there():
        stored[:] = bodies(server, service)
        return wanted <= set(stored)

    try:
        wait_for(are_there, SECONDS, 0.1)
    except AssertionError:
        raise AssertionError(f"{len(wanted - set(stored))} are missing: {rsyslog.errors()}{server.errors()[-2000:]}") from None
    return stored


def lines(numbers):
    return [f"line {n}" for n in numbers]


def test_what_programs_log_comes_once_in_order_with_its_fields(listening, rsyslog):
    server = listening()
    daemon = rsyslog(by_tcp(server))
    daemon.log_lines("deploy", range(500))
    assert wait_for_lines(server, daemon, "deploy", range(500)) == lines(range(500))
    columns = "kind, host, time, received, attributes['syslog.facility.code'] AS facility, attributes['syslog.severity.code'] AS severity, attributes['testimony.ingest.problems'] AS problems"
    for row in server.sql(f"SELECT {columns} FROM records WHERE service = 'deploy'"):
        assert (row["kind"], row["facility"], row["severity"], row["host"].lower()) == ("system", "19", "4", socket.gethostname().split(".")[0].lower()), row
        assert "problems" not in row and row["time"] < row["received"]


def test_structured_data_and_identifiers_come_through(listening, rsyslog):
    server = listening()
    daemon = rsyslog(by_tcp(server))
    told = ["logger", "-n", "127.0.0.1", "-P", str(daemon.port), "-T", "--octet-count", "--rfc5424", "-t", "deploy", "--id=4711", "-p", "local3.warning", "--msgid", "RELEASE"]
    subprocess.run([*told, "--sd-id", "release@32473", "--sd-param", 'version="1.4"', "released größer"], check=True, timeout=30)
    wait_for(lambda: bodies(server, "deploy"), SECONDS)
    [row] = server.sql("SELECT kind, attributes FROM records WHERE service = 'deploy'")
    said = {"testimony.log.body": "released größer", "syslog.msgid": "RELEASE", "syslog.procid": "4711", "syslog.release@32473.version": "1.4", "syslog.facility.code": "19", "syslog.severity.code": "4"}
    assert said.items() <= row["attributes"].items(), row


def with_the_server_away(listening, rsyslog, upto, **places):
    """An rsyslog that has delivered the first hundred of so many lines when its server stops."""
    server = listening()
    daemon = rsyslog(by_tcp(server, **places))
    daemon.log_lines("deploy", range(100))
    wait_for_lines(server, daemon, "deploy", range(100))
    server.stop()
    daemon.log_lines("deploy", range(100, upto))
    return daemon


def test_what_comes_while_the_server_is_away_is_delivered_once_in_order(listening, rsyslog):
    daemon = with_the_server_away(listening, rsyslog, 3000)
    wait_for(lambda: "Connection refused" in daemon.errors(), SECONDS)
    server = listening()
    assert wait_for_lines(server, daemon, "deploy", range(3000)) == lines(range(3000))
    # The way is as it was.
    daemon.log_lines("deploy", range(3000, 3100))
    assert wait_for_lines(server, daemon, "deploy", range(3100)) == lines(range(3100))


def test_what_does_not_fit_in_memory_is_kept_on_disk_and_delivered(listening, rsyslog):
    daemon = with_the_server_away(listening, rsyslog, 5000, **{"queue.size": (100000, 1000)})
    wait_for(lambda: list((daemon.folder / "spool").glob("testimony.0*")), SECONDS)
    server = listening()
    stored = wait_for_lines(server, daemon, "deploy", range(5000))
    # In another order, and what rsyslog had in its hands when it went to the disk may come twice.
    assert set(stored) == set(lines(range(5000))) and len(stored) <= 5000 + BATCH


def test_what_is_kept_outlives_a_restart_of_rsyslog(listening, rsyslog):
    daemon = with_the_server_away(listening, rsyslog, 1000)
    daemon.stop()
    assert list((daemon.folder / "spool").glob("testimony*"))
    daemon.start()
    daemon.log_lines("deploy", range(1000, 1100))
    server = listening()
    # What it was about to send, rsyslog drops when it is stopped.
    stored = wait_for_lines(server, daemon, "deploy", [*range(100), *range(100 + BATCH, 1100)])
    assert set(stored) <= set(lines(range(1100))) and stored[:100] == lines(range(100)) and len(stored) <= 1100 + BATCH


@pytest.fixture
def encrypted(serve, scripted, tmp_path, authority):  # noqa: F811
    """A server with a syslog port for TLS, and what the documentation says of sending to it."""
    authority.issue_server()
    port = free_port(socket.SOCK_STREAM)
    tls = f'[tls]\ncert = "{tmp_path}/server.pem"\nkey = "{tmp_path}/server.key"\n'
    server = serve(scripted, *settings(tmp_path, f'{tls}[syslog]\ntls = "127.0.0.1:{port}"\n'))

    def forwards(driver, trusted):
        places = {"logs.example": "localhost", 'port="6514"': f'port="{port}"', "/etc/ssl/testimony-ca.pem": str(trusted.file)}
        return recipe("StreamDriver=", {**places, '"gtls"': f'"{driver}"'})

    return server, forwards


def driver_is_there(driver):
    return any(pathlib.Path("/usr").glob(f"lib*/**/rsyslog/lmnsd_{driver}.so"))


@pytest.mark.parametrize("driver", ["gtls", "ossl"])
def test_by_tls_messages_come_once_in_order_from_who_trusts_the_server(encrypted, rsyslog, authority, tmp_path, driver):  # noqa: F811
    if not driver_is_there(driver):
        pytest.skip(f"rsyslog's driver {driver} is not there")
    server, forwards = encrypted
    query = f"SELECT {BODY} AS body FROM records WHERE service = 'deploy' ORDER BY log_index"
    (tmp_path / "other").mkdir()
    distrustful = rsyslog(forwards(driver, Authority(tmp_path / "other", "elsewhere")))
    distrustful.log_lines("deploy", range(1000, 1010))
    wait_for(lambda: "certificate" in distrustful.errors(), SECONDS)
    distrustful.stop()
    (tmp_path / "trusting").mkdir()
    daemon = rsyslog(forwards(driver, authority), tmp_path / "trusting")
    daemon.log_lines("deploy", range(500))
    wait_for(lambda: len(rows(server, query, trusting(authority))) >= 500, SECONDS, 0.1)
    assert [row["body"] for row in rows(server, query, trusting(authority))] == lines(range(500))
