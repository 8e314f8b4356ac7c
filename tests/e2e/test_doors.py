"""Events in the formats of others, as their senders send them, and what is found of them afterwards."""

import gzip
import json

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from conftest import chat, http
from test_judges import Opa
from test_rules import settings

AUDIT = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "level": "RequestResponse",
    "auditID": "9b2a7d3e-5a44-4d0e-8a5b-0d8c3f2f1a11",
    "stage": "ResponseComplete",
    "requestURI": "/apis/apps/v1/namespaces/models/deployments/gemma?access_token=canary-4711",
    "verb": "patch",
    "user": {"username": "alice@example.com", "groups": ["platform", "system:authenticated"]},
    "sourceIPs": ["10.0.0.8"],
    "userAgent": "kubectl/v1.31",
    "objectRef": {"resource": "deployments", "namespace": "models", "name": "gemma", "apiGroup": "apps", "apiVersion": "v1"},
    "responseStatus": {"metadata": {}, "code": 200},
    "requestObject": {"spec": {"replicas": 3}},
    "requestReceivedTimestamp": "2026-11-23T09:14:02.118231Z",
    "stageTimestamp": "2026-11-23T09:14:02.201000Z",
    "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed"},
}


def post(server, path, body, headers=None):
    status, _, text = http(f"{server.api}{path}", body, {"content-type": "application/json", **(headers or {})})
    return status, json.loads(text)


def test_a_kubernetes_audit_event_is_found_by_who_and_what(server):
    secret = {**AUDIT, "auditID": "b", "objectRef": {"resource": "secrets", "namespace": "models", "name": "key"}, "requestObject": {"kind": "Secret", "data": {"k": "Y2FuYXJ5LTQ3MTE="}}}
    denied = {**AUDIT, "auditID": "c", "responseStatus": {"code": 403, "reason": "Forbidden"}}
    body = json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [AUDIT, secret, denied, {"kind": "Event"}]}).encode()
    status, answer = post(server, "/ingest/kubernetes", body)
    assert status == 200 and (answer["stored"], answer["repeated"], answer["rejected"]) == (3, 0, 1), answer
    status, answer = post(server, "/ingest/kubernetes", gzip.compress(body), {"content-encoding": "gzip"})
    assert (answer["stored"], answer["repeated"], answer["rejected"]) == (0, 3, 1)
    rows = server.sql("SELECT kind, outcome, actor_type, actor_id, actor_groups, actor_ip, time FROM records WHERE producer = 'kubernetes' ORDER BY log_index")
    assert [row["outcome"] for row in rows] == ["completed", "completed", "denied"]
    assert rows[0]["kind"] == "system" and rows[0]["actor_id"] == "alice@example.com" and "platform" in rows[0]["actor_groups"]
    assert rows[0]["time"].startswith("2026-11-23T09:14:02")
    server.stop()
    for canary in (b"canary-4711", b"Y2FuYXJ5LTQ3MTE="):
        assert not [path for path in server.data.rglob("*") if path.is_file() and canary in path.read_bytes()]


def test_what_an_opa_logs_of_its_decision_meets_the_call_it_was_about(serve, scripted, web, tmp_path):
    server = serve(scripted, *settings(tmp_path, Opa(web).section()))
    status, headers, _ = server.post(chat("hello"))
    assert status == 200
    logged = {
        "labels": {"id": "opa-1", "version": "1.2.3"}, "decision_id": "d-1", "bundles": {"main": {"revision": "r42"}},
        "path": "testimony/request", "input": {"model": "m"}, "result": {"allow": True}, "erased": ["/input/password"], "requested_by": "127.0.0.1:9", "timestamp": "2026-11-23T09:14:02.118231Z",
    }
    body = gzip.compress(json.dumps([logged, {**logged, "decision_id": "d-2", "result": {"allow": False, "deny": ["no"]}}]).encode())
    for path in ("/ingest/opa/logs", "/ingest/opa/logs/part"):
        status, answer = post(server, path, body, {"content-encoding": "gzip"})
        assert status == 200 and answer["stored"] + answer["repeated"] == 2, answer
    rows = server.sql("SELECT kind, decision, attributes['testimony.policy.decision_id'] AS id, attributes['testimony.policy.revision'] AS revision FROM records WHERE producer = 'opa' ORDER BY log_index")
    assert [(row["kind"], row["decision"], row["id"]) for row in rows] == [("policy.decision", "allow", "d-1"), ("policy.decision", "deny", "d-2")]
    assert rows[0]["revision"] == "main@r42"
    both = server.sql("SELECT kind FROM records WHERE attributes['testimony.policy.decision_id'] = 'd-1' ORDER BY log_index")
    assert [row["kind"] for row in both] == ["inference.request", "policy.decision"]


def events():
    return [CloudEvent({"type": f"com.example.tool.{n}", "source": "/tools", "id": f"e-{n}", "subject": "weather", "datacontenttype": "application/json"}, {"city": "Bonn"}) for n in range(3)]


@pytest.mark.parametrize("how", [to_binary_event, to_structured_event])
def test_cloudevents_come_as_their_own_library_sends_them(serve, scripted, tmp_path, how):
    server = serve(scripted, *settings(tmp_path, '[[ingest.event]]\ntype = "com.example.tool.*"\nkind = "tool.call"\n'))
    for event in events():
        for expected in ("stored", "repeated"):
            message = how(event)
            status, answer = post(server, "/ingest/cloudevents", message.body, dict(message.headers))
            assert status == 200 and answer[expected] == 1, answer
    rows = server.sql("SELECT kind, attributes['cloudevents.event_id'] AS id, attributes['cloudevents.event_subject'] AS subject FROM records WHERE producer = 'cloudevents' ORDER BY log_index")
    assert [(row["kind"], row["id"], row["subject"]) for row in rows] == [("tool.call", f"e-{n}", "weather") for n in range(3)]


def test_what_is_no_event_is_refused_and_a_bomb_too(server):
    for path, media in (("/ingest/kubernetes", "application/json"), ("/ingest/opa/logs", "application/json"), ("/ingest/cloudevents", "application/cloudevents+json")):
        assert http(f"{server.api}{path}", b"{", {"content-type": media})[0] == 400, path
        bomb = gzip.compress(b" " * (100 << 20))
        assert http(f"{server.api}{path}", bomb, {"content-type": media, "content-encoding": "gzip"})[0] == 413, path
    assert server.get("/readyz")[0] == 200
