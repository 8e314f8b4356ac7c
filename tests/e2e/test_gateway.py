"""Calls through the gateway, good and bad, with the scripted model behind it."""

import http.client
import json
import re
import socket
import threading
import time
import urllib.parse

import openai
import pytest
from conftest import chat, run, wait_for


def client(server):
    return openai.OpenAI(base_url=f"{server.models}/v1", api_key="sk-canary-secret", max_retries=0, timeout=30)


def test_the_openai_client_gets_a_whole_answer_and_both_records_are_there(server):
    raw = client(server).chat.completions.with_raw_response.create(**chat("refund please", user="alice", temperature=0.3))
    call = raw.headers["testimony-call"]
    assert raw.parse().choices[0].message.content.startswith("Refunds are possible")
    assert re.fullmatch(r'origin="\S+", index=\d+, leaf=:\S{44}:', raw.headers["testimony-receipt"])
    assert server.outcomes(call) == [("request", "allowed"), ("response", "completed")]
    [row] = server.sql(f"SELECT * FROM calls WHERE call_id = '{call}'")
    assert (row["actor_id"], row["temperature"], row["decision"]) == ("alice", 0.3, "allow")
    assert json.loads(row["output"])[0]["content"].startswith("Refunds")


def test_the_openai_client_gets_a_stream(server):
    stream = client(server).chat.completions.create(**chat("[[words 30]]"), stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == " ".join(f"word{n}" for n in range(30))
    [row] = server.sql("SELECT call_id, output, first_chunk_ms FROM calls")
    assert json.loads(row["output"])[0]["content"] == said
    assert row["first_chunk_ms"] > 0


def test_a_tool_call_is_recorded_from_a_stream_as_from_a_whole_answer(server):
    whole = client(server).chat.completions.create(**chat("[[tool]]"))
    list(client(server).chat.completions.create(**chat("[[tool]]"), stream=True))
    first, second = [json.loads(row["output"])[0] for row in server.sql("SELECT output FROM calls ORDER BY time")]
    assert first["tool_calls"] == second["tool_calls"]
    assert first["tool_calls"][0]["function"]["arguments"] == whole.choices[0].message.tool_calls[0].function.arguments


def test_models_are_listed(server):
    assert [model.id for model in client(server).models.list()] == ["scripted-demo"]
    assert server.sql("SELECT operation, outcome FROM calls") == [{"operation": "list_models", "outcome": "completed"}]


def test_bytes_go_on_as_they_came(serve):
    sent = b'{ "model" :"m","messages": [ ],"odd":1.50}  \n'
    answered = b'{ "choices" : [ ] ,  "odd":  "\xc3\xa9" } '
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        data = b""
        while not data.endswith(sent):
            data += connection.recv(65536)
        seen.append(data)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-own: 1\r\ncontent-length: %d\r\n\r\n" % len(answered)
        connection.sendall(head + answered)

    threading.Thread(target=answer, daemon=True).start()
    server = serve(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
    status, headers, text = server.post(sent, {"x-mine": "2"})
    assert (status, text.encode(), headers["x-own"]) == (200, answered, "1")
    assert b"x-mine: 2" in seen[0].lower()


def refused(server, body, headers=None, path="/v1/chat/completions"):
    status, headers, text = server.post(body, headers, path)
    error = json.loads(text)["error"]
    call = headers["testimony-call"]
    assert server.outcomes(call) == [("request", "denied")]
    return status, error["code"], error["param"]


def test_refusals_have_the_openai_envelope_and_are_recorded(serve, scripted, tmp_path):
    config = tmp_path / "testimony.toml"
    config.write_text("[upstream]\nmodels = ['scripted*']\n[limits]\nrequest_bytes_max = 10000\n")
    server = serve(scripted, "--config", config)
    assert refused(server, b'{"model":') == (400, "malformed_json", None)
    assert refused(server, b"\xff\xfe") == (400, "malformed_json", None)
    assert refused(server, {"messages": []}) == (400, "invalid_member", "model")
    assert refused(server, {"model": "scripted-demo"}) == (400, "invalid_member", "messages")
    assert refused(server, {**chat("x"), "model": "gpt-5"}) == (404, "model_not_found", "model")
    assert refused(server, chat("x" * 10_001)) == (413, "body_too_large", None)
    assert refused(server, chat("x"), {"content-type": "text/plain"}) == (415, "content_type", None)
    assert refused(server, chat("x"), {"content-encoding": "gzip"}) == (415, "content_encoding", None)
    assert refused(server, chat("x"), path="/v1/embeddings") == (404, "not_found", None)
    assert refused(server, chat("x"), path="/v1/models") == (405, "method_not_allowed", None)
    with pytest.raises(openai.BadRequestError) as error:
        client(server).chat.completions.create(model="scripted-demo", messages="hi")
    assert error.value.param == "messages"


def test_a_foreign_host_name_is_refused(server):
    for url in (server.models, server.api):
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        connection.request("GET", "/v1/models", headers={"host": "evil.example"})
        assert connection.getresponse().status == 421


@pytest.mark.parametrize(
    ("prompt", "stream", "status", "outcome", "error"),
    [
        ("[[status 429]]", False, 429, "failed", "429"),
        ("[[status 500]]", True, 500, "failed", "500"),
        ("[[reset 0]]", False, 502, "failed", "upstream_unreachable"),
        ("[[reset 1]]", False, 502, "failed", "upstream_broke_off"),
        ("[[garbage]]", False, 200, "failed", "not_an_answer"),
        ("[[garbage]]", True, 200, "failed", "not_an_answer"),
        ("[[close 3]]", True, 200, "failed", "ended_early"),
        ("[[stall 100]]", False, 200, "completed", None),
    ],
)
def test_whatever_the_model_server_does_is_recorded(server, prompt, stream, status, outcome, error):
    got, headers, _ = server.post(chat(prompt, stream=stream))
    assert got == status
    call = headers["testimony-call"]
    assert server.outcomes(call) == [("request", "allowed"), ("response", outcome)]
    [row] = server.sql(f"SELECT error_type FROM calls WHERE call_id = '{call}'")
    assert row.get("error_type") == error


def test_a_stream_that_is_reset_breaks_off_for_the_client_too_and_what_was_said_is_kept(server):
    connection = http.client.HTTPConnection(server.models.removeprefix("http://"))
    connection.request("POST", "/v1/chat/completions", json.dumps(chat("[[words 50]] [[slow 2]] [[reset 10]]", stream=True)), {"content-type": "application/json"})
    response = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    call = response.headers["testimony-call"]
    wait_for(lambda: len(server.outcomes(call)) == 2)
    assert server.outcomes(call)[1] == ("response", "failed")
    assert json.loads(server.output(call))[0]["content"] == " ".join(f"word{n}" for n in range(9))


def test_no_model_server(serve):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = serve(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(openai.InternalServerError) as error:
        client(server).chat.completions.create(**chat("x"))
    assert (error.value.status_code, error.value.code) == (502, "upstream_unreachable")
    assert "refused" in str(error.value)
    assert [row["outcome"] for row in server.sql("SELECT outcome FROM calls")] == ["failed"]


@pytest.mark.parametrize("prompt", ["[[stall 20000]]", "[[words 1000]] [[slow 20]]"])
def test_a_client_that_goes_away_is_recorded_with_what_was_said(server, prompt):
    connection = socket.create_connection(urllib.parse.urlparse(server.models).netloc.split(":"))
    body = json.dumps(chat(prompt, stream=True)).encode()
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    if "slow" in prompt:
        while b"word3" not in connection.recv(65536):
            pass
    else:
        wait_for(lambda: server.sql("SELECT 1 FROM records WHERE outcome = 'allowed'"))
    connection.close()
    [row] = wait_for(lambda: server.sql("SELECT outcome, output FROM records WHERE outcome = 'aborted'"))
    if "slow" in prompt:
        assert "word3" in row["output"]


def test_chunks_flow_at_once_and_only_the_end_waits(server):
    """With 20 ms between chunks, the first is there long before the last."""
    stream = client(server).chat.completions.create(**chat("[[words 40]] [[slow 20]]"), stream=True)
    times = [time.monotonic() for _ in stream]
    assert times[5] - times[0] < (times[-1] - times[0]) / 2


def test_credentials_are_nowhere(server):
    secret = "sk-canary-4f1d9c"
    for header in ("authorization", "x-api-key", "api-key"):
        server.post(chat("x"), {header: f"Bearer {secret}" if header == "authorization" else secret})
        server.post(b"broken", {header: secret})
    rows = server.sql("SELECT DISTINCT actor_fingerprint FROM records WHERE actor_fingerprint IS NOT NULL")
    assert len(rows) == 1 and rows[0]["actor_fingerprint"].startswith("fp_")
    server.stop()
    for file in server.data.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    assert secret not in server.errors()


def test_a_stop_lets_a_call_end(serve, scripted):
    server = serve(scripted)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.post(chat("[[stall 1000]] refund"))))
    thread.start()
    wait_for(lambda: server.sql("SELECT 1 FROM records"))
    assert server.stop() == 0
    thread.join()
    assert answers[0][0] == 200
    rows = run("sql", "SELECT outcome FROM calls", "--data", server.data, "-o", "jsonl").stdout
    assert rows == '{"outcome":"completed"}\n'
