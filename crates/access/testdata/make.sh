#!/bin/sh
# Makes the keys, certificates and tokens that the tests read. Run once; what it made is checked in and protects nothing.
# Wants openssl 3 and a Python with PyJWT and cryptography ($PYTHON).
set -eu
cd "$(dirname "$0")"

openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa-short.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.pem
openssl genpkey -algorithm ED25519 -out ed25519.pem
for name in rsa rsa-short p256 p384 ed25519; do
    openssl pkcs8 -topk8 -nocrypt -in $name.pem -outform DER -out $name.pkcs8
    openssl pkey -in $name.pem -pubout -out $name.pub.pem
done

certificate() {
    openssl req -x509 -key p256.pem -days 3650 -outform DER "$@"
}
certificate -subj "/O=Example/CN=support-bot" -out common-name.der
certificate -subj "/O=Example/CN=ignored" -out alternatives.der \
    -addext "subjectAltName=URI:spiffe://example/ns/prod/sa/support-bot,DNS:bot.example,email:bot@example.org,IP:10.0.0.1"
certificate -subj "/O=Example" -out nobody.der

"${PYTHON:-python3}" make.py
rm -f ./*.pem rsa-short.pkcs8 p384.pkcs8
