"""Issuers of tokens whose keys are fetched: whose tokens are taken, until when, and what the log says of those that are not."""

import base64
import http.client
import json
import threading
import time
import urllib.parse

import pytest
from conftest import chat, wait_for
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from web import Web

REFUSALS = "SELECT error_type FROM records WHERE kind = 'auth' AND outcome = 'denied' ORDER BY log_index"
# Keys are fetched again for a new one at most once a minute, and whether they should be is looked at every five seconds.
FETCHED_WITHIN = 100


def encoded(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, length=None):
    return encoded(n.to_bytes(length or (n.bit_length() + 7) // 8, "big"))


class Rsa:
    algorithm = "RS256"

    def __init__(self, kid):
        self.kid, self.key = kid, rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256", "n": number(numbers.n), "e": number(numbers.e)}

    def sign(self, message):
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def public_bytes(self, encoding, form):
        return self.key.public_key().public_bytes(encoding, form)


class P256:
    algorithm = "ES256"

    def __init__(self, kid):
        self.kid, self.key = kid, ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        numbers = self.key.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "kid": self.kid, "x": number(numbers.x, 32), "y": number(numbers.y, 32)}

    def sign(self, message):
        r, s = utils.decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Ed25519:
    algorithm = "EdDSA"

    def __init__(self, kid):
        self.kid, self.key = kid, ed25519.Ed25519PrivateKey.generate()

    def jwk(self):
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encoded(self.key.public_key().public_bytes_raw())}

    def sign(self, message):
        return self.key.sign(message)


class Issuer:
    """An issuer that publishes its keys on a web server."""

    def __init__(self, name, web, *keys):
        self.name, self.web, self.path = f"https://idp.example/{name}", web, f"/{name}/keys"
        if keys:
            self.publish(*keys)

    def publish(self, *keys):
        self.web.put(self.path, json.dumps({"keys": [key.jwk() for key in keys]}).encode())

    def settings(self):
        return f"""[[token]]
issuer = "{self.name}"
audiences = ["testimony", "another-name"]
jwks_url = "{self.web.url(self.path)}"
groups_claim = "groups"
roles_claim = "roles"
grant = [{{ group = "support", role = "reader" }}]
"""

    def fetched(self):
        return len(self.web.requests(self.path))

    def claims(self, **claims):
        """Those of somebody in support; None leaves one out."""
        claims = {"iss": self.name, "aud": "testimony", "sub": "alice", "groups": ["support"], "exp": int(time.time()) + 600, **claims}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key, header=(), sign=None, **claims):
        header = {"alg": key.algorithm, "kid": key.kid, **dict(header)}
        header = {name: value for name, value in header.items() if value is not None}
        message = f"{encoded(header)}.{encoded(self.claims(**claims))}"
        return f"{message}.{encoded((sign or key.sign)(message.encode()))}"


class Asking:
    """Asks with tokens, from one address of this machine after another: whoever fails too often is slowed down by the address."""

    def __init__(self, server):
        self.host, self.count = urllib.parse.urlsplit(server.api).netloc, 0

    def __call__(self, token, path="/api/v1/search", body=None):
        self.count += 1
        source = f"127.0.{self.count // 250}.{self.count % 250 + 2}"
        connection = http.client.HTTPConnection(self.host, timeout=60, source_address=(source, 0))
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def is_let_in(self, token):
        return self(token)[0] == 200

    def rows(self, query, token):
        status, text = self(token, "/api/v1/sql?format=jsonl", {"query": query})
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def start(serve, scripted, tmp_path):
    def start(*issuers):
        path = tmp_path / "settings.toml"
        path.write_text("".join(issuer.settings() for issuer in issuers))
        server = serve(scripted, "--config", path)
        return server, Asking(server)

    return start


def test_keys_of_every_kind_are_fetched_from_the_address(start, web):
    keys = [Rsa("r"), P256("p"), Ed25519("e")]
    issuer = Issuer("a", web, *keys)
    _, ask = start(issuer)
    for key in keys:
        wait_for(lambda: ask.is_let_in(issuer.token(key)), 20)
    assert ask.is_let_in(issuer.token(keys[0], aud=["x", "another-name"]))
    assert issuer.fetched() == 1


def test_the_first_use_of_a_token_is_recorded_once_for_both_listeners(start, web):
    issuer = Issuer("a", web, key := Rsa("one"))
    server, ask = start(issuer)
    token = issuer.token(key, roles=["auditor", "caller"])
    wait_for(lambda: ask.is_let_in(token), 20)
    for _ in range(2):
        assert server.post(chat("hello"), {"authorization": f"Bearer {token}"})[0] == 200
        assert ask.is_let_in(token)
    query = "SELECT actor_id, actor_auth, outcome FROM records WHERE attributes['testimony.auth.event'] = 'accepted'"
    assert ask.rows(query, token) == [{"actor_id": "alice", "actor_auth": "jwt", "outcome": "completed"}]
    # Another token of the same person is another credential.
    other = issuer.token(key, roles=["auditor"])
    assert len(ask.rows(query, other)) == 2


def hs256(secret):
    def sign(message):
        mac = hmac.HMAC(secret, hashes.SHA256())
        mac.update(message)
        return mac.finalize()

    return sign


def test_what_is_not_as_its_issuer_signed_it_is_refused_with_the_reason_recorded(start, web):
    key, second, theirs, strange = Rsa("one"), Rsa("two"), Rsa("three"), Rsa("one")
    a, b = Issuer("a", web, key, second), Issuer("b", web, theirs, shared := P256("one"))
    server, ask = start(a, b)
    wait_for(lambda: ask.is_let_in(a.token(key)), 20)
    wait_for(lambda: ask.is_let_in(b.token(theirs)) and ask.is_let_in(b.token(shared)), 20)
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    spki, pkcs1 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1
    secrets = [key.public_bytes(pem, spki), key.public_bytes(pem, spki).strip(), key.public_bytes(pem, pkcs1), key.public_bytes(der, spki)]
    secrets += [json.dumps(key.jwk()).encode(), base64.urlsafe_b64decode(key.jwk()["n"] + "=="), b""]
    now = int(time.time())
    good = a.token(key)
    header, payload, signature = good.split(".")
    other = encoded(a.claims(sub="mallory"))
    bad = [("token_algorithm", a.token(key, {"alg": "HS256"}, hs256(secret))) for secret in secrets]
    bad += [("token_algorithm", a.token(key, {"alg": name}, lambda _: b"")) for name in ("none", "None", "NONE", "")]
    bad += [("token_algorithm", a.token(key, {"alg": name})) for name in ("RS512", "PS256", "ES256", "rs256")]
    bad += [
        ("token_signature", f"{header}.{other}.{signature}"),
        ("token_signature", a.token(key, sign=lambda _: b"")),
        ("token_signature", a.token(strange)),
        ("token_signature", a.token(second, {"kid": "one"})),
        # Each issuer's keys are for its own tokens.
        ("token_unknown_key", a.token(theirs)),
        ("token_signature", a.token(theirs, {"kid": "one"})),
        ("token_algorithm", a.token(shared)),
        ("token_signature", b.token(key, {"kid": "three"})),
        # A token does not bring its key along.
        ("token_signature", a.token(strange, {"jwk": strange.jwk()})),
        ("token_signature", a.token(strange, {"jku": web.url("/strange")})),
        ("token_unknown_key", a.token(strange, {"jku": web.url("/strange"), "kid": "strange"})),
        ("token_no_key_id", a.token(key, {"kid": None})),
        ("token_critical", a.token(key, {"crit": ["exp"]})),
        ("token_type", a.token(key, {"typ": "logout+jwt"})),
        ("token_audience", a.token(key, aud="other")),
        ("token_audience", a.token(key, aud=["other", ["testimony"]])),
        ("token_audience", a.token(key, aud=None)),
        ("token_issuer", a.token(key, iss=f"{a.name}/")),
        ("token_issuer", a.token(key, iss="https://idp.example/c")),
        ("token_issuer", a.token(key, iss=None)),
        ("token_expired", a.token(key, exp=now - 120)),
        ("token_claim", a.token(key, exp=None)),
        ("token_claim", a.token(key, exp=str(now + 600))),
        ("token_not_yet_valid", a.token(key, nbf=now + 600)),
        ("token_not_yet_valid", a.token(key, iat=now + 600)),
        ("token_claim", a.token(key, sub=None)),
        ("token_malformed", f"{good}.{signature}"),
        ("token_malformed", f"{header}.{payload}"),
        ("token_malformed", f"{header}.{payload}.{signature}="),
        ("token_too_large", a.token(key, padding="x" * (16 << 10))),
    ]
    for reason, token in bad:
        status, text = ask(token)
        assert status == 401 and reason not in text, (reason, token, status)
    # Those before them are from before the keys were fetched.
    recorded = [row["error_type"] for row in ask.rows(REFUSALS, a.token(key, roles=["auditor"]))]
    assert recorded[-len(bad) :] == [reason for reason, _ in bad]
    assert set(recorded[: -len(bad)]) <= {"token_unknown_key"}
    # The gateway refuses the same tokens.
    for token in (bad[0][1], bad[7][1]):
        assert server.post(chat("hello"), {"authorization": f"Bearer {token}"})[0] == 401
    assert web.requests("/strange") == []


def test_a_caller_is_who_its_token_says_and_has_the_roles_of_its_groups_and_claims(start, web):
    issuer = Issuer("a", web, key := Rsa("one"))
    server, ask = start(issuer)
    caller = issuer.token(key, sub="carol", groups=[], roles=["caller"])
    wait_for(lambda: server.post(chat("hello"), {"authorization": f"Bearer {caller}"})[0] == 200, 20)
    assert ask(caller)[0] == 403
    assert server.post(chat("hello"), {"authorization": f"Bearer {issuer.token(key)}"})[0] == 403
    query = "SELECT DISTINCT actor_type, actor_auth FROM records WHERE kind = 'inference.request' AND actor_id = 'carol'"
    assert ask.rows(query, issuer.token(key)) == [{"actor_type": "user", "actor_auth": "jwt"}]
    # With an issuer, being on this machine is not enough.
    assert "with a key or token" in server.said and server.get("/api/v1/search")[0] == 401


def test_a_token_that_was_taken_is_refused_after_its_end(start, web):
    issuer = Issuer("a", web, key := Rsa("one"))
    _, ask = start(issuer)
    wait_for(lambda: ask.is_let_in(issuer.token(key)), 20)
    ending = issuer.token(key, exp=int(time.time()) + 8)
    assert ask.is_let_in(ending)
    # Clocks may be a minute apart.
    wait_for(lambda: not ask.is_let_in(ending), 8 + 60 + 20)
    assert ask.rows(REFUSALS, issuer.token(key, roles=["auditor"]))[-1]["error_type"] == "token_expired"


def test_keys_that_change_and_issuers_that_do_not_answer_over_a_minute(start, web):
    """One minute for all of it, since that is how long it takes until keys are fetched again."""
    one, two = Rsa("one"), Rsa("two")
    rotating, withdrawing, keeping = (Issuer(name, web, one) for name in ("rotating", "withdrawing", "keeping"))
    away_web = Web()
    away_web.go()
    away = Issuer("away", away_web, one)
    bad = {name: Issuer(name, web) for name in ("words", "list", "none", "private", "twice", "gone", "moved", "large", "huge", "slow")}
    done = threading.Event()
    secret = {"kty": "oct", "kid": "one", "k": encoded(b"x" * 32)}
    answers = {
        "words": (b"<html>Sign in</html>", "not JSON with a list of keys"),
        "list": (json.dumps([one.jwk()]).encode(), "not JSON with a list of keys"),
        "none": (b'{"keys": []}', "no key that could be used"),
        "private": (json.dumps({"keys": [secret]}).encode(), "no key that could be used"),
        "twice": (json.dumps({"keys": [one.jwk(), {**two.jwk(), "kid": "one"}]}).encode(), "two keys of the set"),
        "large": (json.dumps({"keys": [one.jwk()]}).encode().ljust(300 << 10), "more than the 262144"),
        "huge": (json.dumps({"keys": [one.jwk()]}).encode().ljust(2 << 20), "more than 1048576 bytes"),
    }
    for name, (body, _) in answers.items():
        web.put(bad[name].path, body)
    web.put("/elsewhere", json.dumps({"keys": [one.jwk()]}).encode())
    web.put(bad["gone"].path, b"gone", 410)
    web.put(bad["moved"].path, b"", 302, location=web.url("/elsewhere"))
    web.pages[bad["slow"].path] = lambda _: (done.wait(90), (200, {}, b""))[1]
    told = {name: text for name, (_, text) in answers.items()} | {"gone": "410", "moved": "302", "slow": "did not answer within 10s", "away": "cannot be reached"}
    server, ask = start(rotating, withdrawing, keeping, away, *bad.values())

    def is_told(name):
        lines = [line for line in server.errors().splitlines() if f"https://idp.example/{name}\"" in line]
        return any("could not be had" in line and told[name] in line for line in lines)

    try:
        # Whoever answers is taken while others do not.
        steady = [issuer.token(one) for issuer in (rotating, withdrawing, keeping)]
        for token in steady:
            wait_for(lambda: ask.is_let_in(token), 20)
        for name in told:
            wait_for(lambda: is_told(name), 30)
        for issuer in (away, *bad.values()):
            assert not ask.is_let_in(issuer.token(one)), issuer.name
        # Everybody changes: new keys, one withdrawn, one that is out of order now, and those that were are mended.
        rotating.publish(one, two)
        withdrawing.publish(two)
        web.put(keeping.path, b"out of order")
        away_web.come()
        for issuer in bad.values():
            issuer.publish(one)
        assert all(ask.is_let_in(token) for token in steady), "what was fetched holds until it is fetched again"
        again = {issuer.name: issuer for issuer in (rotating, withdrawing, away, *bad.values())}
        end = time.monotonic() + FETCHED_WITHIN
        while again or keeping.fetched() < 2:
            assert time.monotonic() < end, list(again)
            for name, issuer in list(again.items()):
                if ask.is_let_in(issuer.token(two if issuer in (rotating, withdrawing) else one)):
                    del again[name]
            # Its tokens with a new key have its keys fetched, in vain.
            assert not ask.is_let_in(keeping.token(two))
            assert ask.is_let_in(rotating.token(one)) and ask.is_let_in(keeping.token(one))
            time.sleep(0.5)
        # However many tokens have named a key that was not there.
        assert [issuer.fetched() for issuer in (rotating, withdrawing, keeping)] == [2, 2, 2]
        assert [ask.is_let_in(token) for token in steady] == [True, False, True]
        assert not ask.is_let_in(withdrawing.token(one))
        wait_for(lambda: server.errors().count("could not be had") == len(told) + 1, 20)
        assert ask.is_let_in(keeping.token(one)) and web.requests("/elsewhere") == []
    finally:
        done.set()
        away_web.close()
    auditor = rotating.token(one, roles=["auditor"])
    assert {row["error_type"] for row in ask.rows(REFUSALS, auditor)} == {"token_unknown_key"}
