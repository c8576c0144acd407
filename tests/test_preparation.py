"""Preparation: from scores and recordings to arrays, on material small enough to be checked by hand."""

import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from scipy.io import savemat

from gatedrnn import files, preparation, sources
from gatedrnn.files import DataError


@pytest.fixture(scope="module")
def corpus():
    from music21 import corpus

    return corpus


def test_a_known_chorale(corpus):
    """BWV 66.6, F sharp minor: up by three semitones, nine bars with an upbeat of one quarter."""
    frames = preparation.chorale_frames(corpus.parse("bach/bwv66.6", forceSource=True))
    assert len(frames) == 36
    assert frames[0] == [60, 67, 76], "A major, tenor and bass in unison, has become C major"
    assert frames[-1] == [57, 61, 64, 69], "it ends on the major chord of its tonic"


def test_voices_only_and_short_silences(corpus):
    """BWV 248.9: three trumpets and timpani play interludes, in which the voices rest."""
    frames = preparation.chorale_frames(corpus.parse("bach/bwv248.9-1", forceSource=True))
    assert len(frames) < 50 and max(map(len, frames)) <= 5
    silent = [not frame for frame in frames]
    assert any(silent) and not any(a and b for a, b in itertools.pairwise(silent)) and not silent[0]


def score(*parts, shift=0):
    """A score of melodies, (name of the part, [(pitch or None, quarter notes), ...])."""
    from music21 import note, stream

    whole = stream.Score()
    for name, melody in parts:
        part = stream.Part()
        part.partName = name
        for pitch, length in melody:
            part.append(note.Note(pitch + shift, quarterLength=length) if pitch else note.Rest(quarterLength=length))
        whole.insert(0, part)
    return whole


SCALE = [(60, 1), (62, 0.5), (64, 0.5), (65, 1), (67, 2), (None, 3), (64, 1), (62, 1), (59, 1), (60, 4)]
MINOR = [(57, 2), (60, 1), (64, 1), (62, Fraction(1, 3)), (60, Fraction(1, 3)), (59, Fraction(1, 3)), (56, 1), (57, 4)]


@pytest.mark.parametrize("shift", range(-6, 6))
def test_grid_keys_and_rests(shift):
    """What lies between two quarters is not seen, a rest lasts one step, and every key becomes C major or A minor."""
    major = [[60], [62], [65], [67], [67], [], [64], [62], [59], [60], [60], [60], [60]]
    assert preparation.chorale_frames(score(("", SCALE), shift=shift)) == major
    minor = [[57], [57], [60], [64], [62], [56], [57], [57], [57], [57]]
    assert preparation.chorale_frames(score(("", MINOR), shift=shift)) == minor


def test_voices_alone_are_heard_where_parts_are_named_so():
    low, high = ([(pitch and pitch + octaves, length) for pitch, length in SCALE] for octaves in (-12, 24))
    soprano, bass, trumpet = ("Soprano 1", SCALE), ("Bass", low), ("Trumpet", high)
    assert preparation.chorale_frames(score(soprano, bass, trumpet))[:2] == [[48, 60], [50, 62]]
    assert preparation.chorale_frames(score(soprano, trumpet))[:2] == [[60], [62]]
    assert preparation.chorale_frames(score(("Horn", low), trumpet))[:2] == [[48, 84], [50, 86]]


def shares(share, of=40):
    """Two pieces that have `share` of their patterns in common."""
    rng = np.random.default_rng(0)
    first, other = ([sorted(rng.integers(40, 80, 4).tolist()) for _ in range(of + 2)] for _ in range(2))
    common = round(share * of) + 2  # n patterns of three chords are n + 2 chords
    return first, first[:common] + other[common:]


@pytest.mark.parametrize(("share", "kept"), [(0.4, True), (0.475, True), (0.5, False), (0.6, False), (1, False)])
def test_a_piece_is_a_repeat_from_half_of_its_patterns(share, kept):
    first, second = shares(share)
    pieces = [("first", first), ("second", second)]
    assert len(preparation.patterns(first) & preparation.patterns(second)) == round(share * 40)
    assert [name for name, _ in preparation.without_repeats(pieces)] == ["first", "second"][: 1 + kept]


def test_repeats_are_found_in_any_key_and_by_the_shorter_piece():
    first, other = shares(0)
    moved = [[pitch + 3 for pitch in chord] for chord in first]
    pieces = [("first", first), ("moved", moved), ("excerpt", first[:12]), ("other", other)]
    assert [name for name, _ in preparation.without_repeats(pieces)] == ["first", "other"]


@pytest.fixture
def small_corpus(monkeypatch):
    """music21's corpus with three chorales, of which one is a repeat."""
    from music21 import corpus

    one, two = shares(0)
    frames = {"bach/b.mxl": one, "bach/c.mxl": one, "bach/d.mxl": two}
    monkeypatch.setattr(corpus.chorales, "Iterator", lambda returnType: list(frames))
    monkeypatch.setattr(corpus, "parse", lambda name, forceSource: frames[name])
    monkeypatch.setattr(preparation, "chorale_frames", lambda frames: frames)
    return one, two


def test_chorales_become_arrays(small_corpus):
    arrays = preparation.chorales(progress=False)
    assert arrays["names"].tolist() == ["b.mxl", "d.mxl"] and arrays["lengths"].tolist() == [42, 42]
    assert arrays["frames"].dtype == np.uint8 and arrays["lengths"].dtype == np.int32
    expected = [chord for piece in small_corpus for chord in piece]
    assert [(np.flatnonzero(row) + 21).tolist() for row in arrays["frames"]] == [sorted(set(c)) for c in expected]


def test_an_unreadable_corpus_is_one_sentence(small_corpus, monkeypatch):
    def broken(name, forceSource):
        raise KeyError("whatever a reader raises")

    monkeypatch.setattr("music21.corpus.parse", broken)
    with pytest.raises(DataError, match="cannot be read from music21's corpus: reinstall it"):
        preparation.chorales(progress=False)


# --- piano rolls ----------------------------------------------------------------------------------------------------
@pytest.fixture
def mat(tmp_path):
    """A MATLAB file of two rolls a part."""
    cells = np.empty((1, 2), dtype=object)
    cells[0, :] = np.eye(88, dtype=np.uint8)[:5], np.zeros((1, 88), np.uint8)
    savemat(tmp_path / "a.mat", {"traindata": cells, "validdata": cells, "testdata": cells})
    return tmp_path / "a.mat"


def test_mat_is_read(mat):
    parts = preparation.read_mat(mat)
    assert len(parts) == 3
    for one, two in parts:
        np.testing.assert_array_equal(one, np.eye(88)[:5])
        assert two.shape == (1, 88) and two.dtype == np.uint8


def test_pickle_in_place_of_mat(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    for protocol in (0, 2, 5):
        (tmp_path / "a.mat").write_bytes(pickle.dumps(Trap(), protocol=protocol))
        with pytest.raises(DataError, match="a pickle or another format is never opened.*delete it"):
            preparation.read_mat(tmp_path / "a.mat")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 10, 130, 200, 400])
def test_truncated_mat(mat, keep):
    mat.write_bytes(mat.read_bytes()[:keep])
    with pytest.raises(DataError, match="delete it and run `gatedrnn data fetch`"):
        preparation.read_mat(mat)


def test_foreign_mat(tmp_path):
    savemat(tmp_path / "a.mat", {"other": np.eye(3)})
    with pytest.raises(DataError, match="holds no piano rolls"):
        preparation.read_mat(tmp_path / "a.mat")


# --- speech ---------------------------------------------------------------------------------------------------------
def test_windows_of_utterances():
    found = preparation.collect([("a", np.arange(1250, dtype=np.int16)), ("b", np.arange(700, dtype=np.int16))], 500)
    assert found["windows"].shape == (3, 500) and found["windows"][1, 0] == 500
    assert found["utterance"].tolist() == [0, 0, 1] and found["offset"].tolist() == [0, 500, 0]


@pytest.mark.parametrize("name", ["speech_a", "speech_b"])
def test_recipe_gives_the_prepared_windows(name):
    """For every raw recording at hand."""
    prepared = sources.source(name).here()
    raw = [(row, files.find(f"speech/{row['path'].replace('data', 'raw', 1)}")) for row in preparation.recordings(name)]
    if prepared is None or not any(path for _, path in raw):
        pytest.skip(f"needs {name} and raw recordings of it: run `gatedrnn data fetch {name}` or set GATEDRNN_DATA")
    stored = files.read_npz(prepared)
    for row, path in raw:
        if path is not None:
            label = path.stem.rsplit("_", 1)[0]
            expected = stored["windows"][stored["utterance"] == stored["utterances"].tolist().index(label)]
            assert len(expected) == int(row["windows"])
            found = preparation.collect([(label, preparation.read_recording(path))], expected.shape[1])
            np.testing.assert_array_equal(found["windows"], expected)


def test_registry_of_recordings():
    for name, count, size in (("speech_a", 7_230, 43_778_144), ("speech_b", 800, 83_603_532)):
        rows = preparation.recordings(name)
        assert sum(int(row["windows"]) for row in rows) == count
        assert sum(int(row["bytes"]) for row in rows) == size
        assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)


def test_speech_fetch_goes_on_where_it_stopped(cache, server, monkeypatch):
    """Two recordings made here, one of them missing at first: the other is kept, and asked for no second time."""
    import soundfile

    folder, address = server
    samples = np.random.default_rng(0).integers(-3000, 3000, (48_000, 2), dtype=np.int16)
    rows = []
    for name in ("arctic_a0001_5.wav", "arctic_a0002_6.wav"):
        soundfile.write(folder / name, samples, 48_000, subtype="PCM_16")
        rows.append({"path": f"data/{name}", "sha256": files.sha256(folder / name), "bytes": "192044"})
    monkeypatch.setattr(preparation, "recordings", lambda name: rows)
    (folder / "arctic_a0002_6.wav").rename(folder / "away")

    def fetch():
        return preparation.speech("speech_a", 50, 500, progress=False, address=address)

    with pytest.raises(DataError, match="arctic_a0002_6.wav.*answer 404.*gatedrnn data fetch speech_a"):
        fetch()
    assert [path.name for path in (cache / "speech" / "raw").iterdir()] == ["arctic_a0001_5.wav"]
    (folder / "away").rename(folder / "arctic_a0002_6.wav")
    (folder / "arctic_a0001_5.wav").unlink()
    made = fetch()
    assert made["windows"].shape == (50, 500) and made["windows"].dtype == np.int16
    assert made["utterance"].tolist() == [0] * 32 + [1] * 18
    assert made["utterances"].tolist() == ["arctic_a0001", "arctic_a0002"]
    assert made["offset"][:3].tolist() == [0, 500, 1000]


def test_foreign_recordings(tmp_path):
    import soundfile

    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 8000)
    with pytest.raises(DataError, match="not a sound file"):
        preparation.read_recording(tmp_path / "text.wav")
    with pytest.raises(DataError, match="8000 samples a second"):
        preparation.read_recording(tmp_path / "slow.wav")
