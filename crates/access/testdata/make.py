"""Writes jwks.json from the public keys, and tokens.txt: signatures by PyJWT, and a token a line by hand where PyJWT refuses."""
import base64
import hashlib
import hmac
import json

import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm


def read(name):
    with open(name, "rb") as file:
        return file.read()


def jwk(algorithm, name, **more):
    return json.loads(algorithm.to_jwk(algorithm.prepare_key(read(f"{name}.pub.pem")))) | more


keys = [
    jwk(RSAAlgorithm(RSAAlgorithm.SHA256), "rsa", kid="rsa-1", use="sig"),
    jwk(ECAlgorithm(ECAlgorithm.SHA256), "p256", kid="p256-1", use="sig", alg="ES256"),
    jwk(ECAlgorithm(ECAlgorithm.SHA384), "p384", kid="p384-1", use="sig", alg="ES384"),
    jwk(OKPAlgorithm(), "ed25519", kid="ed25519-1", use="sig", alg="EdDSA"),
    jwk(RSAAlgorithm(RSAAlgorithm.SHA256), "rsa-short", kid="short-1", use="sig"),
]
for key in keys:
    key.pop("key_ops", None)
with open("jwks.json", "w") as file:
    json.dump({"keys": keys}, file, indent=1)
    file.write("\n")

# 2026-11-24T00:00:00Z and ten years.
claims = {
    "iss": "https://issuer.example", "aud": "testimony", "sub": "alice", "iat": 1795478400, "nbf": 1795478400,
    "exp": 2110838400, "email": "alice@example.org", "email_verified": True, "groups": ["support", "auditors"],
}
secret = b"0123456789abcdef0123456789abcdef"


def encode(part):
    data = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, key):
    message = f"{encode(header)}.{encode(claims)}"
    return f"{message}.{encode(hmac.new(key, message.encode(), hashlib.sha256).digest() if key else b'')}"


def token(name, kid, algorithm):
    return jwt.encode(claims, read(f"{name}.pem"), algorithm=algorithm, headers={"kid": kid})


with open("tokens.txt", "w") as file:
    for name, text in [
        ("rs256", token("rsa", "rsa-1", "RS256")),
        ("rs512", token("rsa", "rsa-1", "RS512")),
        ("ps256", token("rsa", "rsa-1", "PS256")),
        ("es256", token("p256", "p256-1", "ES256")),
        ("es384", token("p384", "p384-1", "ES384")),
        ("eddsa", token("ed25519", "ed25519-1", "EdDSA")),
        ("short", token("rsa-short", "short-1", "RS256")),
        ("hs256", jwt.encode(claims, secret, algorithm="HS256")),
        ("none", by_hand({"alg": "none", "typ": "JWT"}, None)),
        ("none-with-kid", by_hand({"alg": "none", "kid": "rsa-1"}, None)),
        ("confused", by_hand({"alg": "HS256", "kid": "rsa-1", "typ": "JWT"}, read("rsa.pub.pem"))),
    ]:
        file.write(f"{name} {text}\n")
