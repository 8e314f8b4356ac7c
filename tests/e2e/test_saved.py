"""Saved searches: named, versioned, in the log and nowhere else."""

import json
import shutil

import pytest
from conftest import chat, http, run
from test_access import ask, make

QUERY = "kind:inference.response outcome:completed"


def save(server, name, query, *more, check=True):
    return run("search", "--save", name, query, "--server", server.api, *more, check=check)


def listed(server):
    return {one["name"]: one for one in json.loads(server.get("/api/v1/searches")[2])["searches"]}


def test_a_search_is_saved_run_changed_and_deleted(server):
    assert listed(server) == {}
    for nth in range(3):
        server.post(chat(f"Question {nth}"))
    said = save(server, "answers", QUERY).stdout
    assert "version 1" in said and "@answers" in said
    rows = run("search", "@answers", "-o", "jsonl", "--server", server.api).stdout.splitlines()
    assert len(rows) == 3 and all(json.loads(row)["kind"] == "inference.response" for row in rows)
    tailed = run("tail", "@answers", "--from", 0, "--count", 2, "-o", "jsonl", "--server", server.api).stdout.splitlines()
    assert [json.loads(row)["kind"] for row in tailed] == ["inference.response"] * 2
    again = save(server, "answers", f"{QUERY} | stats count()", check=False)
    assert again.returncode == 1 and "already, at version 1" in again.stderr
    save(server, "answers", f"{QUERY} | stats count()", "--replace", 1)
    [counted] = run("search", "@answers", "-o", "jsonl", "--server", server.api).stdout.splitlines()
    assert json.loads(counted) == {"count()": 3}
    # One saved search under another name, as it is now.
    save(server, "copy", "@answers")
    assert listed(server)["copy"]["query"] == f"{QUERY} | stats count()"
    table = run("searches", "-o", "table", "--server", server.api).stdout
    assert "answers" in table and "copy" in table and "VERSION" in table
    [shown] = json.loads(run("searches", "show", "answers", "-o", "json", "--server", server.api).stdout)
    assert shown["version"] == 2 and shown["saved_by"]
    assert run("searches", "delete", "answers", "--version", 1, "--server", server.api, check=False).returncode == 1
    run("searches", "delete", "answers", "--server", server.api)
    assert set(listed(server)) == {"copy"}
    history = [json.loads(line) for line in run("searches", "history", "answers", "-o", "jsonl", "--server", server.api).stdout.splitlines()]
    assert [(one["version"], one["state"]) for one in history] == [(3, "deleted"), (2, "saved"), (1, "saved")]
    assert [one["query"] for one in history] == [None, f"{QUERY} | stats count()", QUERY]
    for arguments in [["search", "@answers"], ["tail", "@answers"], ["searches", "show", "answers"], ["searches", "delete", "answers"]]:
        gone = run(*arguments, "--server", server.api, check=False)
        assert gone.returncode == 4 and "no saved search" in gone.stderr, arguments
    # A sign in a text is a text.
    assert run("search", '"@answers"', "--server", server.api).returncode == 0
    assert run("searches", "show", "--server", server.api, check=False).returncode == 2


def test_the_log_alone_restores_it(serve, scripted, server):
    save(server, "kept", QUERY)
    save(server, "kept", "env:staging", "--replace", 1)
    save(server, "gone", QUERY)
    run("searches", "delete", "gone", "--server", server.api)
    before = listed(server)
    # The query names people: it is content, and the leaf has it as a commitment only.
    [record] = server.sql("SELECT attributes['testimony.search.name'] AS name FROM records WHERE kind = 'control' AND attributes['testimony.search.version'] = '1' AND attributes['testimony.search.name'] = 'kept'")
    assert record == {"name": "kept"} and "env:staging" not in json.dumps(server.sql("SELECT * FROM records WHERE kind = 'control'"))
    server.stop()
    for stopped in ["kept", "gone"]:
        told = run("searches", "show", stopped, "-o", "jsonl", "--data", server.data, check=False)
        assert (told.returncode == 0) == (stopped == "kept")
    assert run("search", "@kept", "--data", server.data).returncode == 0
    refused = run("search", "--save", "kept", "x", "--data", server.data, check=False)
    assert refused.returncode == 1 and "not being written" in refused.stderr
    shutil.rmtree(f"{server.data}/segments")
    again = serve(scripted, data=server.data)
    assert listed(again) == before and before["kept"]["version"] == 2
    assert "version 3" in save(again, "gone", "back").stdout


def test_a_bad_query_is_refused_where_it_is_bad(server):
    for query, said in {"modle:x": 'did you mean "model"?', "(a": "(a", "a | stats cuont()": 'did you mean "count"?', "a " * 9_000: "16384"}.items():
        refused = save(server, "bad", query, check=False)
        assert refused.returncode == 1 and said in refused.stderr, refused.stderr
        status, _, text = ask(server, "PUT", "/api/v1/searches/bad", {"query": query})
        problem = json.loads(text)
        assert status == 400 and problem["code"] == "query" and "^" in problem["detail"], problem
    for name in ["Bad", "a_b", "x" * 65]:
        assert ask(server, "PUT", f"/api/v1/searches/{name}", {"query": "x"})[0] == 400
    assert ask(server, "PUT", "/api/v1/searches/bad", {"query": "x", "more": 1})[0] == 400
    assert listed(server) == {}


def test_two_writers_do_not_write_over_each_other(server):
    assert ask(server, "PUT", "/api/v1/searches/shared", {"query": "a"})[0] == 201
    answers = [ask(server, "PUT", "/api/v1/searches/shared?version=1", {"query": query}) for query in "bc"]
    assert [status for status, _, _ in answers] == [200, 409]
    problem = json.loads(answers[1][2])
    assert problem["code"] == "version" and problem["version"] == 2 and listed(server)["shared"]["query"] == "b"
    assert ask(server, "DELETE", "/api/v1/searches/shared?version=1")[0] == 409
    assert ask(server, "DELETE", "/api/v1/searches/shared")[0] == 409
    assert ask(server, "DELETE", "/api/v1/searches/shared?version=2")[0] == 200
    assert ask(server, "PUT", "/api/v1/searches/shared?version=2", {"query": "d"})[0] == 404


@pytest.mark.parametrize("role, may", [("reader", False), ("auditor", False), ("operator", True), ("admin", True)])
def test_all_who_search_use_them_and_operators_change_them(server, role, may):
    save(server, "shared", QUERY)
    secret = make(server, "somebody", role)["secret"]
    assert ask(server, "GET", "/api/v1/searches/shared", secret=secret)[0] == 200
    assert run("search", "@shared", "--server", server.api, "--api-key", secret).returncode == 0
    status = ask(server, "PUT", "/api/v1/searches/mine", {"query": "x"}, secret)[0]
    assert status == (201 if may else 403)
    status = ask(server, "DELETE", "/api/v1/searches/shared?version=1", secret=secret)[0]
    assert status == (200 if may else 403)
    narrow = make(server, "narrow", role, ["env=default"])["secret"]
    assert ask(server, "PUT", "/api/v1/searches/other", {"query": "x"}, narrow)[0] == 403
    assert http(f"{server.api}/api/v1/searches", headers={"authorization": f"Bearer {narrow}"})[0] == 200
