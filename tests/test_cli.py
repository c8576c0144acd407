"""The command line: what it does, and how it refuses."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from typer.testing import CliRunner

import gatedrnn
from gatedrnn import cli, cli_records, files, records, sources, study

SMALL = ["--hidden", "4", "--epochs", "2"]


def run(*arguments: object) -> subprocess.CompletedProcess:
    """The command as a user runs it."""
    command = [sys.executable, "-m", "gatedrnn.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for a moment."""
    path = tmp_path_factory.mktemp("trained") / "gru.npz"
    done = run("train", "--unit", "gru", *SMALL, "--output", path)
    assert done.returncode == 0, done.stderr
    assert "pooled" in done.stdout and "mean of sequences" in done.stdout
    assert not list(path.parent.glob("*.checkpoint.npz"))
    return path


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["data"],
        ["data", "fetch"],
        ["data", "check"],
        ["train"],
        ["sample"],
        ["study"],
        ["table"],
        ["evaluate"],
        ["lesions"],
    ],
)
def test_help(command: list[str]):
    result = CliRunner().invoke(cli.app, [*command, "--help"])
    assert result.exit_code == 0
    if command not in ([], ["data"]):
        assert f"gatedrnn {' '.join(command)} " in result.output.replace("Usage: root", ""), "an example"


def test_the_list_of_commands_ends_no_sentence_early():
    result = CliRunner().invoke(cli.app, ["--help"])
    listed = result.output.partition("Commands:")[2].strip().splitlines()
    assert len(listed) == 7 and all(line.endswith(".") and not line.endswith("..") for line in listed)


def test_data_list_names_every_set():
    result = CliRunner().invoke(cli.app, ["data", "list"])
    assert result.exit_code == 0
    assert all(name in result.output for name in sources.SOURCES)


def test_data_fetch_and_check():
    assert run("data", "fetch", "bach_chorales").returncode == 0
    done = run("data", "check", "bach_chorales")
    assert done.returncode == 0 and "sound" in done.stdout


def test_sample_writes_midi_and_sound(trained: Path, tmp_path: Path):
    outputs = [tmp_path / f"piece{suffix}" for suffix in (".mid", ".ogg", ".wav")]
    options = [word for path in outputs for word in ("--output", path)]
    done = run("sample", trained, "--opening", 8, "--steps", 8, *options)
    assert done.returncode == 0, done.stderr
    assert pretty_midi.PrettyMIDI(str(outputs[0])).instruments[0].notes
    for path in outputs[1:]:
        samples, rate = soundfile.read(path)
        assert len(samples) >= 8 * rate and np.isfinite(samples).all()


def test_the_same_seed_gives_the_same_model_and_another_another(trained: Path, tmp_path: Path):
    again, other = tmp_path / "again.npz", tmp_path / "other.npz"
    assert run("train", *SMALL, "--output", again).returncode == 0
    assert run("train", *SMALL, "--seed", 1, "--output", other).returncode == 0
    with np.load(trained) as one, np.load(again) as two, np.load(other) as three:
        np.testing.assert_array_equal(one["theta"], two["theta"])
        assert not np.array_equal(one["theta"], three["theta"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--hidden", "0"], "hidden"),
        (["train", "--hidden", "1000000000"], "4096"),
        (["sample", "a.npz", "--steps", "1000000000000"], "10000"),
        (["sample", "a.npz", "--output", "a.txt"], "write .mid"),
        (["train", "--lr", "-1"], "positive"),
        (["train", "--output", "model.txt"], ".npz"),
        (["train", "--epochs", "many"], "epochs"),
        (["sample"], "TRAINED"),
        (["compose"], "No such command"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert said.lower() in result.output.lower()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Run a command that cannot be carried out; return the one sentence that it ends with."""

    def run_inside(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["gatedrnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 1
        (sentence,) = capsys.readouterr().err.strip().splitlines()
        return sentence.removeprefix("gatedrnn: ")

    return run_inside


def test_a_refusal_ends_with_code_1():
    done = run("data", "fetch", "jsb")
    assert done.returncode == 1
    assert "bach_chorales" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "option, said", [(["--unit", "elman"], "tanh, gru, lstm"), (["--data", "jsb"], "jsb_chorales")]
)
def test_unknown_names(refused, option: list[str], said: str, tmp_path: Path):
    assert said in refused("train", *option, "--output", tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_data_that_are_not_there(refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GATEDRNN_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "gatedrnn data fetch jsb_chorales" in refused("data", "check", "jsb_chorales")


def test_output_that_exists_is_left_alone(refused, trained: Path):
    before = trained.read_bytes()
    assert "exists" in refused("train", *SMALL, "--output", trained)
    assert trained.read_bytes() == before


def test_output_in_no_folder(refused, tmp_path: Path):
    assert "does not exist" in refused("train", *SMALL, "--output", tmp_path / "none" / "model.npz")


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04K\x01.", b"PK\x03\x04 cut short"])
def test_sample_from_no_model(refused, content: bytes | None, tmp_path: Path):
    path = tmp_path / "model.npz"
    if content is not None:
        path.write_bytes(content)
    assert "gatedrnn train" in refused("sample", path)


def test_sample_refuses_pickled_arrays(refused, tmp_path: Path):
    path = tmp_path / "model.npz"
    np.savez(path, model=np.array({"unit": "gru"}, dtype=object), theta=np.zeros((1, 3)))
    assert "gatedrnn train" in refused("sample", path)


def test_an_opening_from_no_piece(refused, trained: Path, tmp_path: Path):
    output = tmp_path / "a.mid"
    assert "no test piece" in refused("sample", trained, "--opening", 4, "--piece", 100000, "--output", output)
    assert "an opening of 999 is too long" in refused("sample", trained, "--opening", 999, "--output", output)


def test_nothing_to_lesion_is_said(refused, tmp_path: Path):
    assert "no network of the column components is kept" in refused("lesions", "--results", tmp_path)


def test_a_sample_is_written_whole_or_not_at_all(refused, trained: Path, tmp_path: Path):
    """A missing folder, a folder in place of a file, whichever of the two files comes first."""
    good = tmp_path / "a.ogg"
    for bad, said in ((tmp_path / "none" / "a.mid", "does not exist"), (tmp_path / "a.wav", "is a folder")):
        (tmp_path / "a.wav").mkdir(exist_ok=True)
        for outputs in ((good, bad), (bad, good)):
            options = [word for path in outputs for word in ("--output", path)]
            assert said in refused("sample", trained, "--steps", 4, *options)
            assert not good.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("suffix", ["mid", "wav", "flac", "mp3", "ogg"])
def test_a_full_disk_is_one_sentence(refused, trained: Path, tmp_path: Path, suffix: str, monkeypatch):
    whole = open

    def full(path: Path, mode: str):
        return whole("/dev/full" if f"a.{suffix}" in path.name else path, mode)

    monkeypatch.setattr(files, "open", full, raising=False)
    outputs = tmp_path / "b.mid", tmp_path / f"a.{suffix}"
    options = [word for path in outputs for word in ("--output", path)]
    assert "No space left" in refused("sample", trained, "--steps", 4, *options)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_divergence_is_one_sentence(refused, tmp_path: Path):
    output = tmp_path / "model.npz"
    assert "learning rate" in refused("train", "--unit", "tanh", "--hidden", 4, "--lr", "1e38", "--output", output)
    assert not output.exists()


@pytest.mark.slow
def test_interrupted_and_resumed(tmp_path: Path):
    def command(name: str) -> list:
        return ["train", "--unit", "tanh", "--hidden", "40", "--epochs", "25", "--output", tmp_path / f"{name}.npz"]

    # Whoever runs the tests in the background may have SIGINT ignored, and children inherit that.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{listening}; from gatedrnn import cli; cli.main()", *map(str, command("resumed"))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    checkpoint = tmp_path / "resumed.checkpoint.npz"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert checkpoint.exists() and not (tmp_path / "resumed.npz").exists()

    done = run(*command("resumed"))
    assert done.returncode == 0 and "going on from" in done.stdout, done.stderr
    assert run(*command("whole")).returncode == 0
    with np.load(tmp_path / "resumed.npz") as one, np.load(tmp_path / "whole.npz") as two:
        np.testing.assert_array_equal(one["theta"], two["theta"])


@pytest.mark.slow
def test_a_trial_of_the_study_its_table_and_its_parameters(tmp_path: Path):
    cell = ["--data", "bach_chorales", "--unit", "gru", "--column", "paper", "--max-epochs", 1]
    done = run("study", *cell, "--workers", 1, "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "paper/bach_chorales/gru: recorded" in done.stdout
    again = run("study", *cell, "--results", tmp_path)
    assert again.returncode == 0 and "recorded" not in again.stdout.replace("records in", "")
    shown = run("table", "--markdown", "--results", tmp_path)
    assert shown.returncode == 0 and "| bach_chorales | gru | 5 |" in shown.stdout
    none = run("table", "--column", "adam", "--results", tmp_path)
    assert none.returncode == 1 and none.stderr == "gatedrnn: no record is of the column 'adam': there are paper\n"
    values = run("table", "--column", "paper", "--csv", "--results", tmp_path)
    assert values.returncode == 0 and "test_per_sequence_ci" in values.stdout.splitlines()[0]
    scored = run("evaluate", "bach_chorales", "gru", "--results", tmp_path)
    assert scored.returncode == 0 and "recorded" in scored.stdout
    assert values.stdout.endswith("\n") and not values.stdout.endswith("\n\n")
    lesioned = run("lesions", "--column", "paper", "--results", tmp_path)
    assert lesioned.returncode == 0 and (tmp_path / "lesions.json").is_file()
    assert lesioned.stdout == f"paper/bach_chorales/gru: {tmp_path / 'lesions.json'}\n"
    (tmp_path / "paper" / "bach_chorales_gru.npz").write_bytes(b"no parameters")
    broken = run("evaluate", "bach_chorales", "gru", "--results", tmp_path)
    assert broken.returncode == 1 and "Traceback" not in broken.stderr


def test_a_missing_library_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.delitem(sys.modules, "gatedrnn.comparison", raising=False)
    monkeypatch.delattr(gatedrnn, "comparison", raising=False)
    monkeypatch.setattr(sys, "argv", ["gatedrnn", "table"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err == "gatedrnn: pandas is not installed: pip install 'gatedrnn[records]' brings it.\n"


def test_every_command_is_named_where_it_lives():
    for command in cli.app.registered_commands:
        room = cli_records if command.callback.__module__ == cli_records.__name__ else cli
        assert command.callback.__name__ in room.__doc__.splitlines()[0]


@pytest.mark.parametrize("size", study.SIZES)
def test_a_variant_is_evaluated_by_its_own_record(size: str, made, toy, tmp_path: Path, monkeypatch):
    """Its model has other parameters than the whole unit's, and its record another name."""
    monkeypatch.setattr(study, "load", lambda name, progress=True: toy())
    trial = study.Trial("components", "jsb_chorales", "lstm", "no_forget_gate", size)
    study.save_parameters(trial, trial.model.init([3])[0].numpy(), tmp_path)
    record = made("lstm", column="components", variant=trial.label, size=size)
    record["runs"][0]["scores"]["test"]["pooled"] = score = study.evaluate_recorded(trial, tmp_path).pooled
    path = records.write(record, tmp_path)
    command = ["evaluate", "jsb_chorales", "lstm", "--column", "components", "--variant", "no_forget_gate"]
    command += ["--size", size, "--results", str(tmp_path)]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.exception
    assert done.stdout == (
        f"{trial}, seed 1: test NLL {score:.4f} nats a step, pooled; recorded {score:.4f}\n"
    ) and trial.label in str(trial)
    path.write_text(path.read_text().replace(f'"test":{{"pooled":{score}', f'"test":{{"pooled":{score + 0.01}'))
    assert "of the same run?" in str(CliRunner().invoke(cli.app, command).exception)


@pytest.mark.parametrize(
    "arguments, hint",
    [
        (["study", "--data", "mozart"], "jsb_chorales"),
        (["study", "--unit", "elman", "--data", "bach_chorales"], "tanh, gru, lstm"),
        (["study", "--column", "future"], "paper, adam"),
        (["table", "--results", "nowhere"], "gatedrnn study"),
        (["evaluate", "jsb_chorales", "gru", "--results", "nowhere"], "gatedrnn study"),
        (["evaluate", "jsb_chorales", "gru", "--variant", "no_forget_gate"], "no_reset"),
        (["evaluate", "jsb_chorales", "lstm", "--size", "small"], "same_hidden, same_parameters"),
    ],
)
def test_the_study_refuses_in_one_sentence(arguments: list[str], hint: str):
    done = run(*arguments)
    assert done.returncode == 1 and hint in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("gatedrnn: ")
