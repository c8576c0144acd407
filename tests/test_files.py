"""Files: one cache directory, writes and downloads that leave no halves, .npz without pickles or bombs."""

import hashlib
import http.server
import os
import pickle
import platform
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gatedrnn import files
from gatedrnn.files import DataError

BYTES = b"the bytes of a file " * 100


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def get(*urls, content=BYTES):
    """Download `content` from the first of some addresses."""
    return files.download("some", "music/a.mat", hashlib.sha256(content).hexdigest(), len(content), urls, False)


# --- the cache directory --------------------------------------------------------------------------------------------
def test_unset_variable_means_the_platform_cache(cache, monkeypatch):
    assert files.cache_dir() == cache
    monkeypatch.delenv("GATEDRNN_DATA")
    assert files.cache_dir() == cache.parent / "user"


def test_a_home_that_nobody_has_is_refused(monkeypatch):
    monkeypatch.setenv("GATEDRNN_DATA", "~nobody-of-this-name/data")
    for use in (files.cache_dir, lambda: files.find("a"), lambda: files.target("a")):
        with pytest.raises(DataError, match="GATEDRNN_DATA is ~nobody-of-this-name/data, .*set it to a directory"):
            use()


def test_read_only_directory_serves_and_is_not_written_to(cache):
    (cache / "music").mkdir(parents=True)
    (cache / "music" / "a.mat").write_bytes(b"here")
    for folder in (cache / "music", cache):
        folder.chmod(0o555)
    try:
        assert files.find("music/a.mat") == cache / "music" / "a.mat"
        assert files.target("music/new.npz") == cache.parent / "user" / "music" / "new.npz"
        assert files.target("other/new.npz") == cache.parent / "user" / "other" / "new.npz"
    finally:
        for folder in (cache, cache / "music"):
            folder.chmod(0o755)


def test_unwritable_cache(cache, monkeypatch):
    cache.parent.joinpath("file").write_text("not a directory")
    monkeypatch.setenv("GATEDRNN_DATA", str(cache.parent / "file" / "data"))
    monkeypatch.setattr(files, "user_cache_path", lambda *args, **kwargs: cache.parent / "file" / "user")
    with pytest.raises(DataError, match="Cannot write .* set GATEDRNN_DATA to a directory that you can write to"):
        files.target("music/a.mat")


# --- writing --------------------------------------------------------------------------------------------------------
def test_atomic_write_interrupted(tmp_path):
    path = tmp_path / "new.npz"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), files.atomic(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert files_in(tmp_path) == [path] and path.read_bytes() == b"before"


def test_atomic_write_where_nothing_can_be_written(tmp_path):
    with pytest.raises(DataError, match="No space left.*make room"), files.atomic(tmp_path / "new.npz"):
        raise OSError(28, "No space left on device")
    with pytest.raises(DataError, match="nowhere does not exist"), files.atomic(tmp_path / "nowhere" / "a"):
        pass
    with pytest.raises(DataError, match="is a folder, so name a file"), files.atomic(tmp_path):
        pass
    assert files_in(tmp_path) == []


def test_several_files_are_written_all_or_none(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    files.write_all({one: b"1", two: b"2"})
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")
    for bad in (tmp_path / "nowhere" / "a", tmp_path):
        for contents in ({one: b"new", bad: b"new"}, {bad: b"new", one: b"new"}):
            with pytest.raises(DataError):
                files.write_all(contents)
    assert sorted(files_in(tmp_path)) == [one, two] and one.read_bytes() == b"1"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_leaves_no_file_of_several(tmp_path, monkeypatch):
    """The second of two files meets a full disk when it is flushed."""
    whole = open

    def full(path, mode="r", *args, **kwargs):
        return whole("/dev/full" if "two" in str(path) else path, mode, *args, **kwargs)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(DataError, match="two .No space left"):
        files.write_all({tmp_path / "one": b"1", tmp_path / "two": b"2"})
    assert files_in(tmp_path) == []


def test_what_a_killed_process_left_is_swept(tmp_path):
    code = """
import os, pathlib, sys
from gatedrnn import files
with files.atomic(pathlib.Path(sys.argv[1])) as stream:
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)
    (left,) = files_in(tmp_path)
    assert left.name.endswith(".part")
    with files.atomic(tmp_path / "b") as stream:
        stream.write(b"whole")
    assert files_in(tmp_path) == [tmp_path / "b"]


def test_two_threads_that_write_one_file_leave_it_whole(tmp_path):
    """As those of a Dask worker do, which both come upon data that are not there."""
    both, errors = threading.Barrier(2, timeout=20), []

    def write(letter: bytes):
        try:
            with files.atomic(tmp_path / "a") as stream:
                both.wait()
                stream.write(letter * 100_000)
                both.wait()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"1", b"2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and files_in(tmp_path) == [tmp_path / "a"]
    assert (tmp_path / "a").read_bytes() in (b"1" * 100_000, b"2" * 100_000)


def test_what_may_still_be_written_is_left_alone(tmp_path):
    living = tmp_path / f".a.{os.getppid()}@{platform.node()}.part"
    elsewhere = tmp_path / ".a.999999999@another-machine.part"
    foreign = tmp_path / ".notes.part"
    for path in (living, elsewhere, foreign):
        path.write_bytes(b"half")
    files.write_all({tmp_path / "b": b"whole"})
    assert {living, elsewhere, foreign} < set(files_in(tmp_path))
    long_ago = time.time() - 2 * files.DAY
    for path in (living, elsewhere, foreign):
        os.utime(path, (long_ago, long_ago))
    files.write_all({tmp_path / "b": b"whole"})
    assert set(files_in(tmp_path)) == {foreign, tmp_path / "b"}


# --- reading --------------------------------------------------------------------------------------------------------
def test_pickles_and_object_arrays_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "objects.npz", frames=np.array([Trap()], dtype=object))
    (tmp_path / "short.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:40])
    for name in ("pickle.npz", "objects.npz", "short.npz"):
        with pytest.raises(DataError, match="not a .npz file of plain arrays.*delete it"):
            files.read_npz(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_what_unpacks_to_far_more_than_expected_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(10_000_000, np.uint8))
    monkeypatch.setattr(np, "load", lambda *args, **kwargs: pytest.fail("unpacked"))
    with pytest.raises(DataError, match="unpacks to 10,000,128 bytes, far more than expected"):
        files.read_npz(path)
    monkeypatch.undo()
    assert files.read_npz(path, limit=11_000_000)["a"].shape == (10_000_000,)
    with pytest.raises(DataError, match="far more"):
        files.read_npz(path, limit=9_000_000)


def test_a_header_that_promises_more_than_there_is(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3, np.uint8))
    lie = (tmp_path / "a.npy").read_bytes().replace(b"(3,)", b"(9,)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("a.npy", lie)
    with pytest.raises(DataError, match="not a .npz file of plain arrays"):
        files.read_npz(tmp_path / "a.npz")


def test_a_digest_is_of_names_types_shapes_and_values_alone(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.int32), "b": np.array(["x", "yz"])}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **dict(reversed(arrays.items())))
    digests = {files.digest(files.read_npz(tmp_path / name)) for name in ("plain.npz", "packed.npz")}
    assert digests == {files.digest(arrays)}
    a = arrays["a"]
    for other in (a.reshape(2, 3), a.astype(np.int64), a + (a == 5), a[:5]):
        assert files.digest(arrays | {"a": other}) not in digests
    assert files.digest({"A" if key == "a" else key: value for key, value in arrays.items()}) not in digests


# --- downloading ----------------------------------------------------------------------------------------------------
def test_download_is_kept(cache, server):
    folder, address = server
    (folder / "a.mat").write_bytes(BYTES)
    path = get(address + "a.mat")
    assert path == cache / "music" / "a.mat" == files.find("music/a.mat") and path.read_bytes() == BYTES
    assert files_in(cache) == [path]


@pytest.mark.parametrize("first", ["missing.mat", "wrong.mat", "long.mat"])
def test_second_mirror_is_tried(cache, server, first):
    folder, address = server
    for name, content in {"a": BYTES, "wrong": BYTES[:-1], "long": BYTES + b"x"}.items():
        (folder / f"{name}.mat").write_bytes(content)
    assert get(address + first, address + "a.mat").read_bytes() == BYTES
    assert len(files_in(cache)) == 1


def test_no_network_names_command_and_setting(cache):
    with pytest.raises(DataError, match="music/a.mat .*no connection.*`gatedrnn data fetch some`.*GATEDRNN_DATA"):
        get("http://127.0.0.1:9/a.mat")
    assert files_in(cache) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"short", "wrong checksum"), (BYTES[::-1], "wrong checksum"), (BYTES * 2, "more bytes than expected")],
)
def test_other_bytes_everywhere(cache, server, content, said):
    folder, address = server
    (folder / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=said):
        get(address + "a.mat")
    assert files_in(cache) == []


def test_a_server_that_sends_without_end_is_left(cache):
    class Endless(http.server.BaseHTTPRequestHandler):
        sent = 0

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                while Endless.sent < 100_000_000:
                    self.wfile.write(bytes(100_000))
                    Endless.sent += 100_000
            except OSError:
                pass

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match="more bytes than expected"):
            get(f"http://127.0.0.1:{running.server_port}/a.mat")
        running.shutdown()
    assert Endless.sent < 50_000_000 and files_in(cache) == []


def test_interrupted_download_leaves_nothing(cache, server, monkeypatch):
    import requests

    def stop(self, size):
        yield BYTES[:50]
        raise KeyboardInterrupt

    folder, address = server
    (folder / "a.mat").write_bytes(BYTES)
    monkeypatch.setattr(requests.Response, "iter_content", stop)
    with pytest.raises(KeyboardInterrupt):
        get(address + "a.mat")
    assert files_in(cache) == []


def test_a_lock_is_held_by_one_and_a_stale_one_is_no_obstacle(tmp_path: Path):
    path = tmp_path / "work" / "one.lock"
    with files.locked(path) as first, files.locked(path) as second:
        assert first and not second
        assert path.exists()
    assert not path.exists()
    path.touch()  # left behind by a process that was killed
    with files.locked(path) as mine:
        assert mine
    assert not path.exists()
