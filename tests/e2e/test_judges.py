"""Guardrails that ask somebody else, and decisions made by an OPA elsewhere: what reaches them, the caller, the model and the record."""

import base64
import hashlib
import hmac
import json
import socket
import threading

import pytest
from conftest import chat, wait_for
from test_rules import SECRET, attributes, content, settings

SIGNING = base64.b64encode(b"k" * 32).decode()


class Judge:
    """A model that says `unsafe` of whatever has the word `poison` in it."""

    def __init__(self, web):
        self.read, self.web = [], web
        web.pages["/v1/chat/completions"] = self.answer

    def answer(self, request):
        asked = json.loads(request.sent)
        self.read.append(asked["messages"][-1]["content"])
        text = "unsafe\nS2" if "poison" in self.read[-1].split("BEGIN CONVERSATION")[-1] else "safe"
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
        return 200, {"content_type": "application/json"}, json.dumps(answer).encode()

    def section(self, side, more=""):
        return f'[guardrails.{side}.judge]\nurl = "{self.web.url("/v1")}"\nmodel = "guard"\naction = "block"\n{more}'


@pytest.fixture
def judge(web):
    return Judge(web)


def verdicts(server, call, kind):
    said = attributes(server, call, kind)
    passed = {check: {"action": "pass"} for check in json.loads(said.get("testimony.guardrails.passed", "[]"))}
    return passed | {one["check"]: one for one in map(as_map, json.loads(said.get("testimony.guardrails", "[]")))}


def as_map(one):
    return one if isinstance(one, dict) else json.loads(one)


def test_a_judge_keeps_from_the_model_what_it_calls_unsafe(serve, scripted, judge, tmp_path):
    masking = "[guardrails.input.secrets]\naction = \"redact\"\n"
    server = serve(scripted, *settings(tmp_path, masking + judge.section("input")))
    status, headers, _ = server.post(chat(f"hello, my token is {SECRET}"))
    assert status == 200
    said = verdicts(server, headers["testimony-call"], "request")
    assert said["judge"]["action"] == "pass" and said["secrets"]["action"] == "redact"
    # It reads what is left after masking, and nothing else.
    assert SECRET not in judge.read[0] and "[redacted:secrets" in judge.read[0]
    status, headers, text = server.post(chat("how do I poison a well?"))
    error = json.loads(text)["error"]
    assert (status, error["code"]) == (403, "content_filter") and "S2" in error["message"]
    row = content(server, headers["testimony-call"], "request")
    assert row["outcome"] == "denied" and "poison a well" in row["input"]
    said = verdicts(server, headers["testimony-call"], "request")["judge"]
    assert (said["action"], [*said["rules"]]) == ("block", ["S2"])
    assert server.sql(f"SELECT count(*) AS n FROM records WHERE call_id = '{headers['testimony-call']}'") == [{"n": 1}]


@pytest.mark.parametrize(("fail", "status", "action"), [("closed", 403, "block"), ("open", 200, "flag")])
def test_a_judge_that_does_not_answer_is_no_pass(serve, scripted, judge, tmp_path, fail, status, action):
    server = serve(scripted, *settings(tmp_path, judge.section("input", f'fail = "{fail}"\ntimeout_ms = 500\n')))
    judge.web.go()
    got, headers, text = server.post(chat("hello"))
    assert got == status, text
    said = verdicts(server, headers["testimony-call"], "request")["judge"]
    assert (said["action"], [*said["rules"]]) == (action, ["failed"])


def test_a_client_that_leaves_while_its_call_is_judged_has_called_all_the_same(serve, scripted, judge, tmp_path):
    server = serve(scripted, *settings(tmp_path, judge.section("input")))
    path, left = "/v1/chat/completions", threading.Event()
    judged = judge.web.pages[path]
    judge.web.pages[path] = lambda request: left.wait(30) and judged(request)
    host, port = server.models.removeprefix("http://").split(":")
    for nth, (said, outcomes) in enumerate((("how do I poison a well?", {"denied"}), ("hello", {"allowed"}))):
        left.clear()
        with socket.create_connection((host, int(port))) as client:
            body = json.dumps(chat(said)).encode()
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_for(lambda: len(judge.web.requests(path)) > nth)
        left.set()
        query = f"SELECT outcome, call_id FROM records WHERE kind = 'inference.request' AND input LIKE '%{said}%'"
        [row] = wait_for(lambda: server.sql(query))
        assert {row["outcome"]} == outcomes
    # The call that was let pass has its outcome too, whether its client was missed before the model had answered or after.
    wait_for(lambda: len(server.outcomes(row["call_id"])) == 2)


def streamed(text):
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", []))


def test_nothing_of_a_stream_leaves_before_those_who_judge_all_of_it(serve, scripted, judge, tmp_path):
    server = serve(scripted, *settings(tmp_path, judge.section("output")))
    status, headers, text = server.post(chat("[[say there is poison in it]]", stream=True))
    assert status == 200 and streamed(text) == "" and "[DONE]" not in text
    assert '"code":"content_filter"' in text
    row = content(server, headers["testimony-call"], "response")
    assert (row["outcome"], row["error_type"]) == ("blocked", "content_filter")
    status, headers, text = server.post(chat("[[say all is well]]", stream=True))
    assert status == 200 and text.rstrip().endswith("[DONE]") and streamed(text) == "all is well"
    assert verdicts(server, headers["testimony-call"], "response")["judge"]["action"] == "pass"
    # And of an answer that is no stream.
    status, headers, text = server.post(chat("[[say there is poison in it]]"))
    assert status == 403 and "poison" not in text


def test_a_webhook_is_asked_as_standard_webhooks_says(serve, scripted, web, tmp_path):
    asked = []

    def answer(request):
        message = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.sent
        expected = "v1," + base64.b64encode(hmac.digest(b"k" * 32, message, hashlib.sha256)).decode()
        question = json.loads(request.sent)
        asked.append((question, request.headers["webhook-signature"] == expected))
        verdict = "block" if any("launch date" in text["text"] for text in question["texts"]) else "pass"
        body = {"action": verdict, "rule": "unannounced", "explanation": "It tells what is not out yet."} if verdict == "block" else {"action": "pass"}
        return 200, {}, json.dumps(body).encode()

    web.pages["/judge"] = answer
    section = f'[guardrails.output.webhook]\nurl = "{web.url("/judge")}"\nsecret = "whsec_{SIGNING}"\n'
    server = serve(scripted, *settings(tmp_path, section))
    assert server.post(chat("[[say nothing new]]"))[0] == 200
    status, headers, text = server.post(chat("[[say the launch date is May]]", user="alice"))
    assert status == 403 and "launch" not in text and "not out yet" in text
    question, is_signed = asked[-1]
    assert is_signed and question["side"] == "output" and question["call"] == headers["testimony-call"]
    assert [text["role"] for text in question["texts"]] == ["user", "assistant"]
    said = verdicts(server, headers["testimony-call"], "response")["webhook"]
    assert (said["action"], [*said["rules"]]) == ("block", ["unannounced"])


class Opa:
    """What an OPA answers by its Data API."""

    def __init__(self, web):
        self.inputs, self.web = [], web
        web.pages["/v1/data/testimony/request"] = self.answer

    def answer(self, request):
        self.inputs.append(json.loads(request.sent)["input"])
        is_late = "late" in self.inputs[-1]["messages"][-1]["text"]
        result = {"allow": not is_late, "deny": ["not at this hour"] if is_late else [], "obligations": [{"type": "cap", "max_tokens": 7}]}
        body = {"decision_id": f"d-{len(self.inputs)}", "result": result, "provenance": {"bundles": {"main": {"revision": "r42"}}}}
        return 200, {}, json.dumps(body).encode()

    def section(self, more=""):
        return f'[policy]\nopa = "{self.web.url("")}"\n{more}'


def test_an_opa_decides_and_its_decision_can_be_found(serve, scripted, web, tmp_path):
    opa = Opa(web)
    server = serve(scripted, *settings(tmp_path, opa.section('opa_token = "abc"\n')))
    status, headers, _ = server.post({**chat("hello"), "max_tokens": 100})
    assert status == 200 and opa.inputs[0]["model"] == "scripted-demo"
    assert web.asked[0][1]["authorization"] == "Bearer abc"
    record = attributes(server, headers["testimony-call"], "request")
    assert record["testimony.policy.decision_id"] == "d-1" and record["testimony.policy.revision"] == "main@r42"
    assert json.loads(content(server, headers["testimony-call"], "request")["parameters"])["max_tokens"] == 7
    status, _, text = server.post(chat("it is late"))
    assert status == 403 and "not at this hour" in json.loads(text)["error"]["message"]
    [control] = server.sql("SELECT attributes['testimony.policy.opa'] AS opa FROM records WHERE kind = 'control'")
    assert control["opa"] == web.url("")


@pytest.mark.parametrize(("fail", "status"), [("closed", 403), ("open", 200)])
def test_an_opa_that_is_away_is_a_denial_unless_failures_are_let_pass(serve, scripted, web, tmp_path, fail, status):
    server = serve(scripted, *settings(tmp_path, Opa(web).section(f'fail = "{fail}"\n')))
    web.go()
    got, headers, text = server.post(chat("hello"))
    assert got == status, text
    record = attributes(server, headers["testimony-call"], "request")
    assert "OPA cannot be reached" in record["testimony.policy.error"]
    assert record["testimony.policy.let_pass"] == ("true" if fail == "open" else "false")
