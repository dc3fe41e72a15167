"""Runs in a pod in place of a driver where a test is about the way to the driver, not about Spark.

Serves the JSON documents of answers.json (path -> document) on port 4040, `{{POD_IP}}` in them replaced. A path that
is not there answers 404, as Spark's UI does. It decides nothing; a test that wants another answer PUTs it.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ANSWERS = json.loads(
    (Path(__file__).parent / "answers.json").read_text().replace("{{POD_IP}}", os.environ["POD_IP"])
)


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path)
        body = json.dumps(answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        ANSWERS[self.path] = json.loads(self.rfile.read(length))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("", 4040), Answering).serve_forever()
