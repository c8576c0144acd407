"""A history is what training wrote down, and nothing else passes for one."""

from dataclasses import asdict

import pytest

from gatedrnn.history import History

CURVE = {"epoch": [0, 1], "update": [0, 9], "seconds": [0.0, 1.5], "train": [9.0, 8.0], "valid": [9.0, 8.5]}


def test_it_is_read_back():
    history = History(1e-3, 7, **CURVE, valid_per_sequence=[9.1, 8.6], best_epoch=1, stop_reason="patience")
    assert History.of(asdict(history)) == history
    assert history.best_valid == 8.5


@pytest.mark.parametrize(
    "wrong",
    [{"valid": [9.0]}, {"valid": [9.0, "a"]}, {"valid": None}, {"best_epoch": 2}, {"epoch": []}, {"evil": 1}],
    ids=str,
)
def test_another_entry_is_refused(wrong):
    entry = asdict(History(1e-3, 7, **CURVE, valid_per_sequence=[9.1, 8.6]))
    with pytest.raises((ValueError, TypeError)):
        History.of(entry | wrong)
