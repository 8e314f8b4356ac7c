"""What is kept, for how long, and what can be made again."""

import hashlib
import json
import re
import shutil

import pytest
from conftest import Server, http, run, wait_for

# More than a segment holds before it is sealed, in records of a megabyte.
RECORDS = 72
CALL = "01a208f8-ef10-7cbd-8b00-{:012x}"
TEXT = "the refund policy of order 17 " * 40_000


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A stopped log whose first records lie in a segment."""
    folder = tmp_path_factory.mktemp("keeping")
    server = Server(folder / "data", "http://127.0.0.1:9/v1")
    for n in range(RECORDS):
        actor, content = {"type": "user", "id": f"user-{n % 3}"}, {"gen_ai.tool.call.result": f"word{n} {TEXT}"}
        record = {"kind": "tool.call", "call_id": CALL.format(n), "actor": actor, "content": content}
        status, _, text = http(f"{server.api}/api/v1/records", json.dumps(record).encode())
        assert status == 200, text
    wait_for(lambda: segments(server.data), 60)
    assert server.stop() == 0
    return server.data


@pytest.fixture
def sealed(base, tmp_path):
    shutil.copytree(base, tmp_path / "data")
    return tmp_path / "data"


def segments(data):
    return sorted((data / "segments").rglob("*.parquet"))


def found(data, query):
    return [json.loads(line)["log_index"] for line in run("search", "--data", data, query, "-o", "jsonl", "--limit", "100").stdout.splitlines()]


def test_everything_derived_can_be_deleted_and_is_made_again(sealed):
    queries = ["word7", '"refund policy" user:user-1', "type:tool.call"]
    before = [found(sealed, query) for query in queries]
    assert len(before[0]) == 1 and len(before[1]) == RECORDS / 3
    [segment] = segments(sealed)
    segment.with_suffix(".terms").unlink()
    digest = segment.with_suffix(".parquet.sha256")
    digest.write_text(digest.read_text().replace("0", "1"))
    for level in (sealed / "log/tile").iterdir():
        if level.name.isdigit():
            shutil.rmtree(level)
    assert run("verify", "--data", sealed, check=False).returncode == 3

    done = run("rebuild", "--data", sealed)
    assert done.stdout.endswith("rebuilt\n"), done.stdout
    assert "verified" in run("verify", "--data", sealed).stdout
    assert digest.read_text().split()[0] == hashlib.sha256(segment.read_bytes()).hexdigest()
    assert [found(sealed, query) for query in queries] == before


def test_a_log_that_is_being_written_is_not_rebuilt(serve, scripted):
    server = serve(scripted)
    done = run("rebuild", "--data", server.data, check=False)
    assert done.returncode == 1 and "in use by process" in done.stderr


def test_content_that_is_kept_no_longer_is_gone_and_its_record_says_why(sealed, serve, scripted, tmp_path):
    [whole] = segments(sealed)
    inside = int(re.match(r"\d+-(\d+)", whole.name).group(1)) + 1
    config = tmp_path / "testimony.toml"
    config.write_text('[retention]\ncontent_size = "1KiB"\n')
    server = serve(scripted, "--config", config, data=sealed)
    wait_for(lambda: [path.name for path in segments(sealed)] == [whole.name.replace(".parquet", ".records.parquet")], 60)
    wait_for(lambda: not whole.with_suffix(".terms").exists(), 10)
    rows = server.sql("SELECT count(*) AS n, count(result) AS results FROM records WHERE kind = 'tool.call'")
    assert rows == [{"n": RECORDS, "results": RECORDS - inside}]
    [why] = server.sql("SELECT attributes['testimony.retention.before'] AS before, attributes['testimony.retention.setting'] AS setting FROM records WHERE producer = 'retention'")
    assert why == {"before": str(inside), "setting": 'content_size = "1KiB"'}
    [record] = server.sql("SELECT id FROM records WHERE log_index = 7")
    shown = run("show", CALL.format(7), "--server", server.api).stdout
    assert "kept no longer" in shown and "verified" in shown
    proof = run("prove", record["id"], "--server", server.api, "--output", tmp_path / "one.tlog-proof", check=False)
    assert proof.returncode == 0, proof.stderr
    assert run("check", tmp_path / "one.tlog-proof", "--key", (sealed / "identity/log.vkey").read_text().strip()).returncode == 0
