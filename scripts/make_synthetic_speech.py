"""Make the synthetic speech that ships with the package: the data set `synthetic_speech`.

    python scripts/make_synthetic_speech.py

Needs the program espeak-ng (1.51 made the files in the repository). Every sentence below was written for this purpose
and is spoken by a formant synthesiser: no human voice, no recording. Writes, under src/gatedrnn/assets/,
synthetic_speech.flac (16 kHz, 16 bit, one channel, the sentences one after the other) and synthetic_speech.csv (first
sample and number of samples of each sentence).
"""

import csv
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

ASSETS = Path(__file__).parent.parent / "src" / "gatedrnn" / "assets"
RATE = 16_000
LIMIT = 600_000  # bytes: the repository carries this file

SENTENCES = (
    "The kettle began to sing before the guests arrived.",
    "A grey cat sleeps under the warm stove.",
    "We walked along the river until it was dark.",
    "Seven letters came in the morning post.",
    "Please close the window, the wind is cold.",
    "Her brother repairs old clocks in the village.",
    "The bread is fresh, but the butter is gone.",
    "Two boats drifted slowly past the lighthouse.",
    "He counted the stairs as he climbed the tower.",
    "Rain fell on the tin roof all night long.",
)


def speak(sentence: str) -> np.ndarray:
    """One sentence as int16 (n,) at 16 kHz, without the silence before and after it."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "165", "-w", file.name, sentence], check=True)
        samples, rate = soundfile.read(file.name, dtype="int16")
    samples = resample_poly(samples.astype(np.float64), RATE, rate)
    samples = np.clip(np.round(samples), -32768, 32767).astype(np.int16)
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 50)
    return samples[loud[0] : loud[-1] + 1]


def main() -> None:
    """Write the clip and the table of its sentences."""
    spoken = [speak(sentence) for sentence in SENTENCES]
    clip = ASSETS / "synthetic_speech.flac"
    with soundfile.SoundFile(clip, "w", RATE, 1, "PCM_16", format="FLAC", compression_level=1.0) as file:
        file.title = "Synthetic speech"
        file.comment = "Synthetic speech, made with espeak-ng by scripts/make_synthetic_speech.py; no human voice."
        file.write(np.concatenate(spoken))
    with open(ASSETS / "synthetic_speech.csv", "w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["first_sample", "samples", "sentence"])
        first = 0
        for sentence, samples in zip(SENTENCES, spoken, strict=True):
            table.writerow([first, len(samples), sentence])
            first += len(samples)
    size = clip.stat().st_size
    print(f"{clip.name}: {len(SENTENCES)} sentences, {first / RATE:.1f} s, {size} bytes")
    if size > LIMIT:
        raise SystemExit(f"{size} bytes are more than the {LIMIT} that the repository carries: use fewer sentences.")


if __name__ == "__main__":
    main()
