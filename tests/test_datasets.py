import pickle
import time

import numpy as np
import pytest
from scipy.io import savemat

from gatedrnn import datasets, sources
from gatedrnn.datasets import DataError

CANONICAL = {
    "jsb_chorales": ((229, 76, 77), (13_807, 4_602, 4_725), 11.06),
    "nottingham": ((694, 173, 170), (176_561, 45_513, 44_463), 10.25),
    "muse_data": ((524, 135, 124), (245_202, 82_755, 64_339), 11.51),
    "piano_midi": ((87, 12, 25), (75_911, 8_540, 19_036), 11.05),
}


def at_hand(name):
    """Load a data set, or skip the test where it would have to be fetched."""
    if sources.find(sources.REGISTRY[name].file) is None:
        pytest.skip(f"{name} is not at hand: run `gatedrnn data fetch {name}` or set GATEDRNN_DATA")
    return datasets.load(name)


def write_mat(path, rolls, **others):
    cells = np.empty((1, len(rolls)), dtype=object)
    cells[0, :] = rolls
    savemat(path, {"traindata": cells, "validdata": cells, "testdata": cells} | others)
    return path


@pytest.fixture
def rolls():
    rng = np.random.default_rng(0)
    return [(rng.random((n, 88)) < 0.05).astype(np.uint8) for n in (5, 1, 9)]


def test_bach_chorales():
    chorales = datasets.load("bach_chorales")
    start = time.perf_counter()
    again = datasets.load("bach_chorales")
    assert time.perf_counter() - start < 1, "the second time it comes from the cache"
    parts = (chorales.train, chorales.valid, chorales.test)
    assert [len(part) for part in parts] == [204, 68, 68]
    assert [sum(map(len, part)) for part in parts] == [
        sum(map(len, part)) for part in (again.train, again.valid, again.test)
    ]
    for part in parts:
        for roll in part:
            assert roll.dtype == np.uint8 and roll.shape[1] == 88 and roll.max() == 1
    everything = [roll.tobytes() for part in parts for roll in part]
    assert len(set(everything)) == len(everything), "no piece stands twice"


def test_bach_chorales_are_in_c_or_a_minor():
    """White keys prevail, and few black ones sound: a check of the transposition that knows nothing of it."""
    notes = np.concatenate(datasets.load("bach_chorales").train).sum(axis=0)
    classes = np.bincount((np.arange(88) + 21) % 12, weights=notes)
    assert classes[[0, 2, 4, 5, 7, 9, 11]].sum() / classes.sum() > 0.9


@pytest.mark.parametrize("name", CANONICAL)
def test_canonical_music(name):
    sequences, steps, nll = CANONICAL[name]
    data = at_hand(name)
    parts = (data.train, data.valid, data.test)
    assert tuple(map(len, parts)) == sequences
    assert tuple(sum(map(len, part)) for part in parts) == steps
    assert datasets.marginal_nll(data.train, data.test)["pooled"] == pytest.approx(nll, abs=0.005)


@pytest.mark.parametrize(("name", "counts", "length"), [("speech_a", 7_230, 500), ("speech_b", 800, 8_000)])
def test_speech(name, counts, length):
    data = at_hand(name)
    parts = (data.train, data.valid, data.test)
    assert sum(map(len, parts)) == counts and {len(window) for part in parts for window in part} == {length}
    stored = sources.read_npz(sources.find(sources.REGISTRY[name].file))
    part = datasets.split_by_name(stored["utterances"].tolist())[stored["utterance"]]
    assert [int((part == i).sum()) for i in range(3)] == [len(p) for p in parts]
    assert np.concatenate(data.train).std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(data.test[0] * data.std + data.mean, stored["windows"][part == 2][0], atol=0.01)


def test_synthetic_speech():
    data = datasets.load("synthetic_speech")
    assert data.kind == "speech" and "SYNTHETIC" in data.description
    whole = np.concatenate(data.train)
    assert whole.dtype == np.float32 and abs(whole.mean()) < 1e-3 and whole.std() == pytest.approx(1, abs=1e-3)
    assert all(len(window) == 500 for window in data.train + data.valid + data.test)
    assert min(map(len, (data.train, data.valid, data.test))) > 50
    assert sources.check("synthetic_speech").stat().st_size <= 600_000


def test_split_is_stable():
    labels = [f"bwv{i}" for i in range(100)]
    part = datasets.split_by_name(labels)
    assert np.bincount(part).tolist() == [60, 20, 20]
    assert datasets.split_by_name(labels[::-1]).tolist() == part.tolist()[::-1]
    assert datasets.split_by_name(["a", "b", "a"])[0] == datasets.split_by_name(["a", "b", "a"])[2]
    assert part[:8].tolist() == [0, 0, 2, 0, 0, 0, 1, 0]


def test_unknown_name():
    with pytest.raises(DataError, match="did you mean 'muse_data'"):
        datasets.load("musedata")


def test_mat_is_read(tmp_path, rolls):
    parts = datasets.read_mat(write_mat(tmp_path / "a.mat", rolls))
    for part in parts.values():
        for found, given in zip(part, rolls, strict=True):
            np.testing.assert_array_equal(found, given)


def test_pickle_in_place_of_mat(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for protocol in (0, 2, 5):
        (tmp_path / "a.mat").write_bytes(pickle.dumps(Trap(), protocol=protocol))
        with pytest.raises(DataError, match="a pickle or another format is never opened.*delete it"):
            datasets.read_mat(tmp_path / "a.mat")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 10, 130, 200, 400])
def test_truncated_mat(tmp_path, rolls, keep):
    path = write_mat(tmp_path / "a.mat", rolls)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="delete it and run `gatedrnn data fetch`"):
        datasets.read_mat(path)


def test_foreign_mat(tmp_path, rolls):
    savemat(tmp_path / "a.mat", {"other": np.eye(3)})
    with pytest.raises(DataError, match="holds no piano rolls"):
        datasets.read_mat(tmp_path / "a.mat")
    savemat(tmp_path / "b.mat", dict.fromkeys(("traindata", "validdata", "testdata"), "text"))
    with pytest.raises(DataError):
        datasets.read_mat(tmp_path / "b.mat")


@pytest.mark.parametrize("value", [np.nan, 2, -1])
def test_values_in_mat(tmp_path, rolls, value):
    wrong = rolls[0].astype(float)
    wrong[2, 3] = value
    with pytest.raises(DataError, match="Sequence 1 .* NaN or other values than 0 and 1"):
        datasets.read_mat(write_mat(tmp_path / "a.mat", [rolls[1], wrong]))


def test_empty_sequence_in_mat(tmp_path, rolls):
    with pytest.raises(DataError, match="Sequence 1 .* is empty"):
        datasets.read_mat(write_mat(tmp_path / "a.mat", [rolls[0], np.zeros((0, 88), np.uint8)]))


def test_load_of_damaged_cache_of_chorales(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEDRNN_DATA", str(tmp_path))
    path = sources.target(sources.REGISTRY["bach_chorales"].file)
    for content, message in ((b"half", "not a .npz file"), (None, "holds no chorales")):
        if content is None:
            np.savez(path, other=np.eye(2))
        else:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            datasets.load("bach_chorales")


def test_marginal_by_hand():
    train = [np.array([[1, 0], [1, 0]]), np.array([[0, 0], [1, 0]])]
    test = [np.array([[1, 0]]), np.array([[0, 0], [0, 0], [1, 0]])]
    one, zero = -np.log(0.75), -np.log(0.25)
    found = datasets.marginal_nll(train, test)
    assert found["pooled"] == pytest.approx((2 * one + 2 * zero) / 4, rel=1e-6)
    assert found["per_sequence"] == pytest.approx((one + (2 * zero + one) / 3) / 2, rel=1e-6)


def test_marginal_of_a_pitch_never_heard():
    found = datasets.marginal_nll([np.zeros((3, 1))], [np.ones((2, 1))])
    assert found["pooled"] == pytest.approx(-np.log(1e-7))


def test_names_and_sources_hold_no_path_of_this_machine():
    data = datasets.load("synthetic_speech")
    assert str(sources.check("synthetic_speech").parent) not in data.source + data.description
    assert datasets.names()[0] == "bach_chorales"
