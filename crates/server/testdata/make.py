"""Makes the certificates and keys that the tests read. Run once; what it made is checked in and protects nothing."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = pathlib.Path(__file__).parent
FROM, UNTIL = datetime.datetime(2026, 1, 1), datetime.datetime(2049, 1, 1)


def make(name, issuer=None, days=(FROM, UNTIL), is_authority=False):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer_name, issuer_key = issuer or (subject, key)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(days[0])
        .not_valid_after(days[1])
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    (HERE / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (HERE / f"{name}.key").write_bytes(key.private_bytes(*form))
    return subject, key


authority = make("ca", is_authority=True)
make("server", authority)
make("client", authority)
make("stranger")
make("expired", days=(datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 2)))
for unused in ("ca.key", "expired.key"):
    (HERE / unused).unlink()
