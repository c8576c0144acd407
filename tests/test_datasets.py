"""Data sets: their splits and sizes, how each kind of source gets its file, and what is refused."""

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from gatedrnn import datasets, files, preparation, sources
from gatedrnn.datasets import Dataset
from gatedrnn.files import DataError

CANONICAL = {
    "jsb_chorales": ((229, 76, 77), (13_807, 4_602, 4_725), 11.06),
    "nottingham": ((694, 173, 170), (176_561, 45_513, 44_463), 10.25),
    "muse_data": ((524, 135, 124), (245_202, 82_755, 64_339), 11.51),
    "piano_midi": ((87, 12, 25), (75_911, 8_540, 19_036), 11.05),
}


def at_hand(name):
    """Load a data set, or skip the test where it would have to be fetched."""
    if sources.source(name).here() is None:
        pytest.skip(f"{name} is not at hand: run `gatedrnn data fetch {name}` or set GATEDRNN_DATA")
    return datasets.load(name)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def mat(path, rolls):
    """A MATLAB file that has `rolls` as each of its three parts."""
    cells = np.empty((1, len(rolls)), dtype=object)
    cells[0, :] = rolls
    savemat(path, {"traindata": cells, "validdata": cells, "testdata": cells})
    return path


# --- the sets -------------------------------------------------------------------------------------------------------
def test_bach_chorales():
    chorales = datasets.load("bach_chorales")
    parts = (chorales.train, chorales.valid, chorales.test)
    assert [len(part) for part in parts] == [204, 68, 68]
    for part in parts:
        for roll in part:
            assert roll.dtype == np.uint8 and roll.shape[1] == 88 and roll.max() == 1
    assert datasets.duplicates(chorales) == []
    everything = [roll.tobytes() for part in parts for roll in part]
    assert len(set(everything)) == len(everything), "no piece stands twice"


def test_the_chorales_come_from_the_cache_the_second_time(monkeypatch):
    datasets.load("bach_chorales")
    monkeypatch.setattr(preparation, "corpus_chorales", lambda *_: pytest.fail("read again"))
    datasets.load("bach_chorales")


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
    stored = files.read_npz(sources.source(name).here())
    part = sources.split_by_name(stored["utterances"].tolist())[stored["utterance"]]
    assert [int((part == i).sum()) for i in range(3)] == [len(p) for p in parts]
    assert np.concatenate(data.train).std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(data.test[0] * data.std + data.mean, stored["windows"][part == 2][0], atol=0.01)


def test_synthetic_speech():
    data = datasets.load("synthetic_speech")
    assert data.kind == "speech" and "SYNTHETIC" in data.description
    whole = np.concatenate(data.train)
    assert whole.dtype == np.float32 and abs(whole.mean()) < 1e-3 and whole.std() == pytest.approx(1, abs=1e-3)
    assert abs(np.concatenate(data.test).std() - 1) > 1e-2, "standardised by the training set alone"
    assert all(len(window) == 500 for window in data.train + data.valid + data.test)
    assert min(map(len, (data.train, data.valid, data.test))) > 50
    assert sources.check("synthetic_speech").stat().st_size <= 600_000


def test_split_is_stable():
    labels = [f"bwv{i}" for i in range(100)]
    part = sources.split_by_name(labels)
    assert np.bincount(part).tolist() == [60, 20, 20]
    assert sources.split_by_name(labels[::-1]).tolist() == part.tolist()[::-1]
    assert sources.split_by_name(["a", "b", "a"])[0] == sources.split_by_name(["a", "b", "a"])[2]
    assert part[:8].tolist() == [0, 0, 2, 0, 0, 0, 1, 0]


def test_a_piece_goes_to_its_part_whole():
    """Six pieces of one to six steps; windows of one utterance stay together."""
    names, lengths = list("abcdef"), np.arange(1, 7)
    frames = np.zeros((21, 88), np.uint8)
    frames[np.arange(21), np.repeat(np.arange(6), lengths)] = 1
    part = sources.split_by_name(names).tolist()
    rolls = sources.split_chorales({"frames": frames, "lengths": lengths, "names": np.array(names)})
    for number in range(3):
        expected = [(i, i + 1) for i in range(6) if part[i] == number]
        assert [(int(roll.argmax(1)[0]), len(roll)) for roll in rolls[number]] == expected
        assert all((roll.argmax(1) == roll.argmax(1)[0]).all() for roll in rolls[number])
    owner = np.array([0, 0, 1, 2, 3, 4, 4, 5])
    windows = sources.split_windows({"windows": owner[:, None], "utterance": owner, "utterances": np.array(names)})
    assert [w[:, 0].tolist() for w in windows] == [[i for i in owner if part[i] == number] for number in range(3)]


def test_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(DataError, match=r"did you mean 'nottingham'\?.*bach_chorales, jsb_chorales"):
        sources.check("Nottingam")
    with pytest.raises(DataError, match="the known ones are"):
        datasets.load("xyz")


def test_sources_hold_no_path_of_this_machine():
    data = datasets.load("synthetic_speech")
    assert str(sources.check("synthetic_speech").parent) not in data.source + data.description
    assert next(iter(sources.SOURCES)) == "bach_chorales", "the first needs no network"
    assert all(source.name == name for name, source in sources.SOURCES.items())


def test_what_is_absent_is_named(cache):
    assert [name for name, source in sources.SOURCES.items() if source.here()] == ["synthetic_speech"]
    with pytest.raises(DataError, match="speech_b is not in .*run `gatedrnn data fetch speech_b`"):
        sources.check("speech_b")


# --- sequences ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sequences", "kind", "message"),
    [
        ([np.zeros((3, 88)), np.zeros((0, 88))], "music", "Sequence 1 .* is empty"),
        ([np.full((2, 88), np.nan)], "music", "Sequence 0 .* NaN"),
        ([np.full((2, 88), 3)], "music", "Sequence 0 .* only 0"),
        ([np.zeros(30), np.zeros(29)], "speech", "Sequence 1 .* has 29"),
        ([np.full(40, np.inf)], "speech", "Sequence 0 .* infinity"),
        ([np.zeros((3, 88))], "video", "no kind of data 'video'"),
    ],
)
def test_sequences_that_cannot_be_used_make_no_data_set(sequences, kind, message):
    for part in range(3):
        parts = [(), (), ()]
        parts[part] = tuple(sequences)
        with pytest.raises(DataError, match=message):
            Dataset("own", kind, *parts, step_seconds=0.5, description="", source="")


# --- each kind of source --------------------------------------------------------------------------------------------
@pytest.fixture
def rolls():
    rng = np.random.default_rng(0)
    return [(rng.random((n, 88)) < 0.05).astype(np.uint8) for n in (5, 1, 9)]


def registered(monkeypatch, content, *mirrors):
    """Let jsb_chorales be `content`, to be had from `mirrors`."""
    checksum = hashlib.sha256(content).hexdigest()
    entry = replace(sources.SOURCES["jsb_chorales"], mirrors=mirrors, size=len(content), sha256=checksum)
    monkeypatch.setitem(sources.SOURCES, "jsb_chorales", entry)


def test_rolls_are_downloaded_once(cache, server, monkeypatch, rolls):
    folder, address = server
    served = mat(folder / "JSB_Chorales.mat", rolls)
    registered(monkeypatch, served.read_bytes(), "http://127.0.0.1:9/", address)
    data = datasets.load("jsb_chorales", progress=False)
    served.unlink()
    for part in (data.train, data.valid, data.test):
        for found, given in zip(part, rolls, strict=True):
            np.testing.assert_array_equal(found, given)
    path = cache / "music" / "JSB_Chorales.mat"
    assert datasets.load("jsb_chorales").step_seconds == 0.5
    assert files_in(cache) == [path] and sources.check("jsb_chorales") == path


def test_rolls_of_wrong_checksum_in_the_cache(cache):
    files.target("music/JSB_Chorales.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    for use in (datasets.load, sources.check):
        with pytest.raises(DataError, match="wrong checksum.*delete it and run `gatedrnn data fetch jsb_chorales`"):
            use("jsb_chorales")


@pytest.mark.parametrize("value", [np.nan, 2, -1])
def test_values_in_rolls(cache, monkeypatch, rolls, value):
    wrong = rolls[0].astype(float)
    wrong[2, 3] = value
    path = mat(files.target("music/JSB_Chorales.mat"), [rolls[1], wrong])
    registered(monkeypatch, path.read_bytes(), "http://127.0.0.1:9/")
    with pytest.raises(DataError, match="Sequence 1 .* only 0"):
        datasets.load("jsb_chorales")


ARRAYS = {
    "frames": np.eye(88, dtype=np.uint8)[:6],
    "lengths": np.array([1, 2, 3], np.int32),
    "names": np.array(["a", "b", "c"]),
}


@pytest.fixture
def three_pieces(cache, monkeypatch):
    """bach_chorales, made of three small pieces."""
    entry = replace(
        sources.SOURCES["bach_chorales"],
        size=1000,
        sha256=files.digest(ARRAYS),
        make=lambda progress: ARRAYS,
    )
    monkeypatch.setitem(sources.SOURCES, "bach_chorales", entry)
    return entry


def test_arrays_are_made_once(three_pieces, cache, monkeypatch):
    first = datasets.load("bach_chorales")
    monkeypatch.setitem(sources.SOURCES, "bach_chorales", replace(three_pieces, make=None))
    again = datasets.load("bach_chorales")
    for part in ("train", "valid", "test"):
        for one, two in zip(getattr(first, part), getattr(again, part), strict=True):
            np.testing.assert_array_equal(one, two)
    assert files_in(cache) == [sources.check("bach_chorales")] == [cache / three_pieces.file]


@pytest.mark.parametrize(
    "stored",
    [
        {"other": np.eye(2)},
        ARRAYS | {"lengths": np.array([1, 2, 4], np.int32)},
        ARRAYS | {"lengths": np.array([1, 2, -3], np.int32)},
        ARRAYS | {"names": np.array(["a", "b"])},
        ARRAYS | {"frames": ARRAYS["frames"][:, :87]},
        ARRAYS | {"frames": 1 - ARRAYS["frames"]},
        {key: value for key, value in ARRAYS.items() if key != "names"},
    ],
)
def test_arrays_in_the_cache_that_are_not_those_are_refused(three_pieces, stored):
    np.savez(files.target(three_pieces.file), **stored)
    for use in (datasets.load, sources.check):
        with pytest.raises(DataError, match="does not hold bach_chorales.*delete it and run `gatedrnn data fetch bach"):
            use("bach_chorales")


def test_a_cached_file_that_unpacks_to_too_much_is_refused(three_pieces):
    np.savez_compressed(files.target(three_pieces.file), **ARRAYS, more=np.zeros(1_000_000))
    with pytest.raises(DataError, match="far more than expected"):
        datasets.load("bach_chorales")


def test_a_damaged_cached_file_is_refused(cache):
    files.target(sources.SOURCES["bach_chorales"].file).write_bytes(b"half")
    with pytest.raises(DataError, match="not a .npz file"):
        datasets.load("bach_chorales")


def test_what_comes_out_otherwise_is_not_kept(three_pieces, cache, monkeypatch):
    other = replace(three_pieces, make=lambda progress: ARRAYS | {"lengths": np.array([3, 2, 1], np.int32)})
    monkeypatch.setitem(sources.SOURCES, "bach_chorales", other)
    with pytest.raises(DataError, match="bach_chorales comes out otherwise.*constraints.txt"):
        datasets.load("bach_chorales")
    assert files_in(cache) == []


def test_where_nothing_can_be_written_nothing_is_made(cache, monkeypatch):
    cache.parent.joinpath("file").write_text("not a directory")
    monkeypatch.setenv("GATEDRNN_DATA", str(cache.parent / "file" / "data"))
    monkeypatch.setattr(files, "user_cache_path", lambda *args, **kwargs: cache.parent / "file" / "user")
    monkeypatch.setattr(preparation, "corpus_chorales", lambda *_: pytest.fail("half a minute's work for nothing"))
    for name in ("bach_chorales", "jsb_chorales", "speech_a"):
        with pytest.raises(DataError, match="Cannot write .* set GATEDRNN_DATA to a directory that you can write to"):
            datasets.load(name)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_reading_of_chorales_and_leaves_nothing(cache, number):
    """One line at most is said, and no trace."""
    code = (
        "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from gatedrnn import cli, preparation\n"
        "def slow(score): print('reading', flush=True); time.sleep(60)\n"
        "preparation.chorale_frames = slow; sys.argv = ['gatedrnn', 'data', 'fetch', 'bach_chorales']; cli.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number and errors == ""
    assert files_in(cache) == []


# --- what can be said of a set --------------------------------------------------------------------------------------
def test_duplicates_and_unseen_notes_of_a_small_set():
    a, b, c, d = np.eye(88, dtype=np.uint8)[:4, None]
    both = np.concatenate([c, d])
    data = Dataset("own", "music", (a, b, a), (c, b), (c, a, both), step_seconds=0.5, description="", source="")
    assert datasets.duplicates(data) == [
        (("valid", 1), ("train", 1)),
        (("test", 0), ("valid", 0)),
        (("test", 1), ("train", 0)),
    ]
    assert datasets.unseen_notes(data) == {"valid": 1, "test": 3}


@pytest.mark.parametrize(
    ("name", "twice", "unseen"),
    [
        ("jsb_chorales", [], 1),
        ("nottingham", [(("valid", 3), ("train", 201)), (("test", 99), ("train", 267))], 8),
        ("muse_data", [], 17),
        ("piano_midi", [], 0),
    ],
)
def test_duplicates_and_unseen_notes_of_the_papers_sets(name, twice, unseen):
    data = at_hand(name)
    assert datasets.duplicates(data) == twice and datasets.unseen_notes(data)["test"] == unseen


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
