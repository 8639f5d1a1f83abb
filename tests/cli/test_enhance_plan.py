"""Which files go where."""

from pathlib import Path

import pytest

from exdiff.cli.enhancing.options import Options, RawFormat, Stem, chosen_whats, parse_part
from exdiff.cli.enhancing.plan import plan_tasks
from exdiff.core.errors import ConfigError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return make


def plan(*inputs, out=None, stems=False, stem=None, **options):
    whats = chosen_whats(stems, stem)
    return plan_tasks(inputs, out, Options(whats=whats, **options))


def outputs(*inputs, **options):
    made = plan(*inputs, **options)
    assert made.refused == {}
    return {str(task.source): [str(path) for path in task.outputs] for task in made.tasks}


def test_beside_the_input(tree):
    tree("a/x.wav", "y.mp4", "z.mkv", "w.b.flac")
    assert outputs("a/x.wav", "y.mp4", "z.mkv", "w.b.flac") == {
        "a/x.wav": ["a/x.enhanced.wav"],
        "y.mp4": ["y.enhanced.mp4"],
        "z.mkv": ["z.enhanced.mkv"],
        "w.b.flac": ["w.b.enhanced.flac"],
    }
    assert outputs("a/x.wav", stems=True, format="ogg") == {"a/x.wav": ["a/x.vocals.ogg", "a/x.accompaniment.ogg"]}


def test_to_one_file(tree):
    tree("x.wav", "y.wav", "folder.wav/z.txt")
    assert outputs("x.wav", out="new/r.mp3") == {"x.wav": ["new/r.mp3"]}
    assert outputs("x.wav", out="r.mp3", stems=True) == {"x.wav": ["r.vocals.mp3", "r.accompaniment.mp3"]}
    assert outputs("x.wav", out="results") == {"x.wav": ["results/x.wav"]}
    assert outputs("x.wav", out="folder.wav") == {"x.wav": ["folder.wav/x.wav"]}
    assert outputs("x.wav", "y.wav", out="folder.wav") == {"x.wav": ["folder.wav/x.wav"], "y.wav": ["folder.wav/y.wav"]}


def test_a_folder_with_a_dot_in_its_name(tree):
    """A folder it is, but a line says so where a file may have been meant; a slash at the end leaves no doubt."""
    tree("x.wav", "in/y.wav", "there.mp33/z.txt")
    for out in ("r.mp3/", "r.mp33/", "there.mp33", "out.v2", "out.2026-11", "out.final", "out.tmp", "out.test", "out"):
        assert outputs("x.wav", out=out) == {"x.wav": [f"{out.rstrip('/')}/x.wav"]}
        assert plan("x.wav", out=out).doubt == ""
    for out, remedy in (("r.mp33", ".mp3?"), ("r.wavv", ".wav?"), ("r.flca", ".flac?"), ("r.mid", "no suffix")):
        assert outputs("x.wav", out=out) == {"x.wav": [f"{out}/x.wav"]}
        assert plan("x.wav", out=out).doubt.startswith(f"{out} becomes a folder; ")
        assert remedy in plan("x.wav", out=out).doubt
    assert outputs("x.wav", "in/y.wav", out="r.mp3") == {"x.wav": ["r.mp3/x.wav"], "in/y.wav": ["r.mp3/y.wav"]}
    assert plan("x.wav", "in/y.wav", out="r.mp3").doubt == "r.mp3 becomes a folder, since there are 2 inputs"
    assert plan("x.wav", "in/y.wav", out="r.mp3").part(1, 2).doubt


def test_a_tree_is_mirrored(tree):
    tree("in/a/x.wav", "in/b/x.WAV", "in/b/c/y.m4a", "in/notes.txt", "in/.hidden.wav", "in/.git/z.wav")
    assert outputs("in", out="out") == {
        "in/a/x.wav": ["out/a/x.wav"],
        "in/b/x.WAV": ["out/b/x.WAV"],
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
    for below in ("in", "in/**/*.wav", "*/**/*.wav"):
        assert "in/out/x.wav" in outputs(below)
        assert "in/out/x.wav" not in outputs(below, out="in/out")


def test_earlier_results_are_left_out_of_any_wildcard(tree):
    tree("x.wav", "x.enhanced.wav", "x.vocals.wav", "lone.vocals.wav")
    everything = ("lone.vocals.wav", "x.enhanced.wav", "x.vocals.wav", "x.wav")  # as a shell expands *.wav
    for inputs, options in ((everything, {}), (("*.wav",), {}), (("*.wav",), {"out": "new"}), ((".",), {"out": "new"})):
        assert set(outputs(*inputs, **options)) == {"x.wav", "lone.vocals.wav"}
        assert plan(*inputs, **options).earlier == [Path("x.enhanced.wav"), Path("x.vocals.wav")]
        assert plan(*inputs, **options).part(1, 2).earlier and not plan(*inputs, **options).part(2, 2).earlier
    assert set(outputs(*everything, out="new")) == set(everything), "they are named, and nothing collides"
    assert plan(*everything, out="new").earlier == []


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
        (["p/a.wav", "q/a.wav", "r/a.wav"], {"out": "out"}, "p/a.wav and q/a.wav and r/a.wav would all be written to"),
        (["a.aiff", "a.caf"], {"format": "wav"}, "would both be written to a.enhanced.wav"),
        (["a.wav"], {"out": "."}, "a.wav is an input and would be overwritten"),
        (["a.wav"], {"out": "a.wav"}, "a.wav is an input and would be overwritten"),
        (["a.wav"], {"name": "{stem}{suffix}"}, "a.wav is an input and would be overwritten"),
    ],
)
def test_a_collision_is_refused_and_the_rest_is_not(tree, names, options, match):
    tree(*names, "other.wav")
    if options.get("out") != "a.wav":
        made = plan(*names, "other.wav", **options)
        # Without -o, a template that changes nothing would overwrite every file.
        assert set(map(str, made.refused)) - {"other.wav"} == set(names)
        assert "other.wav" not in map(str, made.refused) or options in ({"out": "."}, {"name": "{stem}{suffix}"})
    else:
        made = plan(*names, **options)
    assert all(match in made.refused[Path(name)] for name in names)


@pytest.mark.parametrize(
    ("names", "options", "match"),
    [
        (["a.wav"], {"out": "r.mp3", "format": "wav"}, "r.mp3 does not end with .wav"),
        (["a.wav"], {"out": "r.wma"}, "cannot write r.wma"),
        (["https://a.org/a.mp3"], {}, "https://a.org/a.mp3 is a URL, which .* download the file first"),
        (["a.wav"], {"out": "s3://b/a.mp3"}, "s3://b/a.mp3 is a URL, .* use exdiff batch for an object store"),
        (["a.wav", "b.wav"], {"out": "file"}, "file is a file, but 2 results need a folder"),
        (["a.wav", "b.wav"], {"out": "-"}, "- takes one result, but there are 2 inputs"),
        (["a.wav"], {"out": "-", "stems": True}, "choose one with --stem vocals or --stem accompaniment"),
        (["a.wav"], {"out": "-", "format": "mp3"}, "mp3 cannot be written to a pipe; allowed: same, wav, flac"),
        (["a.wav"], {"out": "-", "json": True}, "both write to standard output"),
        (["a.wav"], {"out": "-", "keep_video": True}, "--keep-video needs a file"),
        (["-"], {}, "standard input has no name"),
        (["-"], {"out": "folder"}, "standard input has no name"),
        (["a.wav"], {"out": "b.wav", "name": "{stem}{suffix}"}, "--name names results in a folder"),
    ],
)
def test_what_cannot_be_is_refused(tree, names, options, match):
    tree("a.wav", "b.wav", "file")
    with pytest.raises(ConfigError, match=match):
        outputs(*names, **options)


@pytest.mark.parametrize(
    ("template", "match"),
    [
        ("{stem}.{kind}{suffix}", r"unknown field {kind}; allowed: {stem}, {ext}, {what}, {suffix}"),
        ("{0}{suffix}", r"unknown field {0}"),
        ("{}{suffix}", r"unknown field {}"),
        ("{stem.__class__}{suffix}", r"unknown field {stem.__class__}"),
        ("{stem!r}{suffix}", "takes no format"),
        ("{stem:>9}{suffix}", "takes no format"),
        ("{stem", "write {{ or }} for a brace"),
        ("{stem}.wav", "must end with {suffix}"),
        ("", "must end with {suffix}"),
        ("new{suffix}", "needs {stem}"),
        ("/new/{stem}.{what}{suffix}", "outside the folder"),
        ("../{what}/{stem}{suffix}", "outside the folder"),
        ("{stem}{suffix}", "both stems"),
    ],
)
def test_templates_that_cannot_be(tree, template, match):
    tree("a.wav")
    with pytest.raises(ConfigError) as caught:
        outputs("a.wav", out="new", name=template, stems=True)
    assert match in str(caught.value) and "\n" not in str(caught.value)


def test_templates(tree):
    tree("in/p/a.b.wav", "in/c.flac")
    template = "{what}/{{{stem}}}_new{suffix}"
    assert outputs("in", out="new", name=template, stem=Stem.vocals) == {
        "in/c.flac": ["new/vocals/{c}_new.flac"],
        "in/p/a.b.wav": ["new/p/vocals/{a.b}_new.wav"],
    }
    assert outputs("in/c.flac", name="{stem}-{what}{suffix}") == {"in/c.flac": ["in/c-enhanced.flac"]}


def test_earlier_results_by_a_template_are_not_inputs(tree):
    tree("x.wav", "x-enhanced.wav", "x-vocals.flac", "x-other.wav")
    assert set(outputs(".", name="{stem}-{what}{suffix}")) == {"x.wav", "x-other.wav"}
    assert "x-enhanced.wav" in outputs("."), "nobody said that it is a result"


def test_one_stem_has_its_name(tree):
    tree("x.wav")
    assert outputs("x.wav", stem=Stem.accompaniment) == {"x.wav": ["x.accompaniment.wav"]}
    assert outputs("x.wav", stem=Stem.vocals, out="new/r.mp3") == {"x.wav": ["new/r.mp3"]}
    with pytest.raises(ConfigError, match="--stems writes both stems and --stem one of them"):
        outputs("x.wav", stem=Stem.vocals, stems=True)


def test_parts_are_whole_and_do_not_overlap(tree):
    names = [f"in/{place}/{n}.wav" for place in "ab" for n in range(20)]
    tree(*names, "in/a/0.flac")
    whole = plan("in", out="out", format="wav")
    parts = [whole.part(number, 3) for number in (1, 2, 3)]
    found = [str(task.source) for part in parts for task in part.tasks]
    assert sorted(found) == sorted([*names, "in/a/0.flac"])
    assert all(4 < len(part.tasks) < 24 for part in parts)
    assert {source for part in parts for source in part.refused} == {Path("in/a/0.flac"), Path("in/a/0.wav")}
    assert [len(part.refused) for part in parts] != [2, 2, 2]


def test_which_part_a_file_is_in_never_changes(tree, monkeypatch):
    """Neither with the folder that holds the tree nor with the version: N machines must agree."""
    tree("in/a/x.wav", "in/b.wav", "elsewhere/a/x.wav", "elsewhere/b.wav")
    found = {
        root: [number for name in ("a/x.wav", "b.wav") for number in range(1, 8) if name in names(root, number)]
        for root in ("in", "elsewhere")
    }
    assert found["in"] == found["elsewhere"] == [6, 3]


def names(root, number):
    return [task.relative.as_posix() for task in plan(root, out="out").part(number, 7).tasks]


def test_files_that_are_not_read_are_counted(tree):
    tree("in/a.wav", "in/b.mid", "in/p/c.MID", "in/p/d.nsf", "in/notes.txt", "in/.e.mid", "in/.git/f.mid", "g.tak")
    assert plan("in", out="out").passed_over == {".mid": 2, ".nsf": 1}
    assert plan("in/**/*", out="out").passed_over == {".mid": 2, ".nsf": 1}
    assert plan("in/a.wav").passed_over == {}


@pytest.mark.parametrize("text", ["s16le", "s16le,48000", "s16le,48000,2,1", "s16,48000,2", "s16le,0,2", "s16le,4e4,2"])
def test_raw_formats_that_cannot_be(text):
    with pytest.raises(ConfigError, match=f"--raw '{text}'"):
        RawFormat.parse(text)


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/4", "1/", "/4", "-1/4", "1/4/2", "1.0/4"])
def test_parts_that_cannot_be(text):
    with pytest.raises(ConfigError, match="give I/N with I from 1 to N"):
        parse_part(text)


def test_a_folder_without_audio(tree):
    tree("in/notes.txt")
    with pytest.raises(ConfigError, match="in holds no audio or video files"):
        outputs("in")
