"""Routes and versions: which version a call gets, what the log says of it, and what was in force when."""

import json
import shutil
import threading
import urllib.parse

import pytest
from conftest import Process, chat, http, run, wait_for
from test_access import ask, make
from test_rules import attributes, settings

OLD, NEW = "gemma-3-270m@2026-11-01", "gemma-3-270m@2026-11-20"


@pytest.fixture
def canary(tmp_path):
    """Another model server, which answers as another model."""
    model = Process(["scripted-model", "--model", "scripted-canary", "--fingerprint", "fp_canary"], r"(http://\S+)\n", tmp_path / "canary.log")
    yield model.match.group(1)
    model.kill()


def with_canary(tmp_path, canary, more=""):
    return settings(tmp_path, f'[upstreams.canary]\nurl = "{canary}"\n{more}')


@pytest.fixture
def routed(serve, scripted, canary, tmp_path):
    server = serve(scripted, *with_canary(tmp_path, canary))
    promote(server, OLD, "--model", "old-model", "--reason", "the first one")
    return server


def route(server, *arguments, check=True):
    return run("route", *arguments, "--server", server.api, check=check)


def promote(server, version, *more, check=True):
    return route(server, "promote", "support-bot", version, *more, check=check)


def shown(server, *more):
    [found] = json.loads(route(server, "show", "support-bot", "-o", "json", *more).stdout)
    return found


def shares(found):
    return {one["version"]: one["percent"] for one in found["versions"] if one["percent"]}


def call(server, conversation=None, model="support-bot", **more):
    headers = {"testimony-conversation": conversation} if conversation else {}
    status, headers, text = server.post(chat("Hello", **{"model": model, **more}), headers)
    assert status == 200, text
    return headers, json.loads(text)


def version_of(headers):
    return headers["testimony-route"].split('version="')[1].rstrip('"')


def test_a_route_is_made_promoted_rolled_back_and_tells_its_history(routed):
    assert shares(shown(routed)) == {OLD: 100}
    said = promote(routed, NEW, "--model", "new-model", "--upstream", "canary", "--weight", "5", "--reason", "a first look").stdout
    assert f"{OLD} 95 %, {NEW} 5 %" in said and "testimony control revert" in said
    assert shares(shown(routed)) == {OLD: 95, NEW: 5}
    promote(routed, "@2026-11-20", "--weight", "25%")
    table = route(routed, "list", "-o", "table").stdout
    assert "support-bot" in table and f"{OLD} 75 %, {NEW} 25 %" in table and "REVISION" in table
    assert f"{OLD} 95 %, {NEW} 5 %" in route(routed, "rollback", "support-bot", "--reason", "too slow").stdout
    history = [json.loads(line) for line in route(routed, "history", "support-bot", "-o", "jsonl").stdout.splitlines()]
    assert [(one["revision"], one["act"], shares(one), one["reason"]) for one in history] == [
        (4, "rolled_back", {OLD: 95, NEW: 5}, "too slow"),
        (3, "promoted", {OLD: 75, NEW: 25}, None),
        (2, "promoted", {OLD: 95, NEW: 5}, "a first look"),
        (1, "promoted", {OLD: 100}, "the first one"),
    ]
    assert history[0]["restores"] == 2 and {one["percent"] for one in history[0]["before"]} == {75, 25} and all(one["by"] for one in history)
    assert "canary" in route(routed, "show", "support-bot", "-o", "table").stdout
    for wrong, said in [(["show", "other"], "no route"), (["rollback", "other"], "no route"), (["history", "other"], "no route")]:
        done = route(routed, *wrong, check=False)
        assert done.returncode == 4 and said in done.stderr, wrong


def test_a_call_goes_to_the_version_of_its_conversation_and_its_records_say_so(routed):
    promote(routed, NEW, "--model", "new-model", "--upstream", "canary", "--weight", "50")
    got = {}
    for nth in range(24):
        headers, answer = call(routed, f"conversation-{nth}")
        got[nth] = version_of(headers)
        assert answer["model"] == {OLD: "scripted-demo", NEW: "scripted-canary"}[got[nth]]
        for kind in ["request", "response"]:
            record = attributes(routed, headers["testimony-call"], kind)
            assert (record["testimony.route"], record["testimony.route.version"], record["gen_ai.conversation.id"]) == ("support-bot", got[nth], f"conversation-{nth}")
            assert record["gen_ai.request.model"] == "support-bot" and record["testimony.route.model"] == {OLD: "old-model", NEW: "new-model"}[got[nth]]
        assert attributes(routed, headers["testimony-call"], "request")["server.port"] == record_port(routed, got[nth])
    assert set(got.values()) == {OLD, NEW}
    assert all(version_of(call(routed, f"conversation-{nth}")[0]) == version for nth, version in got.items())
    # What grows takes from others and gives nothing away.
    promote(routed, NEW, "--weight", "75")
    grown = {nth: version_of(call(routed, f"conversation-{nth}")[0]) for nth in got}
    moved = {nth for nth in got if grown[nth] != got[nth]}
    assert moved and all(grown[nth] == NEW for nth in moved)
    # Without a conversation each call is one.
    assert {version_of(call(routed)[0]) for _ in range(24)} == {OLD, NEW}
    story = routed.get("/api/v1/calls/conversation-3")
    assert story[0] == 200 and len(json.loads(story[2])["records"]) == 6


def record_port(server, version):
    rows = server.sql(f"SELECT DISTINCT attributes['server.port'] AS port FROM records WHERE kind = 'inference.request' AND attributes['testimony.route.version'] = '{version}'")
    [row] = rows
    return row["port"]


def test_only_the_model_is_another_and_who_names_no_route_goes_on_as_they_came(serve, web, tmp_path):
    bodies = []

    def answer(request):
        bodies.append(request.sent)
        body = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
        return 200, {"content_type": "application/json"}, json.dumps(body).encode()

    web.pages["/v1/chat/completions"] = answer
    server = serve(web.url("/v1"))
    promote(server, OLD, "--model", "hf.co/a/b:Q8_0")
    sent = b'{ "temperature":0.70, "model" : "support-bot", "messages": [ {"role":"user","content":"support-bot \\u00e9"} ] }'
    assert server.post(sent)[0] == 200
    assert bodies == [sent.replace(b': "support-bot"', b': "hf.co/a/b:Q8_0"')]
    for other in [sent.replace(b"support-bot\",", b"gemma\","), sent.replace(b'"support-bot",', b'"support-bot/gemma-3-270m@2026-11-01",')]:
        status, headers, _ = server.post(other)
        assert (status, bodies[-1], headers["testimony-route"]) == (200, other, None)


def test_what_was_in_force_at_any_moment_and_after_a_restart_from_the_log_alone(serve, scripted, canary, routed, tmp_path):
    promote(routed, NEW, "--model", "new-model", "--upstream", "canary", "--weight", "5")
    promote(routed, NEW, "--weight", "100")
    before = shown(routed)
    history = [json.loads(line) for line in route(routed, "history", "support-bot", "-o", "jsonl").stdout.splitlines()]
    for one in history:
        then = shown(routed, "--at", one["at"])
        assert (then["revision"], shares(then)) == (one["revision"], shares(one))
    never = route(routed, "show", "support-bot", "--at", "2020-01-01T14:00Z", check=False)
    assert never.returncode == 4
    assert route(routed, "show", "support-bot", "--at", "yesterday", check=False).returncode == 1
    routed.stop()
    assert json.loads(run("route", "show", "support-bot", "-o", "json", "--data", routed.data).stdout) == [before]
    [then] = json.loads(run("route", "show", "support-bot", "-o", "json", "--data", routed.data, "--at", history[1]["at"]).stdout)
    assert shares(then) == {OLD: 95, NEW: 5}
    assert json.loads(run("route", "show", "support-bot", "-o", "json", "--data", routed.data, "--at", "now").stdout) == [before]
    assert run("route", "show", "support-bot", "--data", routed.data, "--at", "1d", check=False).returncode == 4
    stopped = run("route", "rollback", "support-bot", "--data", routed.data, check=False)
    assert stopped.returncode == 1 and "not being written" in stopped.stderr
    shutil.rmtree(f"{routed.data}/segments")
    again = serve(scripted, *with_canary(tmp_path, canary), data=routed.data)
    assert shown(again) == before
    assert version_of(call(again, "c")[0]) == NEW
    route(again, "rollback", "support-bot")
    assert shares(shown(again)) == {OLD: 95, NEW: 5} and shown(again)["revision"] == 4


def test_a_change_is_undone_by_its_record(routed):
    made = shown(routed)["record"]
    promote(routed, NEW, "--model", "new-model", "--upstream", "canary", "--weight", "5")
    promoted = shown(routed)["record"]
    refused = run("control", "revert", made, "--server", routed.api, check=False)
    assert refused.returncode == 1 and "was changed again" in refused.stderr
    said = run("control", "revert", promoted, "--reason", "a mistake", "--server", routed.api).stdout
    assert f"{OLD} 100 %" in said and shares(shown(routed)) == {OLD: 100} and shown(routed)["undoes"] == promoted
    # Undoing is a change like another.
    run("control", "revert", shown(routed)["record"], "--server", routed.api)
    assert shares(shown(routed)) == {OLD: 95, NEW: 5}
    [read] = routed.sql("SELECT id FROM records WHERE kind = 'inference.request' OR kind = 'read' ORDER BY log_index LIMIT 1") or [{"id": made}]
    for other, code in [(read["id"], 1), ("01a208f8-ef10-7cbd-8b00-d5608311e505", 4)]:
        assert run("control", "revert", other, "--server", routed.api, check=False).returncode == code
    kinds = routed.sql("SELECT outcome, actor_type FROM records WHERE kind = 'control' AND attributes['testimony.route'] = 'support-bot'")
    assert len(kinds) == 4 and all(one["outcome"] == "completed" and one["actor_type"] for one in kinds)


def test_two_who_change_it_do_not_write_over_each_other(routed):
    path = "/api/v1/routes/support-bot/promote"
    wish = {"version": NEW, "model": "new-model", "upstream": "canary", "percent": 5, "revision": 1}
    assert ask(routed, "POST", path, wish)[0] == 200
    status, _, text = ask(routed, "POST", path, {**wish, "percent": 10})
    assert (status, json.loads(text)["code"], json.loads(text)["revision"]) == (409, "revision", 2)
    assert promote(routed, NEW, "--weight", "10", "--expect", "1", check=False).returncode == 1
    answers = []
    threads = [threading.Thread(target=lambda nth=nth: answers.append(ask(routed, "POST", path, {"version": NEW, "percent": 10 + nth, "revision": 2})[0])) for nth in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(answers) == [200] + [409] * 7 and shown(routed)["revision"] == 3


def test_what_is_wrong_is_said_and_changes_nothing(routed):
    before = shown(routed)
    wrong = {
        "not known: say which model": [NEW],
        "no other version that could have the rest": [OLD, "--weight", "50"],
        "nothing would change": [OLD],
        "no model server elsewhere in the configuration": [NEW, "--model", "m", "--upstream", "elsewhere"],
        "is the model old-model of default already": [OLD, "--model", "another"],
        "percent from 0 to 100": [NEW, "--model", "m", "--weight", "101"],
    }
    for said, arguments in wrong.items():
        done = promote(routed, *arguments, check=False)
        assert done.returncode == 1 and said in done.stderr, done.stderr
    for body in [{}, {"version": NEW, "upstream": "canary"}, {"version": "a b", "model": "m"}, {"version": NEW, "model": "m", "url": "http://evil"}]:
        assert ask(routed, "POST", "/api/v1/routes/support-bot/promote", body)[0] == 400, body
    assert ask(routed, "POST", f"/api/v1/routes/{urllib.parse.quote('a b')}/promote", {"version": NEW, "model": "m"})[0] == 400
    assert route(routed, "rollback", "support-bot", check=False).returncode == 1
    assert shown(routed) == before


def test_a_version_whose_model_server_is_not_configured_any_more_is_refused_and_recorded(serve, scripted, routed):
    promote(routed, NEW, "--model", "new-model", "--upstream", "canary")
    routed.stop()
    again = serve(scripted, data=routed.data)
    assert "not in the configuration" in again.errors()
    status, headers, text = again.post(chat("Hello", model="support-bot"))
    error = json.loads(text)["error"]
    assert (status, error["code"]) == (503, "upstream_not_configured") and "[upstreams.canary]" in error["message"]
    assert again.outcomes(headers["testimony-call"]) == [("request", "denied")]
    route(again, "rollback", "support-bot")
    assert version_of(call(again)[0]) == OLD


def test_a_version_that_does_not_answer_is_named_to_the_caller_and_rolled_back(serve, scripted, web, tmp_path):
    web.go()
    server = serve(scripted, *with_canary(tmp_path, web.url("/v1")))
    promote(server, OLD, "--model", "old-model")
    promote(server, NEW, "--model", "new-model", "--upstream", "canary")
    status, headers, text = server.post(chat("Hello", model="support-bot"))
    assert (status, json.loads(text)["error"]["code"], version_of(headers)) == (502, "upstream_unreachable", NEW)
    [failed] = server.sql(f"SELECT count(*) AS n FROM records WHERE kind = 'inference.response' AND outcome = 'failed' AND attributes['testimony.route.version'] = '{NEW}'")
    assert failed == {"n": 1}
    route(server, "rollback", "support-bot")
    assert version_of(call(server)[0]) == OLD


def test_a_policy_sends_a_call_to_a_route_or_a_version_of_one(serve, scripted, canary, tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "request.rego").write_text(
        """package testimony.request

default allow := true

obligations contains {"type": "route", "to": "small"} if input.parameters.max_tokens > 100

obligations contains {"type": "route", "to": "support-bot/%s"} if input.parameters.user == "tester"

obligations contains {"type": "route", "to": "nowhere"} if input.parameters.user == "mallory"

obligations contains {"type": "flag", "label": "routed"} if input.route == "support-bot"
"""
        % NEW
    )
    server = serve(scripted, *with_canary(tmp_path, canary, f'[policy]\npath = "{folder}"\n'))
    promote(server, OLD, "--model", "old-model")
    promote(server, NEW, "--model", "new-model", "--upstream", "canary", "--weight", "0")
    route(server, "promote", "small", "small@1", "--model", "small-model", "--upstream", "canary")
    headers, answer = call(server, model="scripted-demo", max_tokens=200)
    assert 'name="small", version="small@1"' in headers["testimony-route"] and answer["model"] == "scripted-canary"
    record = attributes(server, headers["testimony-call"], "request")
    assert (record["testimony.route"], record["testimony.route.by"], record["testimony.route.asked"]) == ("small", "policy", "")
    headers, _ = call(server, user="tester")
    assert version_of(headers) == NEW
    record = attributes(server, headers["testimony-call"], "request")
    assert (record["testimony.route.asked"], "routed" in record["testimony.policy.obligations"]) == ("support-bot", True)
    headers, _ = call(server, model="scripted-demo")
    assert headers["testimony-route"] is None
    for more in [{"user": "mallory"}, {"user": "tester", "max_tokens": 200}]:
        status, headers, text = server.post(chat("Hello", model="support-bot", **more))
        assert (status, json.loads(text)["error"]["code"]) == (403, "policy_denied"), text
    # The same question, from the record alone, gets the same answer.
    replay = run("policy", "replay", folder, "--server", server.api).stdout
    assert "other obligations      0" in replay and "would be denied        0" in replay, replay


def test_the_policy_is_asked_before_a_route_is_changed(serve, scripted, tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "admin.rego").write_text(
        """package testimony.admin

default allow := true

deny contains "no promotion of more than 5 %" if {
	input.admin.action == "route.promote"
	to_number(split(input.admin.target, " ")[2]) > 5
	split(input.admin.target, " ")[0] != "sandbox"
}
"""
    )
    (folder / "request.rego").write_text("package testimony.request\n\ndefault allow := true\n")
    server = serve(scripted, *settings(tmp_path, f'[policy]\npath = "{folder}"\n'))
    refused = promote(server, OLD, "--model", "m", check=False)
    assert refused.returncode == 1 and "no promotion of more than 5 %" in refused.stderr
    assert json.loads(server.get("/api/v1/routes")[2]) == {"routes": []}
    route(server, "promote", "sandbox", OLD, "--model", "m")
    [denied] = server.sql("SELECT outcome FROM records WHERE kind = 'auth' AND error_type = 'policy'")
    assert denied["outcome"] == "denied"


def test_a_scope_is_held_against_the_route_that_a_caller_asks_for(routed):
    secret = make(routed, "bot", "caller", ["model=support-bot"])["secret"]
    headers = {"authorization": f"Bearer {secret}"}
    assert routed.post(chat("Hello", model="support-bot"), headers)[0] == 200
    assert routed.post(chat("Hello", model="old-model"), headers)[0] == 403


def changes(server):
    rows = server.sql(
        "SELECT attributes['testimony.control.change'] AS change, attributes['testimony.model.alias'] AS alias, attributes['testimony.model.before'] AS before, attributes['testimony.model.after'] AS after, "
        "attributes['testimony.model.fingerprint_before'] AS fp_before, attributes['testimony.model.fingerprint_after'] AS fp_after, attributes['testimony.model.call'] AS call FROM records WHERE kind = 'control' AND producer = 'models' ORDER BY log_index"
    )
    return rows


def test_another_model_behind_a_name_is_recorded_once_and_across_restarts(serve, web, tmp_path):
    told = {"model": "gemma-a.gguf", "fingerprint": "b100"}

    def answer(_):
        body = {"id": "c", "model": told["model"], "system_fingerprint": told["fingerprint"], "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
        return 200, {"content_type": "application/json"}, json.dumps(body).encode()

    web.pages["/v1/chat/completions"] = answer
    server = serve(web.url("/v1"))
    headers, _ = call(server, model="gemma")
    assert attributes(server, headers["testimony-call"], "response")["openai.response.system_fingerprint"] == "b100"
    wait_for(lambda: len(changes(server)) == 1)
    for _ in range(3):
        call(server, model="gemma")
    server.stop()
    shutil.rmtree(f"{server.data}/segments")
    told["fingerprint"] = "b200"
    again = serve(web.url("/v1"), data=server.data)
    headers, _ = call(again, model="gemma")
    wait_for(lambda: len(changes(again)) == 2)
    for _ in range(3):
        call(again, model="gemma")
    first, second = changes(again)
    assert (first["change"], first["alias"], first["after"], first["fp_after"]) == ("model.seen", "default/gemma", "gemma-a.gguf", "b100")
    assert second == {
        "change": "model.changed", "alias": "default/gemma", "before": "gemma-a.gguf", "after": "gemma-a.gguf", "fp_before": "b100", "fp_after": "b200", "call": headers["testimony-call"],
    }
