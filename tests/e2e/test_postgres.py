"""SQL by PostgreSQL's protocol: psql, psycopg (libpq, text and binary) and asyncpg (a protocol of its own, binary), as people and dashboards use them."""

import asyncio
import datetime
import json
import os
import re
import socket
import struct
import subprocess
import threading

import asyncpg
import psycopg
import pytest
from conftest import ROOT, Server, chat, http, wait_for
from test_access import ask, make, rows
from test_queries import ENDLESS, queries
from test_tls import Authority


def settings(tmp_path, text="", listen="127.0.0.1:0"):
    """A configuration with the door open."""
    file = tmp_path / "testimony.toml"
    file.write_text(f'[postgres]\nlisten = "{listen}"\n{text}')
    return ["--config", file]


def port(server):
    [(host, port)] = re.findall(r"postgres +(\S+):(\d+) ", server.said)
    return {"host": host, "port": int(port)}


@pytest.fixture
def log(serve, scripted, tmp_path):
    server = serve(scripted, *settings(tmp_path))
    for prompt in ("one [[words 3]]", "two [[words 4]]"):
        assert server.post(chat(prompt))[0] == 200
    return server


def connect(server, user="anonymous", password=None, **more):
    more = {"autocommit": True, "dbname": "testimony", **more}
    return psycopg.connect(user=user, password=password, connect_timeout=10, **port(server), **more)


def psql(server, *commands, user="anonymous", password=None, check=True):
    place = port(server)
    arguments = [part for command in commands for part in ("-c", command)]
    environment = {**os.environ, "PGPASSWORD": password or "", "PSQLRC": "/dev/null", "PAGER": "cat"}
    line = ["psql", "-X", "-w", "-h", place["host"], "-p", str(place["port"]), "-U", user, "-d", "testimony", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def refused(server, code, **more):
    with pytest.raises(psycopg.OperationalError) as error:
        connect(server, **more)
    said = str(error.value)
    # libpq keeps no code of a connection that was never made; the words are those of the report.
    assert code in said, said
    return said


def test_psql_asks_and_is_told_what_is_there(log):
    told = psql(log, "SELECT model, count(*) AS n, sum(output_tokens) > 0 AS some FROM calls GROUP BY model")
    assert told.stdout.split("\n")[2].split() == ["scripted-demo", "|", "2", "|", "t"], told.stdout
    relations = psql(log, r"\d").stdout
    assert re.findall(r"public \| (\w+) +\| view", relations) == ["calls", "records"], relations
    assert re.findall(r"public \| (\w+) ", psql(log, r"\dv").stdout) == ["calls", "records"]
    # Views are no tables.
    none = psql(log, r"\dt")
    assert "Did not find any relations" in none.stdout + none.stderr
    for command in (r"\d calls", r"\d+ calls"):
        described = psql(log, command).stdout
        assert 'View "public.calls"' in described
        columns = dict(re.findall(r"^ (\w+) +\| ([a-z ]+?) +\|", described, re.M))
        assert (columns["time"], columns["model"], columns["status"]) == ("timestamp with time zone", "text", "bigint")
        assert (columns["duration_ms"], columns["stream"], columns["request_attributes"]) == ("double precision", "boolean", "json")
        assert len(columns) == 39, columns.keys()
    for command in (r"\l", r"\dn", r"\df", r"\di", r"\du", r"\dx", r"\conninfo"):
        assert "ERROR" not in psql(log, command).stderr, command
    assert "testimony" in psql(log, r"\l").stdout
    settings = psql(log, "SHOW server_version", "SHOW TimeZone", "SET statement_timeout = 5000", "SHOW statement_timeout", "BEGIN", "COMMIT")
    assert all(word in settings.stdout for word in ("15.0", "UTC", "5000ms", "BEGIN", "COMMIT")), settings.stdout


def test_an_error_has_a_code_and_a_place(log):
    def failed(statement):
        with connect(log) as connection, pytest.raises(psycopg.Error) as error:
            connection.execute(statement)
        report = error.value.diag
        return report.sqlstate, report.statement_position, report.message_primary

    assert failed("SELECT (1\nFROM calls")[:2] == ("42601", "11")
    assert failed("SELECT modle FROM calls")[:2] == ("42703", "8")
    assert failed("SELECT 1 FROM nowhere")[:2] == ("42P01", "15")
    assert failed("SELECT no_such(1)")[:2] == ("42883", "8")
    for statement in ("DELETE FROM records", "INSERT INTO records VALUES (1)", "CREATE TABLE x (a int)", "DROP VIEW calls", "TRUNCATE records"):
        code, _, said = failed(statement)
        assert code == "25006" and "cannot be changed" in said
    assert failed("SET transaction_read_only = off")[0] == "22023"
    assert failed("DECLARE c CURSOR FOR SELECT 1")[0] == "0A000"
    assert failed("COPY records TO STDOUT")[0] == "0A000"
    assert failed("SHOW no_such")[0] == "42704"
    assert failed("SELECT '" + "x" * 70_000 + "'")[0] == "54000"
    assert failed("SELECT repeat('x', 1000000000)")[0] == "42883"
    assert failed("SELECT 1 / 0")[0] == "22012"
    # As psql shows it.
    shown = psql(log, "SELECT modle FROM calls", check=False)
    assert shown.returncode == 1 and "LINE 1: SELECT modle FROM calls" in shown.stderr and "               ^" in shown.stderr


def test_values_and_parameters_in_text_and_in_binary(log):
    expected = {
        "n": 7, "big": 2**40, "half": 0.5, "yes": True, "said": "it's ü", "nothing": None, "day": datetime.date(2024, 10, 4),
        "moment": datetime.datetime(2026, 11, 25, 14, 1, 7, 291000, datetime.timezone.utc), "list": [1, 2],
        "bytes": b"\x00\xff", "span": datetime.timedelta(days=2, seconds=3),
    }
    statement = """SELECT CAST(7 AS INT) AS n, 1099511627776 AS big, 0.5 AS half, true AS yes, 'it''s ü' AS said, NULL AS nothing, DATE '2024-10-04' AS day,
        CAST('2026-11-25T14:01:07.291Z' AS TIMESTAMP WITH TIME ZONE) AS moment, [1, 2] AS list, X'00ff' AS bytes, INTERVAL '2 days 3 seconds' AS span"""
    with connect(log) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary, row_factory=psycopg.rows.dict_row)
            assert cursor.execute(statement).fetchone() == expected, binary
            [price] = cursor.execute("SELECT CAST(-12345.678 AS DECIMAL(10, 3)) AS price").fetchone().values()
            assert str(price) == "-12345.678"
            [call] = cursor.execute("SELECT * FROM calls WHERE input LIKE %s", ("%one%",)).fetchall()
            assert call["outcome"] == "completed" and call["time"].tzinfo and isinstance(call["request_attributes"], dict)
            found = cursor.execute(
                "SELECT count(*) AS n FROM calls WHERE time >= %s AND model = %s AND status = %s AND duration_ms > %s AND stream IS DISTINCT FROM %s LIMIT %s",
                (datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), "scripted-demo", 200, -1.5, True, 5),
            )
            assert found.fetchall() == [{"n": 2}]
            # What looks like a statement is a value.
            assert cursor.execute("SELECT count(*) AS n FROM calls WHERE model = %s", ("x' OR 'a' = 'a",)).fetchone() == {"n": 0}
            assert cursor.execute("SELECT %s AS said", ("a ' '' \\' $1 \" ;",)).fetchone() == {"said": "a ' '' \\' $1 \" ;"}
        # Prepared on the server, once and for all.
        for n in range(10):
            said = connection.execute("SELECT CAST(%s AS BIGINT) + 1 AS n", (n,), prepare=True).fetchone()
            assert said == (n + 1,)
    # What ran is recorded with its parameters in their places.
    reads = log.sql("SELECT id FROM records WHERE kind = 'read' ORDER BY log_index")
    texts = [json.loads(ask(log, "GET", f"/api/v1/records/{read['id']}")[2])["content"]["testimony.read.query"] for read in reads]
    assert any("model = 'x'' OR ''a'' = ''a'" in text for text in texts)


def test_a_driver_that_has_everything_described_first(log):
    async def ask_all():
        place = port(log)
        connection = await asyncpg.connect(user="anonymous", database="testimony", ssl=False, **place)
        since = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        statement = "SELECT model, count(*) AS n, max(time) AS latest FROM calls WHERE time >= $1 AND model = $2 GROUP BY model LIMIT $3"
        prepared = await connection.prepare(statement)
        assert [kind.name for kind in prepared.get_parameters()] == ["timestamptz", "text", "int8"]
        [row] = await prepared.fetch(since, "scripted-demo", 10)
        assert (row["model"], row["n"]) == ("scripted-demo", 2) and row["latest"] > since
        # In portions: 5 at a time.
        async with connection.transaction(readonly=True):
            seen = [row["n"] async for row in connection.cursor("SELECT * FROM unnest(ARRAY[1, 2, 3, 4, 5, 6, 7]) AS t (n)", prefetch=3)]
        assert seen == [1, 2, 3, 4, 5, 6, 7]
        with pytest.raises(asyncpg.exceptions.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM records")
        with pytest.raises(asyncpg.exceptions.UndefinedColumnError):
            await connection.fetch("SELECT no_such FROM calls WHERE model = $1", "x")
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    asyncio.run(ask_all())


def test_transactions_are_kept_as_clients_expect(log):
    with connect(log, autocommit=False) as connection:
        assert connection.execute("SELECT 1 AS n").fetchone() == (1,)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT 1 FROM nowhere")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        assert connection.execute("SELECT 2 AS n").fetchone() == (2,)
        with connection.transaction():
            connection.execute("SELECT 3")
        connection.commit()
    with connect(log) as connection:
        cursor = connection.execute("SELECT 1 AS a; SET x.y = 1; SELECT 2 AS b")
        assert cursor.fetchone() == (1,) and cursor.nextset() and cursor.nextset() and cursor.fetchone() == (2,)
        with connection.pipeline():
            told = [connection.execute("SELECT %s::bigint AS n", (n,)) for n in range(20)]
        assert [one.fetchone() for one in told] == [(n,) for n in range(20)]


def test_what_grafana_asks(log):
    """Its data source asks without parameters, macros written out, and its query builder for tables and columns in statements of this kind."""
    with connect(log) as connection:
        cursor = psycopg.ClientCursor(connection)
        asked = (ROOT / "crates/search/src/catalog/grafana.sql").read_text().split(";")
        version, timescale, tables, schemas, _, columns = [cursor.execute(text).fetchall() for text in asked if text.strip()]
        assert version == [(1500,)] and timescale == []
        assert tables == [("calls",), ("records",)] and ("public",) in schemas
        assert ("time", "timestamp with time zone") in columns and len(columns) == 39
        # $__timeGroupAlias(time, '5m') and $__timeFilter(time).
        series = """SELECT floor(extract(epoch from time)/300)*300 AS "time", model AS metric, count(*) AS value FROM calls
            WHERE time BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z' GROUP BY 1, 2 ORDER BY 1"""
        [(at, metric, value)] = cursor.execute(series).fetchall()
        assert at % 300 == 0 and (metric, value) == ("scripted-demo", 2)


def test_keys_are_passwords_and_scopes_hold(serve, scripted, tmp_path):
    server = serve(scripted, "--environment", "staging", *settings(tmp_path))
    assert server.post(chat("one [[words 3]]"))[0] == 200
    admin = make(server, "root", "admin")["secret"]
    here = make(server, "here", "reader", ["env=staging"], admin)["secret"]
    elsewhere = make(server, "elsewhere", "reader", ["env=production"], admin)["secret"]
    caller = make(server, "caller", "caller", secret=admin)["secret"]
    revoked = make(server, "revoked", "reader", secret=admin)

    def count(secret, what="records"):
        with connect(server, "whoever", secret) as connection:
            return connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]

    assert count(admin, "records WHERE kind = 'auth'") > 0
    assert count(here) > 0 and count(here, "records WHERE kind <> 'auth'") == count(here) and count(here, "calls") == 1
    assert count(elsewhere) == count(elsewhere, "calls") == 0
    with connect(server, "x", here) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("EXPLAIN SELECT 1")
        assert connection.execute("SELECT current_user").fetchone() == ("here",)
    assert "allows" in refused(server, "FATAL", user="x", password=caller)
    said = refused(server, "not accepted", user="x", password=f"{here[:-1]}?")
    assert here not in said
    with connect(server, "x", revoked["secret"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert ask(server, "DELETE", f"/api/v1/keys/{revoked['id']}", secret=admin)[0] == 200
        with pytest.raises(psycopg.OperationalError, match="not accepted"):
            connection.execute("SELECT 1")
    refused(server, "not accepted", user="x", password=revoked["secret"])

    reads = rows(server, "SELECT actor_id, actor_auth, attributes FROM records WHERE kind = 'read' AND actor_id = 'here'", admin)
    assert {read["actor_auth"] for read in reads} == {"api_key"}
    assert all(read["attributes"]["testimony.read.action"] == "sql" and "env=staging" in read["attributes"]["testimony.read.scope"] for read in reads)
    assert any(read["attributes"]["testimony.read.rows"] == "1" for read in reads)
    auths = rows(server, "SELECT outcome, error_type, attributes['url.path'] AS path FROM records WHERE kind = 'auth'", admin)
    assert {(auth["outcome"], auth.get("error_type")) for auth in auths if auth.get("path") == "postgresql"} >= {("completed", None), ("denied", "role")}


def test_nobody_is_let_in_without_a_key_where_http_does_not_let_them(serve, scripted, tmp_path):
    server = serve(scripted, *settings(tmp_path, '[access]\nanonymous = "off"\n'))
    assert "without a credential" in refused(server, "FATAL")


def test_a_statement_is_listed_and_ended(log):
    for end in ("cancel", "close", "delete", "timeout"):
        connection = connect(log)
        if end == "timeout":
            connection.execute("SET statement_timeout = '1s'")
        failure = []

        def run():
            try:
                connection.execute(ENDLESS)
            except psycopg.Error as error:
                failure.append(error)

        asking = threading.Thread(target=run, daemon=True)
        asking.start()
        if end != "timeout":
            [query] = wait_for(lambda: [query for query in queries(log) if query["query"] == ENDLESS])
            assert query["kind"] == "sql" and query["actor_id"] == "anonymous"
        if end == "cancel":
            connection.cancel_safe()
        elif end == "close":
            socket.socket(fileno=os.dup(connection.fileno())).shutdown(socket.SHUT_RDWR)
        elif end == "delete":
            assert ask(log, "DELETE", f"/api/v1/queries/{query['id']}")[0] == 200
        asking.join(15)
        wait_for(lambda: queries(log) == [], seconds=5)
        assert not asking.is_alive() and failure, end
        if end != "close":
            assert failure[0].sqlstate == "57014", failure
            assert connection.execute("SELECT 1").fetchone() == (1,)
        connection.close()


def test_an_answer_that_a_limit_has_cut_has_no_good_end(log):
    many = "SELECT a.n FROM (SELECT unnest(ARRAY[" + ", ".join(map(str, range(400))) + "]) AS n) a, (SELECT unnest(ARRAY[" + ", ".join(map(str, range(400))) + "]) AS n) b"
    with connect(log) as connection:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="cut after 100000 rows"):
            connection.execute(many)
        assert len(connection.execute(f"{many} LIMIT 100000").fetchall()) == 100_000
        # Whoever wants few of them, and stops, never comes to the end.
        with connection.cursor() as cursor:
            first = [row for _, row in zip(range(3), cursor.stream(f"{many} LIMIT 3"))]
            assert len(first) == 3
    [read] = log.sql("SELECT attributes FROM records WHERE kind = 'read' AND attributes['testimony.read.truncated'] = 'true'")
    assert read["attributes"]["testimony.read.rows"] == "100000"


def test_tls_is_spoken_where_it_is_asked_for(serve, scripted, tmp_path):
    authority = Authority(tmp_path, "root")
    certificate, key = authority.issue_server()
    client, client_key = authority.issue("alice")
    os.chmod(client_key, 0o600)
    rule = '[[certificate]]\nkind = "common-name"\npattern = "alice"\nactor = "user"\nrole = "auditor"\n'
    tls = f'[tls]\ncert = "{certificate}"\nkey = "{key}"\nclient_ca = "{authority.file}"\n'
    server = serve(scripted, *settings(tmp_path, tls + rule))
    secure = {"sslmode": "verify-full", "sslrootcert": str(authority.file), "user": "x"}
    mtls = {**secure, "sslcert": str(client), "sslkey": str(client_key)}
    with connect(server, **mtls) as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute("SELECT current_user").fetchone() == ("alice",)
    for way in ("postgres", "direct"):
        with connect(server, **mtls, sslnegotiation=way) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    # On this machine a password may also go in the clear, unless certificates are required.
    refused(server, "not accepted", user="x", password="nonsense", sslmode="disable")


def test_certificates_that_are_required_are_so_at_this_door(serve, scripted, tmp_path):
    authority = Authority(tmp_path, "root")
    certificate, key = authority.issue_server()
    tls = f'[tls]\ncert = "{certificate}"\nkey = "{key}"\nclient_ca = "{authority.file}"\nclient_required = true\n'
    server = serve(scripted, *settings(tmp_path, tls))
    assert "goes by TLS" in refused(server, "FATAL", sslmode="disable")
    with pytest.raises(psycopg.OperationalError):
        connect(server, sslmode="require")


def test_a_door_that_others_reach_needs_a_certificate(tmp_path):
    with pytest.raises(AssertionError, match="give the server a certificate"):
        Server(tmp_path / "data", "http://127.0.0.1:9", *settings(tmp_path, listen="0.0.0.0:0"))


def test_noise_and_idleness_end_a_connection(serve, scripted, tmp_path):
    server = serve(scripted, *settings(tmp_path, "idle_s = 1\n"))
    place = port(server)

    def sent(*parts):
        with socket.create_connection((place["host"], place["port"]), timeout=20) as connection:
            for part in parts:
                connection.sendall(part)
            got = b""
            while chunk := connection.recv(65_536):
                got += chunk
            return got

    startup = struct.pack(">II", 8 + 16, 3 << 16) + b"user\0anonymous\0\0"
    assert b"08P01" not in sent(b"GET / HTTP/1.1\r\n\r\n")
    greeting = sent(startup)
    # Nothing was asked: after a second it is over.
    assert b"57P05" in greeting and b"server_version" in greeting
    assert b"08P01" in sent(startup, b"Q\x7f\xff\xff\xff")
    assert b"08P01" in sent(startup, b"?\0\0\0\4")
    assert b"08P01" in sent(startup, b"Q\0\0\0\x0eSELECT \xff\xfe\0")
    assert b"0A000" in sent(struct.pack(">II", 9, 2 << 16) + b"\0")
    assert b"53400" in sent(startup, b"".join(b"P" + struct.pack(">I", 4 + len(body)) + body for body in (b"%d\0SELECT 1\0\0\0" % n for n in range(300))), b"S\0\0\0\4")
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert http(f"{server.api}/livez")[0] == 200
