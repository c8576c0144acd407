import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from gatedrnn import preparation, sources
from gatedrnn.sources import DataError

SHARED = Path(os.environ.get("GATEDRNN_DATA", ""))
RAW = sorted((SHARED / "speech" / "raw").glob("*.wav")) if os.environ.get("GATEDRNN_DATA") else []


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


def score(melody, shift):
    from music21 import note, stream

    part = stream.Part()
    for pitch, length in melody:
        part.append(note.Note(pitch + shift, quarterLength=length) if pitch else note.Rest(quarterLength=length))
    whole = stream.Score()
    whole.insert(0, part)
    return whole


SCALE = [(60, 1), (62, 0.5), (64, 0.5), (65, 1), (67, 2), (None, 3), (64, 1), (62, 1), (59, 1), (60, 4)]


def test_grid_keys_and_rests():
    expected = [[60], [62], [65], [67], [67], [], [64], [62], [59], [60], [60], [60], [60]]
    for shift in range(-6, 6):
        assert preparation.chorale_frames(score(SCALE, shift)) == expected


def test_repeats_are_dropped_in_any_key():
    rng = np.random.default_rng(0)
    first = [sorted(rng.integers(40, 80, 4).tolist()) for _ in range(40)]
    other = [sorted(rng.integers(40, 80, 4).tolist()) for _ in range(40)]
    moved = [[pitch + 3 for pitch in chord] for chord in first]
    mostly = first[:30] + other[:10]
    pieces = [("first", first), ("moved", moved), ("mostly", mostly), ("other", other)]
    assert [name for name, _ in preparation.without_repeats(pieces)] == ["first", "other"]


def test_windows_of_utterances():
    found = preparation.collect([("a", np.arange(1250, dtype=np.int16)), ("b", np.arange(700, dtype=np.int16))], 500)
    assert found["windows"].shape == (3, 500) and found["windows"][1, 0] == 500
    assert found["utterance"].tolist() == [0, 0, 1] and found["offset"].tolist() == [0, 500, 0]


@pytest.mark.skipif(not RAW, reason="needs raw recordings: set GATEDRNN_DATA to a directory with speech/raw/*.wav")
@pytest.mark.parametrize("wav", RAW, ids=lambda path: path.stem)
def test_recipe_gives_the_prepared_windows(wav):
    name, label = f"speech_{wav.name[7]}", wav.stem.rsplit("_", 1)[0]
    prepared = sources.find(f"speech/{name}.npz")
    if prepared is None:
        pytest.skip(f"needs {name}.npz beside the raw recordings")
    stored = sources.read_npz(prepared)
    expected = stored["windows"][stored["utterance"] == stored["utterances"].tolist().index(label)]
    np.testing.assert_array_equal(preparation.cut(preparation.read_recording(wav), expected.shape[1]), expected)


@pytest.mark.parametrize("name", ["speech_a", "speech_b"])
def test_arrays_are_verified_whatever_their_compression(name, tmp_path):
    path = sources.find(f"speech/{name}.npz")
    if path is None:
        pytest.skip(f"needs {name}.npz: run `gatedrnn data fetch {name}` or set GATEDRNN_DATA")
    stored = sources.read_npz(path)
    np.savez(tmp_path / "plain.npz", **stored)
    preparation.verify_windows(name, tmp_path / "plain.npz")
    stored["windows"][0, 0] += 1
    np.savez(tmp_path / "changed.npz", **stored)
    with pytest.raises(DataError, match="does not hold"):
        preparation.verify_windows(name, tmp_path / "changed.npz")


def test_registry_of_recordings():
    for name, (count, _) in preparation.WINDOWS.items():
        rows = preparation.recordings(name)
        assert sum(int(row["windows"]) for row in rows) == count
        assert sum(int(row["bytes"]) for row in rows) == sources.REGISTRY[name].size
        assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)


def test_foreign_recordings(tmp_path):
    import soundfile

    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 8000)
    with pytest.raises(DataError, match="not a sound file"):
        preparation.read_recording(tmp_path / "text.wav")
    with pytest.raises(DataError, match="8000 samples a second"):
        preparation.read_recording(tmp_path / "slow.wav")
