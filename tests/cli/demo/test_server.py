"""What programs, and people who try things, get from the server."""

import json
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from exdiff.audio import decode

DOCS = (Path(__file__).parents[3] / "docs" / "demo.md").read_text(encoding="utf-8")

FILE = {"_type": "gradio.FileData"}


def files_of(answer):
    event, content = answer
    assert event == "complete", content
    return [file["path"] for file in content[0]], content[1]


@pytest.fixture(scope="module")
def uploaded(server, noisy):
    status, [path] = server.upload(noisy.read_bytes(), noisy.name)
    assert status == 200
    return path


@pytest.fixture(scope="module")
def result(server, uploaded):
    return files_of(server.call(uploaded))


def test_the_api_gives_what_the_command_gives(server, result, noisy, run, tmp_path):
    [path], record = result
    assert run("enhance", noisy, "-o", tmp_path / "x.flac", "--steps", 0).exit_code == 0
    status, _, body = server.file(path)
    assert status == 200
    (tmp_path / "got.flac").write_bytes(body)
    ours, rate = decode(tmp_path / "got.flac")
    theirs, _ = decode(tmp_path / "x.flac")
    assert rate == 16000 and np.abs(ours - theirs).max() < 2e-4
    assert record["steps"] == 0 and record["output"] == ["02_boat_0dB.enhanced.flac"]


def test_two_clients_at_once_get_their_own(server, noise, tmp_path):
    noise(tmp_path / "short.wav", seconds=0.5)
    noise(tmp_path / "long.wav", seconds=1.0, channels=2)

    def ask(name):
        _, [path] = server.upload((tmp_path / name).read_bytes(), name)
        return files_of(server.call(path, kind="vocals"))

    with ThreadPoolExecutor(2) as pool:
        (short, first), (long, second) = pool.map(ask, ("short.wav", "long.wav"))
    assert [Path(path).name for path in short] == ["short.vocals.wav", "short.accompaniment.wav"]
    assert [Path(path).name for path in long] == ["long.vocals.wav", "long.accompaniment.wav"]
    assert (first["duration"], second["duration"], second["channels"]) == (0.5, 1.0, 2)
    assert Path(short[0]).parent != Path(long[0]).parent


def test_only_files_of_results_and_uploads_are_given_out(server, result, uploaded):
    [path], _ = result
    folder, root = Path(path).parent, Path(path).parents[1]
    assert server.file(path)[0] == 200 and server.file(uploaded)[0] == 200
    other = Path(uploaded).parent.name
    for trick in (
        *("/etc/passwd", "etc/passwd", "../../../etc/passwd", "file:///etc/passwd", "~/.bashrc", "/proc/self/environ"),
        f"{folder}/../../../etc/passwd",
        f"{folder}/../{other}/{Path(uploaded).name}",  # its real name is allowed, but not by a detour
        f"{folder}/",
        f"{root}",
        f"{root}/",
        f"{folder}/02_boat_0dB.enhanced.flac/../before.flac",
        f"{folder}/{Path(uploaded).name}",  # of another folder
        f"{root}/{'0' * 64}/{Path(path).name}",
        f"{path}\0.wav",
        str(Path(__file__)),
        "http://127.0.0.1/",
        "https://example.org/",
    ):
        assert server.file(trick)[0] in (403, 404), trick
    for raw in (
        *("/gradio_api/file/etc/passwd", "/gradio_api/file=..%2f..%2fetc%2fpasswd", "/static/../../../etc/passwd"),
        *(
            "/gradio_api/proxy=https://example.org/",
            "/static/%2e%2e/%2e%2e/hash_seed.txt",
            "/assets/..%2f..%2futils.py",
        ),
        *("/monitoring", "/gradio_api/runs", "/gradio_api/vibe-code/"),
    ):
        assert server.get(raw)[0] in (403, 404), raw


@pytest.mark.parametrize("path", ["/etc/passwd", "https://example.org/a.wav", "http://127.0.0.1:1/a.wav"])
def test_the_api_takes_uploads_only(server, path):
    event, content = server.call(path)
    assert event == "error" and "root:" not in str(content)


@pytest.mark.parametrize("place", ["path", "kind", "steps", "seed"])
def test_no_address_is_fetched_in_place_of_any_value(server, uploaded, place):
    address = "http://example.org/a.wav"
    values = {"path": uploaded, "kind": "speech", "steps": 0, "seed": 0}
    values[place] = address if place == "path" else {"path": address, "meta": {"_type": "gradio.FileData"}}
    event, error = server.call(**values)
    assert event == "error" and "addresses are not fetched" in str(error)


def test_what_the_page_does_not_need_is_not_there(server):
    posts = (
        "process_recording",
        "vibe-edit/",
        "undo-vibe-edit/",
        "stream/x",
        "component_server",
        "run-history/connect",
    )
    for path in posts:
        assert server.get(f"/gradio_api/{path}", b"{}", {"Content-Type": "application/json"})[0] == 404, path
    for path in (
        "openapi.json",
        "docs",
        "gradio_api/deep_link",
        "gradio_api/stream/x/y/z/playlist.m3u8",
        "custom_component/x",
    ):
        assert server.get(f"/{path}")[0] == 404, path


@pytest.mark.parametrize("suffix", [".m3u8", ".wav"])
def test_an_upload_names_no_other_files(server, noise, tmp_path, suffix):
    noise(tmp_path / "private.m4a", seconds=3)
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3.0,\nfile://{tmp_path}/private.m4a\n#EXT-X-ENDLIST\n"
    _, [path] = server.upload(text.encode(), f"a{suffix}")
    event, error = server.call(path)
    assert event == "error" and "list of other files" in error["error"]


def test_names_of_uploads_are_harmless(server, noise, tmp_path):
    noise(tmp_path / "x.wav", seconds=0.2)
    status, [path] = server.upload((tmp_path / "x.wav").read_bytes(), "../../<img src=x>$(touch y);.wav")
    assert status == 200 and Path(path).parent.parent == Path(path).parents[1]
    assert not set("<>$/\\") & set(Path(path).name)
    [out], record = files_of(server.call(path))
    assert Path(out).name == record["output"][0] == f"{Path(path).stem}.enhanced.wav"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"this is no sound", "bad.wav: not a readable audio or video file"),
        (b"", "bad.wav: empty (0 bytes)"),
    ],
)
def test_a_bad_file_is_one_clear_line(server, content, message):
    _, [path] = server.upload(content, "bad.wav")
    event, error = server.call(path)
    assert event == "error"
    assert error["error"].startswith(message) and "\n" not in error["error"] and "Traceback" not in str(error)
    assert "/tmp" not in error["error"] and Path(path).parent.name not in error["error"]


def test_limits(server, uploaded, noise, tmp_path):
    noise(tmp_path / "x.wav", rate=8000, seconds=12.1)
    _, [path] = server.upload((tmp_path / "x.wav").read_bytes(), "x.wav")
    event, error = server.call(path)
    assert event == "error" and "longer than 0.2 minutes" in error["error"]
    for wrong, message in (
        ({"kind": "piano"}, "speech, vocals"),
        ({"steps": 101}, "0 to 100"),
        ({"strength": 2}, "strength must lie"),
    ):
        event, error = server.call(uploaded, **wrong)
        assert event == "error" and message in error["error"]


def test_a_large_upload_is_refused(server):
    def body():
        yield b'--m\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        for _ in range(201):
            yield bytes(1 << 20)
        yield b"\r\n--m--\r\n"

    status, _, answer = server.get("/gradio_api/upload", body(), {"Content-Type": "multipart/form-data; boundary=m"})
    assert status == 413 and b"maximum allowed size" in answer


def test_the_page_forbids_what_is_not_its_own(server):
    status, headers, body = server.get("/")
    assert status == 200 and "default-src 'self'" in headers["content-security-policy"]
    assert b"googleapis" not in body and b"cdnjs" not in body


def test_a_password_and_the_end(start_server, noise, tmp_path):
    server = start_server("--auth", "ann:secret", "--max-mb", 1, host="0.0.0.0")
    assert "warning" not in server.said
    assert server.get("/config")[0] == 401 and server.upload(b"x")[0] == 401
    _, headers, _ = server.get("/login", b"username=ann&password=wrong")
    assert "set-cookie" not in headers
    status, headers, _ = server.get("/login", b"username=ann&password=secret")
    assert status == 200
    cookie = {"Cookie": "; ".join(value.split(";")[0] for value in headers.get_all("set-cookie"))}
    noise(tmp_path / "x.wav", seconds=0.2)
    mark = {"Content-Type": "multipart/form-data; boundary=m"}
    body = b'--m\r\nContent-Disposition: form-data; name="files"; filename="x.wav"\r\n\r\n%b\r\n--m--\r\n'
    status, _, answer = server.get("/gradio_api/upload", body % (tmp_path / "x.wav").read_bytes(), mark | cookie)
    assert status == 200
    path = Path(answer.decode().strip('[]"'))
    assert path.exists() and server.file(str(path))[0] == 401
    assert path.parents[1].stat().st_mode & 0o077 == 0, "others on this machine cannot read it"
    noise(tmp_path / "long.wav", seconds=120)
    status, _, answer = server.get("/gradio_api/upload", body % (tmp_path / "long.wav").read_bytes(), mark | cookie)
    assert status == 413, "that is more than 1 MB"
    noise(tmp_path / "long.ogg", rate=8000, seconds=120)
    body = body.replace(b"x.wav", b"x.ogg")
    status, _, answer = server.get("/gradio_api/upload", body % (tmp_path / "long.ogg").read_bytes(), mark | cookie)
    data = json.dumps({"data": [{"path": answer.decode().strip('[]"'), "meta": FILE}, "speech", 30, 1, 0]}).encode()
    assert server.get("/gradio_api/call/enhance", data, {"Content-Type": "application/json"} | cookie)[0] == 200
    time.sleep(1.5)  # it is under way when the server ends
    assert server.end() == 0 and "terminate" not in server.said and "cli/demo" not in server.said
    assert not path.parents[1].exists(), "all temporary files are deleted at the end"


def test_a_warning_without_a_password(run, monkeypatch):
    monkeypatch.setattr("exdiff.cli.demo.server.serve", lambda *_: None)
    assert "--auth" in run("demo", "--host", "0.0.0.0").stderr
    assert run("demo", "--host", "::1").stderr == ""
    assert run("demo", "--host", "0.0.0.0", "--auth", "a:b").stderr == ""
    assert run("demo", "--auth", "nobody").exit_code == 2


def test_without_gradio_one_line_says_what_to_type(run, monkeypatch):
    monkeypatch.setattr("exdiff.cli.demo.server.find_spec", lambda _: None)
    result = run("demo")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "exdiff[demo]" in result.stderr


def test_a_taken_port_is_one_line(run, server):
    result = run("demo", "--port", server.port)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and f"port {server.port}" in result.stderr
    assert "choose" in run("demo", "--host", "192.0.2.1").stderr


def code_of(language):
    found = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found, language
    return found[1]


def test_the_documented_curl_commands_work(server, noisy, tmp_path):
    script = code_of("sh").replace("http://127.0.0.1:7860", server.url).replace("noisy.flac", shlex.quote(str(noisy)))
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert decode(tmp_path / "enhanced.flac")[0].shape == decode(noisy)[0].shape


def test_the_documented_python_works(server, noisy, tmp_path):
    code = code_of("py").replace("http://127.0.0.1:7860", server.url).replace('"noisy.flac"', repr(str(noisy)))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert decode(done.stdout.split()[0])[0].shape == decode(noisy)[0].shape
