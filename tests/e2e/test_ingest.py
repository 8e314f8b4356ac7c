"""Records that others send."""

import json

from conftest import http, run


def send(server, records, headers=None, lines=False):
    body = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    media = {"content-type": "application/jsonl"} if lines else {}
    status, answer, text = http(f"{server.api}/api/v1/records", body.encode(), {**media, **(headers or {})})
    return status, answer, json.loads(text)


def test_a_record_from_outside_is_stored_searchable_and_proven(server, tmp_path):
    record = {
        "kind": "tool.call",
        "outcome": "completed",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "source": {"service": "bot", "environment": "staging"},
        "actor": {"type": "user", "id": "alice"},
        "attributes": {"gen_ai.tool.name": "weather"},
        "content": {"gen_ai.tool.call.arguments": {"city": "Bonn"}, "gen_ai.tool.call.result": "12 °C"},
    }
    status, _, answer = send(server, record)
    assert status == 200, answer
    [receipt] = answer["receipts"]
    [row] = server.sql("SELECT * FROM records WHERE kind = 'tool.call'")
    assert row["id"] == receipt["id"] and row["log_index"] == receipt["index"]
    assert (row["actor_id"], row["environment"], row["arguments"], row["result"]) == ("alice", "staging", '{"city": "Bonn"}', "12 °C")
    evidence = tmp_path / "e.tlog-proof"
    run("prove", receipt["id"], "--disclose", "result", "--server", server.api, "-o", evidence)
    key = json.loads(server.get("/api/v1/log")[2])["vkey"]
    assert "12 °C" in run("check", evidence, "--key", key).stdout


def test_what_is_sent_again_is_stored_once_also_after_a_kill(serve, scripted):
    server = serve(scripted)
    records = [{"kind": "system", "key": f"event-{n}", "attributes": {"n": n}} for n in range(300)]
    first = send(server, records, lines=True)[2]["receipts"]
    assert [receipt["repeat"] for receipt in first] == [False] * 300
    again = send(server, records, lines=True)[2]["receipts"]
    assert [{**receipt, "repeat": False} for receipt in again] == first and all(receipt["repeat"] for receipt in again)
    server.kill()
    server = serve(scripted)
    later = send(server, records[100:] + [{"kind": "system", "key": "new"}])[2]["receipts"]
    assert [receipt["index"] for receipt in later[:-1]] == [receipt["index"] for receipt in first[100:]]
    assert [receipt["repeat"] for receipt in later] == [True] * 200 + [False]
    assert server.sql("SELECT count(*) AS n FROM records WHERE kind = 'system' AND producer = 'records'")[0]["n"] == 301


def test_a_request_with_an_idempotency_key_is_done_once(server):
    key = {"idempotency-key": "request-7"}
    first = send(server, {"kind": "system"}, key)[2]["receipts"][0]
    again = send(server, {"kind": "system"}, key)[2]["receipts"][0]
    other = send(server, {"kind": "system"}, {"idempotency-key": "request-8"})[2]["receipts"][0]
    assert again == {**first, "repeat": True} and other["index"] != first["index"]


def test_each_record_stands_for_itself_and_a_bad_one_is_named(server):
    status, _, answer = send(server, [{"kind": "system"}, {"kind": "guess"}, {"kind": "system", "attributes": {"x" * 300: 1}}, {"kind": "system"}])
    assert status == 200
    assert [receipt["record"] for receipt in answer["receipts"]] == [0, 3]
    assert [rejected["record"] for rejected in answer["rejected"]] == [1, 2]
    assert "kind" in answer["rejected"][0]["error"] and "300" in answer["rejected"][1]["error"]
    status, headers, answer = send(server, [{"kind": "guess"}])
    assert (status, answer["code"]) == (400, "invalid_record")
    assert headers["content-type"] == "application/problem+json"
    assert send(server, {"kind": "system"}, {"content-type": "text/plain"})[0] == 415
    assert send(server, [{"kind": "system"}] * 10_001)[0] == 413
    assert http(f"{server.api}/api/v1/records", b"x" * (17 << 20))[0] == 413


def test_a_call_told_of_from_outside_is_no_call_under_way_here(serve, scripted):
    server = serve(scripted)
    call = "01a208f8-ef10-7cbd-8b00-d5608311e505"
    assert send(server, {"kind": "inference.request", "outcome": "allowed", "call_id": call})[0] == 200
    server.kill()
    assert serve(scripted).outcomes(call) == [("request", "allowed")]
