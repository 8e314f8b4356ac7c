"""Writes each sample here in Protocol Buffers, by the classes that the project OpenTelemetry generates (`pip install opentelemetry-proto`)."""
import base64
import glob
import json

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

IDS = ("traceId", "spanId", "parentSpanId")


def with_base64(value):
    """The JSON mapping of Protocol Buffers wants base64 where OTLP wants hexadecimal digits."""
    if isinstance(value, list):
        return [with_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    turn = lambda name, inner: base64.b64encode(bytes.fromhex(inner)).decode() if name in IDS else with_base64(inner)
    return {name: turn(name, inner) for name, inner in value.items()}


for name in sorted(glob.glob("*.json")):
    with open(name) as file:
        sample = json.load(file)
    request = traces.ExportTraceServiceRequest() if "resourceSpans" in sample else logs.ExportLogsServiceRequest()
    json_format.ParseDict(with_base64(sample), request)
    with open(name.replace(".json", ".binpb"), "wb") as file:
        file.write(request.SerializeToString())
