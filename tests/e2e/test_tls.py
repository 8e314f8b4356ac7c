"""TLS on both listeners, and client certificates as a way to say who calls."""

import datetime
import ipaddress
import json
import os
import socket
import ssl
import time
import urllib.parse
from http.client import HTTPException

import pytest
from conftest import chat, http, run, wait_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

RULES = """
[[certificate]]
kind = "uri"
pattern = "spiffe://acme/support-*"
role = "caller"

[[certificate]]
kind = "common-name"
pattern = "alice"
actor = "user"
role = "admin"
"""


class Authority:
    """Issues certificates, each with its key as files in PEM."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = self.sign(self.name, self.key, 30, (x509.BasicConstraints(True, None), True), (usage, True))
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate)

    def sign(self, subject, key, days, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        begin = now - datetime.timedelta(days=60)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(now + datetime.timedelta(days=days))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, name, *names, days=30, at=None):
        """The files of a certificate and its key."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [(x509.BasicConstraints(False, None), True)]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files = at or (self.folder / f"{name}.pem", self.folder / f"{name}.key")
        files[0].write_bytes(self.sign(subject, key, days, *extensions))
        files[1].write_bytes(key.private_bytes(*form))
        return files

    def issue_server(self, **more):
        return self.issue("server", x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")), **more)


def trusting(authority, shown=None):
    """How a client speaks TLS that trusts an authority and shows a certificate."""
    context = ssl.create_default_context(cafile=authority.file)
    if shown:
        context.load_cert_chain(*shown)
    return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


@pytest.fixture
def encrypted(serve, scripted, tmp_path, authority):
    """Starts a server with a certificate, and with what else the settings say."""
    authority.issue_server()

    def start(tls="", rest=""):
        settings = tmp_path / "settings.toml"
        tls = f'[tls]\ncert = "{tmp_path}/server.pem"\nkey = "{tmp_path}/server.key"\n{tls}'
        settings.write_text(f"{tls}\n{rest}")
        return serve(scripted, "--config", settings)

    return start


def asks_clients(authority, required=False):
    return f'client_ca = "{authority.file}"\nclient_required = {str(required).lower()}'


def rows(server, query, context):
    status, _, text = http(f"{server.api}/api/v1/sql?format=jsonl", json.dumps({"query": query}).encode(), context=context)
    assert status == 200, text
    return [json.loads(line) for line in text.splitlines()]


def call(server, context, headers=None):
    return http(f"{server.models}/v1/chat/completions", json.dumps(chat("hello")).encode(), headers, context)


def connect(url, context=None):
    address = urllib.parse.urlsplit(url)
    stream = socket.create_connection((address.hostname, address.port), timeout=30)
    return context.wrap_socket(stream, server_hostname=address.hostname) if context else stream


def refusal(url, context):
    """Why a handshake is refused. A server's last word in TLS 1.3 comes after the client's handshake."""
    with pytest.raises(ssl.SSLError) as caught:
        with connect(url, context) as stream:
            stream.recv(1)
    return caught.value.reason


def shown(url, context):
    with connect(url, context) as stream:
        return stream.getpeercert(binary_form=True)


def test_both_listeners_speak_tls_and_nothing_else(encrypted, authority):
    server = encrypted()
    context = trusting(authority)
    assert server.models.startswith("https://") and server.api.startswith("https://")
    assert f"testimony tail --server {server.api}" in server.said
    assert http(f"{server.api}/readyz", context=context)[0] == 200
    status, headers, text = call(server, context)
    assert status == 200 and "choices" in json.loads(text)
    assert rows(server, f"SELECT count(*) AS n FROM records WHERE call_id = '{headers['testimony-call']}'", context) == [{"n": 2}]
    for url in (server.models, server.api):
        with pytest.raises((OSError, HTTPException)):
            http(url.replace("https:", "http:") + "/readyz")
        assert refusal(url, ssl.create_default_context()) == "CERTIFICATE_VERIFY_FAILED"


def test_tls_1_2_and_1_3_are_spoken_and_nothing_older(encrypted, authority):
    server = encrypted()
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = trusting(authority)
        context.minimum_version = context.maximum_version = version
        with connect(server.api, context) as stream:
            assert stream.version() == name
    old = trusting(authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert "ALERT" in refusal(server.api, old)


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_http_2_is_agreed_on_in_the_handshake(encrypted, authority):
    server = encrypted()
    context = trusting(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(server.api, context) as stream:
        assert stream.selected_alpn_protocol() == "h2"
        # RFC 7541: GET and https from the static table, then path and authority as literals.
        authority_name = urllib.parse.urlsplit(server.api).netloc.encode()
        headers = b"\x82\x87" + b"\x04\x06/livez" + b"\x01" + bytes([len(authority_name)]) + authority_name
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 5, 1, headers))
        reader = stream.makefile("rb")
        answered = {}
        while 0 not in answered:
            head = reader.read(9)
            payload = reader.read(int.from_bytes(head[:3], "big"))
            if int.from_bytes(head[5:9], "big") == 1:
                answered[head[3]] = payload
        # 0x88 is ":status: 200" in the static table.
        assert answered[1][0] == 0x88 and answered[0] == b"ok\n"
    context.set_alpn_protocols(["http/1.1"])
    with connect(server.api, context) as stream:
        assert stream.selected_alpn_protocol() == "http/1.1"


def test_a_certificate_says_who_calls(encrypted, authority):
    server = encrypted(asks_clients(authority), f'[access]\nanonymous = "off"\n{RULES}')
    assert "with a key, token or client certificate" in server.said
    admin = trusting(authority, authority.issue("alice"))
    bot = trusting(authority, authority.issue("bot", x509.UniformResourceIdentifier("spiffe://acme/support-bot")))
    status, headers, _ = call(server, bot)
    assert status == 200
    query = f"SELECT kind, actor_id, actor_type, actor_auth FROM records WHERE call_id = '{headers['testimony-call']}' ORDER BY log_index"
    who = {"actor_id": "spiffe://acme/support-bot", "actor_type": "service", "actor_auth": "mtls"}
    assert rows(server, query, admin)[0] == {"kind": "inference.request", **who}
    # Clients of models send some key or other; one that is none of ours says nothing about who they are.
    assert call(server, bot, {"authorization": "Bearer sk-no-key"})[0] == 200
    assert call(server, bot, {"authorization": "Bearer tsm_nonsense"})[0] == 401
    # A role that does not allow it, on the other listener.
    assert http(f"{server.api}/api/v1/search", context=bot)[0] == 403
    reads = rows(server, "SELECT DISTINCT actor_id, actor_type, actor_auth FROM records WHERE kind = 'read'", admin)
    assert reads == [{"actor_id": "alice", "actor_type": "user", "actor_auth": "mtls"}]
    accepted = rows(server, "SELECT actor_id FROM records WHERE attributes['testimony.auth.event'] = 'accepted' AND actor_auth = 'mtls' ORDER BY log_index", admin)
    assert [row["actor_id"] for row in accepted] == ["spiffe://acme/support-bot", "alice"]
    denied = rows(server, "SELECT actor_id, error_type FROM records WHERE kind = 'auth' AND outcome = 'denied' ORDER BY log_index", admin)
    assert [row["error_type"] for row in denied] == ["key_malformed", "role"] and denied[1]["actor_id"] == who["actor_id"]


def test_a_certificate_without_a_rule_is_nobody_and_that_is_recorded(encrypted, authority):
    server = encrypted(asks_clients(authority), RULES + '[access]\nanonymous = "admin"\n')
    stranger = trusting(authority, authority.issue("stranger"))
    # Even here, where whoever shows nothing is administrator.
    status, _, text = call(server, stranger)
    assert status == 401 and json.loads(text)["error"]["code"] == "invalid_api_key"
    assert http(f"{server.api}/api/v1/search", context=stranger)[0] == 401
    assert http(f"{server.api}/livez", context=stranger)[0] == 200
    denied = rows(server, "SELECT error_type, actor_type, id FROM records WHERE kind = 'auth' AND outcome = 'denied'", trusting(authority))
    assert [(row["error_type"], row["actor_type"]) for row in denied] == [("certificate", "credential")] * 2
    told = http(f"{server.api}/api/v1/records/{denied[0]['id']}", context=trusting(authority))[2]
    assert "no rule is for a name of the client certificate: stranger" in told


def test_certificates_that_do_not_hold_end_the_handshake(encrypted, authority, tmp_path):
    server = encrypted(asks_clients(authority, required=True), RULES)
    (tmp_path / "other").mkdir()
    forger = Authority(tmp_path / "other", "authority")
    forged = forger.issue("alice")
    expired = authority.issue("late", x509.UniformResourceIdentifier("spiffe://acme/support-late"), days=-1)
    for url in (server.models, server.api):
        assert "CERTIFICATE_REQUIRED" in refusal(url, trusting(authority))
        assert refusal(url, trusting(authority, forged)).upper().replace(" ", "_").endswith(("UNKNOWN_CA", "DECRYPT_ERROR", "BAD_CERTIFICATE"))
        assert "EXPIRED" in refusal(url, trusting(authority, expired))
    alice = trusting(authority, authority.issue("alice"))
    assert call(server, alice)[0] == 200
    assert rows(server, "SELECT count(*) AS n FROM records WHERE kind = 'auth' AND outcome = 'denied'", alice) == [{"n": 0}]
    assert "ERROR" not in server.errors() and "WARN" not in server.errors()


def test_an_optional_certificate_must_hold_too(encrypted, authority, tmp_path):
    server = encrypted(asks_clients(authority))
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "elsewhere").issue("alice")
    assert "UNKNOWN_CA" in refusal(server.api, trusting(authority, stranger))
    assert call(server, trusting(authority))[0] == 200


def test_a_new_certificate_is_taken_and_a_bad_one_is_not(encrypted, authority, tmp_path):
    server = encrypted()
    files, context = (tmp_path / "server.pem", tmp_path / "server.key"), trusting(authority)
    first = shown(server.api, context)
    kept = connect(server.api, context)
    files[0].write_text("-----BEGIN CERTIFICATE-----\nhalf of")
    wait_for(lambda: "the one in force stays" in server.errors(), 40, 0.2)
    assert shown(server.api, context) == first == shown(server.models, context)
    authority.issue_server(at=files)
    wait_for(lambda: shown(server.api, context) != first, 40, 0.2)
    assert shown(server.models, context) == shown(server.api, context) == ssl.PEM_cert_to_DER_cert(files[0].read_text())
    # A connection that was there goes on.
    assert request(kept, "/livez") == 200
    assert server.errors().count("the one in force stays") == 1


def request(stream, path):
    stream.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    return int(stream.makefile("rb").read().split()[1])


def test_a_session_that_is_taken_up_again_is_still_its_certificate_and_ends_with_its_authority(encrypted, authority, tmp_path):
    server = encrypted(asks_clients(authority), f'[access]\nanonymous = "off"\n{RULES}')
    context = trusting(authority, authority.issue("alice"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    address = urllib.parse.urlsplit(server.api)

    def again(session):
        stream = socket.create_connection((address.hostname, address.port), timeout=30)
        return context.wrap_socket(stream, server_hostname=address.hostname, session=session)

    with connect(server.api, context) as stream:
        session = stream.session
        assert request(stream, "/api/v1/search") == 200
    with again(session) as stream:
        assert stream.session_reused and request(stream, "/api/v1/search") == 200
    (tmp_path / "other").mkdir()
    authority.file.write_bytes(Authority(tmp_path / "other", "next").file.read_bytes())
    wait_for(lambda: "took the new certificate" in server.errors(), 40, 0.2)
    with pytest.raises(ssl.SSLError):
        again(session)


def test_slow_handshakes_hold_up_nobody_and_are_given_up(encrypted, authority):
    server = encrypted()
    context = trusting(authority)
    begun = bytes.fromhex("1603010200010001fc0303")
    silent = [connect(url) for url in (server.models, server.api) for _ in range(40)]
    for stream in silent[::2]:
        stream.sendall(begun)
    for _ in range(5):
        assert call(server, context)[0] == 200 and http(f"{server.api}/livez", context=context)[0] == 200
    # Ten seconds each may take.
    assert all(stream.recv(1) == b"" for stream in silent)
    assert "WARN" not in server.errors()


def test_a_handshake_under_way_does_not_keep_the_server_from_stopping(encrypted, authority):
    server = encrypted()
    silent = [connect(server.models), connect(server.api)]
    assert call(server, trusting(authority))[0] == 200
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 8
    assert [stream.recv(1) for stream in silent] == [b"", b""]


def test_noise_on_the_port_does_no_harm(encrypted, authority):
    server = encrypted()
    alert = b"\x15\x03\x03\x00\x02\x02\x28"
    for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(65_536), b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, alert, b"\0", b""):
        for url in (server.models, server.api):
            with connect(url) as stream:
                try:
                    stream.sendall(noise)
                    stream.shutdown(socket.SHUT_WR)
                    stream.recv(100)
                except OSError:
                    pass  # It was closed before all of it was sent.
    assert call(server, trusting(authority))[0] == 200
    assert "WARN" not in server.errors() and "ERROR" not in server.errors() and "panicked" not in server.errors()


def test_the_command_line_trusts_an_authority_of_its_own_and_shows_a_certificate(encrypted, authority, tmp_path):
    server = encrypted(asks_clients(authority), f'[access]\nanonymous = "off"\n{RULES}')
    certificate, key = authority.issue("alice")
    call(server, trusting(authority, (certificate, key)))
    channel = ["--server", server.api, "--ca", authority.file, "--cert", certificate, "--cert-key", key]
    assert "scripted-demo" in run("search", "", *channel).stdout
    wait_for(lambda: http(f"{server.api}/log/checkpoint", context=trusting(authority, (certificate, key)))[0] == 200)
    assert "verified" in run("verify", *channel).stdout
    made = run("key", "create", "--name", "ci", "--role", "reader", *channel).stdout.split()[0]
    assert run("search", "", *channel[:4], "--api-key", made).returncode == 0
    assert "credential" in run("search", "", *channel[:4], check=False).stderr
    unknown = run("search", "", "--server", server.api, check=False)
    assert unknown.returncode == 1 and "UnknownIssuer" in unknown.stderr
    assert run("search", "", *channel[:6], check=False).returncode == 2
    bad = run("search", "", "--server", server.api, "--ca", key, check=False)
    assert bad.returncode == 1 and "no certificate in PEM" in bad.stderr


def test_an_expired_certificate_is_told_and_a_wrong_key_ends_the_start(encrypted, authority, tmp_path):
    authority.issue_server(days=-1)
    assert "has expired" in encrypted().errors()
    settings = tmp_path / "wrong.toml"
    _, key = authority.issue("other")
    settings.write_text(f'[tls]\ncert = "{tmp_path}/server.pem"\nkey = "{key}"\n')
    arguments = ["serve", "--data", tmp_path / "unused", "--upstream", "http://127.0.0.1:1/v1", "--config", settings]
    said = run(*arguments, check=False)
    assert said.returncode == 1 and "is not the key of the first certificate" in said.stderr
    settings.write_text('[tls]\ncert = "server.pem"\n')
    said = run(*arguments, check=False)
    assert said.returncode == 2 and "tls.key" in said.stderr
    assert not (tmp_path / "unused").exists()
