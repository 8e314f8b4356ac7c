"""Sessions of the console: a link that works once, a cookie, a token against forged requests, and what the log says of them."""

import base64
import hashlib
import http.client
import json
import re
import ssl
import subprocess
import urllib.parse

import pytest
from conftest import BINARY, chat, http as fetch, run
from test_access import ask, bearer, closed, config, make, rows  # noqa: F401
from test_tls import Authority, trusting

EVENTS = "SELECT actor_id, actor_auth, outcome, error_type, attributes['testimony.auth.event'] AS event, attributes['testimony.session.link'] AS link FROM records WHERE kind = 'auth' ORDER BY log_index"


class Browser:
    """What a browser does of its own: it keeps the cookie and says where a page is from."""

    def __init__(self, api, context=None, source="127.0.0.1"):
        parts = urllib.parse.urlsplit(api)
        self.api, self.host, self.context, self.source = api, parts.netloc, context, source
        self.cookie, self.csrf, self.set = None, None, None

    def __call__(self, method, path, body=None, csrf=None, **headers):
        kind = http.client.HTTPSConnection if self.context else http.client.HTTPConnection
        more = {"context": self.context} if self.context else {}
        connection = kind(self.host, timeout=60, source_address=(self.source, 0), **more)
        sent = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
        if method not in ("GET", "HEAD"):
            sent["origin"] = self.api
        if self.cookie:
            sent["cookie"] = f"theme=dark; {self.cookie}"
        if csrf:
            sent["x-csrf-token"] = csrf
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        sent = {name: value for name, value in sent.items() if value is not None}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        text, self.set = answer.read().decode(), answer.headers["set-cookie"]
        connection.close()
        if self.set:
            self.cookie = None if "Max-Age=0" in self.set else self.set.split(";")[0]
        is_one = answer.headers["content-type"] in ("application/json", "application/problem+json")
        return answer.status, json.loads(text) if is_one else text

    def sign_in(self, url):
        status, told = self("POST", "/api/v1/sessions", {"token": url.split("#")[1]})
        assert status == 201, told
        self.csrf = told["csrf"]
        return self


def login(server, secret):
    """The address that the command prints, and nothing else on that line or after it."""
    done = run("login", "--server", server.api, "--api-key", secret)
    assert re.fullmatch(rf"{re.escape(server.api)}/login#[\w-]{{22}}\n", done.stdout), done.stdout
    assert "works once" in done.stderr and "#" not in done.stderr
    return done.stdout.strip()


def test_a_link_signs_in_once_as_whoever_made_it(closed):
    server, admin = closed
    secret = make(server, "ann", "reader", ["env=default"], secret=admin)["secret"]
    url = login(server, secret)
    browser = Browser(server.api).sign_in(url)
    assert re.fullmatch(r"testimony=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", browser.set)
    status, who = browser("GET", "/api/v1/sessions/current")
    assert status == 200 and who["actor"] == {"type": "service", "id": "ann", "groups": []}
    assert (who["auth"], who["grants"], who["csrf"], who["idle_s"]) == ("session", [{"role": "reader", "scope": "env=default"}], browser.csrf, 3600)
    # It has the role of its key, and no more.
    assert browser("GET", "/api/v1/search?q=x")[0] == 200
    assert browser("GET", "/api/v1/keys")[0] == 403
    # Once.
    status, told = Browser(server.api)("POST", "/api/v1/sessions", {"token": url.split("#")[1]})
    assert status == 401 and "works once" in told["detail"]
    reads = rows(server, "SELECT actor_id, actor_auth, attributes['testimony.read.action'] AS action FROM records WHERE kind = 'read' AND actor_id = 'ann'", admin)
    assert reads == [{"actor_id": "ann", "actor_auth": "session", "action": "search"}]


def test_whoever_is_on_this_machine_may_sign_in_too_but_stays_here(server):
    done = run("login", "--server", server.api)
    browser = Browser(server.api).sign_in(done.stdout.strip())
    assert browser("GET", "/api/v1/sessions/current")[1]["actor"]["id"] == "anonymous"
    assert browser("POST", "/api/v1/sql", {"query": "SELECT 1"}, csrf=browser.csrf)[0] == 200
    assert browser("GET", "/api/v1/search", x_forwarded_for="192.0.2.7")[0] == 401
    # Without signing in they are who they are, too.
    status, who = Browser(server.api)("GET", "/api/v1/sessions/current")
    assert (status, who["auth"], who["csrf"], who["expires_at"]) == (200, "anonymous", None, None)
    assert Browser(server.api)("DELETE", "/api/v1/sessions/current")[0] == 404
    # A cookie that is not good is not as if there were none.
    stale = Browser(server.api)
    stale.cookie = "testimony=stale"
    status, told = stale("GET", "/api/v1/search")
    assert status == 401 and "testimony login" in told["detail"]


def test_what_changes_something_needs_the_token_of_its_session(closed):
    server, admin = closed
    browser = Browser(server.api).sign_in(login(server, admin))
    other = Browser(server.api).sign_in(login(server, admin))
    wanted = {"name": "made", "role": "reader"}
    for forged in (None, "x", other.csrf, browser.csrf[:-1], browser.cookie.split("=")[1]):
        status, told = browser("POST", "/api/v1/keys", wanted, csrf=forged)
        assert status == 403 and "x-csrf-token" in told["detail"], forged
        assert browser("DELETE", "/api/v1/sessions/current", csrf=forged)[0] == 403
    assert browser("POST", "/api/v1/keys", wanted, csrf=browser.csrf)[0] == 201
    [row] = rows(server, "SELECT actor_id, actor_auth FROM records WHERE attributes['testimony.key.name'] = 'made'", admin)
    assert row == {"actor_id": "root", "actor_auth": "session"}


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": "http://127.0.0.1:1"}])
def test_pages_of_elsewhere_have_no_session(closed, headers):
    server, admin = closed
    url = login(server, admin)
    # Nor can they sign somebody in; the link stays good for whom it was meant.
    assert Browser(server.api)("POST", "/api/v1/sessions", {"token": url.split("#")[1]}, **headers)[0] == 403
    browser = Browser(server.api).sign_in(url)
    for method, path, body in (("GET", "/api/v1/search", None), ("GET", "/api/v1/sessions/current", None), ("POST", "/api/v1/sql", {"query": "SELECT 1"})):
        assert browser(method, path, body, csrf=browser.csrf, **headers)[0] == 403, path
        assert browser(method, path, body, csrf=browser.csrf)[0] == 200, path


def test_a_form_of_another_page_makes_no_link(server):
    for media in ("text/plain", "application/x-www-form-urlencoded", None):
        assert Browser(server.api)("POST", "/api/v1/sessions/links", {}, content_type=media)[0] == 415


def test_signing_out_ends_the_session(closed):
    server, admin = closed
    browser = Browser(server.api).sign_in(login(server, admin))
    kept = browser.cookie
    assert browser("DELETE", "/api/v1/sessions/current", csrf=browser.csrf)[0] == 204
    assert browser.cookie is None
    browser.cookie = kept
    assert browser("GET", "/api/v1/search")[0] == 401


def test_revoking_a_key_ends_its_sessions_and_links(closed):
    server, admin = closed
    made = make(server, "ann", "reader", secret=admin)
    browser, unused = Browser(server.api).sign_in(login(server, made["secret"])), login(server, made["secret"])
    bystander = Browser(server.api).sign_in(login(server, admin))
    assert browser("GET", "/api/v1/search")[0] == 200
    assert ask(server, "DELETE", f"/api/v1/keys/{made['id']}", None, admin)[0] == 200
    assert browser("GET", "/api/v1/search")[0] == 401
    assert Browser(server.api)("POST", "/api/v1/sessions", {"token": unused.split("#")[1]})[0] == 401
    assert bystander("GET", "/api/v1/search")[0] == 200
    [row] = rows(server, "SELECT attributes['testimony.sessions.ended'] AS ended FROM records WHERE attributes['testimony.auth.event'] = 'key_revoked'", admin)
    assert row == {"ended": "2"}


def test_a_session_makes_no_link(closed):
    server, admin = closed
    browser = Browser(server.api).sign_in(login(server, admin))
    status, told = browser("POST", "/api/v1/sessions/links", {}, csrf=browser.csrf)
    assert status == 403 and "itself" in told["detail"]


def test_the_gateway_takes_no_cookie_and_passes_none_on(serve, scripted, web):
    web.pages["/v1/chat/completions"] = lambda _: (200, {"content_type": "application/json"}, json.dumps({"choices": []}).encode())
    server = serve(web.url("/v1"))
    browser = Browser(server.api).sign_in(run("login", "--server", server.api).stdout.strip())
    assert server.post(chat("hello"), {"cookie": f"a=b; {browser.cookie}"})[0] == 200
    assert server.post(chat("hello"), {"cookie": "a=b"})[0] == 200
    assert [headers["cookie"] for headers in web.requests("/v1/chat/completions")] == [None, "a=b"]
    admin = make(server, "root", "admin")["secret"]
    server.stop()
    server = serve(web.url("/v1"))
    browser = Browser(server.api).sign_in(login(server, admin))
    assert server.post(chat("hello"), {"cookie": browser.cookie, "x-csrf-token": browser.csrf})[0] == 401


def test_with_tls_the_cookie_is_for_this_host_alone(serve, scripted, tmp_path):
    authority = Authority(tmp_path, "authority")
    authority.issue_server()
    settings = f'[tls]\ncert = "{tmp_path}/server.pem"\nkey = "{tmp_path}/server.key"\n'
    server = serve(scripted, "--config", config(tmp_path, settings))
    url = run("login", "--server", server.api, "--ca", authority.file).stdout.strip()
    assert url.startswith("https://")
    browser = Browser(server.api, trusting(authority)).sign_in(url)
    assert re.fullmatch(r"__Host-testimony=[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict", browser.set)
    assert browser("POST", "/api/v1/sql", {"query": "SELECT 1"}, csrf=browser.csrf)[0] == 200
    # HTTP/2 has the name in another place.
    curl = ["curl", "-s", "--http2", "--cacert", authority.file, "-H", f"origin: {server.api}", "-H", f"cookie: {browser.cookie}", "-H", f"x-csrf-token: {browser.csrf}"]
    told = subprocess.run([*curl, "-w", "%{http_version} %{http_code}", "-o", "/dev/null", f"{server.api}/api/v1/search"], capture_output=True, text=True, check=True)
    assert told.stdout == "2 200"


def test_the_page_signs_in_by_its_one_script(server):
    status, headers, page = fetch(f"{server.api}/login")
    policy = headers["content-security-policy"]
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer" and headers["x-content-type-options"] == "nosniff"
    for directive in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert directive in policy
    assert "unsafe" not in policy and "*" not in policy
    for element in ("script", "style"):
        [inline] = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
        assert f"{element}-src 'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'" in policy
    assert "://" not in page


def test_links_sessions_and_first_uses_are_in_the_log_and_no_secret_is(serve, scripted, tmp_path):
    server = serve(scripted)
    admin = make(server, "root", "admin")["secret"]
    server.stop()
    server = serve(scripted)
    url = login(server, admin)
    token = url.split("#")[1]
    browser = Browser(server.api).sign_in(url)
    cookie = browser.cookie.split("=")[1]
    Browser(server.api)("POST", "/api/v1/sessions", {"token": token})
    browser("POST", "/api/v1/sql", {"query": "SELECT 1"})
    browser("DELETE", "/api/v1/sessions/current", csrf=browser.csrf)
    browser.cookie = f"testimony={cookie}"
    browser("GET", "/api/v1/search")
    browser.cookie = "testimony=another"
    browser("GET", "/api/v1/search", sec_fetch_site="cross-site")
    # The same key on the other listener is not new.
    assert server.post(chat("hello"), bearer(admin))[0] == 200
    events = rows(server, EVENTS, admin)
    link = events[2]["link"]
    assert re.fullmatch(r"fp_[0-9a-f]{16}", link)
    assert [(row["event"], row.get("actor_id"), row["actor_auth"], row["outcome"], row.get("error_type"), row.get("link")) for row in events if row["outcome"] == "completed"] == [
        ("key_made", "anonymous", "anonymous", "completed", None, None),
        ("accepted", "root", "api_key", "completed", None, None),
        ("link_made", "root", "api_key", "completed", None, link),
        ("session_opened", "root", "session", "completed", None, link),
        ("session_ended", "root", "session", "completed", None, None),
    ]
    assert [row["error_type"] for row in events if row["outcome"] == "denied"] == ["session_link", "session_forged", "session_unknown", "session_elsewhere"]
    server.stop()
    files = [path for path in server.data.rglob("*") if path.is_file()] + [tmp_path / "data.log"]
    for secret in (admin, token, cookie, browser.csrf):
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_a_credential_is_new_once_in_the_life_of_a_process_on_both_listeners(serve, scripted):
    server = serve(scripted)
    admin = make(server, "root", "admin")["secret"]
    for _ in range(2):
        server.stop()
        server = serve(scripted)
        for _ in range(2):
            assert server.post(chat("hello"), bearer(admin))[0] == 200
            assert ask(server, "GET", "/api/v1/log", None, admin)[0] == 200
    accepted = rows(server, "SELECT actor_id, actor_auth, attributes['url.path'] AS path FROM records WHERE attributes['testimony.auth.event'] = 'accepted'", admin)
    assert accepted == [{"actor_id": "root", "actor_auth": "api_key", "path": "/v1/chat/completions"}] * 2


def test_on_a_full_disk_nobody_signs_in_and_no_credential_is_new(serve, scripted, tmp_path):
    server = serve(scripted)
    admin = make(server, "root", "admin")["secret"]
    server.stop()
    # As if less were free than what is kept for reading.
    full = config(tmp_path, "[ledger]\nreserve_bytes = 1000000000000000000\n")
    server = serve(scripted, "--config", full)
    for _ in range(2):
        status, headers, text = ask(server, "GET", "/api/v1/log", None, admin)
        assert status == 503 and json.loads(text)["code"] == "not_recorded" and headers["retry-after"]
        assert server.post(chat("hello"), bearer(admin))[0] == 503
    assert ask(server, "POST", "/api/v1/sessions/links", {}, admin)[0] == 503
    server.stop()
    # With anonymous access there is a link to be had, and it is not given.
    server = serve(scripted, "--config", config(tmp_path, "access = { anonymous = \"admin\" }\n[ledger]\nreserve_bytes = 1000000000000000000\n"))
    assert ask(server, "GET", "/api/v1/sessions/current")[0] == 200
    status, _, text = ask(server, "POST", "/api/v1/sessions/links", {})
    assert status == 503 and "#" not in text
