"""Agents of LangChain and LlamaIndex, made by the code in docs/ingest/frameworks.md, through the gateway and told by OpenTelemetry."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import documented, replaced, run
from test_rules import settings

PAGE = "frameworks.md"
MODEL = {"langchain": "ChatOpenAI", "llamaindex": "OpenAILike"}
AGENT = {"langchain": "create_agent", "llamaindex": "FunctionAgent"}
TELEMETRY = {"langchain": "import LangChainInstrumentor", "llamaindex": "import LlamaIndexInstrumentor"}
COLUMNS = "kind, outcome, service, environment, model, response_model, input, output, input_tokens, output_tokens, finish_reasons, trace_id, call_id, conversation_id, actor_id, arguments, result, attributes"
QUESTION, ANSWER = "Where is order 4711?", "It left on Monday."


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has the frameworks: they want older packages than the other tests."""
    if python := os.environ.get("E2E_FRAMEWORKS"):
        return python
    folder = tmp_path_factory.mktemp("frameworks")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=60)
    requirements = pathlib.Path(__file__).parent / "frameworks" / "requirements.txt"
    try:
        installed = subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", "-r", requirements], capture_output=True, text=True, timeout=150)
    except subprocess.TimeoutExpired:
        pytest.skip("pip takes too long to install the frameworks")
    if installed.returncode != 0:
        pytest.skip(f"pip cannot install the frameworks: {installed.stderr[-500:]}")
    return folder / "bin/python"


def program(framework, base, telemetry=None):
    """The code of the page as one program, about the scripted model: it calls the tool, then it answers."""
    model = documented(PAGE, "python", f"model = {MODEL[framework]}(")
    model = replaced(model, {"http://127.0.0.1:4141/v1": base, "tsm_…": "sk-canary-0123456789abcdef", "gemma-3-270m": "scripted-demo"})
    agent = replaced(documented(PAGE, "python", f"{AGENT[framework]}("), {QUESTION: f"{QUESTION} [[tool]]", "carrier on Monday.": f"carrier on Monday. [[say {ANSWER}]]"})
    return "\n".join([telemetry or "", model, agent])


def ran(python, folder, text, server):
    path = folder / "agent.py"
    path.write_text(text)
    exports = documented(PAGE, "sh", "OTEL_SERVICE_NAME").replace("http://127.0.0.1:4140", server.api)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LANGCHAIN_", "LANGSMITH_", "OPENAI_"))}
    environment |= dict(re.findall(r"^export (\w+)=(.*)$", exports, re.M))
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == server.api
    done = subprocess.run([python, path], env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0 and done.stdout == f"{ANSWER}\n" and "Failed to export" not in done.stderr, done.stdout + done.stderr


def records(server, producer):
    found = server.sql(f"SELECT {COLUMNS} FROM records WHERE producer = '{producer}' ORDER BY time, log_index")
    assert len({row["trace_id"] for row in found}) == 1, found
    assert f"Trace {found[0]['trace_id']} " in run("show", found[0]["trace_id"], "--server", server.api).stdout
    return found


def is_of_two_calls(requests, responses):
    """The model was asked, asked for the tool, was told what it said, and answered."""
    assert [row["call_id"] for row in requests] == [row["call_id"] for row in responses] and len({row["call_id"] for row in requests}) == 2
    assert {row["model"] for row in requests + responses} == {"scripted-demo"} and {row["outcome"] for row in responses} == {"completed"}
    assert QUESTION in requests[0]["input"] and "handed to the carrier" not in requests[0]["input"] and "handed to the carrier" in requests[1]["input"]
    assert "lookup_order" in responses[0]["output"] and "4711" in responses[0]["output"] and "tool_call" in responses[0]["finish_reasons"]
    assert ANSWER in responses[1]["output"] and "stop" in responses[1]["finish_reasons"]
    # As the scripted model counts them.
    assert [row["output_tokens"] for row in responses] == [4, 6] and all(row["input_tokens"] > 0 for row in responses)


def by_kind(found, kind):
    return [row for row in found if row["kind"] == kind]


@pytest.mark.parametrize("framework", ["langchain", "llamaindex"])
def test_an_agents_calls_through_the_gateway_are_one_trace(server, python, tmp_path, framework):
    ran(python, tmp_path, program(framework, f"{server.models}/v1"), server)
    found = records(server, "gateway")
    assert [row["kind"].removeprefix("inference.") for row in found] == ["request", "response"] * 2
    requests, responses = found[0::2], found[1::2]
    is_of_two_calls(requests, responses)
    assert {row["outcome"] for row in requests} == {"allowed"} and {row["actor_id"] for row in requests} == {"alice"}
    assert "You are short." in requests[0]["input"]
    server.stop()
    assert not [path for path in server.data.rglob("*") if path.is_file() and b"sk-canary-0123456789abcdef" in path.read_bytes()]


@pytest.mark.parametrize("which", ["langchain", "langchain-openllmetry", "llamaindex"])
def test_an_agents_calls_told_by_an_instrumentation_are_one_trace(server, scripted, python, tmp_path, which):
    framework, _, other = which.partition("-")
    telemetry = documented(PAGE, "python", TELEMETRY[framework])
    if other:
        telemetry = replaced(telemetry, {"openinference.instrumentation.langchain": "opentelemetry.instrumentation.langchain", "LangChainInstrumentor": "LangchainInstrumentor"})
    ran(python, tmp_path, program(framework, scripted, telemetry), server)
    found = records(server, "otlp")
    assert {(row["service"], row["environment"], row["conversation_id"]) for row in found} == {("support-bot", "staging", "chat-7")}
    requests, responses, tools = (by_kind(found, kind) for kind in ("inference.request", "inference.response", "tool.call"))
    assert len(found) == 5
    is_of_two_calls(requests, responses)
    assert ("You are short." in requests[0]["input"]) == (not other)
    [tool] = tools
    assert tool["outcome"] == "completed" and dict(tool["attributes"])["gen_ai.tool.name"] == "lookup_order"
    assert "4711" in tool["arguments"] and "handed to the carrier" in tool["result"]
    # In the order in which it was: the tool between the two calls.
    assert found.index(responses[0]) < found.index(tool) < found.index(requests[1])
    server.stop()
    assert not [path for path in server.data.rglob("*") if path.is_file() and b"sk-canary-0123456789abcdef" in path.read_bytes()]


@pytest.mark.parametrize("framework", ["langchain", "llamaindex"])
def test_chains_and_agents_are_records_too_where_the_log_is_told_so(serve, scripted, python, tmp_path, framework):
    server = serve(scripted, *settings(tmp_path, "[ingest]\nother_spans = true\n"))
    ran(python, tmp_path, program(framework, scripted, documented(PAGE, "python", TELEMETRY[framework])), server)
    assert len(by_kind(records(server, "otlp"), "system")) > 0
