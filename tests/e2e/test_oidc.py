"""Signing in by an OpenID provider: the whole flow against a little one, and everything that must not sign in."""

import base64
import hashlib
import http.client
import json
import time
import urllib.parse

import pytest
from conftest import run
from test_issuers import Rsa, encoded
from test_sessions import Browser

REFUSALS = "SELECT error_type FROM records WHERE kind = 'auth' AND outcome = 'denied' ORDER BY log_index"
CALLBACK = "/login/callback"


class Provider:
    """An OpenID provider on a web server: discovery, a token endpoint that takes each code once, keys. A person at it says yes at once."""

    def __init__(self, web, **says):
        self.web, self.key, self.codes, self.given, self.asked, self.alter = web, Rsa("one"), {}, 0, [], None
        self.issuer = web.url("/idp")
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": web.url("/idp/authorize"),
            "token_endpoint": web.url("/idp/token"),
            "jwks_uri": web.url("/idp/keys"),
            **says,
        }
        web.put("/idp/.well-known/openid-configuration", json.dumps(document).encode())
        self.publish()
        web.pages["/idp/token"] = self.exchange

    def publish(self):
        self.web.put("/idp/keys", json.dumps({"keys": [self.key.jwk()]}).encode())

    def authorize(self, location):
        """What the person is sent back with."""
        parts = urllib.parse.urlsplit(location)
        asked = dict(urllib.parse.parse_qsl(parts.query))
        assert location.startswith(self.web.url("/idp/authorize?")) and asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        self.given += 1
        code = f"code-{self.given}&"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def exchange(self, request):
        form = dict(urllib.parse.parse_qsl(request.sent.decode()))
        self.asked.append((request.headers, form))
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if not asked or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"content_type": "application/json"}, b'{"error": "invalid_grant"}'
        claims = {"iss": self.issuer, "aud": "testimony", "sub": "alice", "nonce": asked["nonce"], "groups": ["support"], "exp": int(time.time()) + 60}
        token = self.alter(claims) if self.alter else self.token(claims)
        return 200, {"content_type": "application/json"}, json.dumps({"access_token": "x", "token_type": "Bearer", "id_token": token}).encode()

    def token(self, claims, header=(), sign=None):
        message = f"{encoded({'alg': self.key.algorithm, 'kid': self.key.kid, **dict(header)})}.{encoded(claims)}"
        return f"{message}.{encoded((sign or self.key.sign)(message.encode()))}"


class Person(Browser):
    """A browser that follows redirects by hand, and a person in front of it."""

    def __init__(self, server, provider):
        super().__init__(server.api)
        self.provider, self.jar = provider, {}

    def go(self, path):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        connection.request("GET", path, headers={"cookie": cookies, "sec-fetch-site": "cross-site"} if cookies else {})
        answer = connection.getresponse()
        text = answer.read().decode()
        for cookie in answer.headers.get_all("set-cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            assert "HttpOnly" in cookie and ("SameSite=Lax" if name.endswith("oidc") else "SameSite=Strict") in cookie
            if "Max-Age=0" in cookie:
                self.jar.pop(name, None)
            else:
                self.jar[name] = value
        connection.close()
        self.location = answer.headers["location"]
        return answer.status, text, answer.headers

    def begin(self):
        status, text, _ = self.go("/login/oidc")
        assert status == 303, text
        return self.provider.authorize(self.location)

    def come_back(self, back):
        return self.go(f"{CALLBACK}?{urllib.parse.urlencode(back)}")

    def is_signed_in(self):
        if "testimony" not in self.jar:
            return None
        self.cookie = f"testimony={self.jar['testimony']}"
        status, who = self("GET", "/api/v1/sessions/current")
        return who if status == 200 else None


@pytest.fixture
def start(serve, scripted, tmp_path, web):
    """Starts a server that has a provider, and an administrator by key."""

    def start(more="", **says):
        provider = Provider(web, **says)
        settings = tmp_path / "settings.toml"
        settings.write_text(f"""[oidc]
issuer = "{provider.issuer}"
client_id = "testimony"
redirect = "http://log.example/login/callback"
groups_claim = "groups"
grant = [{{ group = "support", role = "auditor" }}]
{more}
""")
        server = serve(scripted, "--config", settings)
        return server, provider, Person(server, provider)

    return start


def refusals(person):
    """What the log says, to an auditor who has signed in."""
    if not person.is_signed_in():
        assert person.come_back(person.begin())[0] == 303
    status, text = person("POST", "/api/v1/sql?format=jsonl", {"query": REFUSALS}, csrf=person.is_signed_in()["csrf"])
    assert status == 200
    return [json.loads(line)["error_type"] for line in text.splitlines()]


def check_page(answer, status=401):
    code, text, headers = answer
    assert code == status and headers["content-type"] == "text/html; charset=utf-8", text
    assert headers["content-security-policy"].startswith("default-src 'none'") and "<h1>Not signed in</h1>" in text
    return text


def test_somebody_signs_in_with_the_roles_of_their_groups(start):
    server, provider, person = start()
    # With a provider, nobody is let in for being here.
    assert person("GET", "/api/v1/search")[0] == 401
    assert '<p id="provider">' in person.go("/login")[1]
    back = person.begin()
    asked = provider.codes[back["code"]]
    assert (asked["client_id"], asked["scope"], asked["redirect_uri"]) == ("testimony", "openid", "http://log.example/login/callback")
    status, _, _ = person.come_back(back)
    assert (status, person.location) == (303, "/login")
    assert set(person.jar) == {"testimony"}, "what was under way is over"
    who = person.is_signed_in()
    assert who["actor"] == {"type": "user", "id": "alice", "groups": ["support"]} and who["grants"] == [{"role": "auditor", "scope": "*"}]
    # It outlives the ID token, which is for the exchange.
    assert who["expires_at"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 11 * 3600))
    [(headers, form)] = provider.asked
    assert form["client_id"] == "testimony" and headers["authorization"] is None
    query = "SELECT actor_id, actor_type, actor_auth, attributes['testimony.session.issuer'] AS issuer FROM records WHERE attributes['testimony.auth.event'] = 'session_opened'"
    status, told = person("POST", "/api/v1/sql?format=jsonl", {"query": query}, csrf=who["csrf"])
    assert json.loads(told) == {"actor_id": "alice", "actor_type": "user", "actor_auth": "session", "issuer": provider.issuer}
    # An ID token is no bearer token.
    assert Browser(server.api)("GET", "/api/v1/search", authorization=f"Bearer {provider.token({'iss': provider.issuer, 'aud': 'testimony', 'sub': 'alice', 'exp': int(time.time()) + 60})}")[0] == 401


def test_a_confidential_client_shows_its_secret_and_tells_nobody_else(start, tmp_path):
    server, provider, person = start('client_secret = "s3cr3t/+"')
    assert person.come_back(person.begin())[0] == 303
    [(headers, form)] = provider.asked
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"testimony:s3cr3t%2F%2B" and "client_id" not in form
    cookie = person.jar["testimony"]
    server.stop()
    for path in [path for path in server.data.rglob("*") if path.is_file()] + [tmp_path / "data.log"]:
        for secret in (b"s3cr3t", form["code"].encode(), form["code_verifier"].encode(), cookie.encode()):
            assert secret not in path.read_bytes(), path


def test_what_is_no_answer_to_this_browsers_question_signs_nobody_in(start):
    _, provider, person = start()
    back = person.begin()
    check_page(person.come_back({**back, "state": back["state"][:-1]}))
    assert "state is another" in check_page(person.come_back({**back, "state": "x"}))
    assert "another issuer" in check_page(person.come_back({**back, "iss": "https://evil.example"}))
    check_page(person.go(f"{CALLBACK}?{urllib.parse.urlencode(back)}&code=another"))
    check_page(person.come_back({"state": back["state"]}))
    assert "access_denied" in check_page(person.come_back({"state": back["state"], "error": "access_denied", "error_description": "<script>alert(1)</script>"}))
    # Somebody else's answer, given to a browser that has begun nothing, or something else.
    stranger = Person(type("Server", (), {"api": person.api}), provider)
    assert "did not begin in this browser" in check_page(stranger.come_back(back))
    stranger.begin()
    check_page(stranger.come_back(back))
    assert provider.asked == [] and not stranger.is_signed_in() and not person.is_signed_in()
    assert person.come_back(back)[0] == 303
    assert refusals(person) == ["oidc_state", "oidc_state", "oidc_issuer", "oidc_malformed", "oidc_malformed", "oidc_denied", "oidc_not_begun", "oidc_state"]


def test_a_provider_that_always_names_itself_must_do_so(start):
    _, _, person = start(authorization_response_iss_parameter_supported=True)
    back = person.begin()
    without = {name: value for name, value in back.items() if name != "iss"}
    check_page(person.come_back(without))
    assert person.come_back(back)[0] == 303
    assert refusals(person) == ["oidc_issuer"]


def test_a_code_signs_in_once(start):
    _, provider, person = start()
    back, kept = person.begin(), dict(person.jar)
    assert person.come_back(back)[0] == 303
    replayed = Person(type("Server", (), {"api": person.api}), provider)
    replayed.jar = kept
    check_page(replayed.come_back(back))
    # Nor does the provider exchange it in another sign-in of the same person.
    again = replayed.begin()
    assert "400" in check_page(replayed.come_back({**again, "code": back["code"]}))
    assert not replayed.is_signed_in()
    assert refusals(person) == ["oidc_not_begun", "oidc_code"]


def test_tokens_that_are_not_good_sign_nobody_in(start):
    _, provider, person = start()
    now, strange = int(time.time()), Rsa("one")
    cases = [
        ("oidc_nonce", lambda claims: provider.token({**claims, "nonce": "another"})),
        ("oidc_nonce", lambda claims: provider.token({name: value for name, value in claims.items() if name != "nonce"})),
        ("token_issuer", lambda claims: provider.token({**claims, "iss": "https://evil.example"})),
        ("token_audience", lambda claims: provider.token({**claims, "aud": "another"})),
        ("oidc_authorized_party", lambda claims: provider.token({**claims, "aud": ["testimony", "another"], "azp": "another"})),
        ("token_expired", lambda claims: provider.token({**claims, "exp": now - 120})),
        ("token_algorithm", lambda claims: provider.token(claims, {"alg": "none"}, lambda _: b"")),
        ("token_algorithm", lambda claims: provider.token(claims, {"alg": "HS256"})),
        ("token_signature", lambda claims: provider.token(claims, sign=strange.sign)),
        ("token_claim", lambda claims: provider.token({**claims, "sub": ""})),
        ("oidc_no_token", lambda claims: None),
    ]
    for reason, alter in cases:
        provider.alter = alter
        text = check_page(person.come_back(person.begin()))
        assert reason not in text and "evil" not in text
        assert not person.is_signed_in()
    provider.alter = None
    assert refusals(person) == [reason for reason, _ in cases]


def test_a_provider_that_is_away_or_another_is_said_so(start, web):
    _, provider, person = start()
    web.go()
    try:
        assert "try again later" in check_page(person.go("/login/oidc"), 502)
    finally:
        web.come()
    back = person.begin()
    web.go()
    try:
        assert "127.0.0.1" not in check_page(person.come_back(back), 502)
    finally:
        web.come()
    assert person.come_back(person.begin())[0] == 303
    assert refusals(person) == ["oidc_away", "oidc_away"]


def test_a_document_of_another_issuer_is_not_taken(start):
    _, _, person = start(issuer="https://evil.example")
    check_page(person.go("/login/oidc"), 502)


@pytest.mark.parametrize("name", ["redirect_uri", "next", "return_to", "url", "location"])
def test_nobody_is_sent_anywhere_but_to_the_provider_and_to_the_page(start, name):
    _, provider, person = start()
    evil = urllib.parse.urlencode({name: "https://evil.example/"})
    assert person.go(f"/login/oidc?{evil}")[0] == 303
    back = provider.authorize(person.location)
    assert "evil" not in person.location
    assert person.go(f"{CALLBACK}?{urllib.parse.urlencode(back)}&{evil}")[0] == 303
    assert person.location == "/login"


def test_without_a_provider_there_is_no_way_there(server):
    for path in ("/login/oidc", "/login/callback?code=x&state=y"):
        assert server.get(path)[0] == 404
    assert '<p id="provider" hidden>' in server.get("/login")[2]


def test_settings_that_cannot_work_end_the_start(tmp_path):
    for wrong, said in (('redirect = "http://log.example/elsewhere"', "/login/callback"), ('redirect = "http://log.example/login/callback"\nscopes = ["email"]', "openid"), ('redirect = "http://log.example/login/callback"\nclient_id = ""', "audience")):
        settings = tmp_path / "settings.toml"
        client = "" if "client_id" in wrong else 'client_id = "testimony"\n'
        settings.write_text(f'[oidc]\nissuer = "http://127.0.0.1:1"\n{client}{wrong}\n')
        done = run("serve", "--config", settings, "--data", tmp_path / "data", "--upstream", "http://127.0.0.1:1/v1", "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", check=False)
        assert done.returncode in (1, 2) and said in done.stderr, done.stderr
