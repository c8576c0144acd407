"""Sounds beside what is heard: piano rolls and waveforms with a moving playhead."""

import base64
import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ..rolls import check_roll
from . import markup
from .panel import COLORS, Panel, array, color_of
from .rolls import GIVEN, notes, pitch_axis, pitch_span
from .words import compact, escape


def listen(
    rolls: Mapping[str, ArrayLike],
    *,
    opening: int = 0,
    step_seconds: float = 0.5,
    blind: bool = False,
    sounds: Mapping[str, object] | None = None,
    title: str = "Listen",
    alt: str = "",
    caption: str = "",
    name: str = "",
) -> Panel:
    """Piano rolls (T, 88) on one pitch axis, one of them heard at a time, with a playhead.

    The first `opening` steps are grey: what was given. sounds : name -> MP3 bytes or a player of `audio`; rendered from
    the rolls if there are none. blind=True hides the names and asks which voice is the first of `rolls`. Raises
    ValueError for anything but piano rolls, for an opening longer than a roll and for a voice without a sound.
    """
    pieces = {voice: check_roll(array(roll)) for voice, roll in rolls.items()}
    if not pieces:
        raise ValueError("There is nothing to listen to: give at least one roll.")
    if not 0 <= opening <= min(map(len, pieces.values())):
        raise ValueError(f"opening must be between 0 and the length of the shortest roll; it is {opening}.")
    if sounds is None:
        from ..sound import audio  # renders with NumPy, compresses with soundfile

        sounds = {voice: audio(roll, voice, step_seconds=step_seconds) for voice, roll in pieces.items()}
    steps = max(map(len, pieces.values()))
    span = pitch_span(pieces.values())
    voices = {}
    for voice, roll in pieces.items():
        axis = {"label": "seconds", "log": False, "lim": (0, steps * step_seconds)}
        content = markup.x_axis(axis) + pitch_axis(*span) + notes(roll, span, ink_of(voice), opening, steps)
        content += end_of_opening(opening / steps)
        voices[voice] = markup.plot(content, 200, alt or f"Piano roll of {voice}", top=24)
    seconds = [len(roll) * step_seconds for roll in pieces.values()]
    summary = f"{', '.join(pieces)}; {steps} steps"
    return _players(voices, sounds, seconds, step_seconds, "step", blind, summary, title, caption, name)


def listen_wave(
    waves: Mapping[str, ArrayLike],
    *,
    opening: float = 0,
    rate: int = 16000,
    blind: bool = False,
    sounds: Mapping[str, object] | None = None,
    title: str = "Listen",
    alt: str = "",
    caption: str = "",
    name: str = "",
) -> Panel:
    """Waveforms (n,) within [-1, 1], `rate` samples a second, as `listen` shows rolls; opening in seconds.

    Raises ValueError for another shape, values outside [-1, 1], an opening longer than a waveform, a missing sound.
    """
    spoken = {voice: array(wave).astype(float) for voice, wave in waves.items()}
    if not spoken:
        raise ValueError("There is nothing to listen to: give at least one waveform.")
    for voice, wave in spoken.items():
        if wave.ndim != 1 or not len(wave) or not np.abs(wave).max() <= 1:
            raise ValueError(f"The waveform {voice!r} must be one axis of numbers between -1 and 1.")
    if not 0 <= opening <= min(map(len, spoken.values())) / rate:
        raise ValueError(f"opening must lie between 0 and the seconds of the shortest waveform; it is {opening}.")
    if sounds is None:
        from ..sound import audio

        sounds = {voice: audio(wave, voice, rate=rate) for voice, wave in spoken.items()}
    longest, loudest = max(map(len, spoken.values())), max(np.abs(w).max() for w in spoken.values()) or 1.0
    voices = {}
    for voice, wave in spoken.items():
        axis = {"label": "seconds", "log": False, "lim": (0, longest / rate)}
        first = round(opening * rate)
        shape = envelope(wave[:first], 0, longest, loudest, GIVEN) if first else ""
        shape += envelope(wave[first:], first, longest, loudest, ink_of(voice))
        content = markup.x_axis(axis) + markup.stretched(shape, "0 -100 1000 200")
        content += end_of_opening(first / longest)
        voices[voice] = markup.plot(content, 130, alt or f"Waveform of {voice}", left=14, top=24)
    seconds = [len(wave) / rate for wave in spoken.values()]
    summary = f"{', '.join(spoken)}; {max(seconds):.2f} s"
    return _players(voices, sounds, seconds, 0.1, "second", blind, summary, title, caption, name)


def _players(voices, sounds, seconds, step, counts, blind, summary, title, caption, name) -> Panel:
    if missing := set(voices) - set(sounds):
        raise ValueError(f"There is no sound for {', '.join(sorted(missing))}: add it to sounds.")
    names = list(voices)
    order = sorted(names, key=lambda v: hashlib.sha256(f"{title}/{v}".encode()).digest()) if blind else names
    parts, times = [], dict(zip(names, seconds, strict=True))
    for voice in order:
        mp3 = getattr(sounds[voice], "mp3", sounds[voice])
        source = f"data:audio/mpeg;base64,{base64.b64encode(mp3).decode()}"
        parts.append(
            f'<div class="voice"><p class="voice-name">{escape(voice)}</p>{voices[voice]}'
            f'<audio controls preload="none" aria-label="{escape(voice)}" src="{source}"></audio></div>'
        )
    data = {"voices": order, "seconds": compact([times[v] for v in order], 8), "span": compact(max(seconds), 8)}
    data |= {"step": step, "counts": counts, "answer": order.index(names[0]) if blind else None}
    return Panel("listen", title, "".join(parts), data, summary, "", caption, name)


def end_of_opening(share: float) -> str:
    """The line between what was given and what was added, at a share of the width; nothing at the left edge."""
    if not share:
        return ""
    at = f"{100 * share:.2f}%"
    line = markup.rule(at, "0", at, "100%", "mark")
    line += markup.text(at, "0", "given", "end", dx=-6, dy=-6)
    return line + markup.text(at, "0", "continued", "start", dx=6, dy=-6)


def ink_of(voice: str) -> str:
    """A unit's colour, or that of text for what no unit made."""
    return color_of(voice) if color_of(voice) in COLORS.values() else markup.INK


def envelope(wave: np.ndarray, first: int, total: int, loudest: float, color: str, bins: int = 320) -> str:
    """The highest and lowest sample of each of `bins` stretches of a whole waveform, as one filled shape."""
    if not len(wave):
        return ""
    edges = np.unique(np.linspace(0, len(wave), max(2, round(bins * len(wave) / total)) + 1).astype(int))[:-1]
    x = 1000 * (first + np.append(edges, len(wave))) / total
    top, bottom = -np.maximum.reduceat(wave, edges), -np.minimum.reduceat(wave, edges)
    scale = 96 / loudest
    there = "".join(f"L{a:.1f} {scale * v - 0.4:.1f}H{b:.1f}" for a, b, v in zip(x, x[1:], top, strict=False))
    back = "".join(
        f"L{b:.1f} {scale * v + 0.4:.1f}H{a:.1f}" for a, b, v in zip(x[-2::-1], x[:0:-1], bottom[::-1], strict=True)
    )
    kind = ' class="given"' if color == GIVEN else ""
    return f'<path{kind} d="M{x[0]:.1f} 0{there}{back}z" fill="{color}"/>'
