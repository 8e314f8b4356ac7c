"""Has an instrumentation watch one call of the `openai` package to a server that always says the same, and writes what it would export:
`senders.py openai_v2|openinference|openllmetry NAME` writes NAME.traces.binpb, and NAME.logs.binpb where there are log records.

openai_v2: openai<3 httpx opentelemetry-instrumentation-openai-v2==2.1b0, with opentelemetry-{api,sdk,exporter-otlp-proto-common}==1.37.0 and
opentelemetry-{instrumentation,semantic-conventions}==0.58b0. The others: openai, openinference-instrumentation-openai==0.1.66 or
opentelemetry-instrumentation-openai==0.62.4, with opentelemetry-{sdk,exporter-otlp-proto-common}==1.45.2."""
import http.server
import json
import os
import sys
import threading

os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true"

import openai
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk import _logs
from opentelemetry.sdk._logs import export as log_export
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
MESSAGE = {"role": "assistant", "content": "Let me see", "tool_calls": [CALL]}
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gemma-3-270m",
    "choices": [{"index": 0, "finish_reason": "tool_calls", "message": MESSAGE}],
    "usage": {"prompt_tokens": 24, "completion_tokens": 7, "total_tokens": 31},
}


class Server(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


sender, name = sys.argv[1:]
resource = Resource({"service.name": "support-bot", "deployment.environment": "staging"})
spans, traces = InMemorySpanExporter(), TracerProvider(resource=resource)
traces.add_span_processor(SimpleSpanProcessor(spans))
records = (getattr(log_export, "InMemoryLogRecordExporter", None) or log_export.InMemoryLogExporter)()
logs = _logs.LoggerProvider(resource=resource)
logs.add_log_record_processor(log_export.SimpleLogRecordProcessor(records))
if sender == "openai_v2":
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
    from opentelemetry.sdk._events import EventLoggerProvider

    OpenAIInstrumentor().instrument(tracer_provider=traces, event_logger_provider=EventLoggerProvider(logs))
elif sender == "openinference":
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=traces)
else:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=traces)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_address[1]}/v1", api_key="sk-CANARY")
client.chat.completions.create(
    model="support-bot", temperature=0.5, max_tokens=50, seed=7, user="alice",
    messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Bonn?"}],
    tools=[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    extra_headers={"X-Api-Key": "CANARY"},
)
with open(f"{name}.traces.binpb", "wb") as file:
    file.write(encode_spans(spans.get_finished_spans()).SerializeToString())
if records.get_finished_logs():
    with open(f"{name}.logs.binpb", "wb") as file:
        file.write(encode_logs(records.get_finished_logs()).SerializeToString())
