"""The commands about the study and its records: `gatedrnn study | table | evaluate | lesions`."""

from pathlib import Path
from typing import Annotated

import typer

# Whatever needs torch is imported where it is used, so that --help answers at once.

RESULTS = Annotated[Path, typer.Option("--results", help="folder of the records", file_okay=False)]


def study(
    data: Annotated[list[str] | None, typer.Option(help="a data set of the study; repeat for several")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="tanh, gru or lstm; repeat for several")] = None,
    column: Annotated[list[str] | None, typer.Option(help="a way of training: see --list; repeat for several")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="a unit without a part: see --list; or `all`")] = None,
    size: Annotated[list[str] | None, typer.Option(help="of a variant: same_hidden, same_parameters; or `all`")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="local processes, a core each")] = 2,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="tcp://... of a Dask cluster to run on instead. A scheduler runs whatever reaches its port, as "
            "whoever started it: keep it in a closed network, or use Dask's TLS (tls://...)"
        ),
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="a lower cap, for a trial")] = None,
    results: RESULTS = Path("book/results"),
    known: Annotated[bool, typer.Option("--list", help="list columns, data sets, variants; run nothing")] = False,
) -> None:
    """Run the columns paper and adam on the paper's six data sets, or what is named; records are left as they are.

    A trial that was interrupted goes on from its last checkpoint: give the same command again. Several commands may
    share a grid: none takes a trial that another is running.

    \b
    gatedrnn study --list
    gatedrnn study --column paper --data jsb_chorales
    gatedrnn study --column components --data nottingham --unit gru --variant all --size all
    gatedrnn study --data bach_chorales --max-epochs 2 --results trial
    gatedrnn study --scheduler tcp://127.0.0.1:8786
    """
    from . import study as declared

    if known:
        print(declared.listed())
        return
    every = {"variants": declared.ALL_VARIANTS, "sizes": declared.SIZES}
    asked = {"columns": column, "data": data, "units": unit, "variants": variant, "sizes": size}
    chosen = {name: tuple(value) for name, value in asked.items() if value}
    chosen |= {name: names for name, names in every.items() if asked[name] == ["all"]}
    trials = declared.grid(**chosen, max_epochs=max_epochs)
    from . import runner

    print(f"{len(trials)} trials, records in {results}", flush=True)
    for trial in runner.run(trials, results, device=device, workers=workers, scheduler=scheduler):
        print(f"{trial}: recorded", flush=True)


def table(
    column: Annotated[
        list[str] | None, typer.Option(help="paper, best, components, ...; repeat for several; by default all")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="every column, comma-separated")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="as a Markdown table")] = False,
    results: RESULTS = Path("book/results"),
) -> None:
    """Print Table 2 of the paper from the records: mean and 95 % interval over seeds, beside the paper's figure.

    Of a variant of a unit it prints instead what the whole unit gains or loses against it, in nats a step of test NLL
    (below 0: the part that was taken away helped), with p; for the contrasts that were declared before the runs, p is
    also adjusted for their number (Holm).

    \b
    gatedrnn table --column paper
    gatedrnn table --column components --markdown
    gatedrnn table --csv > table.csv
    """
    from . import comparison
    from .columns import PRIMARY

    found = comparison.read(results)
    if not found:
        raise ValueError(f"there are no records in {results}: run `gatedrnn study` or name the folder with --results")
    known = sorted({column for column, *_ in found})
    if unknown := sorted(set(column or []) - set(known)):
        raise ValueError(f"no record is of the column {unknown[0]!r}: there are {', '.join(known)}")
    found = {place: record for place, record in found.items() if place[0] in (column or known)}
    frame, lost = comparison.table(found.values()), comparison.contrasts(found, PRIMARY)
    if csv:
        print(frame.merge(lost, "left").to_csv(index=False), end="")
        return
    print(comparison.shown(frame, lost, markdown=markdown))
    held, figures = comparison.inside(frame)
    if figures:
        print(f"\nThe paper's test figure lies inside {held} of {figures} intervals.")


def evaluate(
    data: Annotated[str, typer.Argument(help="a data set of the study")],
    unit: Annotated[str, typer.Argument(help="tanh, gru or lstm")],
    column: Annotated[str, typer.Option(help="paper, adam, best, ...: see `gatedrnn study --list`")] = "paper",
    variant: Annotated[str, typer.Option(help="of the unit: see `gatedrnn study --list`")] = "full",
    size: Annotated[str, typer.Option(help="of the variant: same_hidden or same_parameters")] = "same_hidden",
    results: RESULTS = Path("book/results"),
) -> None:
    """Score the kept parameters of a recorded trial again, and hold the test NLL against the record.

    \b
    gatedrnn evaluate jsb_chorales gru
    gatedrnn evaluate nottingham lstm --column components --variant no_forget_gate
    gatedrnn evaluate nottingham lstm --column components --variant no_forget_gate --size same_parameters
    """
    from . import records
    from . import study as declared

    trial = declared.Trial(column, data, unit, variant, size)
    run = records.read(declared.path_of(trial, results))["runs"][0]
    recorded, now = run["scores"]["test"]["pooled"], declared.evaluate_recorded(trial, results).pooled
    print(f"{trial}, seed {run['seed']}: test NLL {now:.4f} nats a step, pooled; recorded {recorded:.4f}")
    if abs(now - recorded) > 1e-3:
        raise ValueError("the score is not the recorded one: are the parameters and the record of the same run?")


def lesions(
    column: Annotated[str, typer.Option(help="the column whose kept networks are lesioned")] = "components",
    data: Annotated[list[str] | None, typer.Option(help="a data set; repeat for several; by default all")] = None,
    results: RESULTS = Path("book/results"),
) -> None:
    """Lesion the kept networks of whole units, and record what each lesion costs on each test piece; minutes.

    Takes the GRU and the LSTM of every data set that has a record, needs their data, and replaces what was recorded.

    \b
    gatedrnn lesions
    gatedrnn lesions --column paper --data jsb_chorales
    """
    from . import lesions as lesioned
    from . import study as declared

    trials = declared.grid((column,), tuple(data or declared.EPOCHS), ("gru", "lstm"))
    there = [trial for trial in trials if declared.parameters_path(results, trial).is_file()]
    if not there:
        raise ValueError(
            f"no network of the column {column} is kept in {results}: run `gatedrnn study`, or name another"
        )
    for trial in there:
        print(f"{trial}: {lesioned.record(trial, results)}", flush=True)
