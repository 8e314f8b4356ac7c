"""Who may do what: keys, roles, scopes and tokens, and what the log says of it."""

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from conftest import chat, http, run, wait_for
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ROLES = ["ingest", "caller", "monitor", "reader", "auditor", "operator", "admin"]
SEARCH = {"reader", "auditor", "operator", "admin"}
# Every route of the main listener, an instance of it, and the roles that pass. 404 and 400 are answers of whoever has passed.
ROUTES = [
    ("GET", "/livez", None, set(ROLES) | {"nobody"}),
    ("GET", "/readyz", None, set(ROLES) | {"nobody"}),
    ("GET", "/version", None, set(ROLES) | {"nobody"}),
    ("GET", "/openapi.json", None, set(ROLES) | {"nobody"}),
    ("GET", "/metrics", None, {"monitor", "auditor", "operator", "admin"}),
    ("GET", "/api/v1/log", None, SEARCH),
    ("GET", "/api/v1/search?q=x", None, SEARCH),
    ("GET", "/api/v1/fields", None, SEARCH),
    ("GET", "/api/v1/fields/model/values?prefix=x", None, SEARCH),
    ("GET", "/api/v1/searches", None, SEARCH),
    ("GET", "/api/v1/searches/none", None, SEARCH),
    ("PUT", "/api/v1/searches/none", {"query": ")"}, {"operator", "admin"}),
    ("DELETE", "/api/v1/searches/none", None, {"operator", "admin"}),
    ("GET", "/api/v1/searches/none/history", None, SEARCH),
    ("GET", "/api/v1/routes", None, SEARCH),
    ("GET", "/api/v1/routes/none", None, SEARCH),
    ("GET", "/api/v1/routes/none/history", None, SEARCH),
    ("POST", "/api/v1/routes/none/promote", {"version": "none"}, {"operator", "admin"}),
    ("POST", "/api/v1/routes/none/rollback", {}, {"operator", "admin"}),
    ("POST", "/api/v1/control/none/revert", {}, {"operator", "admin"}),
    ("POST", "/api/v1/sql", {"query": "SELECT 1"}, SEARCH),
    ("GET", "/api/v1/queries", None, SEARCH),
    ("DELETE", "/api/v1/queries/none", None, SEARCH),
    ("GET", "/api/v1/calls/01a208f8-ef10-7cbd-8b00-d5608311e505", None, SEARCH),
    ("POST", "/api/v1/records", {"kind": "system"}, {"ingest", "admin"}),
    ("POST", "/api/v1/forward/example.com/node", {}, {"ingest", "admin"}),
    ("POST", "/v1/traces", {"resourceSpans": []}, {"ingest", "admin"}),
    ("POST", "/v1/logs", {"resourceLogs": []}, {"ingest", "admin"}),
    ("POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", None, {"ingest", "admin"}),
    ("POST", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", None, {"ingest", "admin"}),
    ("POST", "/ingest/kubernetes", {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": []}, {"ingest", "admin"}),
    ("POST", "/ingest/opa/logs", [], {"ingest", "admin"}),
    ("POST", "/ingest/opa/logs/part", [], {"ingest", "admin"}),
    ("POST", "/ingest/cloudevents", {}, {"ingest", "admin"}),
    ("GET", "/api/v1/records/01a208f8-ef10-7cbd-8b00-d5608311e505", None, SEARCH),
    ("GET", "/api/v1/records/01a208f8-ef10-7cbd-8b00-d5608311e505/proof", None, SEARCH),
    ("GET", "/api/v1/tail?q=)", None, SEARCH),
    ("GET", "/api/v1/keys", None, {"admin"}),
    ("POST", "/api/v1/keys", {"name": "", "role": "reader"}, {"admin"}),
    ("DELETE", "/api/v1/keys/none", None, {"admin"}),
    ("GET", "/login", None, set(ROLES) | {"nobody"}),
    ("GET", "/login/oidc", None, set(ROLES) | {"nobody"}),
    ("GET", "/login/callback", None, set(ROLES) | {"nobody"}),
    ("POST", "/api/v1/sessions", {}, set(ROLES) | {"nobody"}),
    ("POST", "/api/v1/sessions/links", {}, set(ROLES)),
    ("GET", "/api/v1/sessions/current", None, set(ROLES)),
    ("DELETE", "/api/v1/sessions/current", None, set(ROLES)),
    ("GET", "/log/checkpoint", None, SEARCH),
    ("GET", "/log/tile/0/000.p/1", None, SEARCH),
    ("POST", "/witness/add-checkpoint", {}, set(ROLES) | {"nobody"}),
    ("GET", "/witness/checkpoint?origin=x", None, set(ROLES) | {"nobody"}),
]


def bearer(secret):
    return {"authorization": f"Bearer {secret}"} if secret else {}


def ask(server, method, path, body=None, secret=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **bearer(secret)}
    request = urllib.request.Request(f"{server.api}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def make(server, name, role, scope=(), secret=None, **more):
    status, _, text = ask(server, "POST", "/api/v1/keys", {"name": name, "role": role, "scope": list(scope), **more}, secret)
    assert status == 201, text
    return json.loads(text)


@pytest.fixture
def closed(serve, scripted, tmp_path):
    """A server that lets in nobody without a key, and the secret of its administrator."""
    first = serve(scripted, data=tmp_path / "data")
    admin = make(first, "root", "admin")["secret"]
    first.stop()
    server = serve(scripted, data=tmp_path / "data")
    return server, admin


def rows(server, query, secret):
    status, _, text = ask(server, "POST", "/api/v1/sql?format=jsonl", {"query": query}, secret)
    assert status == 200, text
    return [json.loads(line) for line in text.splitlines()]


# In parts, each with a server of its own: so many failures from one address would be slowed down.
@pytest.mark.parametrize("part", range(3))
def test_every_route_lets_in_those_roles_and_nobody_else(closed, part):
    server, admin = closed
    described = json.loads(ask(server, "GET", "/openapi.json")[2])["paths"]
    assert sum(len(methods) for methods in described.values()) == len(ROUTES), "a route is missing from this table"
    secrets = {role: make(server, role, role, secret=admin)["secret"] for role in ROLES}
    expired = make(server, "old", "admin", secret=admin, expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1)))["secret"]
    revoked = make(server, "gone", "admin", secret=admin)
    ask(server, "DELETE", f"/api/v1/keys/{revoked['id']}", secret=admin)
    elsewhere = make(server, "elsewhere", "admin", ["env=nowhere"], secret=admin)["secret"]
    time.sleep(1.1)
    for method, path, body, allowed in ROUTES[part::3]:
        for role in ROLES:
            status = ask(server, method, path, body, secrets[role])[0]
            assert (status not in (401, 403)) == (role in allowed), f"{role} {method} {path}: {status}"
        status, headers, text = ask(server, method, path, body)
        assert (status == 401) == ("nobody" not in allowed), f"nobody {method} {path}: {status}"
        if status == 401:
            assert headers["www-authenticate"].startswith("Bearer") and headers["content-type"] == "application/problem+json"
    # Each of these on a few routes only: so many failures from one address would be slowed down.
    for secret in (expired, revoked["secret"], "tsm_" + "0" * 58, secrets["admin"][:-1]):
        status, _, text = ask(server, "GET", "/api/v1/log", secret=secret)
        assert status in (401, 429) and "expired" not in text and "revoked" not in text
    # A scope that leaves something out does not do for what is about everything.
    assert ask(server, "GET", "/api/v1/keys", secret=elsewhere)[0] == 403
    assert ask(server, "GET", "/log/checkpoint", secret=elsewhere)[0] == 403
    assert ask(server, "GET", "/metrics", secret=elsewhere)[0] == 403
    assert ask(server, "GET", "/api/v1/search", secret=elsewhere)[0] == 200


def test_whoever_is_on_this_machine_needs_no_key_until_there_is_one(serve, scripted, tmp_path):
    server = serve(scripted)
    assert "whoever is on this machine is admin" in server.said
    assert ask(server, "GET", "/api/v1/search")[0] == 200
    # A proxy on this machine speaks for others.
    assert http(f"{server.api}/api/v1/search", headers={"x-forwarded-for": "10.0.0.8"})[0] == 401
    secret = make(server, "root", "admin")["secret"]
    server.stop()
    server = serve(scripted)
    assert "with a key or token" in server.said
    assert ask(server, "GET", "/api/v1/search")[0] == 401
    assert ask(server, "GET", "/api/v1/search", secret=secret)[0] == 200
    status, headers, text = server.post(chat("hi"))
    assert status == 401 and json.loads(text)["error"]["code"] == "invalid_api_key"
    server.stop()
    off = serve(scripted, "--config", config(tmp_path, 'access = { anonymous = "caller" }'))
    assert off.post(chat("hi"))[0] == 200
    assert ask(off, "GET", "/api/v1/search")[0] == 403


def config(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_a_caller_is_known_by_its_key_and_the_key_stays_here(closed):
    server, admin = closed
    secret = make(server, "bot", "caller", secret=admin)["secret"]
    status, headers, _ = server.post(chat("hello", user="alice"), bearer(secret))
    assert status == 200
    [row] = rows(server, f"SELECT actor_id, actor_type, actor_auth, attributes['user.id'] AS user FROM records WHERE call_id = '{headers['testimony-call']}' AND kind = 'inference.request'", admin)
    assert row == {"actor_id": "bot", "actor_type": "service", "actor_auth": "api_key", "user": "alice"}
    for header in ("x-api-key", "api-key"):
        assert server.post(chat("hello"), {header: secret})[0] == 200
    assert server.post(chat("hello"), {"x-api-key": secret, "authorization": f"Bearer {admin}"})[0] == 401
    assert server.post(chat("hello"), bearer(make(server, "r", "reader", secret=admin)["secret"]))[0] == 403
    server.stop()
    files = [path for path in server.data.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert secret not in server.errors() and secret not in server.said


def test_a_caller_has_the_models_of_its_scope(closed):
    server, admin = closed
    secret = make(server, "bot", "caller", ["model=scripted-demo"], secret=admin)["secret"]
    assert server.post(chat("hello"), bearer(secret))[0] == 200
    status, headers, text = server.post({**chat("hello"), "model": "scripted-other"}, bearer(secret))
    error = json.loads(text)["error"]
    assert (status, error["code"], error["param"]) == (403, "permission_denied", "model")
    [row] = rows(server, f"SELECT kind, outcome, decision, actor_id FROM records WHERE call_id = '{headers['testimony-call']}'", admin)
    assert row == {"kind": "inference.request", "outcome": "denied", "decision": "deny", "actor_id": "bot"}


def test_a_reader_sees_the_rows_of_its_scope_whatever_it_asks(closed):
    server, admin = closed
    for environment in ("staging", "production"):
        for n in range(3):
            record = {"kind": "inference.request", "source": {"environment": environment}, "attributes": {"gen_ai.request.model": "m", "n": n}, "content": {"gen_ai.input.messages": f"{environment}-secret-{n}"}}
            assert ask(server, "POST", "/api/v1/records", record, admin)[0] == 200
    secret = make(server, "r", "reader", ["env=staging"], secret=admin)["secret"]
    statements = [
        "SELECT * FROM records",
        "SELECT * FROM calls",
        "SELECT count(*) AS n FROM records",
        "SELECT input FROM records WHERE environment = 'production' OR 1 = 1",
        "SELECT a.input FROM records a CROSS JOIN records b",
        "SELECT (SELECT max(input) FROM records) AS x",
        "WITH x AS (SELECT * FROM records) SELECT * FROM x UNION ALL SELECT * FROM x",
        "SELECT min(input) AS lo, max(input) AS hi FROM records",
        "SELECT input FROM records WHERE CAST(input AS INT) = 1",
        "SELECT input FROM records WHERE 1 / (CASE WHEN environment = 'production' THEN 0 ELSE 1 END) = 1",
        "SELECT * FROM records ORDER BY environment LIMIT 1",
        "SELECT DISTINCT environment FROM records",
        "EXPLAIN SELECT * FROM records",
        "EXPLAIN ANALYZE SELECT * FROM records WHERE environment = 'production'",
        "SELECT * FROM information_schema.tables",
    ]
    for statement in statements:
        for shape in ("json", "csv"):
            text = ask(server, "POST", f"/api/v1/sql?format={shape}", {"query": statement}, secret)[2]
            assert "production" not in text.replace(statement, "") and "key_made" not in text, f"{statement}: {text}"
    assert rows(server, "SELECT count(*) AS n FROM records", secret) == [{"n": 3}]
    for query in ("", "env:production", "NOT env:staging", '"production-secret"', "type:auth OR type:read OR type:control", "%7C stats count() by env, type", "%7C top env"):
        text = ask(server, "GET", f"/api/v1/search?format=jsonl&q={query.replace(' ', '%20').replace(chr(34), '%22')}", None, secret)[2]
        assert "production" not in text and '"kind":"auth"' not in text and '"kind":"read"' not in text, query
    assert "production" not in ask(server, "GET", "/api/v1/fields/env/values", None, secret)[2]
    hidden = rows(server, "SELECT id FROM records WHERE environment = 'production' AND kind = 'inference.request'", admin)[0]["id"]
    assert ask(server, "GET", f"/api/v1/records/{hidden}", None, secret)[0] == 404
    assert ask(server, "GET", f"/api/v1/records/{hidden}/proof", None, secret)[0] == 404


def test_records_come_in_only_where_their_sender_may_speak(closed):
    server, admin = closed
    secret = make(server, "edge", "ingest", ["env=staging"], secret=admin)["secret"]
    sent = [{"kind": "system", "source": {"environment": name}} for name in ("staging", "production")]
    status, _, text = ask(server, "POST", "/api/v1/records", sent, secret)
    answer = json.loads(text)
    assert status == 200 and [receipt["record"] for receipt in answer["receipts"]] == [0]
    assert [rejected["record"] for rejected in answer["rejected"]] == [1] and "scope" in answer["rejected"][0]["error"]


def test_every_reading_and_refusal_and_change_of_a_key_is_in_the_log(closed):
    server, admin = closed
    made = make(server, "auditor", "auditor", secret=admin)
    ask(server, "GET", "/api/v1/search?q=user:alice&since=7d", None, made["secret"])
    ask(server, "GET", "/api/v1/search?q=user:alice%20%7C%20top%20model&since=7d", None, made["secret"])
    ask(server, "GET", "/api/v1/fields/user/values?prefix=ali", None, made["secret"])
    _, headers, _ = server.post(chat("hello"), bearer(admin))
    call = headers["testimony-call"]
    record = json.loads(ask(server, "GET", f"/api/v1/calls/{call}", None, made["secret"])[2])["records"][0]["id"]
    assert ask(server, "GET", f"/api/v1/records/{record}/proof?disclose=input", None, made["secret"])[0] == 200
    ask(server, "GET", "/api/v1/keys", None, made["secret"])
    ask(server, "GET", "/api/v1/log", None, "tsm_nonsense")
    ask(server, "DELETE", f"/api/v1/keys/{made['id']}", None, admin)
    reads = rows(server, "SELECT id, attributes['testimony.read.action'] AS action, attributes['testimony.read.rows'] AS n FROM records WHERE kind = 'read' AND actor_id = 'auditor' ORDER BY log_index", admin)
    assert [(row["action"], row["n"]) for row in reads] == [("search", "0"), ("search", "0"), ("values", "0"), ("show", "2"), ("prove", "1")]
    for read, said in zip(reads, ("user:alice since:7d", "user:alice since:7d | top model", "user:ali*")):
        query = json.loads(ask(server, "GET", f"/api/v1/records/{read['id']}", None, admin)[2])
        assert query["content"]["testimony.read.query"] == said
    auth = rows(server, "SELECT actor_id, actor_auth, outcome, error_type, attributes['testimony.auth.event'] AS event, attributes['testimony.key.name'] AS key FROM records WHERE kind = 'auth' AND attributes['testimony.auth.event'] != 'accepted' ORDER BY log_index DESC LIMIT 4", admin)
    assert [(row["event"], row.get("error_type"), row.get("key")) for row in reversed(auth)] == [
        ("key_made", None, "auditor"),
        ("refused", "role", None),
        ("refused", "key_malformed", None),
        ("key_revoked", None, "auditor"),
    ]
    assert auth[2]["actor_id"] == "auditor" and auth[1]["actor_auth"] == "refused" and auth[0]["actor_id"] == "root"


def test_failures_are_slowed_down_and_stop_filling_the_log(closed):
    server, admin = closed
    statuses = [ask(server, "GET", "/api/v1/log", None, f"tsm_wrong{n}")[0] for n in range(40)]
    assert statuses[:20] == [401] * 20 and 429 in statuses[20:]
    assert rows(server, "SELECT count(*) AS n FROM records WHERE kind = 'auth' AND outcome = 'denied'", admin)[0]["n"] == statuses.count(401)


def test_keys_by_the_command_line_on_a_running_and_a_stopped_server(serve, scripted, tmp_path):
    server = serve(scripted)
    said = run("key", "create", "--name", "ci", "--role", "reader", "--scope", "env=staging,model=gemma*", "--expires", "90d", "--server", server.api).stdout
    secret = said.split()[0]
    assert secret.startswith("tsm_") and "env=staging,model=gemma*" in said
    server.stop()
    admin = run("key", "create", "--name", "root", "--role", "admin", "--data", server.data).stdout.split()[0]
    listed = run("key", "list", "--data", server.data).stdout
    assert "ci" in listed and "root" in listed and secret not in listed
    server = serve(scripted)
    assert run("search", "", "--server", server.api, "--api-key", secret).returncode == 0
    assert run("key", "list", "--server", server.api, "--api-key", secret, check=False).returncode == 1
    assert run("key", "revoke", "ci", "--server", server.api, "--api-key", admin).returncode == 0
    assert run("search", "", "--server", server.api, "--api-key", secret, check=False).returncode == 1
    assert run("key", "revoke", "ci", "--server", server.api, "--api-key", admin, check=False).returncode == 4
    events = rows(server, "SELECT actor_auth, attributes['testimony.auth.event'] AS event FROM records WHERE kind = 'auth' AND outcome = 'completed' AND attributes['testimony.auth.event'] != 'accepted' ORDER BY log_index", admin)
    assert [(row["actor_auth"], row["event"]) for row in events] == [("anonymous", "key_made"), ("os", "key_made"), ("api_key", "key_revoked")]


class Provider:
    """An identity provider: RSA keys in a JWK set, and tokens signed with them."""

    def __init__(self, path):
        self.path, self.keys = path, {}

    def add(self, kid):
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.publish()

    def publish(self):
        number = lambda n: encoded(n.to_bytes((n.bit_length() + 7) // 8, "big"))
        public = {kid: key.public_key().public_numbers() for kid, key in self.keys.items()}
        keys = [{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": number(key.n), "e": number(key.e)} for kid, key in public.items()]
        self.path.write_text(json.dumps({"keys": keys}))

    def token(self, kid, **claims):
        claims = {"iss": "https://idp.example", "aud": "testimony", "sub": "alice", "groups": ["support"], "exp": int(time.time()) + 600, **claims}
        signed = f"{encoded(json.dumps({'alg': 'RS256', 'kid': kid}).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{signed}.{encoded(self.keys[kid].sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_tokens_of_an_issuer_are_taken_and_its_keys_may_change(serve, scripted, tmp_path):
    provider = Provider(tmp_path / "jwks.json")
    provider.add("one")
    settings = f"""[[token]]
issuer = "https://idp.example"
audiences = ["testimony"]
jwks_file = "{provider.path}"
groups_claim = "groups"
grant = [{{ group = "support", role = "reader", scope = "env=default" }}, {{ group = "support", role = "caller" }}]
"""
    server = serve(scripted, "--config", config(tmp_path, settings))
    good = provider.token("one")
    wait_for(lambda: ask(server, "GET", "/api/v1/search", None, good)[0] == 200)
    _, headers, _ = server.post(chat("hello"), bearer(good))
    call = json.loads(ask(server, "GET", f"/api/v1/calls/{headers['testimony-call']}", None, good)[2])["records"][0]
    assert (call["actor_id"], call["actor_type"], call["actor_auth"]) == ("alice", "user", "jwt")
    header = encoded(json.dumps({"alg": "none"}).encode())
    none = f"{header}.{good.split('.')[1]}."
    for bad in (
        provider.token("one", aud="another"),
        provider.token("one", iss="https://other.example"),
        provider.token("one", exp=int(time.time()) - 600),
        provider.token("one", nbf=int(time.time()) + 600),
        none,
        good[:-2] + ("AA" if not good.endswith("AA") else "BB"),
    ):
        assert ask(server, "GET", "/api/v1/search", None, bad)[0] == 401
    assert ask(server, "GET", "/api/v1/search", None, provider.token("one", groups=[]))[0] == 403
    provider.add("two")
    new = provider.token("two")
    # The first token that names an unknown key has the keys fetched again; that happens at most once a minute.
    wait_for(lambda: ask(server, "GET", "/api/v1/search", None, new)[0] == 200, 75, 1)
