"""A program that tells of numbered calls by OpenTelemetry until it is killed, and notes the numbers that were acknowledged: the protocol, the
server of telemetry, the file of notes, after how many calls it ends by itself. What an earlier run did not get acknowledged it sends again."""

import os
import pathlib
import sys

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

# So that a kill finds requests half on their way.
LARGE = "x" * 50_000

protocol, server, notes, end = sys.argv[1:]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    real = OTLPSpanExporter(endpoint=server, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    real = OTLPSpanExporter(endpoint=f"{server}/v1/traces")


class Noting(SpanExporter):
    def export(self, spans):
        result = real.export(spans)
        if result is SpanExportResult.SUCCESS:
            os.write(file, "".join(f"{span.attributes['n']}\n" for span in spans).encode())
        return result

    def shutdown(self):
        real.shutdown()


class Numbered(IdGenerator):
    """The same identifiers for the same call in every run."""

    n = 0

    def generate_trace_id(self):
        return self.n + 1

    def generate_span_id(self):
        return self.n + 1


acknowledged = set(pathlib.Path(notes).read_text().split()) if os.path.exists(notes) else set()
file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
numbers = Numbered()
provider = TracerProvider(resource=Resource.create({"service.name": "killed"}), id_generator=numbers, shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(Noting(), max_export_batch_size=7))
tracer = provider.get_tracer("killed")
for n in range(int(end)):
    if str(n) in acknowledged:
        continue
    numbers.n = n
    start = 1_795_425_242_000_000_000 + n * 1000
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "x", "gen_ai.request.model": "m", "n": n, "large": LARGE}
    tracer.start_span("chat m", attributes=attributes, start_time=start).end(start + 500)
    if n % 21 == 20:
        provider.force_flush()
provider.force_flush()
