"""The metrics, read by Prometheus' own parser and by a real Prometheus."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest
from conftest import ROOT, chat, http, replaced, wait_for
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

OPEN_METRICS = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
CALL = "gen_ai_client_operation_duration_seconds"


def scrape(server, headers=OPEN_METRICS):
    status, answer, text = http(f"{server.api}/metrics", headers=headers)
    assert status == 200, text
    return answer["content-type"], text


def samples(server):
    """All samples, by the real parser."""
    return [sample for family in open_metrics(scrape(server)[1]) for sample in family.samples]


def value(found, name, **labels):
    """What the samples with these labels say together."""
    return sum(sample.value for sample in found if sample.name == name and labels.items() <= sample.labels.items())


def block(language):
    text = (ROOT / "docs/metrics.md").read_text()
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)
    return found


def test_calls_count_with_their_tokens_and_lead_to_their_records(server):
    status, headers, _ = server.post(chat("What is the refund window?", user="alice"))
    assert status == 200
    assert server.post(chat("And in a stream?", stream=True, stream_options={"include_usage": True}))[0] == 200
    found = samples(server)
    labels = {"environment": "default", "service": "default", "producer": "gateway", "gen_ai_operation_name": "chat", "gen_ai_request_model": "scripted-demo"}
    assert value(found, f"{CALL}_count", **labels) == 2
    assert value(found, f"{CALL}_bucket", le="+Inf", **labels) == 2
    assert value(found, "gen_ai_client_operation_time_to_first_chunk_seconds_count", **labels) == 1, "only one of them was a stream"
    rows = server.sql("SELECT sum(input_tokens) AS input, sum(output_tokens) AS output, sum(duration_ms) AS ms FROM calls")
    for kind in ["input", "output"]:
        assert value(found, "gen_ai_client_token_usage_sum", gen_ai_token_type=kind) == rows[0][kind] > 0
    assert value(found, f"{CALL}_sum") == pytest.approx(rows[0]["ms"] / 1000)
    exemplars = [sample.exemplar for sample in found if sample.name == f"{CALL}_bucket" and sample.exemplar]
    calls = {row["call_id"] for row in server.sql("SELECT call_id FROM calls")}
    assert exemplars and {exemplar.labels["call_id"] for exemplar in exemplars} <= calls
    assert all(set(exemplar.labels) == {"call_id"} and float(exemplar.timestamp) > 1.7e9 for exemplar in exemplars)
    [size] = {row["n"] for row in server.sql("SELECT count(*) AS n FROM records WHERE kind IN ('inference.request', 'inference.response')")}
    assert value(found, "testimony_records_total", producer="gateway") == size == 4
    assert value(found, "testimony_calls_open") == 0
    assert value(found, "testimony_search_unindexed_records") == value(found, "testimony_log_records") >= 4


def test_calls_told_through_another_door_count_alike_and_a_restart_begins_anew(serve, scripted):
    server = serve(scripted)
    told = {
        "kind": "inference.response",
        "outcome": "completed",
        "source": {"service": "bot", "environment": "staging"},
        "actor": {"type": "user", "id": "alice"},
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gemma",
            "gen_ai.conversation.id": "a conversation",
            "gen_ai.usage.input_tokens": 24,
            "testimony.duration_ms": 1500,
        },
        "content": {"gen_ai.output.messages": "twenty-four words"},
    }
    status, _, text = http(f"{server.api}/api/v1/records", json.dumps([told, told]).encode())
    assert status == 200, text
    labels = {"service": "bot", "environment": "staging", "producer": "records", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gemma"}
    found = samples(server)
    assert (value(found, f"{CALL}_count", **labels), value(found, f"{CALL}_sum", **labels)) == (2, 3.0)
    assert value(found, f"{CALL}_bucket", le="1.28", **labels) == 0 and value(found, f"{CALL}_bucket", le="2.56", **labels) == 2
    text = scrape(server)[1]
    assert not [said for said in ["alice", "a conversation", "twenty-four"] if said in text]
    before = value(found, "testimony_log_records")
    server.kill()
    after = samples(serve(scripted))
    assert value(after, f"{CALL}_count") == 0 and value(after, "testimony_log_records") == before


def test_made_up_names_take_nobodys_place_and_refusals_are_counted(server):
    for nth in range(100):
        record = {"kind": "inference.response", "outcome": "failed", "attributes": {"gen_ai.request.model": f"made-up-{nth}", "testimony.duration_ms": 1}}
        assert http(f"{server.api}/api/v1/records", json.dumps(record).encode())[0] == 200
    assert http(f"{server.api}/api/v1/search", headers={"authorization": "Bearer tsm_nonsense"})[0] == 401
    found = samples(server)
    assert value(found, f"{CALL}_count", gen_ai_request_model="other", error_type="failed") == 100
    assert value(found, "testimony_auth_events_total", event="refused") == 1
    assert "made-up" not in scrape(server)[1]


def test_the_form_is_what_was_asked_for(server):
    server.post(chat("Hello"))
    media, text = scrape(server, {})
    assert media == "text/plain; version=0.0.4; charset=utf-8" and "# EOF" not in text and "call_id" not in text
    names = {family.name for family in text_format(text)}
    assert {CALL, "gen_ai_client_token_usage", "testimony_records"} <= names
    media, text = scrape(server)
    assert media == "application/openmetrics-text; version=1.0.0; charset=utf-8" and text.endswith("# EOF\n")
    assert {family.name for family in open_metrics(text)} == names - {"testimony_build_info"} | {"testimony_build"}


def test_a_collector_is_sent_the_same_by_otlp(serve, scripted, web, tmp_path):
    settings = tmp_path / "testimony.toml"
    settings.write_text(f"[metrics]\notlp = '{web.url('/v1/metrics')}'\notlp_token = 'secret'\notlp_every_s = 1\n")
    sent = []

    def collector(request):
        # By its own schema, which refuses what it does not know.
        sent.append((request.headers, Parse(request.sent, ExportMetricsServiceRequest())))
        return (503, {}, b"") if len(sent) == 1 else (200, {}, b"{}")

    web.pages["/v1/metrics"] = collector
    server = serve(scripted, "--config", settings)
    _, headers, _ = server.post(chat("Hello"))
    scraped = samples(server)

    def told():
        metrics = {metric.name: metric for metric in sent[-1][1].resource_metrics[0].scope_metrics[0].metrics} if sent else {}
        return metrics if "gen_ai.client.operation.duration" in metrics else None

    metrics = wait_for(told, 30)
    assert len(sent) >= 2, "the first was refused, and another came"
    assert sent[-1][0]["authorization"] == "Bearer secret" and sent[-1][0]["content-type"] == "application/json"
    duration = metrics["gen_ai.client.operation.duration"]
    [point] = duration.histogram.data_points
    attributes = {one.key: one.value.string_value for one in point.attributes}
    assert attributes == {"environment": "default", "service": "default", "producer": "gateway", "gen_ai.operation.name": "chat", "gen_ai.request.model": "scripted-demo", "gen_ai.response.model": "scripted-demo"}
    assert (duration.unit, point.count, sum(point.bucket_counts), len(point.bucket_counts)) == ("s", 1, 1, len(point.explicit_bounds) + 1)
    assert point.sum == value(scraped, f"{CALL}_sum") and 0 < point.start_time_unix_nano < point.time_unix_nano
    assert [(one.key, one.value.string_value) for one in point.exemplars[0].filtered_attributes] == [("call_id", headers["testimony-call"])]
    records = metrics["testimony.records"].sum
    assert records.is_monotonic and sum(point.as_int for point in records.data_points if ("producer", "gateway") in {(one.key, one.value.string_value) for one in point.attributes}) == 2
    assert metrics["testimony.wal"].unit == "By" and metrics["testimony.wal"].gauge.data_points[0].as_int > 0
    assert server.errors().count("the metrics cannot be sent") == 1


PROMETHEUS = pytest.mark.skipif(not shutil.which("prometheus") or not shutil.which("promtool"), reason="needs Prometheus (Debian: prometheus)")


@PROMETHEUS
def test_promtool_finds_nothing_to_say(server):
    server.post(chat("Hello"))
    text = scrape(server, {})[1]
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


class Prometheus:
    """A real one, on a port that the kernel chose."""

    def __init__(self, folder, config):
        (folder / "prometheus.yml").write_text(config)
        arguments = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb", "--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage"]
        self.log = open(folder / "prometheus.log", "wb")
        self.process = subprocess.Popen(arguments, stdout=self.log, stderr=self.log)
        self.address = f"http://127.0.0.1:{wait_for(self.port, 60)}"
        wait_for(self.is_ready, 60)

    def port(self):
        """Where it listens, by the kernel's tables: it does not say itself."""
        assert self.process.poll() is None, pathlib.Path(self.log.name).read_text()
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        sockets = {match[1] for fd in (folder / "fd").iterdir() if (match := re.match(r"socket:\[(\d+)\]", os.readlink(fd) if fd.is_symlink() else ""))}
        rows = [line.split() for line in (folder / "net/tcp").read_text().splitlines()[1:]]
        ports = [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in sockets]
        return ports and ports[0]

    def is_ready(self):
        return http(f"{self.address}/-/ready")[0] == 200

    def ask(self, path, **query):
        status, _, text = http(f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        answer = json.loads(text)
        assert (status, answer["status"]) == (200, "success"), (query, text)
        return answer["data"]

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def prometheus(tmp_path):
    running = []

    def start(config):
        running.append(Prometheus(tmp_path, config))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def make(server, role, headers=None):
    status, _, text = http(f"{server.api}/api/v1/keys", json.dumps({"name": role, "role": role, "scope": []}).encode(), headers)
    assert status == 201, text
    return json.loads(text)["secret"]


@PROMETHEUS
def test_a_real_prometheus_scrapes_with_the_documented_settings_and_answers_the_dashboard(serve, scripted, tmp_path, prometheus):
    server = serve(scripted)
    caller, monitor = make(server, "caller"), make(server, "monitor")
    server.stop()
    server = serve(scripted)
    assert http(f"{server.api}/metrics")[0] == 401
    assert http(f"{server.api}/api/v1/search", headers=bearer(monitor))[0] == 403, "it reads figures, and no record"
    status, headers, _ = server.post(chat("Hello"), bearer(caller))
    assert status == 200
    (tmp_path / "key").write_text(monitor)
    changes = {"127.0.0.1:4140": server.api.removeprefix("http://"), "/etc/prometheus/testimony.key": str(tmp_path / "key"), "scrape_interval: 15s": "scrape_interval: 1s"}
    asked = prometheus(replaced(block("yaml"), changes))
    [target] = wait_for(lambda: [one for one in asked.ask("targets")["activeTargets"] if one["health"] != "unknown"], 60)
    assert (target["health"], target["lastError"]) == ("up", "")

    [counted] = wait_for(lambda: asked.ask("query", query=f"{CALL}_count")["result"], 60)
    labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "scripted-demo", "producer": "gateway"}
    assert labels.items() <= counted["metric"].items() and counted["value"][1] == "1"
    seen = wait_for(lambda: asked.ask("query_exemplars", query=f"{CALL}_bucket", start="0", end="4000000000"), 60)
    assert {exemplar["labels"]["call_id"] for series in seen for exemplar in series["exemplars"]} == {headers["testimony-call"]}

    told = json.loads((ROOT / "deploy/grafana/testimony.json").read_text())
    expressions = [target["expr"] for panel in told["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 30
    found = set()
    for expression in expressions:
        filled = expression.replace("$__rate_interval", "1m").replace('"$instance"', '".+"').replace('"$environment"', '".*"').replace('"$service"', '".*"')
        assert "$" not in filled
        if asked.ask("query", query=filled)["result"]:
            found.add(expression)
    assert [one for one in found if one.startswith("testimony_log_records")] and len(found) > 15, sorted(found)
    for alert in re.findall(r"^\| `([^`]+)`[^|]* \|", (ROOT / "docs/metrics.md").read_text().split("## Worth an alert")[1], re.M):
        asked.ask("query", query=alert)
