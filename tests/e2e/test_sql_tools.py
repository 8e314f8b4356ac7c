"""DuckDB and ClickHouse over the segments in place, with the views as docs/sql.md has them: the same rows as this server's own SQL."""

import json
import os
import subprocess

import duckdb
import pytest
from conftest import BINARY, chat, documented, http, replaced, wait_for

# A segment is sealed at 64 MiB: so many records, each with so much content.
FILLING, FILLING_BYTES = 1_100, 64_000
STATEMENTS = [
    "SELECT count(*) AS n, min(log_index) AS first, max(log_index) AS last, count(call_id) AS told, count(DISTINCT call_id) AS calls, sum(input_tokens) AS tokens FROM records",
    "SELECT kind, outcome, producer, environment, count(*) AS n, max(seq) AS seq, count(input) AS asked, count(result) AS results FROM records GROUP BY kind, outcome, producer, environment",
    "SELECT actor_type, actor_id, actor_auth, status, extract(minute FROM time) AS m, count(*) AS n FROM records GROUP BY actor_type, actor_id, actor_auth, status, extract(minute FROM time)",
    "SELECT attributes['example.n'] AS nth, count(*) AS n FROM records WHERE kind = 'tool.call' GROUP BY attributes['example.n']",
    "SELECT log_index, id, call_id, host, origin, model, stream, temperature, status, duration_ms, input, output, parameters FROM records WHERE kind LIKE 'inference.%'",
    "SELECT outcome, status, error_type, stream, count(*) AS n, sum(input_tokens) AS asked, sum(output_tokens) AS told FROM calls GROUP BY outcome, status, error_type, stream",
    "SELECT call_id, actor_id, model, response_model, decision, reasons, outcome, finish_reasons, duration_ms, first_chunk_ms, input, parameters, output, request_index, response_index, "
    "request_id, response_id, producers, request_attributes['gen_ai.operation.name'] AS operation, response_attributes['gen_ai.response.id'] AS response FROM calls",
]


def filling(nth):
    return {
        "kind": "tool.call",
        "outcome": ["completed", "failed"][nth % 2],
        "source": {"environment": f"env-{nth % 3}"},
        "actor": {"type": "user", "id": f"größe {nth % 7}"},
        "attributes": {"gen_ai.usage.input_tokens": nth, "example.n": str(nth % 5)},
        "content": {"gen_ai.tool.call.result": "w" * FILLING_BYTES},
    }


def segments(server):
    return sorted(server.data.glob("segments/*/*/*.parquet"))


@pytest.fixture
def sealed(server):
    """A server with two segments, which hold calls of every end, and the end of the second."""
    for count in (1, 2):
        for nth in range(6):
            assert server.post(chat(f"question {nth} [[words {nth + 1}]]", stream=bool(nth % 2), temperature=0.5))[0] == 200
        server.post(chat("it fails [[status 500]]"))
        server.post(chat("nonsense [[garbage]]"))
        server.post(b"{")
        for at in range(0, FILLING, FILLING // 5):
            sent = [filling(nth) for nth in range(at, at + FILLING // 5)]
            status, _, text = http(f"{server.api}/api/v1/records", json.dumps(sent).encode())
            assert status == 200 and not json.loads(text).get("rejected"), text
        wait_for(lambda: len(segments(server)) == count, seconds=60)
    return server, int(segments(server)[-1].stem.split("-")[1]) + 1


def view(server, marker):
    """A statement of the document, over the segments of this server."""
    statement = documented("../sql.md", "sql", marker)
    return replaced(statement, {"testimony-data/": f"{server.data}/"}) if "segments" in statement else statement


def check_same(sealed, theirs):
    """Their rows of all statements, as objects without what is not there, are ours."""
    server, end = sealed
    for statement in [*STATEMENTS, documented("../sql.md", "sql", "slowest")]:
        ours = server.sql(statement.replace("FROM records", f"FROM (SELECT * FROM records WHERE log_index < {end}) AS records").rstrip("; \n"))
        told = [{name: value for name, value in row.items() if value is not None} for row in theirs(statement)]
        assert ours and sorted(told, key=json.dumps) == sorted(ours, key=json.dumps), statement
    names = json.loads(http(f"{server.api}/api/v1/sql", json.dumps({"query": "SELECT * FROM calls", "limit": 0}).encode())[2])["columns"]
    assert [row["column_name"] if "column_name" in row else row["name"] for row in theirs("DESCRIBE calls")] == names


def test_duckdb_has_the_same_rows(sealed, tmp_path):
    server, _ = sealed
    # Once both segments have their index, none is opened for a time or a word that is in neither.
    for condition, said in {"time < '2020-01-01'": "files_ranges_pruned_statistics=2 total → 0 matched", "match(input, 'zebra')": "segments_pruned_index=2 total → 0 matched"}.items():
        wait_for(lambda: said in server.sql(f"EXPLAIN ANALYZE SELECT id FROM records WHERE {condition}")[0]["plan"], seconds=60, pause=0.5)
    database = duckdb.connect()
    for marker in ("read_parquet", "CREATE VIEW calls"):
        database.execute(view(server, marker))

    def theirs(statement):
        cursor = database.execute(statement)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    check_same(sealed, theirs)
    assert theirs("SELECT count(*) AS n FROM calls WHERE regexp_matches(input, '(?i)\\bQUESTION')") == [{"n": 12}]

    # And what it reads of an answer as a file.
    file = tmp_path / "answer.parquet"
    with file.open("wb") as out:
        subprocess.run([BINARY, "sql", STATEMENTS[-1], "-o", "parquet", "--server", server.api], stdout=out, check=True, timeout=60)
    read = [{name: value for name, value in row.items() if value is not None} for row in theirs(f"SELECT * FROM '{file}'")]
    assert sorted(read, key=json.dumps) == sorted(server.sql(STATEMENTS[-1]), key=json.dumps)


# Half a gigabyte, which not everybody has to fetch.
@pytest.mark.skipif("E2E_CHDB" not in os.environ, reason="E2E_CHDB=1 runs it: pip install chdb==4.4.0")
def test_clickhouse_has_the_same_rows(sealed, tmp_path):
    from chdb import session

    server, _ = sealed
    database = session.Session()
    database.query("CREATE DATABASE testimony ENGINE = Atomic")
    database.query("USE testimony")
    for marker in ("Parquet)", "CREATE VIEW calls"):
        database.query(view(server, marker))

    def theirs(statement):
        return [json.loads(line) for line in str(database.query(statement.rstrip("; \n"), "JSONEachRow")).splitlines()]

    check_same(sealed, theirs)
    assert theirs("SELECT count(*) AS n FROM calls WHERE hasTokenCaseInsensitive(input, 'QUESTION')") == [{"n": 12}]

    for form, name in {"parquet": "Parquet", "arrow": "ArrowStream"}.items():
        file = tmp_path / f"answer.{form}"
        with file.open("wb") as out:
            subprocess.run([BINARY, "sql", STATEMENTS[-1], "-o", form, "--server", server.api], stdout=out, check=True, timeout=60)
        read = [{name: value for name, value in row.items() if value is not None} for row in theirs(f"SELECT * FROM file('{file}', {name})")]
        assert sorted(read, key=json.dumps) == sorted(server.sql(STATEMENTS[-1]), key=json.dumps)
    database.close()
