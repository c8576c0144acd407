"""Sounds beside what is heard: piano rolls and waveforms with a moving playhead."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from ..rolls import check_roll
from ..waveforms import SAMPLE_RATE
from . import markup
from .panel import COLORS, About, Panel, array, color_of
from .words import compact, escape


def listen(
    rolls: Mapping[str, ArrayLike],
    *,
    opening: int = 0,
    step_seconds: float = 0.5,
    blind: bool = False,
    **about: Unpack[About],
) -> Panel:
    """Piano rolls (T, 88) on one pitch axis, one of them heard at a time, with a playhead.

    The first `opening` steps are grey: what was given. blind=True hides the names and asks which voice is the first of
    `rolls`. Raises ValueError for anything but piano rolls, and for an opening longer than a roll.
    """
    pieces = {voice: check_roll(roll) for voice, roll in rolls.items()}
    if not pieces:
        raise ValueError("There is nothing to listen to: give at least one roll.")
    if not 0 <= opening <= min(map(len, pieces.values())):
        raise ValueError(f"opening must be between 0 and the length of the shortest roll; it is {opening}.")
    steps, span = max(map(len, pieces.values())), markup.pitch_span(pieces.values())
    axis, pictures = markup.linear_axis("seconds", 0, steps * step_seconds), {}
    for voice, roll in pieces.items():
        drawn = markup.piano_roll(roll, span, ink_of(voice), opening=opening, steps=steps)
        content = axis + drawn + end_of_opening(opening / steps)
        pictures[voice] = markup.plot(content, 200, about.get("alt") or f"Piano roll of {voice}", top=24)
    seconds = [len(roll) * step_seconds for roll in pieces.values()]
    return _players(pieces, pictures, seconds, step_seconds, "step", blind, f"{steps} steps", about)


def listen_wave(waves: Mapping[str, ArrayLike], *, opening: float = 0, **about: Unpack[About]) -> Panel:
    """Waveforms (n,) within [-1, 1], 16,000 samples a second, as `listen` shows rolls; opening in seconds.

    Raises ValueError for another shape, values outside [-1, 1], and an opening longer than a waveform.
    """
    spoken = {voice: array(wave) for voice, wave in waves.items()}
    if not spoken:
        raise ValueError("There is nothing to listen to: give at least one waveform.")
    for voice, wave in spoken.items():
        if wave.ndim != 1 or not len(wave) or not np.abs(wave).max() <= 1:
            raise ValueError(f"The waveform {voice!r} must be one axis of numbers between -1 and 1.")
    seconds = [len(wave) / SAMPLE_RATE for wave in spoken.values()]
    if not 0 <= opening <= min(seconds):
        raise ValueError(f"opening must lie between 0 and the seconds of the shortest waveform; it is {opening}.")
    longest, loudest = max(map(len, spoken.values())), max(np.abs(w).max() for w in spoken.values()) or 1.0
    first, pictures = round(opening * SAMPLE_RATE), {}
    for voice, wave in spoken.items():
        shape = envelope(wave[:first], 0, longest, loudest, markup.GIVEN)
        shape += envelope(wave[first:], first, longest, loudest, ink_of(voice))
        content = markup.linear_axis("seconds", 0, max(seconds)) + markup.stretched(shape, "0 -100 1000 200")
        content += end_of_opening(first / longest)
        pictures[voice] = markup.plot(content, 130, about.get("alt") or f"Waveform of {voice}", left=14, top=24)
    return _players(spoken, pictures, seconds, 0.1, "second", False, f"{max(seconds):.2f} s", about)


def _players(music, pictures, seconds, step, counts, blind, length, about: About) -> Panel:
    """Each voice's picture over its sound; blind: in an order that the title decides."""
    from ..sound import mp3  # renders with NumPy, compresses with soundfile

    title, voices = about.setdefault("title", "Listen"), list(music)
    order = sorted(voices, key=lambda v: hashlib.sha256(f"{title}/{v}".encode()).digest()) if blind else voices
    picture = ""
    for voice in order:
        sound = base64.b64encode(mp3(music[voice], step_seconds=step)).decode()
        picture += (
            f'<div class="voice"><p class="voice-name">{escape(voice)}</p>{pictures[voice]}<audio controls '
            f'preload="none" aria-label="{escape(voice)}" src="data:audio/mpeg;base64,{sound}"></audio></div>'
        )
    times = [seconds[voices.index(voice)] for voice in order]
    data = {"voices": order, "seconds": compact(times, 8), "span": compact(max(times), 8)}
    data |= {"step": step, "counts": counts, "answer": order.index(voices[0]) if blind else None}
    return Panel("listen", picture=picture, data=data, summary=f"{', '.join(voices)}; {length}", **about)


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


def envelope(wave: np.ndarray, first: int, total: int, loudest: float, color: str) -> str:
    """The highest and lowest sample of each of 320 stretches of a whole waveform, as one filled shape."""
    if not len(wave):
        return ""
    edges = np.unique(np.linspace(0, len(wave), max(2, round(320 * len(wave) / total)) + 1).astype(int))[:-1]
    x = 1000 * (first + np.append(edges, len(wave))) / total
    top, bottom = -np.maximum.reduceat(wave, edges), -np.minimum.reduceat(wave, edges)
    scale = 96 / loudest
    there = "".join(f"L{a:.1f} {scale * v - 0.4:.1f}H{b:.1f}" for a, b, v in zip(x, x[1:], top, strict=False))
    back = "".join(
        f"L{b:.1f} {scale * v + 0.4:.1f}H{a:.1f}" for a, b, v in zip(x[-2::-1], x[:0:-1], bottom[::-1], strict=True)
    )
    kind = ' class="given"' if color == markup.GIVEN else ""
    return f'<path{kind} d="M{x[0]:.1f} 0{there}{back}z" fill="{color}"/>'
