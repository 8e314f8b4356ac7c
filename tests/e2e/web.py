"""A web server of a test's own: it answers what the test puts there, and remembers what it was asked."""

import http.server
import threading


class Web:
    """Pages by path (without the query): what makes a status, headers and a body of a request, of which it may look at `headers` and `sent`."""

    def __init__(self):
        self.pages, self.asked, self.port = {}, [], 0
        self._bind()
        self.come()

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, path, body, status=200, **headers):
        self.pages[path] = lambda _: (status, headers, body)

    def requests(self, path):
        """The headers of every request for a path so far."""
        return [headers for asked, headers in list(self.asked) if asked == path]

    def go(self):
        """Nobody answers at its address, which it keeps."""
        self.close()
        self._bind()

    def come(self):
        self.server.server_activate()
        self.serving = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.serving.start()

    def close(self):
        if self.serving:
            self.server.shutdown()
        self.server.server_close()

    def _bind(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                web.asked.append((self.path, self.headers))
                self.sent = self.rfile.read(int(self.headers["content-length"] or 0))
                status, headers, body = web.pages.get(path, lambda _: (404, {}, b"no such page"))(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if status != 304:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                if status != 304:
                    self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass  # Whoever asked has had enough.

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler, bind_and_activate=False)
        self.server.server_bind()
        self.port, self.serving = self.server.server_port, None
