"""The command line: `gatedrnn data | train | sample`, and the commands of `cli_records`.

Exit codes: 0 all is well; 1 it could not be done, with one sentence on stderr; 2 wrong usage; 130 interrupted
(143 and 129: by SIGTERM, SIGHUP).
"""

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import cli_records, datasets, files, sources
from .history import TrainingDiverged
from .units import UNITS

# Whatever needs torch is imported where it is used, so that --help and `data` answer at once.

app = typer.Typer(
    help="Gated recurrent networks: fetch data, train a unit, hear what it has learnt.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Data sets: list, fetch, check.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")


@data.command("list")
def list_data() -> None:
    """Every known data set, and whether it is on this machine."""
    for name, source in sources.SOURCES.items():
        print(f"{name:<17} {source.kind:<7} {'here' if source.here() else '-':<5} {source.description}")
    print(f"cache directory: {files.cache_dir()} (GATEDRNN_DATA moves it)")


@data.command("fetch")
def fetch_data(names: Annotated[list[str], typer.Argument(help="data sets, or `all`")]) -> None:
    """Download, parse or prepare data sets, unless they are here already.

    \b
    gatedrnn data fetch bach_chorales
    gatedrnn data fetch jsb_chorales nottingham muse_data piano_midi
    """
    for source in map(sources.source, sources.SOURCES if names == ["all"] else names):
        print(f"{source.name}: {source.path()}", flush=True)


@data.command("check")
def check_data(names: Annotated[list[str] | None, typer.Argument(help="data sets; without any: all here")] = None):
    """Compare what is on this machine with the checksums. Uses no network.

    \b
    gatedrnn data check
    gatedrnn data check jsb_chorales
    """
    for name in names or [name for name, source in sources.SOURCES.items() if source.here()]:
        print(f"{name}: sound, {sources.check(name)}", flush=True)


@app.command(short_help="Train one unit and score it.")
def train(
    unit: Annotated[str, typer.Option(help=", ".join(UNITS))] = "gru",
    data: Annotated[str, typer.Option(help="a data set's name: see `gatedrnn data list`")] = "bach_chorales",
    hidden: Annotated[
        int | None, typer.Option(min=1, max=4096, help="hidden units; as in Table 1 unless given")
    ] = None,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr", help="step size of RMSProp")] = 0.001,
    seed: Annotated[int, typer.Option(min=0, help="seed of the parameters, the batches and the weight noise")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="at most so many; early stopping may end sooner")] = 30,
    output: Annotated[Path, typer.Option(help="file for the trained model, .npz")] = Path("model.npz"),
) -> None:
    """Train one unit by the paper's protocol and print both averages of the test NLL.

    The state after each epoch is kept beside the output; the same command goes on from there after an interruption.

    \b
    gatedrnn train --unit gru --output gru.npz
    gatedrnn train --unit lstm --data jsb_chorales --hidden 36 --lr 0.002 --output lstm.npz
    """
    if output.suffix != ".npz":
        raise typer.BadParameter(f"{output}: the file's name must end in .npz", param_hint="--output")
    if not learning_rate > 0:
        raise typer.BadParameter(f"{learning_rate} is not a positive number", param_hint="--learning-rate")
    if output.exists():
        raise ValueError(f"{output} exists: move it away or name another file with --output")
    if not output.parent.is_dir():
        raise ValueError(f"the folder {output.parent} does not exist: make it first")
    from .model import MODELS
    from .protocol import Protocol
    from .training import train as run

    model = MODELS[sources.source(data).kind](unit, hidden)
    dataset = datasets.load(data)
    checkpoint = output.with_suffix(".checkpoint.npz")
    if checkpoint.exists():
        print(f"going on from {checkpoint}")
    result = run(
        model,
        dataset,
        learning_rates=[learning_rate],
        seeds=[seed],
        protocol=Protocol(max_epochs=epochs),
        checkpoint=checkpoint,
    )
    network = replace(result.network(), data=data)
    network.save(output)
    checkpoint.unlink(missing_ok=True)
    history, score = result.histories[0], network.evaluate(dataset.test)
    print(f"{unit}, {model.hidden_size} units, {model.num_recurrent_parameters} recurrent parameters, on {data}")
    print(f"validation NLL, nats a step: {history.best_valid:.4f} after epoch {history.best_epoch}")
    print(f"test NLL, nats a step: pooled {score.pooled:.4f}, mean of sequences {score.per_sequence:.4f}")
    print(f"saved in {output}")


@app.command(short_help="Draw a piece from a trained model.")
def sample(
    trained: Annotated[Path, typer.Argument(help="a file that `gatedrnn train` has written", dir_okay=False)],
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="steps to draw")] = 64,
    opening: Annotated[int, typer.Option(min=0, help="steps of a real test piece to begin with")] = 0,
    piece: Annotated[int, typer.Option(min=0, help="which test piece the opening is from")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="another seed, another piece")] = 0,
    output: Annotated[
        list[Path] | None,
        typer.Option(help="a file each: .mid, .wav, .ogg, .mp3 or .flac; by default .mid and .ogg beside the model"),
    ] = None,
) -> None:
    """Draw a piece from a trained model of music; write it as MIDI and as sound.

    \b
    gatedrnn sample gru.npz
    gatedrnn sample gru.npz --opening 16 --steps 48 --output piece.mid --output piece.wav
    """
    outputs = output or [trained.with_suffix(".mid"), trained.with_suffix(".ogg")]
    for path in outputs:
        if path.suffix not in (".mid", ".wav", ".ogg", ".mp3", ".flac"):
            raise typer.BadParameter(f"{path}: write .mid, .wav, .ogg, .mp3 or .flac", param_hint="--output")
    from . import sound
    from .network import Network
    from .sampling import sample_roll

    network = Network.load(trained)
    if network.data is None or network.model.kind != "music":
        raise ValueError(f"{trained} is not a model of music that `gatedrnn train` wrote: only those can be heard")
    dataset = datasets.load(network.data)
    if opening and piece >= len(dataset.test):
        raise ValueError(f"there is no test piece {piece}: {dataset.name} has {len(dataset.test)}, counted from 0")
    if opening and opening > len(dataset.test[piece]):
        raise ValueError(
            f"test piece {piece} has {len(dataset.test[piece])} steps: an opening of {opening} is too long"
        )
    start = dataset.test[piece][:opening] if opening else None
    roll = sample_roll(network, steps, opening=start, seed=seed)
    wave = sound.render(roll, step_seconds=dataset.step_seconds)
    files.write_all(
        {
            path: sound.midi(roll, dataset.step_seconds)
            if path.suffix == ".mid"
            else sound.encode(wave, path.suffix[1:])
            for path in outputs
        }
    )
    for path in outputs:
        print(path)


app.command(short_help="Run the study, or a part of it.")(cli_records.study)
app.command(short_help="Print the study's results from its records.")(cli_records.table)
app.command(short_help="Score a recorded network again.")(cli_records.evaluate)
app.command(short_help="Record what lesions of kept networks cost.")(cli_records.lesions)


def main() -> None:
    """Run the command line; an error that the user can mend is one sentence, not a traceback."""
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores a hang-up, and that stays so
            signal.signal(number, end)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, TrainingDiverged, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and "pip install" not in str(error):  # what `extras` says
            raise
        print(f"gatedrnn: {error}", file=sys.stderr)
        sys.exit(1)


def end(number: int, _frame: object) -> None:
    """End as Ctrl-C does, so that whatever is half-written goes away on the way out."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
