"""What other systems have kept, taken over by `testimony import`."""

import gzip
import json
import pathlib
import shutil

from conftest import run

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
