"""Sound: what goes into MIDI or a sound file comes out again, and bad input is refused in a sentence."""

import io
import re

import numpy as np
import pretty_midi
import pytest
import soundfile

from gatedrnn import sound
from gatedrnn.files import DataError
from gatedrnn.sound import audio, encode, midi, mp3, render, save_midi


def midi_to_roll(midi: pretty_midi.PrettyMIDI, step_seconds: float, steps: int) -> np.ndarray:
    middles = ((np.arange(steps) + 0.5) * step_seconds * 1000).astype(int)  # what sounds in the middle of each step
    return (midi.get_piano_roll(fs=1000)[21:109, middles] > 0).T.astype(np.uint8)


@pytest.mark.parametrize("step_seconds", [0.5, 0.25, 1 / 3])
def test_midi_round_trip(roll, tmp_path, step_seconds):
    saved = pretty_midi.PrettyMIDI(str(save_midi(roll, tmp_path / "a.mid", step_seconds)))
    np.testing.assert_array_equal(midi_to_roll(saved, step_seconds, 12), roll)
    assert saved.get_end_time() == pytest.approx(12 * step_seconds, abs=1e-3)
    (piano,) = saved.instruments
    assert piano.program == 0 and {note.velocity for note in piano.notes} == {sound.VELOCITY}


def test_a_pitch_in_consecutive_steps_is_one_held_note():
    notes = np.zeros((6, 88), dtype=bool)
    notes[1:5, 60 - 21] = True
    (note,) = pretty_midi.PrettyMIDI(io.BytesIO(midi(notes, 0.25))).instruments[0].notes
    assert (note.pitch, note.start, note.end) == (60, 0.25, 1.25)


def test_saving_leaves_what_was_there(roll, tmp_path):
    with pytest.raises(DataError, match=r"folder .*nowhere does not exist, so make it first\.$"):
        save_midi(roll, tmp_path / "nowhere" / "a.mid")
    path = tmp_path / "a.mid"
    path.write_bytes(b"what was there before")
    with pytest.raises(ValueError, match="piano roll"):
        save_midi(roll[:, :5], path)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("use", [midi, render, mp3, lambda roll: audio(roll, "x")])
def test_what_is_no_piano_roll_is_refused(use):
    with pytest.raises(ValueError, match=r"shape \(steps, 88\); this one has shape \(5, 87\)"):
        use(np.zeros((5, 87)))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_step_lasts_some_time(roll, seconds):
    with pytest.raises(ValueError, match="positive number"):
        midi(roll, seconds)
    with pytest.raises(ValueError, match="positive number"):
        render(roll, step_seconds=seconds)


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


def test_silence_is_rendered_as_silence():
    wave = render(np.zeros((4, 88)))
    assert len(wave) == int(2.25 * 16000) and not wave.any()


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_every_format_gives_the_waveform_back(format):
    tone = 0.5 * np.sin(np.arange(16000) * 0.2)
    decoded, rate = soundfile.read(io.BytesIO(encode(tone, format)))
    assert rate == 16000 and np.corrcoef(decoded[:15000], tone[:15000])[0, 1] > 0.99


def test_half_an_hour_can_be_encoded():
    """In one piece it would end the process."""
    assert len(encode(np.zeros(30 * 60 * 16000, np.float32), "ogg")) > 1000


def test_audio_is_compact_labelled_and_can_be_played():
    notes = np.zeros((60, 88))
    for t in range(60):
        notes[t, [27 + t % 5, 34 + t % 3, 39 + t % 7, 43 + t % 4]] = 1
    player = audio(notes, 'Bach & "friends" <1>')
    assert player.mp3 == mp3(notes)
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
