"""Serve this folder to browsers on this computer, with the headers without which they allow one thread only."""

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000


class Handler(SimpleHTTPRequestHandler):
    """Files, isolated from other sites."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


print(f"http://127.0.0.1:{PORT}/")
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
