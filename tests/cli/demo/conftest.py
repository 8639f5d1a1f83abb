"""A server for all tests of the page, as a process, and ways to talk to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest

SPEECH = Path(__file__).parents[3] / "examples" / "speech"
START_SECONDS = 120


class Server:
    """`exdiff demo` with these options."""

    def __init__(self, *options, host="127.0.0.1"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "exdiff", "demo", "--host", host, "--port", str(self.port), *map(str, options)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.said = ""
        try:
            self._wait()
        except BaseException:
            self.process.kill()
            raise

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while "the page is at" not in self.said:
            line = self.process.stderr.readline()
            assert line and time.monotonic() < deadline, f"the server did not start: {self.said}"
            self.said += line

    def end(self):
        """Its exit code; what it has said is in `said`."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.said += self.process.communicate(timeout=30)[1]
        finally:
            self.process.kill()
        return self.process.returncode

    def get(self, path, data=None, headers=None):
        """(status, headers, body)."""
        request = urllib.request.Request(self.url + path, data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def upload(self, content, name="a.wav"):
        """(status, paths on the server or the message)."""
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        body = head + content + f"\r\n--{mark}--\r\n".encode()
        status, _, answer = self.get(
            "/gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={mark}"}
        )
        return status, json.loads(answer) if status == 200 else answer.decode()

    def call(self, path, kind="speech", steps=0, strength=1.0, seed=0):
        """What the API gives for an upload: ("complete", [files, record]) or ("error", ...)."""
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = json.dumps({"data": [file, kind, steps, strength, seed]}).encode()
        _, _, answer = self.get("/gradio_api/call/enhance", data, {"Content-Type": "application/json"})
        event = json.loads(answer)["event_id"]
        lines = self.get(f"/gradio_api/call/enhance/{event}")[2].decode().splitlines()
        events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return events[-1], json.loads(texts[-1])

    def file(self, path):
        """(status, headers, body) of a file of the server."""
        return self.get("/gradio_api/file=" + urllib.parse.quote(path))


@pytest.fixture(scope="session")
def server(model):
    """With the tiny model for songs, a limit of 12 s, and the usual one of 200 MB."""
    server = Server("--vocals", model, "--max-minutes", 0.2)
    try:
        yield server
    finally:
        assert server.end() == 0
        assert "cli/demo" not in server.said, "no traceback runs through our code"


@pytest.fixture
def start_server():
    """`start_server(...)` starts another one; it is killed at the end, if it still runs."""
    started = []

    def start(*options, **others):
        started.append(Server(*options, **others))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="session")
def noisy():
    return SPEECH / "noisy" / "02_boat_0dB.flac"


@pytest.fixture(scope="session")
def clean():
    return SPEECH / "clean" / "02_boat_0dB.flac"
