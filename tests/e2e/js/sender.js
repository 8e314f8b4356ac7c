// A program that calls a model with the openai client and tells of it by OpenTelemetry, as many do: which
// instrumentation, which protocol, the server of telemetry, the model server, the model, "stream" or "whole".
import { OpenAIInstrumentation as OpenInference } from "@arizeai/openinference-instrumentation-openai";
import { OTLPTraceExporter as Grpc } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as Json } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as Protobuf } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { OpenAIInstrumentation as OpenLLMetry } from "@traceloop/instrumentation-openai";
import OpenAI from "openai";

const [which, protocol, server, upstream, model, how] = process.argv.slice(2);
const exporter = {
  protobuf: () => new Protobuf({ url: `${server}/v1/traces`, compression: "gzip" }),
  json: () => new Json({ url: `${server}/v1/traces` }),
  grpc: () => new Grpc({ url: server }),
}[protocol]();
// What the server answers is not told otherwise.
const told = [];
const send = exporter.export.bind(exporter);
exporter.export = (spans, done) => send(spans, (result) => (told.push(result), done(result)));

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": `js-${which}`, "deployment.environment.name": "staging" }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
provider.register();
const instrumentation = which === "openllmetry" ? new OpenLLMetry() : new OpenInference();
instrumentation.setTracerProvider(provider);
instrumentation.manuallyInstrument(OpenAI);

const client = new OpenAI({ baseURL: upstream, apiKey: "sk-canary-0123456789abcdef" });
const answer = await client.chat.completions.create({
  model,
  stream: how === "stream",
  messages: [
    { role: "system", content: "You are short." },
    { role: "user", content: "[[say hello from the model]]" },
  ],
  temperature: 0.5,
  max_tokens: 50,
});
if (how === "stream") for await (const _ of answer);
await provider.shutdown();
if (told.length === 0 || told.some((result) => result.code !== 0)) {
  console.error("not exported:", told);
  process.exit(1);
}
