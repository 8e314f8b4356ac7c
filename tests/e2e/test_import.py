"""What other systems have kept, taken over by `testimony import`."""

import gzip
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import pytest
from conftest import run, wait_for

SAMPLES = pathlib.Path(__file__).parents[2] / "crates" / "ingest" / "testdata"


def take(server, *arguments, check=True):
    return run("import", *arguments, "--server", server.api, check=check)


def test_spend_logs_of_litellm_are_taken_over_once(server, tmp_path):
    file = tmp_path / "spend.csv.gz"
    file.write_bytes(gzip.compress((SAMPLES / "litellm" / "spend_logs.csv").read_bytes()))
    dry = take(server, "litellm", file, "--dry-run").stdout
    first = take(server, "litellm", file, "--environment", "staging").stdout
    stored = int(first.split(" stored")[0].splitlines()[-1])
    assert stored > 2 and f"{stored} would be sent" in dry
    assert f"0 stored, {stored} sent before" in take(server, "litellm", file, "--environment", "staging").stdout
    rows = server.sql("SELECT kind, model, input, output, time, environment, attributes['testimony.imported.from'] AS source FROM records WHERE attributes['testimony.imported.from'] IS NOT NULL")
    assert len(rows) == stored and {row["source"] for row in rows} == {"litellm"}
    assert not any(row["time"].startswith("2026-11-25") for row in rows), "the times are not those of the export"
    [calls] = server.sql("SELECT count(*) AS n FROM calls WHERE model IS NOT NULL AND response_model IS NOT NULL")
    assert calls["n"] > 0


def test_an_import_that_was_cut_short_goes_on_from_where_it_was(server, tmp_path):
    sample = SAMPLES / "langfuse" / "observations.jsonl"
    file, position = tmp_path / sample.name, tmp_path / "position.json"
    whole = sample.read_bytes()
    first_lines = b"".join(whole.splitlines(True)[:2])
    file.write_bytes(first_lines)
    take(server, "langfuse", file, "--position", position)
    assert json.loads(position.read_text())[str(file)]["bytes"] == len(first_lines)
    shutil.copy(sample, file)
    take(server, "langfuse", file, "--position", position)
    assert json.loads(position.read_text())[str(file)]["bytes"] == len(whole)
    assert " 0 rejected" in take(server, "langfuse", file, "--position", position).stdout


def test_what_cannot_be_imported_says_why(server, tmp_path):
    bad = tmp_path / "x.txt"
    bad.write_text("hello")
    told = take(server, "litellm", bad, check=False)
    assert told.returncode == 1 and ".jsonl" in told.stderr
    assert take(server, "excel", bad, check=False).returncode == 1
    garbage = tmp_path / "x.jsonl"
    garbage.write_text("garbage\n")
    assert "1 rejected" in take(server, "litellm", garbage).stdout


def postgres_programs():
    """Where PostgreSQL's programs are, those that no path leads to included."""
    for folder in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    return pathlib.Path(shutil.which("initdb")).parent if shutil.which("initdb") else None


@pytest.fixture
def database(tmp_path):
    """A PostgreSQL of the test's own on a socket of its own; how `psql` reaches it."""
    programs = postgres_programs()
    if not programs:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as home:
        # It does not run as root.
        owner = pwd.getpwnam("postgres") if os.getuid() == 0 else None
        identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        if owner:
            os.chown(home, owner.pw_uid, owner.pw_gid)
        subprocess.run([programs / "initdb", "-D", f"{home}/data", "-U", "test", "-E", "UTF8", "--locale=C"], check=True, capture_output=True, cwd=home, **identity)
        log = open(tmp_path / "postgres.log", "w")
        server = subprocess.Popen([programs / "postgres", "-D", f"{home}/data", "-k", home, "-h", ""], stdout=log, stderr=log, cwd=home, **identity)
        url = f"host={home} user=test dbname=postgres"
        try:
            wait_for(lambda: subprocess.run(["psql", url, "-c", "SELECT 1"], capture_output=True).returncode == 0, 30)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


def test_spend_logs_come_from_postgres_by_either_command_of_the_document(server, database, tmp_path):
    sample = SAMPLES / "litellm" / "spend_logs.csv"
    types = {"spend": "double precision", "total_tokens": "int", "prompt_tokens": "int", "completion_tokens": "int"}
    types |= dict.fromkeys(["startTime", "endTime", "completionStartTime"], "timestamp(3)")
    types |= dict.fromkeys(["metadata", "request_tags", "messages", "response", "proxy_server_request"], "jsonb")
    names = sample.read_text().splitlines()[0].split(",")
    columns = ", ".join(f'"{name}" {types.get(name, "text")}' for name in names)
    subprocess.run(["psql", database, "-v", "ON_ERROR_STOP=1", "-c", f'CREATE TABLE "LiteLLM_SpendLogs" ({columns})', "-c", f"\\copy \"LiteLLM_SpendLogs\" FROM '{sample}' CSV HEADER"], check=True)
    document = (pathlib.Path(__file__).parents[2] / "docs" / "ingest" / "history.md").read_text()
    commands = [line for line in document.splitlines() if line.startswith('psql "$DATABASE_URL"')]
    assert len(commands) == 2
    for command in commands:
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, env={**os.environ, "DATABASE_URL": database})
    first = take(server, "litellm", tmp_path / "spend.csv").stdout
    stored = int(first.split(" stored")[0].splitlines()[-1])
    assert stored > 2 and " 0 rejected" in first
    assert f"0 stored, {stored} sent before" in take(server, "litellm", tmp_path / "spend.jsonl").stdout
