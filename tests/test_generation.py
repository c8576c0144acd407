"""Sampling, MIDI and audio: what goes in comes out again, and bad input is refused in a sentence."""

import io
import re

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from scipy import stats

from gatedrnn import datasets, generation
from gatedrnn.generation import (
    audio,
    held_notes,
    render,
    roll_to_midi,
    sample_roll,
    sample_waveform,
    save_midi,
    unstandardise,
)
from gatedrnn.model import music_model, speech_model
from gatedrnn.network import Network
from gatedrnn.units import UNITS


@pytest.fixture
def roll() -> np.ndarray:
    """Twelve steps of scattered notes, the lowest and the highest key among them, ending on a sounding step."""
    notes = (np.random.default_rng(3).random((12, 88)) < 0.2).astype(np.uint8)
    notes[2:5, 0] = notes[4:, 87] = notes[-1, 40] = 1
    return notes


def network_of(unit: str = "gru", seed: int = 0) -> Network:
    model = music_model(unit, 7)
    network = Network(model, model.init([seed])[0] * 3.0)
    network.b_out.fill_(-1.5)
    return network


def midi_to_roll(midi: pretty_midi.PrettyMIDI, step_seconds: float, steps: int) -> np.ndarray:
    middles = ((np.arange(steps) + 0.5) * step_seconds * 1000).astype(int)  # what sounds in the middle of each step
    return (midi.get_piano_roll(fs=1000)[21:109, middles] > 0).T.astype(np.uint8)


@pytest.mark.parametrize("unit", UNITS)
def test_a_sample_is_a_roll_that_starts_with_its_opening(unit, roll):
    network = network_of(unit)
    sample = sample_roll(network, 20, opening=roll, seed=5)
    assert sample.shape == (32, 88) and sample.dtype == np.uint8 and set(np.unique(sample)) == {0, 1}
    np.testing.assert_array_equal(sample[:12], roll)


def test_sampling_is_deterministic_under_a_seed_and_per_network(roll):
    network = network_of()
    first = sample_roll(network, 20, seed=5)
    np.testing.assert_array_equal(first, sample_roll(network, 20, seed=np.random.default_rng(5)))
    assert (first != sample_roll(network, 20, seed=6)).any()
    assert (first != sample_roll(network_of(seed=1), 20, seed=5)).any()
    assert (sample_roll(network, 20, opening=roll, seed=5)[12:] != first).any()


@pytest.mark.parametrize("unit", UNITS)
def test_sampling_draws_from_the_probabilities_that_the_model_predicts(unit, roll):
    """Fed back to the model with a zero frame first, the sample is what the same uniform numbers give all at once."""
    network = network_of(unit)
    sample = sample_roll(network, 20, opening=roll, seed=5)
    x = torch.zeros(32, 1, 88)
    x[1:, 0] = torch.from_numpy(sample[:-1])
    p = network.model.output.probabilities(network.predict(x))[12:, 0].numpy()
    np.testing.assert_array_equal(sample[12:], np.random.default_rng(5).random((20, 88)) < p)


def test_sampling_refuses_what_it_cannot_do(roll):
    network = network_of()
    with pytest.raises(ValueError, match="steps must be at least 1"):
        sample_roll(network, 0)
    with pytest.raises(ValueError, match="steps must be at least 0"):
        sample_roll(network, -1, opening=roll)
    with pytest.raises(ValueError, match="88"):
        sample_roll(network, 3, opening=roll[:, :80])
    with pytest.raises(ValueError, match="model of music"):
        speech = speech_model("gru", 3)
        sample_roll(Network(speech, speech.init([0])[0]), 3)
    np.testing.assert_array_equal(sample_roll(network, 0, opening=roll), roll)


def talker(unit: str = "gru", seed: int = 0) -> Network:
    """A small speech model whose mixture depends on what it has read and has components far apart."""
    model = speech_model(unit, 7)
    network = Network(model, model.init([seed], torch.float64)[0] * 5.0)
    b_out = network.b_out
    b_out += torch.randn(b_out.shape, generator=torch.Generator().manual_seed(1), dtype=b_out.dtype)
    return network


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("length", [20, 47])
def test_a_drawn_waveform_starts_with_its_opening(unit, length):
    network = talker(unit)
    opening = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    wave = sample_waveform(network, 6, opening=opening, seed=3)
    assert wave.shape == (length + 60,) and wave.dtype == np.float32 and np.isfinite(wave).all()
    np.testing.assert_array_equal(wave[:length], opening)
    assert sample_waveform(network, 6, seed=3).shape == (60,)


def test_a_drawn_waveform_is_deterministic_under_a_seed_and_per_network():
    network = talker()
    first = sample_waveform(network, 6, seed=3)
    np.testing.assert_array_equal(first, sample_waveform(network, 6, seed=np.random.default_rng(3)))
    assert (first != sample_waveform(network, 6, seed=4)).all()
    assert (first != sample_waveform(talker(seed=1), 6, seed=3)).any()


@pytest.mark.parametrize("unit", UNITS)
def test_a_waveform_is_drawn_from_the_mixtures_that_the_model_predicts(unit):
    """Fed back to the model in the batches of training, the waveform is what the same random numbers give."""
    network = talker(unit)
    opening = np.random.default_rng(0).standard_normal(37).astype(np.float32)
    wave = sample_waveform(network, 6, opening=opening, seed=3)
    a = network.predict(datasets.make_batch([wave[7:]], "speech", torch.float64).x[0])[1:, 0]
    log_weight, mean, sigma = (part.numpy() for part in network.model.output.parameters(a))
    rng = np.random.default_rng(3)
    for t, block in enumerate(wave[37:].reshape(6, 10)):
        k = np.searchsorted(np.exp(log_weight[t]).cumsum(), rng.random())
        np.testing.assert_allclose(block, mean[t, k] + sigma[t, k] * rng.standard_normal(10), rtol=1e-5, atol=1e-5)


def test_the_first_block_follows_the_mixture():
    """Two thousand first blocks against the mixture's mean, covariance and, along one direction, whole distribution."""
    network = talker()
    rng, n = np.random.default_rng(0), 2000
    blocks = np.array([sample_waveform(network, 1, seed=rng) for _ in range(n)], dtype=float)
    a = network.predict(torch.zeros(1, 1, 20))[0, 0]
    log_weight, mean, sigma = (part.numpy() for part in network.model.output.parameters(a))
    weight = np.exp(log_weight)
    center = weight @ mean
    covariance = (weight[:, None] * (mean - center)).T @ (mean - center) + np.diag(weight @ sigma**2)
    np.testing.assert_allclose(blocks.mean(0), center, atol=4 * np.sqrt(np.diag(covariance).max() / n))
    np.testing.assert_allclose(np.cov(blocks.T), covariance, atol=0.1 * np.diag(covariance).max())
    direction = np.ones(10)  # the ten samples of a block share their component, which their sum shows
    law = stats.norm(mean @ direction, np.sqrt(sigma**2 @ direction**2))
    assert stats.kstest(blocks @ direction, lambda s: law.cdf(np.asarray(s)[:, None]) @ weight).pvalue > 0.01


def test_drawing_a_waveform_refuses_what_it_cannot_do():
    network = talker()
    with pytest.raises(ValueError, match="model of speech"):
        sample_waveform(network_of(), 3)
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"steps must be at least 1; it is {steps}"):
            sample_waveform(network, steps)
    for shape in ((19,), (0,), (30, 1)):
        with pytest.raises(ValueError, match="at least 20 samples; this one has shape"):
            sample_waveform(network, 3, opening=np.zeros(shape))
    with pytest.raises(ValueError, match="opening holds NaN"):
        sample_waveform(network, 3, opening=np.full(25, np.nan))
    with pytest.raises(ValueError, match="not finite at sample 20: theta holds NaN"):
        sample_waveform(Network(network.model, network.theta * float("nan")), 3)


def test_a_waveform_is_put_back_on_the_scale_of_its_recording():
    speech = datasets.load("synthetic_speech", progress=False)
    wave = unstandardise(speech.test[0], speech)
    assert wave.dtype == np.float32 and wave.shape == speech.test[0].shape
    steps = wave * 32768
    np.testing.assert_allclose(steps, steps.round(), atol=0.01)  # the recording has 16 bits
    assert np.abs(steps).max() > 100
    np.testing.assert_array_equal(unstandardise([-99.0, 99.0], speech), [-1, 1])
    with pytest.raises(ValueError, match="data set of music"):
        unstandardise(np.zeros(3), datasets.Dataset("notes", "music", (), (), (), 0.5, "", ""))


def test_held_notes_of_a_known_roll():
    notes = np.zeros((4, 88))
    notes[0:3, 39] = 1
    notes[[0, 2, 3], 43] = 1
    assert held_notes(notes) == [(39, 0, 3), (43, 0, 1), (43, 2, 4)]
    assert held_notes(np.zeros((4, 88))) == []


@pytest.mark.parametrize("step_seconds", [0.5, 0.25, 1 / 3])
def test_midi_round_trip(roll, tmp_path, step_seconds):
    midi = roll_to_midi(roll, step_seconds, program=19)
    np.testing.assert_array_equal(midi_to_roll(midi, step_seconds, 12), roll)
    path = save_midi(roll, tmp_path / "a.mid", step_seconds, program=19)
    saved = pretty_midi.PrettyMIDI(str(path))
    np.testing.assert_array_equal(midi_to_roll(saved, step_seconds, 12), roll)
    assert [i.program for i in saved.instruments] == [19]
    assert saved.get_end_time() == pytest.approx(12 * step_seconds, abs=1e-3)
    assert {note.velocity for note in saved.instruments[0].notes} == {generation.VELOCITY}


def test_a_pitch_in_consecutive_steps_is_one_held_note():
    notes = np.zeros((6, 88), dtype=bool)
    notes[1:5, 60 - 21] = True
    (note,) = roll_to_midi(notes, 0.25).instruments[0].notes
    assert (note.pitch, note.start, note.end) == (60, 0.25, 1.25)


def test_saving_leaves_nothing_half_written(roll, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist; create it first\.$"):
        save_midi(roll, tmp_path / "nowhere" / "a.mid")
    path = tmp_path / "a.mid"
    path.write_bytes(b"what was there before")

    def interrupted(self, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pretty_midi.PrettyMIDI, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_midi(roll, path)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("use", [roll_to_midi, render, lambda r: audio(r, "x"), held_notes])
def test_what_is_no_piano_roll_is_refused(use):
    with pytest.raises(ValueError, match=r"shape \(steps, 88\); this one has shape \(5, 87\)"):
        use(np.zeros((5, 87)))
    with pytest.raises(ValueError, match="no time step"):
        use(np.zeros((0, 88)))
    for value in (2, np.nan, 0.5):
        with pytest.raises(ValueError, match="only 0"):
            use(np.full((5, 88), value))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_step_lasts_some_time(roll, seconds):
    with pytest.raises(ValueError, match="positive number"):
        roll_to_midi(roll, seconds)


def test_a_rendering_has_the_right_length_peak_and_pitch():
    notes = np.zeros((8, 88))
    notes[2:6, 69 - 21] = 1  # A4, 440 Hz, from 0.5 s to 1.5 s
    wave = render(notes, rate=16000, step_seconds=0.25)
    assert wave.dtype == np.float32 and wave.shape == (int(2.25 * 16000),)
    assert np.abs(wave).max() == pytest.approx(0.9)
    assert not wave[: int(0.5 * 16000)].any() and not wave[int(1.65 * 16000) :].any()
    spectrum = np.abs(np.fft.rfft(wave[8000:24000]))
    assert spectrum.argmax() == 440  # one second of sound, so that bin k is k Hz
    assert np.abs(np.diff(wave)).max() < 0.45  # no click: a jump between two samples would reach the peak or beyond


def test_high_notes_do_not_fold_back():
    notes = np.zeros((4, 88))
    notes[:, 87] = 1  # C8, 4186 Hz: its second harmonic is beyond what 16 kHz can hold
    spectrum = np.abs(np.fft.rfft(render(notes)[:32000]))
    assert spectrum[: 2 * 4000].max() < 0.01 * spectrum.max()


def test_silence_is_rendered_as_silence_and_nothing_is_refused():
    wave = render(np.zeros((4, 88)))
    assert len(wave) == int(2.25 * 16000) and not wave.any()
    with pytest.raises(ValueError, match="no note"):
        render(pretty_midi.PrettyMIDI())


def test_a_midi_object_sounds_like_its_roll(roll):
    np.testing.assert_array_equal(render(roll, step_seconds=0.25), render(roll_to_midi(roll, 0.25)))


def test_audio_is_compact_labelled_and_can_be_played():
    notes = np.zeros((60, 88))
    for t in range(60):
        notes[t, [27 + t % 5, 34 + t % 3, 39 + t % 7, 43 + t % 4]] = 1
    player = audio(notes, 'Bach & "friends" <1>')
    assert player.seconds == 30.25 and repr(player) == 'Audio: Bach & "friends" <1> (30.2 s)'
    assert 30_000 < len(player.mp3) < 85_000
    decoded, rate = soundfile.read(io.BytesIO(player.mp3))
    assert rate == 16000 and len(decoded) / rate == pytest.approx(30.25, abs=0.1)
    wave = render(notes)
    assert np.corrcoef(decoded[: len(wave)], wave[: len(decoded)])[0, 1] > 0.95
    page = player._repr_html_()
    assert re.search(r'<audio controls[^>]* aria-label="Bach &amp; &quot;friends&quot; &lt;1&gt;, 30 seconds"', page)
    assert "<figcaption" in page and "<1>" not in page and len(page) < 115_000


def test_audio_takes_a_waveform_as_it_is():
    tone = 0.5 * np.sin(np.arange(16000) * 0.2)
    player = audio(tone, "a tone")
    decoded, _ = soundfile.read(io.BytesIO(player.mp3))
    assert player.seconds == 1 and np.abs(decoded).max() == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="empty"):
        audio(np.zeros(0), "nothing")
    for wrong in (3 * tone, np.full(100, np.nan)):
        with pytest.raises(ValueError, match="between -1 and 1"):
            audio(wrong, "too loud")
