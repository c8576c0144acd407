import functools
import http.server
import pickle
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from gatedrnn import preparation, sources
from gatedrnn.sources import DataError

BYTES = b"MATLAB 5.0 MAT-file and so on" * 100


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache directory, with the user's own one out of reach, and no proxy before the local server."""
    monkeypatch.setenv("GATEDRNN_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(sources, "user_cache_path", lambda *args, **kwargs: tmp_path / "user")
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "data"


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which a local server offers it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def register(monkeypatch, *urls, content=BYTES):
    """Let jsb_chorales be `content`, to be had at `urls`."""
    import hashlib

    entry = replace(
        sources.REGISTRY["jsb_chorales"], urls=urls, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(sources.REGISTRY, "jsb_chorales", entry)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_download_is_kept_and_not_repeated(cache, server, monkeypatch):
    folder, address = server
    (folder / "a.mat").write_bytes(BYTES)
    register(monkeypatch, address + "a.mat")
    path = sources.fetch("jsb_chorales")
    assert path == cache / "music" / "JSB_Chorales.mat" and path.read_bytes() == BYTES
    (folder / "a.mat").unlink()
    assert sources.fetch("jsb_chorales") == path == sources.check("jsb_chorales")
    assert files_in(cache) == [path]


@pytest.mark.parametrize("first", ["missing.mat", "wrong.mat"])
def test_second_mirror_is_tried(cache, server, monkeypatch, first):
    folder, address = server
    (folder / "a.mat").write_bytes(BYTES)
    (folder / "wrong.mat").write_bytes(BYTES[:-1])
    register(monkeypatch, address + first, address + "a.mat")
    assert sources.fetch("jsb_chorales", progress=False).read_bytes() == BYTES


def test_no_network_and_empty_cache_names_command_and_setting(cache, monkeypatch):
    register(monkeypatch, "http://127.0.0.1:9/a.mat")
    with pytest.raises(DataError, match="no connection.*`gatedrnn data fetch jsb_chorales`.*GATEDRNN_DATA"):
        sources.fetch("jsb_chorales")
    assert files_in(cache) == []


def test_wrong_checksum_everywhere(cache, server, monkeypatch):
    folder, address = server
    (folder / "a.mat").write_bytes(b"something else")
    register(monkeypatch, address + "a.mat")
    with pytest.raises(DataError, match="wrong checksum"):
        sources.fetch("jsb_chorales")
    assert files_in(cache) == []


def test_file_of_wrong_checksum_in_the_cache(cache):
    path = sources.target("music/JSB_Chorales.mat")
    path.write_bytes(BYTES)
    for function in (sources.fetch, sources.check):
        with pytest.raises(DataError, match="wrong checksum.*delete it and run `gatedrnn data fetch jsb_chorales`"):
            function("jsb_chorales")


def test_interrupted_download_leaves_nothing(cache, server, monkeypatch):
    import pooch

    folder, address = server
    (folder / "a.mat").write_bytes(BYTES)
    register(monkeypatch, address + "a.mat")

    def stop(self, url, output_file, pooch):
        with open(output_file, "wb") as stream:
            stream.write(BYTES[:50])
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        sources.fetch("jsb_chorales")
    assert files_in(cache) == []


def test_interrupted_parse_leaves_nothing_and_stops_its_processes(cache, monkeypatch):
    started, whole, seen = [], subprocess.Popen, []

    def popen(*args, **kwargs):
        started.append(whole(*args, **kwargs))
        return started[-1]

    def loads(line):
        seen.append(line)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(preparation.json, "loads", loads)
    with pytest.raises(KeyboardInterrupt):
        sources.fetch("bach_chorales")
    assert all(seen), "the processes had delivered"
    assert len(started) == 2 and all(process.poll() is not None for process in started)
    assert files_in(cache) == []


def test_broken_corpus(cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "no-such-program")
    with pytest.raises(DataError, match="reinstall"):
        sources.fetch("bach_chorales")


def test_atomic_write_interrupted(cache):
    path = sources.target("music/new.npz")
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), sources.atomic(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert files_in(cache) == [path] and path.read_bytes() == b"before"


def test_atomic_write_on_a_full_disk(cache):
    path = sources.target("music/new.npz")
    with pytest.raises(DataError, match="No space left.*GATEDRNN_DATA"), sources.atomic(path):
        raise OSError(28, "No space left on device")
    assert files_in(cache) == []


def test_read_only_directory_serves_and_is_not_written_to(cache, tmp_path):
    (cache / "music").mkdir(parents=True)
    (cache / "music" / "JSB_Chorales.mat").write_bytes(b"here")
    for folder in (cache / "music", cache):
        folder.chmod(0o555)
    try:
        assert sources.find("music/JSB_Chorales.mat") == cache / "music" / "JSB_Chorales.mat"
        assert sources.target("music/new.npz") == tmp_path / "user" / "music" / "new.npz"
        assert sources.target("other/new.npz") == tmp_path / "user" / "other" / "new.npz"
    finally:
        for folder in (cache, cache / "music"):
            folder.chmod(0o755)


def test_unwritable_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("GATEDRNN_DATA", str(tmp_path / "file" / "data"))
    monkeypatch.setattr(sources, "user_cache_path", lambda *args, **kwargs: tmp_path / "file" / "user")
    for name in ("bach_chorales", "jsb_chorales", "speech_a"):
        with pytest.raises(DataError, match="Cannot write .* set GATEDRNN_DATA to a directory that you can write to"):
            sources.fetch(name)


def test_unset_variable_means_the_platform_cache(cache, tmp_path, monkeypatch):
    assert sources.cache_dir() == cache
    monkeypatch.delenv("GATEDRNN_DATA")
    assert sources.cache_dir() == tmp_path / "user"


def test_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(DataError, match=r"did you mean 'nottingham'\?.*bach_chorales, jsb_chorales"):
        sources.check("Nottingam")
    with pytest.raises(DataError, match="the known ones are"):
        sources.fetch("xyz")


def test_pickles_and_object_arrays_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "objects.npz", frames=np.array([Trap()], dtype=object))
    (tmp_path / "short.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:40])
    for name in ("pickle.npz", "objects.npz", "short.npz"):
        with pytest.raises(DataError, match="not a .npz file of plain arrays.*delete it"):
            sources.read_npz(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_status_lists_every_set_and_what_is_here(cache):
    sources.target("music/JSB_Chorales.mat").write_bytes(BYTES)
    found = {status.source.name: status for status in sources.status()}
    assert list(found) == list(sources.REGISTRY)
    assert [name for name, status in found.items() if status.present] == ["jsb_chorales", "synthetic_speech"]
    with pytest.raises(DataError, match="run `gatedrnn data fetch speech_b`"):
        sources.check("speech_b")


def test_speech_fetch_goes_on_where_it_stopped(cache, server, monkeypatch):
    """Two recordings made here, one of them missing at first: the other is kept, and asked for no second time."""
    import soundfile

    folder, address = server
    samples = np.random.default_rng(0).integers(-3000, 3000, (48_000, 2), dtype=np.int16)
    rows = []
    for name in ("arctic_a0001_5.wav", "arctic_a0002_6.wav"):
        soundfile.write(folder / name, samples, 48_000, subtype="PCM_16")
        content = {"path": f"data/{name}", "sha256": sources.sha256(folder / name), "bytes": "192044"}
        rows.append(content)
    monkeypatch.setattr(preparation, "recordings", lambda name: rows)
    monkeypatch.setitem(preparation.WINDOWS, "speech_a", (50, 500))
    monkeypatch.setitem(sources.REGISTRY, "speech_a", replace(sources.REGISTRY["speech_a"], urls=(address,)))
    (folder / "arctic_a0002_6.wav").rename(folder / "away")
    with pytest.raises(DataError, match="arctic_a0002_6.wav.*answer 404.*gatedrnn data fetch speech_a"):
        sources.fetch("speech_a")
    assert [path.name for path in files_in(cache)] == ["arctic_a0001_5.wav"]
    (folder / "away").rename(folder / "arctic_a0002_6.wav")
    (folder / "arctic_a0001_5.wav").unlink()
    stored = sources.read_npz(sources.fetch("speech_a"))
    assert stored["windows"].shape == (50, 500) and stored["windows"].dtype == np.int16
    assert stored["utterance"].tolist() == [0] * 32 + [1] * 18
    assert stored["utterances"].tolist() == ["arctic_a0001", "arctic_a0002"]
    assert stored["offset"][:3].tolist() == [0, 500, 1000]
    with pytest.raises(DataError, match="does not hold the windows of speech_a"):
        sources.check("speech_a")


def test_prepared_speech_of_other_contents_is_refused(cache):
    np.savez(sources.target("speech/speech_b.npz"), windows=np.zeros((800, 8000), np.int16))
    with pytest.raises(DataError, match="does not hold the windows of speech_b: delete it"):
        sources.fetch("speech_b")
