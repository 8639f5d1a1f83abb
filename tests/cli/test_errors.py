"""Whatever the system refuses ends in one line and exit code 2, in every command; EXDIFF_DEBUG=1 shows where."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from exdiff import cli
from exdiff.cli.common import check_folder, say
from exdiff.core.errors import ConfigError, DataError

SPEECH = Path(__file__).parents[2] / "examples" / "speech"
# Every command: arguments (@ is a new name in a temporary folder), and a function that it calls on the way.
COMMANDS = {
    "enhance": (["@x.wav"], "exdiff.inference.loading.load"),
    "batch": ([SPEECH, "@results"], "exdiff.cli.batching.run.plan_batch"),
    "train": (["debug", "--out", "@run"], "exdiff.training.train"),
    "evaluate": ([SPEECH], "exdiff.evaluation.evaluate"),
    "compare": ([SPEECH, "--out", "@page"], "exdiff.evaluation.comparison.compare"),
    "convert": (["@x.wav", "@out"], "exdiff.checkpoints.checkpoint.load_model"),
    "models list": ([], "exdiff.checkpoints.checkpoint.embedded"),
    "models info": (["speech"], "exdiff.checkpoints.checkpoint.load_model"),
    "models install": (["vocals"], "exdiff.checkpoints.install.install"),
    "recipes list": ([], "exdiff.core.recipe.Recipe.load"),
    "recipes show": (["debug"], "exdiff.core.recipe.Recipe.load"),
    "data check": ([SPEECH], "exdiff.data.check.check_data"),
    "data score": (["@manifest.csv", "@scores.csv"], "exdiff.evaluation.clip_scores.score_clips"),
    "data shard": ([SPEECH, "@shards"], "exdiff.data.shards.write_shards"),
    "demo": ([], "exdiff.inference.loading.load"),
    "live": (["--model", "speech"], "exdiff.inference.loading.load"),
    "export": (["speech", "@x.onnx"], "exdiff.inference.loading.load"),
}
NEVER_FAILS = {"doctor"}  # it reports what is broken, errors of the system too
ERRORS = {
    "'here': Permission denied": PermissionError(errno.EACCES, "Permission denied", "here"),
    "'disk': No space left on device": OSError(errno.ENOSPC, "No space left on device", "disk"),
    "'a' -> 'b': Invalid cross-device link": OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"),
    "the system refused: Input/output error": OSError(errno.EIO, "Input/output error"),
    "two lines": OSError("two\nlines"),
    "no data": DataError("no data"),
}


def paths(command, folder):
    return [folder / word[1:] if str(word).startswith("@") else word for word in COMMANDS[command][0]]


@pytest.fixture
def broken(tmp_path, monkeypatch, noise, run):
    """`broken(command, error)` -> result of the command, in which a function fails."""

    def call(command, error):
        def fail(*_, **__):
            raise error

        noise(tmp_path / "x.wav")
        monkeypatch.setattr(COMMANDS[command][1], fail)
        return run(*command.split(), *paths(command, tmp_path))

    return call


def test_the_table_has_every_command():
    root = typer.main.get_command(cli.app)
    found = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found |= {f"{name} {part}" for part in command.commands} if hasattr(command, "commands") else {name}
    assert found == COMMANDS.keys() | NEVER_FAILS


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("message", ERRORS)
def test_an_error_of_the_system_is_one_line(broken, command, message):
    result = broken(command, ERRORS[message])
    assert (result.exit_code, result.stderr) == (2, f"exdiff: error: {message}\n")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("message", ["no data", "'here': Permission denied"])
def test_debug_shows_the_traceback(broken, command, message, monkeypatch):
    monkeypatch.setenv("EXDIFF_DEBUG", "1")
    result = broken(command, ERRORS[message])
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback") and "in fail\n" in result.stderr
    assert result.stderr.endswith(f"\nexdiff: error: {message}\n")


def test_debug_shows_hidden_causes(run, tmp_path, monkeypatch):
    for value, shown in (("0", False), ("", False), ("1", True)):
        monkeypatch.setenv("EXDIFF_DEBUG", value)
        stderr = run("enhance", tmp_path / "x.wav", "--model", tmp_path, "-o", tmp_path / "out").stderr
        assert ("FileNotFoundError" in stderr) is shown, "it is the cause of 'is not a checkpoint'"
        assert stderr.endswith("it has no recipe.json\n")


def test_debug_shows_the_error_of_one_file(run, tmp_path, noise, model, monkeypatch):
    noise(tmp_path / "good.wav")
    (tmp_path / "empty.wav").touch()
    monkeypatch.setenv("EXDIFF_DEBUG", "1")
    result = run("enhance", tmp_path, "--model", model, "--steps", 0)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr and "AudioError" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("enhance x.wav --strength 80", "80 is not a number from 0 to 1; 0.8 keeps a fifth of the input"),
        ("batch in out --strength nan", "nan is not a number from 0 to 1; 0.8 keeps a fifth of the input"),
        ("enhance x.wav --format xyz", "'xyz' is not one of 'same', 'wav', "),
        ("enhance x.wav --steps -1", "-1 is too small; the least is 0"),
        ("enhance x.wav --steps 1.5", "'1.5' is not a whole number"),
        ("demo --port 99999", "99999 is too large; the most is 65535"),
        ("data shard in out --size big", "'big' is not a number"),
        ("data shard in out --seconds inf", "inf is not a finite number"),
        ("demo --max-minutes inf", "inf is not a finite number"),
        ("train debug --max-minutes inf", "inf is not a finite number"),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(run, arguments, message):
    result = run(*arguments.split())
    *_, line = result.stderr.splitlines()
    assert result.exit_code == 2
    assert line.startswith("Error: Invalid value for '--") and f"': {message}" in line


def test_a_file_that_the_system_refuses_does_not_stop_the_others(run, tmp_path, noise, model, monkeypatch):
    from exdiff.cli.enhancing import file as enhance_file

    for name in ("a.wav", "b.wav"):
        noise(tmp_path / name)
    original = enhance_file.AudioReader

    def refuse(path, *arguments, **options):
        if path.name == "a.wav":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr(enhance_file, "AudioReader", refuse)
    result = run("enhance", tmp_path, "--model", model, "--steps", 0)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1 and "a.wav': Input/output error" in result.stderr
    assert (tmp_path / "b.enhanced.wav").exists()


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ["debug", "--out"]),
        ("compare", [SPEECH, "--estimates", SPEECH / "noisy", "--out"]),
        ("evaluate", [SPEECH, "--estimates", SPEECH / "noisy", "--json"]),
        ("evaluate", [SPEECH, "--estimates", SPEECH / "noisy", "--csv"]),
        ("evaluate", [SPEECH, "--estimates", SPEECH / "noisy", "--markdown"]),
        ("enhance", [SPEECH / "noisy" / "01_coffee_shop_5dB.flac", "--steps", "0", "-o"]),
    ],
)
def test_places_that_cannot_be_written(run, tmp_path, command, options):
    """Below a file, and where the kernel takes no files: both refuse the superuser too."""
    (tmp_path / "file").touch()
    for place in [tmp_path / "file" / "x", *([Path("/proc/x/y")] if Path("/proc/self").exists() else [])]:
        result = run(command, *options, place)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1 and "x" in result.stderr
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_tried_before_the_work(tmp_path):
    check_folder(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []
    (tmp_path / "locked").mkdir(mode=0o500)
    try:
        if os.access(tmp_path / "locked", os.W_OK):
            pytest.skip("the superuser may write anywhere")
        with pytest.raises(ConfigError, match="cannot be written: Permission denied; name another place"):
            check_folder(tmp_path / "locked" / "new")
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_a_device_is_no_result_file(run):
    result = run("evaluate", SPEECH, "--estimates", SPEECH / "noisy", "--csv", os.devnull, "--overwrite")
    assert result.exit_code == 2
    assert "is a device or a pipe" in result.stderr


def test_a_reader_that_has_enough_is_no_error(broken):
    result = broken("recipes list", BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert (result.exit_code, result.stderr) == (1, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_streams_do_not_give_their_numbers_to_files(tmp_path):
    code = (
        "import sys; from exdiff import cli; cli._prepare_streams(); file = open(sys.argv[1], 'w'); "
        "print('lost'); print('lost', file=sys.stderr); file.write(str(file.fileno()))"
    )
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    subprocess.run([*shell, sys.executable, "-c", code, str(tmp_path / "x")], check=True)
    assert int((tmp_path / "x").read_text()) > 2


def test_what_the_terminal_cannot_print_is_replaced():
    command = [sys.executable, "-m", "exdiff", "evaluate", SPEECH, "--limit", "2", "--metrics", "si_sdr"]
    command += ["--estimates", SPEECH / "noisy"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"paired difference" in done.stdout


def test_a_terminal_that_is_gone_is_no_error(monkeypatch):
    class Gone:
        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")

        def flush(self):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    say("nobody reads this")
