#!/usr/bin/env python3
"""A time-stamp authority for tests (RFC 3161 over HTTP, section 3.4): `openssl ts -reply` behind Python's http.server.

Usage: tsa.py PORT DIR

DIR is made if need be and gets the authority's material once: ca.pem (the root to believe), tsa.pem and its key.
PORT 0 takes a free port. The first line printed is the address, printed once it answers. To verify a token:

    openssl ts -verify -data MESSAGE -token_in -in TOKEN -CAfile DIR/ca.pem

It listens on 127.0.0.1 only and answers one request at a time, because openssl counts in the file DIR/serial.
"""

import pathlib
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

REQUEST_BYTES_MAX = 1 << 16

CONFIGURATION = pathlib.Path(__file__).resolve().parents[2] / "crates/tlog/src/timestamp/testdata/authority.cnf"
NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split()


def openssl(directory, *arguments, stdin=None):
    """Runs openssl in the directory; a failure is raised with what it wrote to stderr."""
    done = subprocess.run(["openssl", *arguments], cwd=directory, input=stdin, capture_output=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout


def make_material(directory):
    """A root and the authority's certificate under it, unless they are there; tsa.pem is written last."""
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / "tsa.pem").exists():
        return
    (directory / "openssl.cnf").write_bytes(CONFIGURATION.read_bytes())
    (directory / "serial").write_text("01\n")
    request = ["req", "-config", "openssl.cnf", *NEW_KEY]
    openssl(directory, *request, "-x509", "-days", "3650", "-extensions", "ca", "-subj", "/CN=root for tests",
            "-keyout", "ca.key", "-out", "ca.pem")
    openssl(directory, *request, "-subj", "/CN=time-stamps for tests", "-keyout", "tsa.key", "-out", "tsa.csr")
    openssl(directory, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "3650", "-extfile", "openssl.cnf", "-extensions", "leaf", "-out", "tsa.pem")


def reply(directory, query):
    """The TimeStampResp; also a refusal is one, with which openssl ends well."""
    (directory / "query.tsq").write_bytes(query)
    openssl(directory, "ts", "-reply", "-config", "openssl.cnf", "-section", "tsa", "-queryfile", "query.tsq",
            "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply.tsr")
    return (directory / "reply.tsr").read_bytes()


class Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self):
        if self.headers.get("Content-Type") != "application/timestamp-query":
            return self.send_error(415, "the Content-Type should be application/timestamp-query")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self.send_error(411)
        if int(length) > REQUEST_BYTES_MAX:
            return self.send_error(413)
        try:
            body = reply(self.server.directory, self.rfile.read(int(length)))
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr, flush=True)
            return self.send_error(500)
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        """The tests' output is theirs."""


def main():
    if len(sys.argv) != 3 or not sys.argv[1].isdigit():
        sys.exit("usage: tsa.py PORT DIR")
    directory = pathlib.Path(sys.argv[2]).resolve()
    make_material(directory)
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.directory = directory
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
