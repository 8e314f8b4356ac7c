"""Syslog, as the programs that send it send it."""

import json
import shutil
import signal
import socket
import subprocess
import time

import pytest
from conftest import run, wait_for
from test_rules import settings


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def listening(serve, scripted, tmp_path):
    udp, tcp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)

    def start(more=""):
        server = serve(scripted, *settings(tmp_path, f'[syslog]\nudp = "127.0.0.1:{udp}"\ntcp = "127.0.0.1:{tcp}"\n{more}'))
        server.udp, server.tcp = udp, tcp
        return server

    return start


def rows(server):
    return server.sql("SELECT kind, service, host, time, call_id, attributes['testimony.log.body'] AS body, attributes['syslog.facility.code'] AS facility, attributes['syslog.severity.code'] AS severity, attributes['syslog.release@32473.version'] AS version FROM records WHERE producer = 'syslog' ORDER BY log_index")


def logger(server, *arguments):
    told = subprocess.run(["logger", "-n", "127.0.0.1", *arguments], capture_output=True, text=True, timeout=30)
    assert told.returncode == 0, told.stderr


@pytest.mark.skipif(not shutil.which("logger"), reason="logger is not there")
def test_what_logger_sends_is_found(listening):
    server = listening()
    logger(server, "-P", str(server.tcp), "-T", "--octet-count", "-t", "deploy", "-p", "local3.warning", "--msgid", "RELEASE", "--sd-id", "release@32473", "--sd-param", 'version="1.4"', "released größer")
    logger(server, "-P", str(server.udp), "-d", "--rfc3164", "-t", "cron", "hello by datagram")
    wait_for(lambda: len(rows(server)) == 2)
    released, hello = sorted(rows(server), key=lambda row: row["service"], reverse=True)
    assert (released["kind"], released["service"], released["body"], released["version"]) == ("system", "deploy", "released größer", "1.4")
    assert (released["facility"], released["severity"]) == ("19", "4")
    assert (hello["service"], hello["body"]) == ("cron", "hello by datagram")


def test_a_stream_cut_anywhere_gives_the_same_messages(listening):
    server = listening()
    messages = [f"<13>1 2026-11-23T09:14:02.118231Z edge-7 app - - - message {n}" for n in range(200)]
    stream = b"".join(f"{len(m)} {m}".encode() for m in messages[:100]) + b"".join(m.encode() + b"\n" for m in messages[100:])
    with socket.create_connection(("127.0.0.1", server.tcp)) as sender:
        for at in range(0, len(stream), 37):
            sender.sendall(stream[at : at + 37])
    wait_for(lambda: len(rows(server)) == 200)
    assert [row["body"] for row in rows(server)] == [f"message {n}" for n in range(200)]
    assert {row["time"] for row in rows(server)} == {"2026-11-23T09:14:02.118231Z"}


def test_a_mapping_says_what_messages_become(listening, tmp_path):
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('join = ["request"]\n\n[[mapping]]\nname = "tools"\nkind = "tool.call"\nmatch = { source = "syslog/bot" }\nattributes = { "gen_ai.tool.name" = "/tool", "request" = "/request" }\n')
    lines = tmp_path / "bot.jsonl"
    lines.write_text(json.dumps({"tool": "weather", "request": "r-7"}) + "\nsomething else\n")
    shown = run("ingest", "try", lines, "--mapping", mapping, "--source", "syslog/bot")
    assert json.loads(shown.stdout.splitlines()[0])["attributes"]["gen_ai.tool.name"] == "weather"
    server = listening(f'mapping = "{mapping}"\n')
    with socket.create_connection(("127.0.0.1", server.tcp)) as sender:
        for tool in ("weather", "maps"):
            sender.sendall(f'<13>1 - h bot - - - {json.dumps({"tool": tool, "request": "r-7"})}\n'.encode())
    wait_for(lambda: len(rows(server)) == 2)
    both = server.sql("SELECT kind, call_id, attributes['gen_ai.tool.name'] AS tool FROM records WHERE producer = 'syslog' ORDER BY log_index")
    assert [(row["kind"], row["tool"]) for row in both] == [("tool.call", "weather"), ("tool.call", "maps")]
    assert both[0]["call_id"] == both[1]["call_id"]


def test_garbage_and_endless_messages_do_no_harm(listening):
    server = listening()
    with socket.create_connection(("127.0.0.1", server.tcp)) as sender:
        sender.sendall(b"\0\xff" * 1000 + b"\n")
        sender.sendall(b"x" * (1 << 20))
    with socket.create_connection(("127.0.0.1", server.tcp)) as sender:
        sender.sendall(b"99999999999 x\n<13>hello\n")
    wait_for(lambda: any(row.get("body", "").endswith("hello") for row in rows(server)))
    assert server.get("/readyz")[0] == 200
