"""The real binary under real clients. Every test has a server, a data directory and ports of its own."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("E2E_BINARY", str(ROOT / "target" / "debug" / "testimony"))
START_SECONDS = 60
# How full the disk of the machine is would otherwise be the first record of every log.
os.environ["TESTIMONY_LEDGER_ALARM_PERCENT"] = ""


def run(*arguments, check=True):
    """Runs a command of the binary and gives what it printed."""
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def documented(name, language, marker=""):
    """The one block of code in that language, with that text in it, of a page in `docs/ingest`."""
    text = (ROOT / "docs/ingest" / name).read_text()
    [block] = [block for named, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M) if named == language and marker in block]
    return block


def replaced(text, changes):
    """The text with places of ours instead of its own, each of which must be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def wait_for(what, seconds=10.0, pause=0.02):
    """Asks until the answer is true, and gives it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what}")


class Process:
    """A process whose first lines are read until they match."""

    def __init__(self, arguments, pattern, log):
        self.log = open(log, "a+b")
        self.process = subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.said = ""
        while not (match := re.search(pattern, self.said, re.S)):
            line = self.process.stdout.readline()
            if not line:
                self.process.wait(START_SECONDS)
                self.log.seek(0)
                raise AssertionError(f"it did not start: {self.said}{self.log.read().decode()}")
            self.said += line
        self.match = match

    def errors(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Server(Process):
    """`testimony serve` on free ports."""

    def __init__(self, data, upstream, *more):
        arguments = ["serve", "--data", data, "--upstream", upstream, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]
        pattern = r"models +(https?://\S+)/v1.*?search +(https?://\S+).*?Try:"
        super().__init__([*arguments, *more], pattern, f"{data}.log")
        self.data = data
        self.models, self.api = self.match.group(1), self.match.group(2)

    def get(self, path):
        return http(f"{self.api}{path}")

    def sql(self, query):
        body = json.dumps({"query": query}).encode()
        status, _, text = http(f"{self.api}/api/v1/sql?format=jsonl", body)
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines()]

    def post(self, body, headers=None, path="/v1/chat/completions"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http(f"{self.models}{path}", body, headers)

    def outcomes(self, call):
        """The records of a call as kind and outcome, in their order."""
        rows = self.sql(f"SELECT kind, outcome FROM records WHERE call_id = '{call}' ORDER BY log_index")
        return [(row["kind"].removeprefix("inference."), row["outcome"]) for row in rows]

    def output(self, call):
        rows = self.sql(f"SELECT output FROM records WHERE call_id = '{call}' AND kind = 'inference.response'")
        return rows[0].get("output")


def http(url, body=None, headers=None, context=None):
    """Status, headers and text of an answer, good or bad."""
    headers = {"content-type": "application/json", **(headers or {})} if body is not None else (headers or {})
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def chat(prompt, **more):
    return {"model": "scripted-demo", "messages": [{"role": "user", "content": prompt}], **more}


@pytest.fixture
def scripted(tmp_path):
    model = Process(["scripted-model"], r"(http://\S+)\n", tmp_path / "model.log")
    yield model.match.group(1)
    model.kill()


@pytest.fixture
def serve(tmp_path):
    """Starts servers that are stopped at the end, and whose logs are then verified."""
    running = []

    def start(upstream, *more, data=None):
        server = Server(data or tmp_path / "data", upstream, *more)
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()
    for data in {server.data for server in running}:
        assert "verified" in run("verify", "--data", data).stdout


@pytest.fixture
def server(serve, scripted):
    return serve(scripted)


@pytest.fixture
def web():
    # Here, since the suites of faults use this file from elsewhere.
    from web import Web

    web = Web()
    yield web
    web.close()
