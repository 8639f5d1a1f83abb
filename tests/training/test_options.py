"""The training section is checked before anything runs."""

from __future__ import annotations

import pytest

from exdiff.core.errors import ConfigError
from exdiff.training.options import Options


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"learning_rate": 0}, "learning_rate must be more than 0, got 0"),
        ({"batch": 0}, "batch must be more than 0, got 0"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"steps": True}, "steps must be a whole number, got True"),
        ({"segment_seconds": -1}, "segment_seconds must be more than 0, got -1"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
        ({"ema": 1.5}, "ema must be at most 1, got 1.5"),
        ({"decay_share": 2}, "decay_share must be at most 1, got 2"),
        ({"mixer": "gpu"}, "mixer must be 'auto' or 'host' or 'device', got 'gpu'"),
        ({"adversary": {"periods": 3}}, "training.adversary: periods must be a list, got 3"),
        ({"adversary": {}, "accumulate": 2}, "the adversary is balanced over a whole batch, and accumulate > 1"),
        ({"adversary": "yes please"}, "adversary must be true or false or a table, got 'yes please'"),
        ({"init": 3}, "init must be text or a list of texts, got 3"),
        ({"init": ["speech", 3]}, r"init must be text or a list of texts, got \['speech', 3\]"),
        ({"optimiser": None}, "optimiser must be text, got None"),
        ({"batch": 6, "accumulate": 4}, "batch=6 cannot be divided into 4 micro-batches; make it a multiple of 4"),
        ({"adversary": True, "accumulate": 2}, "the adversary is balanced over a whole batch, and accumulate > 1"),
        ({"timeout_seconds": 0}, "timeout_seconds must be more than 0, got 0"),
        ({"learnin_rate": 1e-3}, "did you mean 'learning_rate'"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(section, message):
    with pytest.raises(ConfigError, match=message):
        Options.of(section)


def test_a_whole_number_will_do_for_a_number_and_zero_where_it_means_something():
    options = Options.of({"segment_seconds": 2, "warmup": 0, "decay_share": 0, "workers": 0, "init": None})
    assert (options.segment_seconds, options.warmup, options.init) == (2, 0, None)


def test_the_batch_is_of_all_processes():
    options = Options.of({"batch": 12, "accumulate": 2})
    options.check_batch(3)
    with pytest.raises(ConfigError, match="batch=12 cannot be .* 4 processes x 2 micro-batches; .* multiple of 8"):
        options.check_batch(4)
