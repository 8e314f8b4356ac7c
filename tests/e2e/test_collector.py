"""An OpenTelemetry Collector with the exporter of docs/ingest/otlp.md."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
import yaml
from conftest import documented, wait_for
from conftest import http as ask

# A Collector with `filelog`, `batch` and `otlphttp`. There is no package of one that CI could install by name.
PROGRAM = os.environ.get("E2E_COLLECTOR")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALL = {
    "event.name": "gen_ai.client.inference.operation.details",
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gemma-3-270m",
    "gen_ai.usage.input_tokens": 24,
    "gen_ai.usage.output_tokens": 7,
    "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Where is the station?"}]}],
    "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "Over there."}], "finish_reason": "stop"}],
    "trace": TRACE,
    "span": SPAN,
}


@pytest.fixture
def collector():
    """Starts a Collector with settings, as nobody, in a folder that everybody can read."""
    if PROGRAM is None:
        pytest.skip("E2E_COLLECTOR names no program")
    folder = pathlib.Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copy(PROGRAM, folder / "otelcol")
    (folder / "otelcol").chmod(0o755)
    running = []

    def start(settings):
        (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        log = open(folder / "log", "a+")
        running.append(subprocess.Popen([folder / "otelcol", "--config", folder / "settings.yaml"], stdout=log, stderr=log, **nobody))

    start.folder = folder
    start.said = lambda: (folder / "log").read_text()
    yield start
    for process in running:
        process.kill()
        process.wait(30)
    shutil.rmtree(folder)


def test_what_a_collector_exports_is_stored_once_over_a_refusal_and_a_lost_answer(server, web, collector):
    path = collector.folder / "calls.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (CALL, {**CALL, "span": "00f067aa0ba902b8"}, {"event.name": "other"})))
    asked = []

    def between(request):
        """The server, away at first; then its answer does not come back."""
        asked.append((dict(request.headers), request.sent))
        if len(asked) == 1:
            return 503, {"retry_after": "1"}, b""
        status, headers, text = ask(f"{server.api}/v1/logs", request.sent, dict(request.headers))
        return (status, {"content_type": headers["content-type"]}, text.encode()) if len(asked) > 2 else (503, {}, b"")

    web.pages["/v1/logs"] = between
    settings = yaml.safe_load(documented("otlp.md", "yaml", "otlphttp/testimony"))
    settings["exporters"]["otlphttp/testimony"]["endpoint"] = web.url("")
    # This one has no receiver of spans.
    del settings["service"]["pipelines"]["traces/testimony"]
    logs = settings["service"]["pipelines"]["logs/testimony"]
    assert logs.pop("receivers") == ["otlp"]
    logs["receivers"] = ["filelog"]
    ids = {"trace_id": {"parse_from": "attributes.trace"}, "span_id": {"parse_from": "attributes.span"}}
    parser = {"type": "json_parser", "parse_to": "attributes"}
    settings |= {"processors": {"batch": {}}, "receivers": {"filelog": {"include": [str(path)], "start_at": "beginning", "operators": [parser, {"type": "trace_parser", **ids}]}}}
    collector(settings)
    wait_for(lambda: len(asked) >= 3, 60)
    stored = "SELECT kind, model, input, output, input_tokens, output_tokens, trace_id, call_id FROM records WHERE producer = 'otlp' ORDER BY log_index"
    rows = wait_for(lambda: server.sql(stored))
    # The same body each time, and each record once.
    assert len({body for _, body in asked}) == 1 and [headers["Content-Encoding"] for headers, _ in asked] == ["zstd"] * len(asked), collector.said()
    assert [row["kind"].removeprefix("inference.") for row in rows] == ["request", "response"] * 2
    assert {(row["model"], row["trace_id"]) for row in rows} == {("gemma-3-270m", TRACE)} and len({row["call_id"] for row in rows}) == 2
    assert "Where is the station?" in rows[0]["input"] and "Over there." in rows[1]["output"] and (rows[1]["input_tokens"], rows[1]["output_tokens"]) == (24, 7)
