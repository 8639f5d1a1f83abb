"""A server that speaks S3 and counts requests, a Ray cluster, and ways to run the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from exdiff.audio import encode
from exdiff.cli.enhancing.claims import claim_path

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Bucket:
    """The bucket `songs` of a local server.

    Attributes:
        requests: how often each kind came.
    """

    def __init__(self, client, requests):
        self.client, self.requests = client, requests

    def fill(self, folder, prefix):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        self.requests.clear()

    def put(self, key, content):
        self.client.put_object(Bucket="songs", Key=key, Body=content)

    def content(self, prefix):
        """What lies below a prefix, without the counting."""
        listed = self.client.list_objects_v2(Bucket="songs", Prefix=f"{prefix}/").get("Contents", [])
        keys = [entry["Key"] for entry in listed]
        return {
            key.removeprefix(f"{prefix}/"): self.client.get_object(Bucket="songs", Key=key)["Body"].read()
            for key in keys
        }


@pytest.fixture(scope="session")
def server():
    """Runs in a thread of this process; other processes find it by the environment."""
    pytest.importorskip("s3fs", reason="needs s3fs")
    moto = pytest.importorskip("moto.server", reason="needs moto[s3,server]")
    import boto3
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    requests, answer = Counter(), DomainDispatcherApplication.__call__

    def counted(self, environment, start):
        kind, query = environment["REQUEST_METHOD"], environment.get("QUERY_STRING", "")
        requests["LIST" if "list-type" in query else kind] += 1
        return answer(self, environment, start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", counted)
        running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        address = "http://{}:{}".format(*running.get_host_and_port())
        for name, value in (AWS | {"AWS_ENDPOINT_URL": address}).items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        try:
            yield client, requests
        finally:
            client.close()
            running.stop()


@pytest.fixture
def bucket(server):
    client, requests = server
    client.create_bucket(Bucket="songs")
    yield Bucket(client, requests)
    for entry in client.list_objects_v2(Bucket="songs").get("Contents", []):
        client.delete_object(Bucket="songs", Key=entry["Key"])
    client.delete_bucket(Bucket="songs")


@pytest.fixture(scope="session")
def address(server):
    """Of a Ray cluster of two CPUs and a GPU that is not there, whose workers know the S3 server."""
    from exdiff.cli.batching.on_ray import QUIET

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (QUIET | {"OMP_NUM_THREADS": "1"}).items():
            patch.setenv(name, value)
        pytest.importorskip("ray", reason="needs ray")
        from ray.cluster_utils import Cluster

        arguments = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
        running = Cluster(initialize_head=True, head_node_args=arguments)
        try:
            yield running.address
        finally:
            running.shutdown()


@pytest.fixture
def engine(request):
    """The options of the engine that a test is parametrised with, each with two workers."""
    if request.param == "local":
        return ["--workers", 2, "--threads", 2]
    cluster = ["--engine", "ray", "--address", request.getfixturevalue("address")]
    return cluster if request.param == "gpu" else [*cluster, "--workers", 2, "--device", "cpu"]


both_engines = pytest.mark.parametrize("engine", ["local", "ray"], indirect=True)


@pytest.fixture
def batch(run, model):
    """`batch(source, target, ...)` runs the command in this process."""
    return lambda *arguments: run("batch", *arguments, "--model", model, "--steps", 0)


@pytest.fixture
def start(tmp_path, model):
    """`start(source, target, ...)` starts it as a process, which is ended with the test."""
    begun = []

    def call(*arguments):
        command = [sys.executable, "-m", "exdiff", "batch", *arguments, "--model", model, "--steps", 0]
        # What a killed run leaves behind goes with the test; Ray's sockets need a short path.
        places = {"TMPDIR": str(tmp_path), "RAY_TMPDIR": tempfile.gettempdir()}
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | places,
        )
        begun.append(process)
        return process

    yield call
    for process in begun:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture
def songs(tmp_path):
    """A folder of five short files in two folders, and one that is no sound."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(["a.wav", "b.flac", "sub/c.wav", "sub/d e.wav", "ü.wav"]):
        samples = rng.uniform(-0.3, 0.3, (1 + number % 2, 3000 + 1000 * number)).astype(np.float32)
        encode(tmp_path / "in" / name, samples, 16000)
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    return tmp_path / "in"


@pytest.fixture
def killer():
    """`killer(output, times)` ends each process that claims `output`, so often at most; gives the list of them."""
    ended, threads = threading.Event(), []

    def call(output, times):
        killed = []

        def watch():
            while len(killed) < times and not ended.wait(0.01):
                with suppress(OSError, ValueError):
                    number = json.loads(claim_path(output).read_text())["pid"]
                    if number not in killed:
                        os.kill(number, signal.SIGKILL)
                        killed.append(number)

        threads.append(threading.Thread(target=watch))
        threads[-1].start()
        return killed

    yield call
    ended.set()
    for thread in threads:
        thread.join()


def contents(folder):
    """All files below a folder, hidden ones too."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def processes_with(text):
    """Numbers of the processes whose command line holds `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if text in path.read_text(errors="replace").replace("\0", " "):
                found.append(int(path.parent.name))
    return found
