"""Calls of models told by the JavaScript SDK of OpenTelemetry: real instrumentations, its three exporters."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import http
from test_real_model import model_server  # noqa: F401, a fixture

HERE = pathlib.Path(__file__).parent / "js"
COLUMNS = "kind, outcome, service, environment, model, input, output, input_tokens, output_tokens, finish_reasons, trace_id, call_id, temperature, max_tokens"


@pytest.fixture(scope="module")
def sender(tmp_path_factory):
    """The program with its packages, which are installed from the lock file."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node or npm is not there")
    if (HERE / "node_modules").is_dir():
        return HERE / "sender.js"
    folder = tmp_path_factory.mktemp("js")
    for name in ("package.json", "package-lock.json", "sender.js"):
        shutil.copy(HERE / name, folder)
    installed = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=folder, capture_output=True, text=True, timeout=150)
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install the packages of tests/e2e/js: {installed.stderr[-500:]}")
    return folder / "sender.js"


def sent(sender, which, protocol, server, upstream, model, how="whole"):
    environment = {**os.environ, "TRACELOOP_TRACE_CONTENT": "true"}
    command = ["node", sender, which, protocol, server.api, upstream, model, how]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout + told.stderr


def told_of(server):
    """The request and the response of the one call that was told of."""
    rows = server.sql(f"SELECT {COLUMNS} FROM records WHERE producer = 'otlp' ORDER BY log_index")
    assert [row["kind"] for row in rows] == ["inference.request", "inference.response"], rows
    return rows


@pytest.mark.parametrize("protocol", ["protobuf", "json", "grpc"])
@pytest.mark.parametrize("which", ["openllmetry", "openinference"])
def test_a_call_told_by_an_instrumentation_is_found_as_one_of_ours(server, scripted, sender, which, protocol):
    sent(sender, which, protocol, server, scripted, "scripted-demo")
    request, response = told_of(server)
    for row in (request, response):
        assert (row["service"], row["environment"], row["model"]) == (f"js-{which}", "staging", "scripted-demo")
    assert request["call_id"] == response["call_id"] and request["trace_id"] == response["trace_id"]
    assert "[[say hello from the model]]" in request["input"]
    assert "hello from the model" in response["output"] and response["outcome"] == "completed" and response["output_tokens"] > 0
    assert (request["temperature"], request["max_tokens"]) == (0.5, 50)
    status, _, story = server.get(f"/api/v1/calls/{request['call_id']}")
    assert status == 200 and len(json.loads(story)["records"]) == 2
    server.stop()
    assert not [path for path in server.data.rglob("*") if path.is_file() and b"sk-canary-0123456789abcdef" in path.read_bytes()]


@pytest.mark.parametrize("which", ["openllmetry", "openinference"])
def test_a_call_of_a_real_model_is_told_of(server, sender, model_server, which):  # noqa: F811
    model = json.loads(http(f"{model_server}/models")[2])["data"][0]["id"]
    sent(sender, which, "protobuf", server, model_server, model)
    request, response = told_of(server)
    assert request["model"] == model and "[[say hello from the model]]" in request["input"]
    assert response["outcome"] == "completed" and response["input_tokens"] > 0 and 0 < response["output_tokens"] <= 50


@pytest.mark.parametrize("which", ["openllmetry", "openinference"])
def test_a_streamed_call_is_told_of_as_a_whole_one(server, scripted, sender, which):
    sent(sender, which, "protobuf", server, scripted, "scripted-demo", "stream")
    request, response = told_of(server)
    assert "[[say hello from the model]]" in request["input"] and "hello from the model" in response["output"]
    assert response["outcome"] == "completed"
