"""From a trained model to something that can be heard: sample a piano roll or a waveform, write MIDI, render audio.

A piano roll is an array of 0 and 1, shape (T, 88): row t is one time step, column i is MIDI pitch 21 + i, so that
column 0 is the lowest key of a piano (A0) and column 87 the highest (C8). A waveform is one axis of samples, (n,).
"""

import base64
import html
import io
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pretty_midi
import soundfile
import torch
from numpy.typing import ArrayLike

from .datasets import Dataset
from .network import Network

LOWEST_PITCH = 21
PITCHES = 88
VELOCITY = 80  # MIDI loudness, 1 to 127; the data carry none, so every note gets the same


def check_roll(roll: ArrayLike) -> np.ndarray:
    """Return `roll` as a boolean array (T, 88).

    Raises ValueError when the shape is not (T, 88), when there is no step at all, or when a value is neither 0 nor 1.
    """
    array = roll.detach().cpu().numpy() if isinstance(roll, torch.Tensor) else np.asarray(roll)
    if array.ndim != 2 or array.shape[1] != PITCHES:
        raise ValueError(f"A piano roll has shape (steps, {PITCHES}); this one has shape {array.shape}.")
    if len(array) == 0:
        raise ValueError("The piano roll is empty: it has no time step.")
    if not np.isin(array, (0, 1)).all():
        raise ValueError("A piano roll holds only 0 (silent) and 1 (sounding); this one holds other values.")
    return array.astype(bool)


def held_notes(roll: ArrayLike) -> list[tuple[int, int, int]]:
    """Return the notes of a roll (T, 88) as (column, first step, step after the last), sorted by column, then time.

    A pitch that is on in consecutive steps is one held note: the roll cannot tell a held note from a repeated one.
    """
    silence = np.zeros((1, PITCHES), dtype=np.int8)
    change = np.diff(np.concatenate([silence, check_roll(roll), silence]), axis=0)
    columns, starts = np.nonzero(change.T == 1)
    _, ends = np.nonzero(change.T == -1)
    return list(zip(columns.tolist(), starts.tolist(), ends.tolist(), strict=True))


@torch.no_grad()
def sample_roll(
    network: Network,
    steps: int,
    *,
    opening: ArrayLike | None = None,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """Draw a piano roll from a music model, one step after the other: each pitch is on with its own probability.

    The model reads a zero frame first, as in training, then the opening (T0, 88) if there is one, and then what it has
    drawn itself. Returns uint8 (T0 + steps, 88), the opening first. The uniform numbers come from numpy, whose stream
    is the same on every machine.

    Raises ValueError when the model is not one of music, when steps is negative, when nothing would be returned, or
    when the opening is not a piano roll.
    """
    if network.model.kind != "music":
        raise ValueError("Only a model of music can draw a piano roll.")
    start = np.zeros((0, PITCHES), dtype=bool) if opening is None else check_roll(opening)
    if steps < 0 or len(start) + steps == 0:
        raise ValueError(f"steps must be at least {0 if len(start) else 1}; it is {steps}.")
    rng = np.random.default_rng(seed)
    roll = np.zeros((len(start) + steps, PITCHES), dtype=np.uint8)
    frame, state = np.zeros(PITCHES), None
    for t in range(len(roll)):
        a, state = network.step(torch.as_tensor(frame)[None], state)
        if t < len(start):
            roll[t] = start[t]
        else:
            roll[t] = rng.random(PITCHES) < network.model.output.probabilities(a)[0].double().cpu().numpy()
        frame = roll[t]
    return roll


@torch.no_grad()
def sample_waveform(
    network: Network,
    steps: int,
    *,
    opening: ArrayLike | None = None,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """Draw a waveform from a speech model, a block of 10 samples a step, in the standardised units of its training.

    At each step the model sees the last 20 samples and the next 10 are drawn from its mixture: first a component, then
    its Gaussians. It reads the opening (n,), n >= 20, in the same way, in windows of which the last one ends with it;
    without an opening it begins after 20 zeros, which are not returned. Returns float32 (n + 10 steps,), the
    opening first. The random numbers come from numpy, whose stream is the same on every machine; as each block depends
    on those before it, rounding can still tell long waveforms of two machines apart.

    Raises ValueError when the model is not one of speech, when steps is below 1, when the opening is not one axis of at
    least 20 finite samples, or when the model's output is not finite.
    """
    if network.model.kind != "speech":
        raise ValueError("Only a model of speech can draw a waveform.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1; it is {steps}.")
    seen, hop = network.model.input_size, network.model.output.size
    start = np.zeros(seen, np.float32) if opening is None else np.asarray(opening, np.float32)
    if start.ndim != 1 or len(start) < seen:
        raise ValueError(f"An opening has one axis and at least {seen} samples; this one has shape {start.shape}.")
    if not np.isfinite(start).all():
        raise ValueError("The opening holds NaN or infinity.")
    rng = np.random.default_rng(seed)
    wave, state = np.concatenate([start, np.zeros(hop * steps, np.float32)]), None
    for now in range(seen + (len(start) - seen) % hop, len(wave), hop):
        a, state = network.step(torch.as_tensor(wave[now - seen : now])[None], state)
        if now >= len(start):
            if not a.isfinite().all():
                raise ValueError(f"The model's output is not finite at sample {now}: theta holds NaN or infinity.")
            log_weight, mean, sigma = (part[0].double().cpu().numpy() for part in network.model.output.parameters(a))
            weight = np.exp(log_weight)
            k = rng.choice(len(weight), p=weight / weight.sum())
            wave[now : now + hop] = mean[k] + sigma[k] * rng.standard_normal(hop)
    return wave[seen if opening is None else 0 :]


def unstandardise(waveform: ArrayLike, dataset: Dataset) -> np.ndarray:
    """Return a standardised waveform (n,) as `audio` takes it: float32 (n,), where 1 is full scale of 16 bits.

    `dataset` is the one whose mean and std standardised it. What is beyond full scale is cut off, as it is in a sound
    card. Raises ValueError for a data set of music.
    """
    if dataset.kind != "speech":
        raise ValueError(f"{dataset.name} is a data set of music: only speech is standardised.")
    return np.clip((np.asarray(waveform) * dataset.std + dataset.mean) / 32768, -1, 1).astype(np.float32)


def roll_to_midi(roll: ArrayLike, step_seconds: float = 0.5, program: int = 0) -> pretty_midi.PrettyMIDI:
    """Return a roll (T, 88) as MIDI: `step_seconds` a step, General MIDI instrument `program` (0: grand piano).

    One step is one beat of the file's tempo, so that every note begins and ends on an exact tick.
    Raises ValueError for anything but a piano roll, and when step_seconds is not a positive number.
    """
    if not 0 < step_seconds < float("inf"):
        raise ValueError(f"step_seconds must be a positive number; it is {step_seconds}.")
    instrument = pretty_midi.Instrument(program=program)
    for column, start, end in held_notes(roll):
        instrument.notes.append(
            pretty_midi.Note(VELOCITY, LOWEST_PITCH + column, start * step_seconds, end * step_seconds)
        )
    midi = pretty_midi.PrettyMIDI(initial_tempo=60 / step_seconds)
    midi.instruments.append(instrument)
    return midi


def save_midi(
    roll: ArrayLike | pretty_midi.PrettyMIDI, path: str | Path, step_seconds: float = 0.5, program: int = 0
) -> Path:
    """Write a roll (T, 88), or a PrettyMIDI object as it is, to a MIDI file; returns its path.

    The file appears whole or not at all. Raises FileNotFoundError when the folder is missing.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot save {path}: the folder {path.parent} does not exist; create it first.")
    midi = roll if isinstance(roll, pretty_midi.PrettyMIDI) else roll_to_midi(roll, step_seconds, program)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            midi.write(file)
        os.chmod(partial, 0o644)  # mkstemp makes files that nobody else can read
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def _tone(pitch: int, seconds: float, velocity: int, rate: int) -> np.ndarray:
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
    return (velocity / 127) * (261.6 / frequency) ** 0.25 * envelope * wave  # high notes sound louder, so lower them


def render(music: ArrayLike | pretty_midi.PrettyMIDI, rate: int = 16000, step_seconds: float = 0.5) -> np.ndarray:
    """Return what a roll (T, 88) or a PrettyMIDI object sounds like: float32 (samples,), `rate` samples a second.

    An additive synthesiser on numpy alone; every instrument sounds the same and drums are left out. The loudest
    sample is 0.9; a roll without notes is silence of its own length. A quarter of a second follows the last step, in
    which the last notes die away. Raises ValueError for a PrettyMIDI object without notes, and for anything but a
    piano roll.
    """
    midi = music if isinstance(music, pretty_midi.PrettyMIDI) else roll_to_midi(music, step_seconds)
    seconds = midi.get_end_time() if midi is music else len(music) * step_seconds
    if seconds == 0:
        raise ValueError("There is nothing to render: the MIDI object holds no note.")
    wave = np.zeros(int((seconds + 0.25) * rate))
    for instrument in midi.instruments:
        for note in () if instrument.is_drum else instrument.notes:
            tone = _tone(note.pitch, note.end - note.start, note.velocity, rate)
            first = round(note.start * rate)
            wave[first : first + len(tone)] += tone[: len(wave) - first]
    peak = np.abs(wave).max()
    return (wave * (0.9 / peak if peak else 1.0)).astype(np.float32)


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


def audio(
    music: ArrayLike | pretty_midi.PrettyMIDI, title: str, *, rate: int = 16000, step_seconds: float = 0.5
) -> AudioPlayer:
    """Return a player for a waveform (samples,), a roll (T, 88) or a PrettyMIDI object, as a compact MP3.

    A waveform is taken as it is, `rate` samples a second, values within [-1, 1]; a roll is rendered first. `title` is
    shown and is what a screen reader says. Half a minute takes about 70 KB. Raises ValueError for an empty waveform,
    for values that are not finite or leave [-1, 1], and for any other shape.
    """
    wave = np.asarray(music) if not isinstance(music, pretty_midi.PrettyMIDI) else None
    if wave is None or wave.ndim != 1:
        wave = render(music, rate, step_seconds)
    if len(wave) == 0:
        raise ValueError("The waveform is empty.")
    if not np.abs(wave).max() <= 1:
        raise ValueError("A waveform holds finite values between -1 and 1; scale this one before listening to it.")
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="MP3", bitrate_mode="AVERAGE", compression_level=0.93)
    return AudioPlayer(title, len(wave) / rate, file.getvalue())
