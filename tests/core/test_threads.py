"""How idle threads wait is set before OpenMP is loaded, unless the user has chosen."""

import os
import subprocess
import sys

import pytest

from exdiff.core import threads


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "3000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
        ({"GOMP_SPINCOUNT": "9"}, "9"),
        ({"KMP_BLOCKTIME": "0"}, None),
    ],
)
def test_the_users_choice_stays(monkeypatch, given, expected):
    monkeypatch.setattr(os, "environ", dict(given))
    threads.limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == expected


def test_the_command_chooses_before_torch_is_loaded():
    code = (
        "import os, sys; from exdiff import cli; from exdiff.core import threads\n"
        "cli.app = lambda: print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules); cli.main()"
    )
    environment = {key: value for key, value in os.environ.items() if key not in threads.WAIT_VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["3000", "False"]


def test_the_library_chooses_nothing():
    code = "import os, exdiff; exdiff.load; print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {key: value for key, value in os.environ.items() if key not in threads.WAIT_VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "None"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5})
    assert threads.core_count() == 3
