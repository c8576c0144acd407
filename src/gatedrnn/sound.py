"""From a piano roll or a waveform to a file that can be heard: MIDI, a synthesiser, MP3 and its kin."""

import base64
import html
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .extras import Extra
from .files import atomic
from .rolls import LOWEST_PITCH, held_notes
from .waveforms import SAMPLE_RATE

with Extra("sound"):
    import pretty_midi
    import soundfile

VELOCITY = 80  # MIDI loudness, 1 to 127; the data carry none, so every note gets the same


def midi(roll: ArrayLike, step_seconds: float = 0.5) -> bytes:
    """A roll (T, 88) as a MIDI file, played on a grand piano, `step_seconds` a step.

    One step is one beat of the file's tempo, so that every note begins and ends on an exact tick.
    Raises ValueError for anything but a piano roll, and when step_seconds is not a positive number.

    >>> midi(np.eye(88))[:4]
    b'MThd'
    """
    _check_seconds(step_seconds)
    piano = pretty_midi.Instrument(program=0)
    for column, start, end in held_notes(roll):
        note = pretty_midi.Note(VELOCITY, LOWEST_PITCH + column, start * step_seconds, end * step_seconds)
        piano.notes.append(note)
    score = pretty_midi.PrettyMIDI(initial_tempo=60 / step_seconds)
    score.instruments.append(piano)
    file = io.BytesIO()
    score.write(file)
    return file.getvalue()


def save_midi(roll: ArrayLike, path: str | Path, step_seconds: float = 0.5) -> Path:
    """Write a roll (T, 88) to a MIDI file, whole or not at all; returns its path.

    >>> import tempfile
    >>> from gatedrnn import load, save_midi
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_midi(load("bach_chorales").test[0], Path(folder) / "chorale.mid").name
    'chorale.mid'

    Raises ValueError as `midi`, and DataError where the file cannot be written.
    """
    content, path = midi(roll, step_seconds), Path(path)
    with atomic(path) as file:
        file.write(content)
    return path


def _check_seconds(step_seconds: float) -> None:
    if not 0 < step_seconds < float("inf"):
        raise ValueError(f"step_seconds must be a positive number; it is {step_seconds}.")


def _tone(pitch: int, seconds: float, rate: int) -> np.ndarray:
    """One note: decaying harmonics, the higher the faster, with a soft attack and a release after `seconds`."""
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    attack, release = 0.02, 0.14
    t = np.arange(int((seconds + release) * rate)) / rate
    wave = np.zeros_like(t)
    circle, quick, slow = np.exp(2j * np.pi * frequency * t), np.exp(-0.9 * t), np.exp(-0.12 * t)
    # A little over half of each harmonic dies away within about a second; the rest sings on, as in an organ pipe.
    turning, dying, singing = circle.copy(), 0.6 * np.exp(-1.4 * t) * quick, 0.4 * np.exp(-0.25 * t) * slow
    for k in range(1, 11):
        if k * frequency > 0.45 * rate:  # above this a harmonic would fold back as a false low tone
            break
        phase = np.exp(0.1j * np.pi * k * k)  # spread out, or all would peak together and the sum would be spiky
        wave += (dying + singing) * (phase * turning).imag / k**1.7
        turning *= circle  # powers are cheaper than sines: the k-th holds exp(2 pi i k f t)
        dying *= quick
        singing *= slow
    rise = np.clip(t / attack, 0, 1)
    fall = np.clip((seconds + release - t) / release, 0, 1)
    envelope = np.sin(0.5 * np.pi * rise) ** 2 * np.sin(0.5 * np.pi * fall) ** 2
    return (261.6 / frequency) ** 0.25 * envelope * wave  # high notes sound louder, so lower them


def render(roll: ArrayLike, rate: int = SAMPLE_RATE, step_seconds: float = 0.5) -> np.ndarray:
    """What a roll (T, 88) sounds like: float32 (samples,), `rate` samples a second.

    An additive synthesiser on numpy alone. The loudest sample is 0.9; a roll without notes is silence of its own
    length. A quarter of a second follows the last step, in which the last notes die away. Raises ValueError as `midi`.

    >>> render(np.eye(88)[:4]).shape
    (36000,)
    """
    _check_seconds(step_seconds)
    notes = held_notes(roll)
    wave = np.zeros(int((len(np.asarray(roll)) * step_seconds + 0.25) * rate))
    for column, start, end in notes:
        tone = _tone(LOWEST_PITCH + column, (end - start) * step_seconds, rate)
        first = round(start * step_seconds * rate)
        wave[first : first + len(tone)] += tone[: len(wave) - first]
    peak = np.abs(wave).max()
    return (wave * (0.9 / peak if peak else 1.0)).astype(np.float32)


def encode(wave: np.ndarray, format: str, rate: int = SAMPLE_RATE) -> bytes:
    """A waveform (n,) within [-1, 1] as a sound file of a format: "wav", "flac", "ogg" or "mp3".

    Raises ValueError for an empty waveform, and for values that are not finite or leave [-1, 1].

    >>> encode(np.zeros(100), "wav")[:4]
    b'RIFF'
    """
    if len(wave) == 0:
        raise ValueError("The waveform is empty.")
    if not np.abs(wave).max() <= 1:
        raise ValueError("A waveform holds finite values between -1 and 1; scale this one before listening to it.")
    small = {"bitrate_mode": "AVERAGE", "compression_level": 0.93} if format == "mp3" else {}
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format=format, **small) as stream:
        for start in range(0, len(wave), rate):  # libsndfile ends the process on a long Vorbis file in one piece
            stream.write(wave[start : start + rate])
    return file.getvalue()


def mp3(music: ArrayLike, *, rate: int = SAMPLE_RATE, step_seconds: float = 0.5) -> bytes:
    """A roll (T, 88), rendered, or a waveform (n,) as it is, as MP3: half a minute takes about 70 KB.

    Raises ValueError as `encode`, and for anything that is neither.
    """
    return encode(_heard(music, rate, step_seconds), "mp3", rate)


def _heard(music: ArrayLike, rate: int, step_seconds: float) -> np.ndarray:
    array = np.asarray(music)
    return array if array.ndim == 1 else render(array, rate, step_seconds)


@dataclass(frozen=True, repr=False)
class AudioPlayer:
    """A sound that a notebook shows as a player; `mp3` holds the file, `seconds` its length."""

    title: str
    seconds: float
    mp3: bytes = field(repr=False)

    def __repr__(self) -> str:
        return f"Audio: {self.title} ({self.seconds:.1f} s)"

    def _repr_html_(self) -> str:
        label = html.escape(f"{self.title}, {self.seconds:.0f} seconds", quote=True)
        data = base64.b64encode(self.mp3).decode()
        return (
            '<figure class="audio" style="margin: 1em 0">'
            f'<figcaption style="margin-bottom: 0.3em">{html.escape(self.title)} ({self.seconds:.0f} s)</figcaption>'
            f'<audio controls preload="metadata" aria-label="{label}" style="width: 100%; max-width: 32em" '
            f'src="data:audio/mpeg;base64,{data}"></audio></figure>'
        )


def audio(music: ArrayLike, title: str, *, rate: int = SAMPLE_RATE, step_seconds: float = 0.5) -> AudioPlayer:
    """A player for a roll (T, 88) or a waveform (n,), as `mp3` encodes it. `title` is shown, and read out.

    Raises ValueError as `mp3`.
    """
    wave = _heard(music, rate, step_seconds)
    return AudioPlayer(title, len(wave) / rate, encode(wave, "mp3", rate))
