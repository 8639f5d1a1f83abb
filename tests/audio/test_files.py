"""A folder that cannot be read is an error: its files would be missing from the result without a word."""

import errno
import os

import pytest

from exdiff.audio.files import audio_files


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    for name in ("a/x.wav", "locked/y.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    assert len(audio_files(tmp_path)) == 2
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="locked"):
        audio_files(tmp_path)
