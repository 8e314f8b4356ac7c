"""Policies as bundles of a web server: fetched by their tag, signed or not, swapped whole, and what the log says of them."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading

import pytest
from conftest import chat, run, wait_for
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PATH = "/bundles/testimony.tar.gz"
OPEN = """package testimony.request

default allow := false

allow if input.model == "scripted-demo"
"""
SHUT = """package testimony.request

default allow := false

deny contains "the office is shut"
"""
TESTS = """package testimony.request_test

import data.testimony.request

test_known_model if request.allow with input as {"model": "scripted-demo"}
"""
CONTROL = """SELECT outcome, attributes['testimony.policy.revision'] AS revision, attributes['testimony.policy.digest'] AS digest,
    attributes['testimony.policy.former'] AS former, attributes['testimony.policy.tests'] AS tests,
    attributes['testimony.control.reason'] AS reason, error_type
FROM records WHERE kind = 'control' AND attributes['testimony.control.change'] = 'policy' ORDER BY log_index"""


def archive(files):
    """Files as an OPA bundle; the same files are the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def files_of(revision, rules=OPEN, tests=TESTS):
    manifest = json.dumps({"revision": revision, "roots": ["testimony"]}).encode()
    files = {".manifest": manifest, "testimony/request.rego": rules.encode()}
    return files | ({"testimony/request_test.rego": tests.encode()} if tests else {})


def bundle(revision, rules=OPEN, tests=TESTS):
    return archive(files_of(revision, rules, tests))


def publish(web, body):
    """Puts a bundle there, under the tag of its content (RFC 9110, section 8.8.3), and gives the tag."""
    tag = f'"{hashlib.sha256(body).hexdigest()}"'

    def answer(request):
        return (304, {"etag": tag}, b"") if request.headers["if-none-match"] == tag else (200, {"etag": tag}, body)

    web.pages[PATH] = answer
    return tag


def settings(tmp_path, web, more=""):
    path = tmp_path / "settings.toml"
    path.write_text(f'[policy]\nurl = "{web.url(PATH)}"\nevery_s = 1\n{more}')
    return "--config", path


def start_in_vain(scripted, tmp_path, options):
    """Tries to start a server, and gives what it said of why it did not."""
    done = run("serve", "--data", tmp_path / "d", "--upstream", scripted, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0", *options, check=False)
    assert done.returncode == 1 and "Try:" not in done.stdout, done
    return done.stderr


def looks(web, more):
    """Waits until the server has looked so many times more."""
    now = len(web.asked)
    wait_for(lambda: len(web.asked) >= now + more, 20)


def control(server, count):
    """The records of changes of the policy, once there are so many."""
    return wait_for(lambda: (rows := server.sql(CONTROL)) and len(rows) >= count and rows, 20)


def decided(server, call, kind="request"):
    """What was decided of a call, and by which revision."""
    query = "SELECT decision, attributes['testimony.policy.revision'] AS revision, attributes['testimony.policy.digest'] AS digest"
    [row] = server.sql(f"{query} FROM records WHERE call_id = '{call}' AND kind = 'inference.{kind}'")
    return row


def ask(server, prompt="hello"):
    status, headers, _ = server.post(chat(prompt))
    return status, decided(server, headers["testimony-call"])


def test_a_bundle_is_in_force_when_the_first_call_comes(serve, scripted, web, tmp_path):
    body = bundle("r1")
    publish(web, body)
    server = serve(scripted, *settings(tmp_path, web))
    assert web.requests(PATH)[0]["if-none-match"] is None
    [row] = control(server, 1)
    assert (row["outcome"], row["revision"], row["tests"]) == ("completed", "r1", "1")
    (tmp_path / "same.tar.gz").write_bytes(body)
    assert row["digest"] in run("policy", "check", tmp_path / "same.tar.gz").stdout
    assert ask(server) == (200, {"decision": "allow", "revision": "r1", "digest": row["digest"]})
    assert server.post({**chat("hello"), "model": "scripted-other"})[0] == 403


def test_the_address_of_a_bundle_may_have_a_query(serve, scripted, web, tmp_path):
    publish(web, bundle("r1"))
    path = tmp_path / "settings.toml"
    path.write_text(f'[policy]\nurl = "{web.url(PATH)}?tenant=acme&x=1"\n')
    serve(scripted, "--config", path)
    assert {asked for asked, _ in web.asked} == {f"{PATH}?tenant=acme&x=1"}


def test_a_bundle_that_has_not_changed_is_asked_for_by_its_tag_and_left(serve, scripted, web, tmp_path):
    tag = publish(web, bundle("r1"))
    server = serve(scripted, *settings(tmp_path, web))
    looks(web, 3)
    first, *others = [headers["if-none-match"] for headers in web.requests(PATH)]
    assert first is None and len(others) >= 3 and set(others) == {tag}
    # The same bytes under another tag, and without one, are fetched and are no new version either.
    web.put(PATH, bundle("r1"), etag='"another"')
    wait_for(lambda: web.requests(PATH)[-1]["if-none-match"] == '"another"', 20)
    web.put(PATH, bundle("r1"))
    wait_for(lambda: web.requests(PATH)[-1]["if-none-match"] is None, 20)
    looks(web, 2)
    assert web.requests(PATH)[-1]["if-none-match"] is None
    assert [row["revision"] for row in server.sql(CONTROL)] == ["r1"]
    assert ask(server)[1]["revision"] == "r1"


def test_a_new_bundle_is_swapped_in_and_recorded(serve, scripted, web, tmp_path):
    publish(web, bundle("r1"))
    server = serve(scripted, *settings(tmp_path, web))
    assert ask(server)[0] == 200
    tag = publish(web, bundle("r2", SHUT, None))
    old, new = control(server, 2)
    assert (new["outcome"], new["revision"], new["tests"]) == ("completed", "r2", "0")
    assert new["former"] == old["digest"] != new["digest"]
    status, row = wait_for(lambda: (asked := ask(server))[0] == 403 and asked, 20)
    assert (status, row) == (403, {"decision": "deny", "revision": "r2", "digest": new["digest"]})
    looks(web, 2)
    assert web.requests(PATH)[-1]["if-none-match"] == tag
    # And back: a version that was in force before is a change like any other.
    publish(web, bundle("r1"))
    back = control(server, 3)[-1]
    assert (back["revision"], back["digest"], back["former"]) == ("r1", old["digest"], new["digest"])


def linked():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("testimony/request.rego")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    return packed.getvalue()


BROKEN = {
    "request.rego": lambda: bundle("bad", OPEN + "\nallow if {"),
    "tests do not pass": lambda: bundle("bad", OPEN.replace("scripted-demo", "another")),
    "http.send": lambda: bundle("bad", OPEN + '\nallow if http.send({"method": "get", "url": "http://127.0.0.1"}).status_code == 200\n'),
    "is not gzip": lambda: b"<html>Not a bundle</html>",
    "is damaged": lambda: gzip.compress(b"no archive" * 100),
    "size of the unpacked bundle": lambda: gzip.compress(b"\0" * (8 << 20)),
    "outside the roots": lambda: archive(files_of("bad") | {"other.rego": b"package other\n\nx := 1\n"}),
    "not a regular file": linked,
    "is not a path below": lambda: archive({"../request.rego": OPEN.encode()}),
    "data is JSON": lambda: archive(files_of("bad") | {"testimony/data.yaml": b"a: 1\n"}),
}


def test_a_broken_bundle_is_recorded_once_and_the_one_in_force_stays(serve, scripted, web, tmp_path):
    publish(web, bundle("r1"))
    server = serve(scripted, *settings(tmp_path, web))
    for count, (told, make) in enumerate(BROKEN.items(), 2):
        publish(web, make())
        row = control(server, count)[-1]
        assert (row["outcome"], row["error_type"]) == ("failed", "policy_not_taken") and told in row["reason"], (told, row)
        assert ask(server)[1]["revision"] == "r1", told
    assert server.errors().count("the one in force stays") == len(BROKEN)
    # Also without a tag it is told of once only.
    web.put(PATH, b"still broken")
    control(server, len(BROKEN) + 2)
    looks(web, 3)
    publish(web, bundle("r2"))
    rows = control(server, len(BROKEN) + 3)
    assert len(rows) == len(BROKEN) + 3 and rows[-1]["revision"] == "r2" and rows[-1]["former"] == rows[0]["digest"]
    assert ask(server)[1]["revision"] == "r2"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs bundles as `opa sign` does."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self.key.public_key()
        self.public = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def rs256(self, message):
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def hs256(self, message):
        """What whoever has only the public key can make."""
        mac = hmac.HMAC(self.public, hashes.SHA256())
        mac.update(message)
        return mac.finalize()

    def signed(self, files, algorithm="RS256", scope=None):
        claims = {"files": [signed_file(*file) for file in files.items()]} | ({"scope": scope} if scope else {})
        message = f"{encoded(json.dumps({'alg': algorithm}).encode())}.{encoded(json.dumps(claims).encode())}"
        signature = {"RS256": self.rs256, "HS256": self.hs256, "none": lambda _: b""}[algorithm](message.encode())
        token = f"{message}.{encoded(signature)}"
        return files | {".signatures.json": json.dumps({"signatures": [token]}).encode()}


def signed_file(path, content):
    if path == ".manifest":
        content = json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")).encode()
    return {"name": path, "hash": hashlib.sha256(content).hexdigest(), "algorithm": "SHA-256"}


@pytest.fixture
def signer(tmp_path):
    signer = Signer()
    (tmp_path / "bundle.pem").write_bytes(signer.public)
    return signer


def with_key(tmp_path, web, more=""):
    return settings(tmp_path, web, f'key = "{tmp_path / "bundle.pem"}"\nkey_algorithm = "RS256"\n{more}')


def test_with_a_key_only_what_was_signed_with_it_is_taken(serve, scripted, web, signer, tmp_path):
    publish(web, archive(signer.signed(files_of("r1"))))
    server = serve(scripted, *with_key(tmp_path, web))
    good, shut = signer.signed(files_of("r2")), files_of("r2", SHUT, None)
    bad = {
        "is not signed": shut,
        "was not made with the key": Signer().signed(shut),
        "request.rego of the bundle is not as it was signed": good | {"testimony/request.rego": SHUT.encode()},
        ".manifest of the bundle is not as it was signed": good | {".manifest": files_of("r3")[".manifest"]},
        "testimony/more.rego of the bundle was not signed": good | {"testimony/more.rego": SHUT.encode()},
        "was signed and is not there": {path: content for path, content in good.items() if "_test" not in path},
        "scope \"elsewhere\"": signer.signed(shut, scope="elsewhere"),
    }
    for count, (told, files) in enumerate(bad.items(), 2):
        publish(web, archive(files))
        row = control(server, count)[-1]
        assert row["outcome"] == "failed" and told in row["reason"], (told, row)
        assert ask(server)[1]["revision"] == "r1", told
    # Nor does the token choose its algorithm.
    for count, algorithm in enumerate(["HS256", "none"], len(bad) + 2):
        publish(web, archive(signer.signed(shut, algorithm)))
        assert control(server, count)[-1]["outcome"] == "failed", algorithm
        assert ask(server)[1]["revision"] == "r1", algorithm
    publish(web, archive(good))
    assert control(server, len(bad) + 4)[-1]["revision"] == "r2"
    assert ask(server)[1]["revision"] == "r2"


@pytest.mark.parametrize("told", ["is not signed", "was not made with the key", "is not as it was signed"])
def test_a_server_does_not_start_with_a_bundle_whose_signature_is_wrong(scripted, web, signer, tmp_path, told):
    files = files_of("r1")
    bad = {
        "is not signed": files,
        "was not made with the key": Signer().signed(files),
        "is not as it was signed": signer.signed(files) | {"testimony/request.rego": SHUT.encode()},
    }
    publish(web, archive(bad[told]))
    assert told in start_in_vain(scripted, tmp_path, with_key(tmp_path, web))


def test_a_bundle_is_signed_for_the_scope_that_is_configured(serve, scripted, web, signer, tmp_path):
    options = with_key(tmp_path, web, 'key_scope = "production"\n')
    for scope in (None, "staging"):
        publish(web, archive(signer.signed(files_of("r1"), scope=scope)))
        assert "is signed for the scope" in start_in_vain(scripted, tmp_path, options)
    publish(web, archive(signer.signed(files_of("r1"), scope="production")))
    assert ask(serve(scripted, *options))[1]["revision"] == "r1"


def test_without_a_key_a_signature_is_not_looked_at(serve, scripted, web, tmp_path):
    publish(web, archive(Signer().signed(files_of("r1", tests=None)) | {"testimony/request.rego": SHUT.encode()}))
    server = serve(scripted, *settings(tmp_path, web))
    assert ask(server)[0] == 403


def test_a_server_does_not_start_while_nobody_has_its_bundle(scripted, web, tmp_path):
    options = settings(tmp_path, web)
    web.go()
    assert "cannot be reached" in start_in_vain(scripted, tmp_path, options)
    web.come()
    assert "404" in start_in_vain(scripted, tmp_path, options)
    web.put(PATH, bundle("bad", OPEN + "\nallow if {"))
    assert "request.rego" in start_in_vain(scripted, tmp_path, options)


def test_the_bundle_in_force_stays_while_its_server_is_away(serve, scripted, web, tmp_path):
    tag = publish(web, bundle("r1"))
    server = serve(scripted, *settings(tmp_path, web))
    web.go()
    wait_for(lambda: "cannot be reached" in server.errors(), 20)
    assert ask(server)[1]["revision"] == "r1"
    web.put(PATH, b"out of order", 503)
    web.come()
    wait_for(lambda: "503" in server.errors(), 20)
    assert ask(server)[1]["revision"] == "r1" and len(server.sql(CONTROL)) == 1
    publish(web, bundle("r2", SHUT, None))
    assert control(server, 2)[-1]["revision"] == "r2"
    assert wait_for(lambda: ask(server)[0] == 403, 20)
    assert tag in {headers["if-none-match"] for headers in web.requests(PATH)}


def test_a_redirect_to_a_bundle_is_not_followed(serve, scripted, web, tmp_path):
    web.put("/elsewhere", bundle("r2", SHUT, None))
    options = settings(tmp_path, web)
    for status in (301, 302, 307, 308):
        web.put(PATH, b"", status, location=web.url("/elsewhere"))
        assert str(status) in start_in_vain(scripted, tmp_path, options)
    publish(web, bundle("r1"))
    server = serve(scripted, *options)
    web.put(PATH, b"", 302, location=web.url("/elsewhere"))
    wait_for(lambda: "302" in server.errors(), 20)
    assert ask(server)[1]["revision"] == "r1" and web.requests("/elsewhere") == []


def test_a_call_is_judged_to_its_end_by_the_bundle_that_it_began_under(serve, web, tmp_path):
    go_on = threading.Event()

    def model(request):
        if b"hold on" in request.sent:
            go_on.wait(60)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "well"}}
        return 200, {"content-type": "application/json"}, json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()

    web.pages["/v1/chat/completions"] = model
    answers = "package testimony.response\n\ndefault allow := false\n"
    publish(web, archive(files_of("r1") | {"testimony/response.rego": f"{answers}\nallow if input.model\n".encode()}))
    server = serve(web.url("/v1"), *settings(tmp_path, web))
    answered = []
    calls = [threading.Thread(target=lambda: answered.append(server.post(chat("hold on")))) for _ in range(2)]
    [call.start() for call in calls]
    try:
        wait_for(lambda: len(web.requests("/v1/chat/completions")) == 2, 20)
        publish(web, archive(files_of("r2") | {"testimony/response.rego": answers.encode()}))
        control(server, 2)
        wait_for(lambda: server.post(chat("hello"))[0] == 403, 20)
    finally:
        go_on.set()
        [call.join() for call in calls]
    assert [status for status, _, _ in answered] == [200, 200]
    for _, headers, _ in answered:
        for kind in ("request", "response"):
            row = decided(server, headers["testimony-call"], kind)
            assert (row["decision"], row["revision"]) == ("allow", "r1"), kind


def test_bundles_alternate_under_load_with_no_call_lost_and_each_decided_by_one(serve, scripted, web, tmp_path):
    publish(web, bundle("open"))
    server = serve(scripted, *settings(tmp_path, web))
    stop, answers = threading.Event(), []

    def call():
        while not stop.is_set():
            status, headers, _ = server.post(chat("hello"))
            answers.append((headers["testimony-call"], status))

    threads = [threading.Thread(target=call) for _ in range(4)]
    [thread.start() for thread in threads]
    try:
        for n in range(6):
            publish(web, bundle("shut", SHUT, None) if n % 2 == 0 else bundle("open"))
            changes = control(server, n + 2)
    finally:
        stop.set()
        [thread.join() for thread in threads]
    assert [row["revision"] for row in changes] == ["open", "shut"] * 3 + ["open"]
    digests = {row["revision"]: row["digest"] for row in changes}
    query = "SELECT call_id, decision, attributes['testimony.policy.revision'] AS revision, attributes['testimony.policy.digest'] AS digest"
    rows = server.sql(f"{query} FROM records WHERE kind = 'inference.request'")
    recorded = {row["call_id"]: (row["revision"], row["decision"], row["digest"]) for row in rows}
    assert len(rows) == len(recorded) and set(recorded) == {call for call, _ in answers}
    fits = {200: ("open", "allow", digests["open"]), 403: ("shut", "deny", digests["shut"])}
    assert {status for _, status in answers} == set(fits)
    assert [(call, status) for call, status in answers if recorded[call] != fits[status]] == []
