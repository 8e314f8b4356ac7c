"""Search, SQL, tail, show: by command line and by HTTP, of a running server and of a stopped one."""

import json
import subprocess
import threading

import pytest
from conftest import BINARY, chat, http, run, wait_for


@pytest.fixture
def asked(server):
    for user, prompt, stream in [("alice", "A refund, please", False), ("bob", "opening hours?", True), ("alice", "[[status 500]]", False)]:
        server.post(chat(prompt, user=user, stream=stream))
    server.post(b"{", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    return server


def lines(*arguments):
    return [json.loads(line) for line in run(*arguments, "-o", "jsonl").stdout.splitlines()]


@pytest.mark.parametrize("stopped", [False, True])
def test_search_finds_what_people_mean(asked, stopped):
    target = ["--data", asked.data] if stopped else ["--server", asked.api]
    if stopped:
        asked.stop()

    def count(query, *more):
        return len(lines("search", query, *more, *target))

    # What is asked here is in the log too, as `read` records.
    assert count("type:inference*") == 7
    assert count("user:alice") == 4
    assert count("user:alice type:inference.request") == 2
    assert count("REFUND*") == 2 and count("REFUND") == 1 and count("fund") == 0
    assert count('"refund, please"') == 1
    assert count("model:scripted* outcome:completed") == 2
    assert count("status:>=500 OR outcome:denied") == 2
    assert count("-user:* type:inference*") == 1
    assert count("trace:4bf92f3577b34da6a3ce929d0e0e4736") == 1
    assert count("type:inference*", "--since", "1h") == 7
    assert count("", "--until", "1h") == 0
    assert count("gen_ai.operation.name:chat") == 7
    assert count("", "--limit", "2") == 2


def test_a_wrong_query_points_at_the_place(asked):
    done = run("search", "modle:x", "--server", asked.api, check=False)
    assert done.returncode == 1
    assert 'did you mean "model"?' in done.stderr and "^^^^^" in done.stderr


def test_every_output_format(asked):
    target = ["--server", asked.api]
    query = "SELECT user_agent, n FROM (VALUES ('=cmd()', -1), ('a,\"b\"', 2)) AS t(user_agent, n)"
    assert run("sql", query, *target, "-o", "csv").stdout == 'user_agent,n\n\'=cmd(),-1\n"a,""b""",2\n'
    assert json.loads(run("sql", query, *target, "-o", "json").stdout)[1] == {"user_agent": 'a,"b"', "n": 2}
    assert run("sql", query, *target).stdout.startswith('{"user_agent":"=cmd()","n":-1}\n')
    table = run("search", "user:bob", *target, "-o", "table").stdout
    assert "ACTOR_ID" in table and "We are open from nine" in table


def test_sql_is_read_only_and_bounded(asked):
    target = ["--server", asked.api]
    assert "only SELECT and EXPLAIN" in run("sql", "DROP TABLE records", *target, check=False).stderr
    assert "only SELECT and EXPLAIN" in run("sql", "COPY records TO '/tmp/x.csv'", *target, check=False).stderr
    assert run("sql", "SELECT * FROM '/etc/passwd'", *target, check=False).returncode == 1
    ten = ", ".join(f"({n})" for n in range(10))
    endless = f"WITH d AS (SELECT * FROM (VALUES {ten}) v (n)) SELECT sum(a.n + j.n) FROM {', '.join(f'd {name}' for name in 'abcdefghij')}"
    body = json.dumps({"query": endless, "timeout_s": 1}).encode()
    status, _, text = http(f"{asked.api}/api/v1/sql", body)
    assert (status, json.loads(text)["code"]) in [(408, "deadline"), (422, "query_failed")]
    assert http(f"{asked.api}/api/v1/sql", body, {"content-type": "text/plain"})[0] == 415


def test_attributes_can_be_reached_from_sql(asked):
    rows = lines("sql", "SELECT DISTINCT attributes['url.path'] AS path FROM records WHERE kind = 'inference.request'", "--server", asked.api)
    assert rows == [{"path": "/v1/chat/completions"}]


def test_show_tells_the_whole_story_and_says_when_there_is_none(asked):
    call = asked.sql("SELECT call_id FROM calls WHERE actor_id = 'bob'")[0]["call_id"]
    told = run("show", call, "--server", asked.api).stdout
    for part in (call, "bob (claimed)", "opening hours?", "We are open from nine", "allow: no policy", "finished by stop"):
        assert part in told, told
    assert run("show", "01a2", "--server", asked.api, check=False).returncode == 4
    records = json.loads(run("show", call, "--server", asked.api, "-o", "json").stdout)
    status, _, text = http(f"{asked.api}/api/v1/records/{records[0]['id']}")
    assert status == 200 and json.loads(text)["log_index"] == records[0]["log_index"]


def test_tail_shows_records_as_they_become_durable(server):
    tail = subprocess.Popen(
        [BINARY, "tail", "user:alice outcome:completed", "--count", "3", "--server", server.api], stdout=subprocess.PIPE, text=True
    )
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in tail.stdout))
    reader.start()
    while len(seen) < 3:
        server.post(chat("refund", user="alice"))
        server.post(chat("refund", user="bob"))
    reader.join(20)
    assert tail.wait(20) == 0
    assert {row["actor_id"] for row in seen} == {"alice"}
    assert [row["log_index"] for row in seen] == sorted(row["log_index"] for row in seen)


def test_a_tail_goes_on_where_it_was_cut_off(asked):
    def indexes(*more):
        return [row["log_index"] for row in lines("tail", "--server", asked.api, *more)]

    assert indexes("--from", "2", "--count", "3") == [2, 3, 4]


def test_a_page_of_another_origin_may_not_follow(server):
    assert http(f"{server.api}/api/v1/tail", headers={"origin": "http://evil.example"})[0] == 403


def test_the_small_routes(server):
    assert server.get("/livez")[0] == server.get("/readyz")[0] == 200
    assert json.loads(server.get("/version")[2])["name"] == "testimony"
    assert json.loads(server.get("/openapi.json")[2])["openapi"].startswith("3.1")
    log = json.loads(server.get("/api/v1/log")[2])
    assert log["vkey"] == (server.data / "identity" / "log.vkey").read_text().strip()
    status, headers, text = server.get("/nowhere")
    assert status == 404 and headers["content-type"] == "application/problem+json"
    assert json.loads(text)["code"] == "not_found"


def test_without_a_server_the_next_step_is_said(tmp_path):
    done = run("search", "--server", "http://127.0.0.1:9", check=False)
    assert done.returncode == 1 and "testimony serve" in done.stderr
    done = run("search", "--data", tmp_path, check=False)
    assert done.returncode == 1 and "there is no log in" in done.stderr
    assert run("nonsense", check=False).returncode == 2


def test_configuration_errors_suggest_the_nearest_key(tmp_path):
    config = tmp_path / "testimony.toml"
    config.write_text("[upstream]\nulr = 'http://127.0.0.1:1/v1'\n")
    done = run("serve", "--config", config, "--data", tmp_path / "data", check=False)
    assert done.returncode == 2 and 'did you mean "upstream.url"?' in done.stderr
    assert run("serve", "--data", tmp_path / "data", check=False).returncode == 2
    assert not (tmp_path / "data").exists()


def test_the_demonstration(tmp_path):
    done = run("demo", "--exit")
    for part in ("scripted", "How did the model answer this prompt in staging last week", "Refunds are possible", "verified\n"):
        assert part in done.stdout, done.stdout
    rows = wait_for(lambda: done.stdout.count("aborted"))
    assert rows
