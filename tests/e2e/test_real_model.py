"""The whole way with a real small model (llama.cpp, Gemma 3 270M) behind the gateway."""

import json
import os
import urllib.error
import urllib.request

import openai
import pytest
from conftest import run

MODEL_SERVER = os.environ.get("SLM_URL", "http://127.0.0.1:8081/v1")


@pytest.fixture(scope="module")
def model_server():
    try:
        urllib.request.urlopen(f"{MODEL_SERVER}/models", timeout=5).read()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"no real model at {MODEL_SERVER}: {error}")
    return MODEL_SERVER


def test_a_real_model_is_recorded_searched_shown_and_verified(serve, model_server):
    server = serve(model_server, "--environment", "staging")
    client = openai.OpenAI(base_url=f"{server.models}/v1", api_key="none", max_retries=0, timeout=120)
    model = client.models.list().data[0].id
    question = [{"role": "user", "content": "The capital of France is"}]
    whole = client.chat.completions.create(model=model, messages=question, max_tokens=12, temperature=0, user="alice")
    stream = client.chat.completions.create(model=model, messages=question, max_tokens=12, temperature=0, user="alice", stream=True)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    rows = server.sql("SELECT call_id, output, input_tokens, max_tokens, outcome, environment FROM calls WHERE operation = 'chat' ORDER BY time")
    assert [json.loads(row["output"])[0].get("content", "") for row in rows] == [whole.choices[0].message.content, streamed]
    assert rows[0]["input_tokens"] == whole.usage.prompt_tokens
    assert {(row["max_tokens"], row["outcome"], row["environment"]) for row in rows} == {(12, "completed", "staging")}
    found = run("search", 'model:gemma* env:staging type:inference.request "capital of france"', "--since", "7d", "--server", server.api).stdout
    assert len(found.splitlines()) == 2
    assert "The capital of France is" in run("show", rows[0]["call_id"], "--server", server.api).stdout


def test_an_error_of_a_real_model_server_goes_on_as_it_is(serve, model_server):
    server = serve(model_server)
    client = openai.OpenAI(base_url=f"{server.models}/v1", api_key="none", max_retries=0, timeout=120)
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model="gemma-3-270m", messages=[{"role": "user", "content": 7}])
    [row] = server.sql("SELECT outcome, status FROM calls")
    assert row["outcome"] == "failed" and row["status"] >= 400


def test_the_demonstration_with_a_real_model(model_server):
    done = run("demo", "--exit", "--upstream", model_server)
    assert "verified\n" in done.stdout
