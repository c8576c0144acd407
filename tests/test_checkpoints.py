"""A killed training resumes to the same end; another file, and another run's, is refused in a sentence."""

import dataclasses
import json
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from gatedrnn.model import music_model
from gatedrnn.protocol import Protocol
from gatedrnn.training import train

SHORT = Protocol(batch_size=3, max_epochs=4, patience=2)


@pytest.fixture(scope="module")
def data(toy):
    return toy()


SCRIPT = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from conftest import toy_data
    import torch
    from gatedrnn.model import music_model
    from gatedrnn.population import Population
    from gatedrnn.protocol import Protocol
    from gatedrnn.training import train

    save = Population.save
    def slow(self, path):
        save(self, path)
        time.sleep(300 if self.epoch == 3 else 0)  # until it is killed, however slow the test is
    Population.save = slow
    protocol = Protocol(batch_size=3, max_epochs=8, patience=8)
    train(music_model("lstm", 4), toy_data(), learning_rates=[1e-2, 3e-3], seeds=[0, 1], protocol=protocol,
          dtype=torch.float64, checkpoint={path!r})
"""


def test_a_killed_run_resumes_to_the_same_end(data, tmp_path, request):
    path = tmp_path / "run.npz"
    script = textwrap.dedent(SCRIPT).format(tests=str(request.path.parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # for epoch 3, most likely; at any other it is to go on as well
    process.kill()
    process.wait()
    with np.load(path, allow_pickle=False) as file:
        reached = len(file["theta"])
    assert reached == 2
    protocol = Protocol(batch_size=3, max_epochs=8, patience=8)
    arguments = {"learning_rates": [1e-2, 3e-3], "seeds": [0, 1], "protocol": protocol, "dtype": torch.float64}
    model = music_model("lstm", 4)
    resumed = train(model, data, **arguments, checkpoint=path)
    whole = train(model, data, **arguments)
    assert torch.equal(resumed.theta, whole.theta)
    assert [h.valid for h in resumed.histories] == [h.valid for h in whole.histories]
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    finished = train(model, data, **arguments, checkpoint=path)  # a finished run is not run again
    assert torch.equal(finished.theta, whole.theta) and len(finished.histories[0].epoch) == 9


def test_a_checkpoint_of_another_run_is_refused(data, tmp_path):
    path = tmp_path / "run.npz"
    model = music_model("gru", 4)
    train(model, data, learning_rates=[1e-2], seeds=[0], protocol=SHORT, checkpoint=path)
    with pytest.raises(ValueError, match="another run .members differ."):
        train(model, data, learning_rates=[1e-2], seeds=[1], protocol=SHORT, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a checkpoint"):
        train(model, data, learning_rates=[1e-2], seeds=[0], protocol=SHORT, checkpoint=path)


def changed(path, change):
    """Rewrite a checkpoint with another content."""
    with np.load(path) as stored:
        arrays = dict(stored)
    state = json.loads(str(arrays.pop("state")))
    change(state, arrays)
    np.savez(path, **{"state": json.dumps(state)} | arrays)


WRONG = {
    "no histories": lambda state, arrays: state.update(histories=[]),
    "histories of nothing": lambda state, arrays: state.update(histories=[{}]),
    "not even a dict": lambda state, arrays: state.update(histories=["a"]),
    "an empty history": lambda state, arrays: state["histories"][0].update(
        {name: [] for name in ("epoch", "update", "seconds", "train", "valid", "valid_per_sequence")}
    ),
    "curves of two lengths": lambda state, arrays: state["histories"][0]["valid"].pop(),
    "words in a curve": lambda state, arrays: state["histories"][0].update(valid=["a"] * 5),
    "another argument": lambda state, arrays: state["histories"][0].update(evil=1),
    "no best": lambda state, arrays: state["histories"][0].update(best_epoch=77),
    "a member too many": lambda state, arrays: state.update(alive=[0, 1]),
    "a member below": lambda state, arrays: state.update(alive=[-1]),
    "no epoch": lambda state, arrays: state.update(epoch=None),
    "no run": lambda state, arrays: state.pop("run"),
    "a shape": lambda state, arrays: arrays.update(best=arrays["best"][:, :3]),
    "words": lambda state, arrays: arrays.update(best=np.full(arrays["best"].shape, "a")),
    "no parameters": lambda state, arrays: arrays.pop("theta"),
    "no state at all": lambda state, arrays: state.clear(),
    "another state": lambda state, arrays: arrays.update(state=np.array(3)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_with_wrong_content_is_one_sentence(data, tmp_path, name):
    path, model = tmp_path / "run.npz", music_model("gru", 2)
    options = {"learning_rates": [1e-2], "seeds": [0], "protocol": dataclasses.replace(SHORT, max_epochs=1)}
    train(model, data, **options, checkpoint=path)
    before = path.read_bytes()
    changed(path, WRONG[name])
    assert path.read_bytes() != before
    with pytest.raises(ValueError, match="is not a checkpoint of this program: delete it or name another"):
        train(model, data, **options, checkpoint=path)
