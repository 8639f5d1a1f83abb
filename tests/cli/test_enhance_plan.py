"""Which files go where."""

from pathlib import Path

import pytest

from exdiff.cli.enhance_plan import plan_tasks
from exdiff.core.errors import ConfigError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return make


def outputs(*inputs, out=None, format="same", stems=False):
    tasks = plan_tasks(inputs, None if out is None else Path(out), format, stems)
    return {str(task.source): [str(path) for path in task.outputs] for task in tasks}


def test_beside_the_input(tree):
    tree("a/x.wav", "y.mp4", "z.mkv", "w.b.flac")
    assert outputs("a/x.wav", "y.mp4", "z.mkv", "w.b.flac") == {
        "a/x.wav": ["a/x.enhanced.wav"],
        "y.mp4": ["y.enhanced.m4a"],
        "z.mkv": ["z.enhanced.wav"],
        "w.b.flac": ["w.b.enhanced.flac"],
    }
    assert outputs("a/x.wav", stems=True, format="ogg") == {"a/x.wav": ["a/x.vocals.ogg", "a/x.accompaniment.ogg"]}


def test_to_one_file(tree):
    tree("x.wav", "y.wav", "folder.wav/z.txt")
    assert outputs("x.wav", out="new/r.mp3") == {"x.wav": ["new/r.mp3"]}
    assert outputs("x.wav", out="r.mp3", stems=True) == {"x.wav": ["r.vocals.mp3", "r.accompaniment.mp3"]}
    assert outputs("x.wav", out="results") == {"x.wav": ["results/x.wav"]}
    assert outputs("x.wav", out="folder.wav") == {"x.wav": ["folder.wav/x.wav"]}
    assert outputs("x.wav", "y.wav", out="r.mp3") == {"x.wav": ["r.mp3/x.wav"], "y.wav": ["r.mp3/y.wav"]}


def test_a_tree_is_mirrored(tree):
    tree("in/a/x.wav", "in/b/x.WAV", "in/b/c/y.m4a", "in/notes.txt", "in/.hidden.wav", "in/.git/z.wav")
    assert outputs("in", out="out") == {
        "in/a/x.wav": ["out/a/x.wav"],
        "in/b/x.WAV": ["out/b/x.wav"],
        "in/b/c/y.m4a": ["out/b/c/y.m4a"],
    }


def test_globs(tree):
    tree("in/a/x.wav", "in/b/y.flac", "in/b/y.txt", "in/z.wav", "odd[1].wav")
    assert outputs("in/*/*", out="out") == {"in/a/x.wav": ["out/a/x.wav"], "in/b/y.flac": ["out/b/y.flac"]}
    assert list(outputs("in/**/*.wav", out="out").values()) == [["out/a/x.wav"], ["out/z.wav"]]
    assert list(outputs("odd[1].wav")) == ["odd[1].wav"]
    with pytest.raises(ConfigError, match="matches no audio"):
        outputs("in/*.mp3")


def test_earlier_results_are_not_inputs(tree):
    tree("in/x.wav", "in/x.enhanced.wav", "in/x.vocals.wav", "in/vocals.wav", "in/lone.vocals.wav", "in/out/x.wav")
    assert set(outputs("in")) == {"in/x.wav", "in/vocals.wav", "in/lone.vocals.wav", "in/out/x.wav"}
    assert "in/out/x.wav" not in outputs("in", out="in/out")


def test_earlier_results_are_left_out_of_any_wildcard(tree):
    tree("x.wav", "x.enhanced.wav", "x.vocals.wav", "lone.vocals.wav")
    everything = ("lone.vocals.wav", "x.enhanced.wav", "x.vocals.wav", "x.wav")  # as a shell expands *.wav
    for inputs, options in ((everything, {}), (("*.wav",), {}), (("*.wav",), {"out": "new"}), ((".",), {"out": "new"})):
        assert set(outputs(*inputs, **options)) == {"x.wav", "lone.vocals.wav"}
    assert set(outputs(*everything, out="new")) == set(everything), "they are named, and nothing collides"


def test_an_empty_input_is_not_the_current_folder(tree):
    tree("x.wav")
    with pytest.raises(ConfigError, match="an input is empty"):
        outputs("")


def test_a_file_given_twice_is_done_once(tree):
    tree("in/x.wav")
    assert list(outputs("in", "in/x.wav", "in/*.wav")) == ["in/x.wav"]


@pytest.mark.parametrize(
    ("names", "options", "match"),
    [
        (["a.wav", "a.flac"], {"out": "out", "format": "mp3"}, "a.wav and a.flac would both be written to out/a.mp3"),
        (["p/a.wav", "q/a.wav"], {"out": "out"}, "would both be written to out/a.wav"),
        (["a.wav", "a.flac"], {"format": "wav"}, "would both be written to a.enhanced.wav"),
        (["a.wav"], {"out": "."}, "a.wav is an input and would be overwritten"),
        (["a.wav"], {"out": "a.wav"}, "a.wav is an input and would be overwritten"),
        (["a.wav"], {"out": "r.mp3", "format": "wav"}, "r.mp3 does not end with .wav"),
        (["a.wav"], {"out": "r.wma"}, "cannot write r.wma"),
        (["a.wav", "b.wav"], {"out": "file"}, "file is a file, but 2 results need a folder"),
    ],
)
def test_what_cannot_be_is_refused(tree, names, options, match):
    tree(*names, "file")
    with pytest.raises(ConfigError, match=match):
        outputs(*names, **options)


def test_a_folder_without_audio(tree):
    tree("in/notes.txt")
    with pytest.raises(ConfigError, match="in holds no audio or video files"):
        outputs("in")
