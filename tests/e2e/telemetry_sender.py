"""A program that calls a model with the openai client and tells of it by OpenTelemetry, as many do: which instrumentation, which protocol, the
server of telemetry, the model server."""

import sys

import openai
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

which, protocol, server, model = sys.argv[1:]
resource = Resource.create({"service.name": f"sender-{which}", "deployment.environment.name": "staging"})
provider = TracerProvider(resource=resource)
logs = None
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    spans, logs = OTLPSpanExporter(endpoint=server, insecure=True), OTLPLogExporter(endpoint=server, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    spans = OTLPSpanExporter(endpoint=f"{server}/v1/traces", compression=Compression.Gzip)
    logs = OTLPLogExporter(endpoint=f"{server}/v1/logs", compression=Compression.Gzip)
provider.add_span_processor(BatchSpanProcessor(spans))

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

events = LoggerProvider(resource=resource)
events.add_log_record_processor(BatchLogRecordProcessor(logs))

if which == "openai-v2":
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider, logger_provider=events)
elif which == "openllmetry":
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)
else:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=provider)

client = openai.OpenAI(base_url=model, api_key="sk-canary-0123456789abcdef")
messages = [{"role": "system", "content": "You are short."}, {"role": "user", "content": "[[say hello from the model]]"}]
client.chat.completions.create(model="scripted-demo", messages=messages, temperature=0.5, max_tokens=50)
provider.shutdown()
events.shutdown()
