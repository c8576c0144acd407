"""A process is prepared for what it will run, and a device that is not here is refused."""

import pytest
import torch

from gatedrnn import recurrence
from gatedrnn.process import check_device, prepare_process


def test_a_process_is_prepared_for_the_compiled_engine_too(monkeypatch):
    """Its library of products has a setting of its own for the number of threads."""
    kernels = pytest.importorskip("gatedrnn.kernels")
    called = []
    monkeypatch.setattr(kernels, "prepare", lambda: called.append(1))
    with recurrence.use_engine("torch"):
        prepare_process()
    assert not called
    with recurrence.use_engine("auto"):
        prepare_process()
    assert called == [1]


def test_a_process_can_be_told_its_engine():
    with recurrence.use_engine("auto"):  # what was set before comes back
        prepare_process("torch")
        assert recurrence.engine() == "torch"
        with pytest.raises(ValueError, match="is 'steam': use auto, torch, compiled"):
            prepare_process("steam")
        assert recurrence.engine() == "torch"


def test_one_thread_and_no_denormal_numbers():
    prepare_process()
    tiny = torch.tensor(2e-38)
    assert torch.get_num_threads() == 1 and float(tiny * 0.1) == 0.0


@pytest.mark.parametrize("name", ["quantum", "mps", "meta", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(ValueError, match=f"there is no device '{name}': use cpu, cuda"):
        check_device(name)


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert check_device("cuda").type == "cuda"
    with pytest.raises(ValueError, match="there is no cuda:1 on this machine: it has 1, use cpu"):
        check_device("cuda:1")
