"""Searches page by page while calls arrive, and the passages around what matched."""

import csv
import io
import json
import re
import threading
import urllib.parse

import pytest
from conftest import chat, http, run
from test_access import make

# More than the command line asks for at once.
MANY = 10_040


def get(server, headers=None, **query):
    status, head, text = http(f"{server.api}/api/v1/search?{urllib.parse.urlencode(query)}", headers=headers)
    return status, head, json.loads(text)


def size_of(cursor):
    """How many records the log had at the first page. Nobody but a test looks into a cursor."""
    return int(cursor[2:18], 16)


def record(nth):
    return {
        "kind": "tool.call",
        "outcome": "completed",
        # A hundred at a time.
        "time": f"2026-11-20T09:{nth // 100 % 60:02}:00Z",
        "source": {"service": "shop", "environment": "shop"},
        "content": {"gen_ai.tool.call.arguments": json.dumps({"note": f"a \"refund\",\nnumber {nth}"})},
    }


def test_pages_together_are_what_was_there_at_the_first_while_calls_arrive(server):
    done = threading.Event()

    def calls():
        nth = 0
        while not done.is_set():
            assert server.post(chat(f"A refund, number {nth}?", user="alice"))[0] == 200
            nth += 1

    for nth in range(12):
        server.post(chat(f"The refund policy {nth}", user="alice"))
    arriving = threading.Thread(target=calls)
    arriving.start()
    try:
        pages, path = [], "/api/v1/search?" + urllib.parse.urlencode({"q": "refund user:alice", "since": "1h", "limit": 5})
        while path:
            status, headers, text = server.get(path)
            assert status == 200, text
            answer = json.loads(text)
            assert answer.get("next") == headers["testimony-next"] and answer["truncated"] == (headers["link"] is not None)
            pages.append(answer)
            before = len(pages)
            # Goes on only when more has arrived than was there.
            while path and get(server, q="refund user:alice | stats count()")[2]["rows"][0]["count()"] < 12 * before:
                pass
            path = re.fullmatch(r'<(/api/v1/search\?\S+)>; rel="next"', headers["link"]).group(1) if headers["link"] else None
    finally:
        done.set()
        arriving.join()
    told = [row for page in pages for row in page["rows"]]
    size = size_of(pages[0]["next"])
    assert {size_of(page["next"]) for page in pages if "next" in page} == {size}
    everything = get(server, q="refund user:alice", limit=10_000)[2]["rows"]
    assert told == [row for row in everything if row["log_index"] < size]
    assert 12 <= len(told) < len(everything) and len(pages) == (len(told) + 4) // 5
    reads = server.sql("SELECT attributes['testimony.read.rows'] AS rows FROM records WHERE attributes['testimony.read.action'] = 'search' ORDER BY log_index")
    assert [read["rows"] for read in reads].count("5") >= len(pages) - 1


def test_a_cursor_goes_with_its_search_its_caller_and_its_log(server):
    for nth in range(4):
        server.post(chat(f"The refund policy {nth}", user="alice"))
    next = get(server, q="refund", limit=2)[2]["next"]
    for query, said in [
        ({"q": "policy", "cursor": next}, "another search"),
        ({"q": "refund", "since": "1d", "cursor": next}, "another search"),
        ({"q": "refund", "cursor": next[:-1] + ("0" if next[-1] != "0" else "1")}, "another search"),
        ({"q": "refund", "cursor": "ff" + next[2:]}, "begin the search anew"),
        ({"q": "refund", "cursor": "next"}, "no cursor"),
        ({"q": "refund | top user", "cursor": next}, "has no pages"),
    ]:
        status, _, problem = get(server, **query)
        assert (status, problem["code"]) == (400, "cursor") and said in problem["detail"], problem
    status, _, problem = get(server, q="refund | top user", snippets="true")
    assert (status, problem["code"]) == (400, "invalid_request") and "no snippets" in problem["detail"]
    assert get(server, q="refund", snippets="true", limit=10_001)[0] == 400
    assert "next" not in get(server, q="| stats count() by id", limit=2)[2]

    # By the command line, and of the stopped log too: nothing is remembered by the server.
    first = run("search", "refund", "--limit", "2", "-o", "jsonl", "--server", server.api)
    cursor = re.search(r"--cursor ([0-9a-f]+)\n$", first.stderr).group(1)
    rest = run("search", "refund", "--cursor", cursor, "-o", "jsonl", "--server", server.api)
    assert rest.stderr == ""
    server.stop()
    stopped = run("search", "refund", "--cursor", cursor, "-o", "jsonl", "--data", server.data)
    assert stopped.stdout == rest.stdout
    lines = [json.loads(line)["log_index"] for line in (first.stdout + rest.stdout).splitlines()]
    assert lines == sorted(set(lines), reverse=True) and len(lines) >= 4
    wrong = run("search", "policy", "--cursor", cursor, "--data", server.data, check=False)
    assert wrong.returncode != 0 and "another search" in wrong.stderr


@pytest.fixture
def many(server):
    for first in range(0, MANY, 500):
        lines = "".join(json.dumps(record(nth)) + "\n" for nth in range(first, min(first + 500, MANY)))
        status, _, text = http(f"{server.api}/api/v1/records", lines.encode(), {"content-type": "application/jsonl"})
        assert status == 200, text
    return server


def test_the_command_line_takes_as_many_pages_as_it_needs(many):
    def told(form, *more):
        done = run("search", "env:shop", "-o", form, "--server", many.api, *more)
        return done.stdout, done.stderr

    lines, said = told("jsonl", "--all")
    rows = [json.loads(line) for line in lines.splitlines()]
    assert said == "" and len(rows) == MANY
    order = [(row["time"], row["log_index"]) for row in rows]
    assert order == sorted(set(order), reverse=True)
    assert json.loads(told("json", "--all")[0]) == rows
    read = list(csv.DictReader(io.StringIO(told("csv", "--all")[0])))
    assert [row["log_index"] for row in read] == [str(row["log_index"]) for row in rows]
    some, said = told("jsonl", "--limit", str(MANY - 20))
    cursor = re.search(r"--cursor ([0-9a-f]+)\n$", said).group(1)
    assert some + told("jsonl", "--cursor", cursor)[0] == lines
    # One checkpoint for all of them.
    proven, said = told("jsonl", "--all", "--prove")
    proofs = [json.loads(line)["proof"] for line in proven.splitlines()]
    assert len(proofs) == MANY and len({proof["size"] for proof in proofs}) == 1 and f"{MANY} records verified" in said
    for refused in ("| stats count() by id", "-o parquet"):
        query, form = ("env:shop " + refused, "json") if refused.startswith("|") else ("env:shop", "parquet")
        done = run("search", query, "--all", "-o", form, "--server", many.api, check=False)
        assert done.returncode != 0 and "--limit" in done.stderr


def test_what_matched_is_shown_with_what_stands_around_it(server):
    batch = json.dumps([record(nth) for nth in range(3)]).encode()
    assert http(f"{server.api}/api/v1/records", batch)[0] == 200
    server.post(chat("Hay " * 60 + "\u001b[2Ja needle " + "hay " * 60))
    for snippet in (row["snippets"][0] for row in get(server, q="env:shop 'refund' \"refund number\"", snippets="true")[2]["rows"]):
        text = snippet["text"]
        assert snippet["field"] == "arguments" and not snippet["cut_start"] and not snippet["cut_end"]
        assert {text[start:end] for start, end in snippet["marks"]} == {'refund",\nnumber'}
    assert "snippets" not in get(server, q="env:shop refund")[2]["columns"]
    assert all("snippets" not in row for row in get(server, q="env:shop", snippets="true")[2]["rows"])

    table = run("search", "env:shop refund*", "-o", "table", "--server", server.api).stdout.splitlines()
    assert [line for line in table if line.startswith("   arguments: ")] == [f'   arguments: a "refund", number {nth}' for nth in (2, 1, 0)]
    [line] = [line for line in run("search", "needle type:inference.request", "-o", "table", "--server", server.api).stdout.splitlines() if line.startswith("   input: ")]
    assert line.startswith("   input: …") and line.endswith("hay…") and "\\u{1b}[2Ja needle hay" in line and "\x1b" not in line and len(line) < 190
    lines = run("search", "refund", "-o", "jsonl", "--snippets", "--server", server.api).stdout.splitlines()
    assert len(lines) == 3 and all(json.loads(line)["snippets"] for line in lines)

    # Whoever may see less is shown less, and a cursor of another opens nothing.
    next = get(server, q="refund OR needle", limit=1)[2]["next"]
    key = make(server, "shopkeeper", "reader", ["env=shop"])["secret"]
    headers = {"authorization": f"Bearer {key}"}
    status, _, answer = get(server, headers, q="refund OR needle", snippets="true")
    assert status == 200 and len(answer["rows"]) == 3 and "needle" not in json.dumps(answer["rows"])
    status, _, problem = get(server, headers, q="refund OR needle", cursor=next)
    assert (status, problem["code"]) == (400, "cursor")
