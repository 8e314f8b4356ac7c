"""Counting and measuring what was found, charts, and what can be asked for."""

import collections
import csv
import io
import json
import urllib.parse

import pytest
from conftest import http, run

# Hours of one day and how many records each has.
HOURS = {9: 6, 10: 3, 13: 1}


def records():
    for hour, count in HOURS.items():
        for nth in range(count):
            model = {"gen_ai.request.model": f"model-{nth % 2}"} if nth < 5 else {}
            yield {
                "kind": "tool.call",
                "outcome": "completed",
                "time": f"2026-11-20T{hour:02}:0{nth}:00Z",
                "source": {"service": "shop", "environment": "shop"},
                "actor": {"type": "user", "id": "alice" if nth % 3 else "\u001b[2Jmallory"},
                "attributes": {"gen_ai.usage.input_tokens": 10 * nth, "example.retries": str(nth), **model},
                "content": {"gen_ai.tool.call.arguments": "left | right"},
            }


@pytest.fixture
def shop(server):
    status, _, text = http(f"{server.api}/api/v1/records", json.dumps(list(records())).encode())
    assert status == 200 and not json.loads(text).get("rejected"), text
    return server


def get(server, path, **query):
    status, headers, text = server.get(f"{path}?{urllib.parse.urlencode(query)}")
    return status, headers, json.loads(text)


def rows(server, query, **more):
    status, _, answer = get(server, "/api/v1/search", q=query, **more)
    assert status == 200, answer
    return answer["rows"]


def test_stats_and_top_are_what_counting_gives(shop):
    sent = list(records())
    counted = collections.Counter(record["attributes"].get("gen_ai.request.model") for record in sent)
    told = rows(shop, "env:shop | stats count(), sum(input_tokens), max(example.retries) as retries by model")
    assert {row.get("model"): row["count()"] for row in told} == counted
    assert sum(row["sum(input_tokens)"] for row in told) == sum(record["attributes"]["gen_ai.usage.input_tokens"] for record in sent)
    assert max(row["retries"] for row in told) == 5
    assert [row["count()"] for row in told] == sorted(counted.values(), reverse=True)

    hours = rows(shop, "env:shop | stats count(), p50(input_tokens) by 1h")
    assert [(row["time"], row["count()"]) for row in hours] == [(f"2026-11-20T{hour:02}:00:00Z", count) for hour, count in HOURS.items()]
    assert rows(shop, 'arguments:"left | right" | stats dc(user) as users') == [{"users": 2}]

    users = collections.Counter(record["actor"]["id"] for record in sent).most_common()
    top = rows(shop, "env:shop | top 1 user")
    assert [(row["actor_id"], row["count()"], row["percent"]) for row in top] == [(users[0][0], users[0][1], 100 * users[0][1] / len(sent))]
    status, headers, answer = get(shop, "/api/v1/search", q="env:shop | stats count() by id", limit=3)
    assert len(answer["rows"]) == 3 and answer["truncated"] and headers["testimony-truncated"] == "true"
    assert len(rows(shop, "| stats count() by model", since="2026-11-20T13:00:00Z", until="2026-11-21")) == 1


def test_an_error_points_at_what_is_wrong_and_other_places_take_no_stage(shop):
    for query, said in {
        "a | stats cuont()": 'did you mean "count"?',
        "a | stats count() by modle": 'did you mean "model"?',
        "a | stats avg(model)": "avg is of numbers",
        "a | top attributes": "no single value",
        "a | top model | top user": "one too many",
    }.items():
        status, _, problem = get(shop, "/api/v1/search", q=query)
        assert status == 400 and problem["code"] == "query" and said in problem["detail"] and "^" in problem["detail"], problem
        told = run("search", query, "--server", shop.api, check=False)
        assert told.returncode != 0 and said in told.stderr
    assert get(shop, "/api/v1/tail", q="a | top model")[0] == 400
    status, _, text = http(f"{shop.api}/api/v1/sql", json.dumps({"query": "SELECT 1", "where": "a | top model"}).encode())
    assert status == 400 and "here is a filter" in text


def test_every_form_prints_the_columns_that_came(shop):
    query = "env:shop | stats count(), max(input_tokens) by 1h"

    def told(*more):
        return run("search", query, "--server", shop.api, *more).stdout

    table = told("-o", "table").splitlines()
    assert table[0].split() == ["TIME", "COUNT()", "MAX(INPUT_TOKENS)"]
    assert table[1].split() == ["2026-11-20", "09:00:00", "6", "50"]
    assert [row["count()"] for row in json.loads(told("-o", "json"))] == list(HOURS.values())
    assert [json.loads(line)["count()"] for line in told("-o", "jsonl").splitlines()] == list(HOURS.values())
    assert [row["count()"] for row in csv.DictReader(io.StringIO(told("-o", "csv")))] == [str(count) for count in HOURS.values()]


def test_charts_have_a_line_a_group_and_let_nothing_steer(shop):
    def chart(query, *more):
        return run("search", query, "--chart", "--server", shop.api, *more).stdout.splitlines()

    lines = chart("env:shop | stats count() by 1h")
    assert [line.split()[:3] for line in lines[1:]] == [["2026-11-20", f"{hour:02}:00", str(HOURS.get(hour, 0))] for hour in range(9, 14)]
    bars = [line.count("█") for line in lines[1:]]
    assert bars[0] == max(bars) > 30 and bars[2] == bars[3] == 0 < bars[4]
    assert max(map(len, lines)) <= 80
    lines = chart("env:shop | top user")
    assert "alice" in lines[1] + lines[2] and "\x1b" not in "".join(lines) and "\\u{1b}[2Jmallory" in lines[1] + lines[2]
    # Of four hours and a minute, in buckets of five minutes.
    lines = chart("env:shop")
    assert [sum(int(line.split()[2]) for line in lines[1:])] == [10] and 24 <= len(lines) - 1 <= 61
    assert chart("env:nowhere") == ["nothing was found"]
    shop.stop()
    stopped = run("search", "env:shop | stats count() by 1h", "--chart", "--data", shop.data).stdout.splitlines()
    assert [line.split()[2] for line in stopped[1:]] == ["6", "3", "0", "0", "1"]


def test_fields_and_values_are_listed_and_that_is_recorded(shop):
    fields = {field["name"]: field for field in get(shop, "/api/v1/fields")[2]["fields"]}
    assert fields["actor_id"]["aliases"] == ["user"] and fields["status"]["type"] == "integer" and fields["time"]["description"]
    assert fields["example.retries"] == {"name": "example.retries", "type": "attribute", "aliases": []}
    answer = get(shop, "/api/v1/fields/user/values", prefix="AL")[2]
    assert answer["rows"] == [{"value": "alice", "count": 6}] and not answer["truncated"]
    assert get(shop, "/api/v1/fields/example.retries/values", limit=2)[2]["truncated"]
    for path, said in {"modle": "did you mean", "input": "content", "time": "since:7d"}.items():
        status, _, problem = get(shop, f"/api/v1/fields/{path}/values")
        assert status == 400 and said in problem["detail"]
    assert get(shop, "/api/v1/fields/model/values", limit=1001)[0] == 400
    reads = shop.sql("SELECT attributes['testimony.read.action'] AS action FROM records WHERE kind = 'read' ORDER BY log_index")
    assert [read["action"] for read in reads] == ["fields", "values", "values"]
