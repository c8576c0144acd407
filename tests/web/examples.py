"""One panel of each kind, made from data that the tests can compute anew."""

import sys
from pathlib import Path

import numpy as np

from gatedrnn import panels

LAGS = np.arange(1, 41)
SCALES = np.array([0.5, 0.8, 0.9, 1.0, 1.1, 1.3])
OFFERS = np.round(np.random.default_rng(0).uniform(-1, 1, 40), 2)
OFFERS[[4, 24]] = 0.6, -0.8
UPDATE = np.round(np.linspace(0.05, 1, 20), 2)


def chorale(seed: int = 0, steps: int = 48) -> np.ndarray:
    """Four voices that move by small intervals, (steps, 88)."""
    rng = np.random.default_rng(seed)
    roll = np.zeros((steps, 88), dtype=np.uint8)
    for low in (24, 31, 36, 43):
        pitch = low
        for t in range(steps):
            pitch = int(np.clip(pitch + (rng.random() < 0.6) * rng.integers(-2, 3), low - 5, low + 6))
            roll[t, pitch] = 1
    return roll


def cell(unit: str, x: np.ndarray, H: int = 12, seed: int = 1) -> tuple[dict, dict]:
    """Parts (T, H) and weights of a unit with random weights, computed here as the equations say."""
    rng = np.random.default_rng(seed)
    names = {"tanh": ("",), "gru": ("_z", "_r", ""), "lstm": ("_i", "_f", "_c", "_o")}[unit]
    w = {}
    for n in names:
        w[f"W{n}"], w[f"U{n}"] = rng.normal(0, 0.7, (x.shape[1], H)), rng.normal(0, 0.5, (H, H))
        w[f"b{n}"] = rng.normal(-1 if n == "_z" else 0.5, 0.5, H)
    for gate in "ifo" if unit == "lstm" else "":
        w[f"V_{gate}"] = rng.normal(0, 0.5, H)

    def total(n, h, t):
        return x[t] @ w[f"W{n}"] + h @ w[f"U{n}"] + w[f"b{n}"]

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h, c, run = np.zeros(H), np.zeros(H), []
    for t in range(len(x)):
        if unit == "tanh":
            h = np.tanh(total("", h, t))
            run.append({"h": h})
        elif unit == "gru":
            z, r = sigmoid(total("_z", h, t)), sigmoid(total("_r", h, t))
            h_tilde = np.tanh(total("", r * h, t))
            h = (1 - z) * h + z * h_tilde
            run.append({"z": z, "r": r, "h_tilde": h_tilde, "h": h})
        else:
            i, f = (sigmoid(total(f"_{g}", h, t) + w[f"V_{g}"] * c) for g in "if")
            c_tilde = np.tanh(total("_c", h, t))
            c = f * c + i * c_tilde
            o = sigmoid(total("_o", h, t) + w["V_o"] * c)
            h = o * np.tanh(c)
            run.append({"i": i, "f": f, "c_tilde": c_tilde, "c": c, "o": o, "h": h})
    return {key: np.array([step[key] for step in run]) for key in run[0]}, w


def results() -> list[dict]:
    """A table like the study's: two data sets, two columns, three units; one place is empty."""
    rows = []
    for d, data in enumerate(("JSB Chorales", "Nottingham")):
        for k, column in enumerate(("paper", "best")):
            for u, unit in enumerate(("tanh", "gru", "lstm")):
                if (data, column, unit) != ("Nottingham", "best", "tanh"):
                    mean = 8.5 - 4.5 * d - 0.2 * k + (0.31, 0.0, 0.12)[u]
                    row = {"data": data, "column": column, "unit": unit, "value": mean}
                    rows.append(row | {"low": mean - 0.07, "high": mean + 0.05, "reference": 8.6 - 4.5 * d})
    return rows


def make() -> dict[str, panels.Panel]:
    """Name -> panel."""
    bach, drawn = chorale(), chorale(7)
    seconds = np.arange(16000) / 16000
    wave = 0.5 * np.sin(2 * np.pi * 220 * seconds) * np.sin(np.pi * seconds)
    gru, gru_weights = cell("gru", bach)
    lstm, lstm_weights = cell("lstm", bach)
    tanh, _ = cell("tanh", bach)
    norms = SCALES[:, None] ** LAGS
    power = np.arange(31)
    response = 1 - (1 - UPDATE[:, None]) ** power
    voices = {"Bach": bach, "tanh": chorale(3), "GRU": drawn}
    all_of_it = [
        panels.listen({"Bach": bach, "GRU": drawn}, opening=16, step_seconds=0.1, title="Listen to two"),
        panels.listen(voices, opening=16, step_seconds=0.1, blind=True, title="Which is Bach?"),
        panels.listen_wave({"speaker": wave, "LSTM": wave[::-1] * 0.8}, opening=0.4, title="A waveform"),
        panels.stepper("gru", gru, bach, weights=gru_weights, units=[0, 3, 5], title="One GRU"),
        panels.stepper("lstm", lstm, bach, weights=lstm_weights, units=[2], part="c", start=9, title="One LSTM"),
        panels.stepper("tanh", tanh, bach, title="One tanh unit"),
        panels.slider(
            LAGS,
            {"norm": norms},
            {"scale of U": SCALES},
            start={"scale of U": 0.9},
            log="y",
            xlabel="lag",
            ylabel="gradient, relative to lag 0",
            lines=[("y", 1, "no change")],
            readout="With U scaled by {scale of U}, {left:.1e} of the gradient is left after 40 steps.",
            values={"left": norms[:, -1]},
            title="How far a gradient reaches",
        ),
        panels.slider(
            power,
            {"GRU": response},
            {"z": UPDATE},
            start={"z": 0.2},
            ylim=(0, 1.05),
            xlabel="step",
            ylabel="state",
            readout="z = {z:.2f}: time constant {tau:.1f} steps",
            values={"tau": -1 / np.log(1 - np.minimum(UPDATE, 0.9999))},
            points=True,
            title="Step response",
        ),
        panels.slider(
            [10, 30, 100],
            {
                "tanh": [[1, 0.3, 0.25], [0.9, 0.25, 0.25]],
                "GRU": [[1, 1, 0.6], [1, 0.95, 0.4]],
                "LSTM": [[1, 1, 0.9], [1, 1, 0.8]],
            },
            {"start": ["informed", "zero"]},
            log="x",
            points=True,
            xlabel="lag",
            ylabel="share recalled",
            title="Recall",
        ),
        panels.latch(OFFERS, write=[4, 24], show=[12, 20, 36]),
        panels.explorer(
            results(),
            ("data", "column"),
            reference="reference",
            best="lowest",
            xlabel="nats a step",
            titles={"data": "data set", "gru": "GRU", "lstm": "LSTM"},
        ),
        panels.explorer(
            [{"data": "JSB", "unit": u, "value": v} for u, v in (("full", 8.1), ("without r", 8.4), ("z = 1", 8.9))],
            ["data"],
            baseline="full",
            title="A component taken away",
        ),
        panels.gate_map("gru", gru, bach, title="Gates of a GRU"),
        panels.gate_map("lstm", lstm, bach, parts=["f", "c"], title="Memory of an LSTM"),
    ]
    return {panel.name: panel for panel in all_of_it}


def page(body: str, static: Path, theme: str = "light", script: bool = True) -> str:
    """A page that holds `body` as a page of the book would, with the book's styles and script inlined as shipped."""
    sys.path.insert(0, str(static.parent / "_ext"))
    from shipped import slim_script, slim_style

    css = "".join(slim_style((static / f"{name}.css").read_text()) for name in ("book", "panels"))
    js = slim_script((static / "panels.js").read_text())
    head = f"<style>{css}</style>" + (f"<script>{js}</script>" if script else "")
    look = "body{max-width:685px;margin:1rem auto;padding:0 12px;font:16px/1.6 sans-serif;"
    look += "background:var(--paper);color:var(--ink)}"
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Panels</title>'
        f'<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width"><style>{look}</style>{head}'
        f"</head><body><main><h1>Panels</h1>{body}</main></body></html>"
    )


def quiz(number: int = 1) -> str:
    """What book/_ext/quiz.py makes of one question with one right answer."""
    choices = "".join(
        f'<div class="quiz-choice{" right" if k == 1 else ""}"><div class="quiz-text"><p>{words}</p></div>'
        f'<div class="quiz-why"><p><strong>{"Right" if k == 1 else "Wrong"}.</strong> Reason {k}.</p></div></div>'
        for k, words in enumerate(("a) first", "b) second", "c) third"))
    )
    return (
        f'<div class="quiz" id="quiz-{number}"><p class="quiz-label">Question {number}</p>'
        f'<div class="quiz-question"><p>Which?</p></div>{choices}</div>'
    )
