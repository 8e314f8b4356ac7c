"""Calls of models that others make, told by OpenTelemetry: real instrumentations, real exporters, both protocols."""

import json
import os
import subprocess
import sys

import pytest
from conftest import http, run

SENDER = os.path.join(os.path.dirname(__file__), "telemetry_sender.py")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
COLUMNS = "kind, outcome, service, environment, model, response_model, input, output, input_tokens, output_tokens, finish_reasons, trace_id, call_id, temperature, max_tokens"


def sent(which, protocol, server, model):
    environment = {**os.environ, "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "true"}
    told = subprocess.run([sys.executable, SENDER, which, protocol, server.api, model], env=environment, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0 and "Failed to export" not in told.stderr, told.stderr


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("which", ["openai-v2", "openllmetry", "openinference"])
def test_a_call_told_by_an_instrumentation_is_found_as_one_of_ours(server, scripted, which, protocol):
    sent(which, protocol, server, scripted)
    rows = {}
    # One of the three tells of the numbers in a span and of the texts in log records, which meet under one call.
    for row in server.sql(f"SELECT {COLUMNS} FROM records WHERE producer = 'otlp'"):
        told = rows.setdefault(row["kind"], row)
        told |= {name: value for name, value in row.items() if name not in told}
    assert set(rows) == {"inference.request", "inference.response"}, rows
    request, response = rows["inference.request"], rows["inference.response"]
    for row in rows.values():
        assert (row["service"], row["environment"], row["model"]) == (f"sender-{which}", "staging", "scripted-demo")
    assert request["call_id"] == response["call_id"] and request["trace_id"] == response["trace_id"]
    assert "[[say hello from the model]]" in request["input"] and "You are short." in json.dumps(server.sql(f"SELECT * FROM records WHERE kind = 'inference.request'"))
    assert "hello from the model" in response["output"] and response["outcome"] == "completed"
    # One of the three does not tell which model answered.
    assert response.get("response_model", "scripted-demo") == "scripted-demo" and response["output_tokens"] > 0
    assert "stop" in response["finish_reasons"]
    assert (request["temperature"], request["max_tokens"]) == (0.5, 50)
    # One row in the view of calls, however many records told of it.
    [row] = server.sql("SELECT * FROM calls")
    assert row["producers"] == "otlp" and row["call_id"] == request["call_id"]
    assert {name: row.get(name) for name in ("input", "output", "output_tokens", "max_tokens")} == {
        "input": request["input"], "output": response["output"], "output_tokens": response["output_tokens"], "max_tokens": 50,
    }
    # The story of the call, as of one of ours.
    status, _, story = server.get(f"/api/v1/calls/{request['call_id']}")
    assert status == 200 and len(json.loads(story)["records"]) in (2, 4)
    trace = json.loads(server.get(f"/api/v1/calls/{request['trace_id']}")[2])
    assert trace["trace_id"] == request["trace_id"] and trace["records"] == json.loads(story)["records"]
    server.stop()
    assert not [path for path in server.data.rglob("*") if path.is_file() and b"sk-canary-0123456789abcdef" in path.read_bytes()]


def span(**more):
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "x", "gen_ai.request.model": "m", **more.pop("attributes", {})}
    listed = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    return {"traceId": TRACE, "spanId": SPAN, "name": "chat m", "kind": 3, "startTimeUnixNano": "1795425242000000000", "endTimeUnixNano": "1795425243000000000", "attributes": listed, **more}


def export(server, spans, headers=None):
    body = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}
    return http(f"{server.api}/v1/traces", json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})})


def test_json_is_read_and_what_is_sent_again_is_stored_once(server):
    for _ in range(2):
        status, headers, text = export(server, [span(unknownField=1)])
        assert status == 200 and json.loads(text) == {} and headers["content-type"] == "application/json", text
    assert server.sql("SELECT count(*) AS n FROM records WHERE producer = 'otlp'") == [{"n": 2}]


def test_what_is_refused_for_good_is_told_and_the_rest_is_stored(server):
    status, _, text = export(server, [span(spanId="zz"), span()])
    answer = json.loads(text)["partialSuccess"]
    assert status == 200 and str(answer["rejectedSpans"]) == "1" and answer["errorMessage"]
    assert server.sql("SELECT count(*) AS n FROM records WHERE producer = 'otlp'") == [{"n": 2}]
    status, _, text = http(f"{server.api}/v1/traces", b"{", {"content-type": "application/json"})
    assert status == 400 and json.loads(text)["code"] == 3
    assert http(f"{server.api}/v1/traces", b"x", {"content-type": "text/plain"})[0] == 415


def test_hostile_names_do_no_harm(server):
    names = {"__proto__": "a", "a.b..c": "b", "nul\0": "c", "x" * 100_000: "d", "": "e", "gen_ai.input.messages": "not json"}
    assert export(server, [span(attributes=names)])[0] == 200
    assert server.sql("SELECT count(*) AS n FROM records WHERE producer = 'otlp'") == [{"n": 2}]
    assert server.get("/readyz")[0] == 200


def test_a_story_is_told_by_the_call_the_trace_and_the_conversation(server):
    assert export(server, [span(attributes={"gen_ai.conversation.id": "c-7"})])[0] == 200
    call = server.sql("SELECT DISTINCT call_id FROM records WHERE producer = 'otlp'")[0]["call_id"]
    for name, title in [(call, "Call"), (TRACE, "Trace")]:
        assert run("show", name, "--server", server.api).stdout.startswith(f"{title} {name} ")
    assert run("show", "c-7", "--server", server.api).stdout.count(f"Call {call}") == 1
    assert run("show", "c-8", "--server", server.api, check=False).returncode != 0
