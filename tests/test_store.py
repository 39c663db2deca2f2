import errno
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from filelock import FileLock
from store_cases import LOG, Toy, contents, pyramid, starts

from mialab.engine import store as store_module
from mialab.engine.store import Busy, Cell, Store, StoreError, open_store, settings, surroundings


@dataclass(frozen=True)
class Inner:
    width: int = 1


@dataclass(frozen=True)
class Config(store_module.Config):
    """A cell whose computation is the test's own."""

    KIND: ClassVar[str] = "kind"
    VERSION: ClassVar[int] = 1
    computing: ClassVar[Callable[[Path], Cell]]

    seed: int = 0
    name: str = "a"
    inner: Inner = Inner()
    anything: Any = None
    of: tuple = field(default_factory=tuple)

    def needs(self):
        return self.of

    def compute(self, inputs, *, scratch):
        return Config.computing(scratch)


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """Lets Config give a small cell; the list grows with every computation."""
    made = []

    def computing(scratch):
        made.append(scratch)
        return Cell({"value": 1.5}, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})

    monkeypatch.setattr(Config, "computing", computing, raising=False)
    return made


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    return tmp_path / "log"


def test_a_cell_is_computed_once_and_read_back_equal(tmp_path, calls):
    assert not Store(tmp_path).has(Config())
    assert Store(tmp_path).find(Config()) is None
    first, second, found = Store(tmp_path).get(Config()), Store(tmp_path).get(Config()), Store(tmp_path).find(Config())
    assert len(calls) == 1
    assert Store(tmp_path).has(Config())
    for cell in (first, second, found):
        assert cell.info == first.info
        assert cell.info["value"] == 1.5
        np.testing.assert_array_equal(cell.arrays["x"], np.arange(6).reshape(2, 3))


def test_a_cell_says_what_it_is_and_what_it_was_made_with(tmp_path):
    info = Store(tmp_path).get(Config(seed=3)).info
    assert (info["kind"], info["version"]) == ("kind", 1)
    inner = {"is": "Inner", "width": 1}
    assert info["config"] == {"is": "Config", "seed": 3, "name": "a", "inner": inner, "anything": None, "of": []}
    assert {"mialab", "code", "torch", "numpy", "python", "device"} <= set(info["made_with"])
    assert 0 < info["seconds"] < 5


def test_numpy_numbers_in_the_info_are_kept_as_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(Config, "computing", lambda _: Cell({"n": np.int64(3), "rows": [{"auc": np.float32(0.5)}]}, {}))
    info = Store(tmp_path).get(Config()).info
    assert (info["n"], info["rows"]) == (3, [{"auc": 0.5}])
    monkeypatch.setattr(Config, "computing", lambda _: Cell({"n": {1, 2}}, {}))
    with pytest.raises(TypeError, match="must be plain JSON"):
        Store(tmp_path).get(Config(1))


# Names


def test_another_setting_kind_or_version_is_another_cell(tmp_path, monkeypatch):
    store = Store(tmp_path)
    names = [store.name(config) for config in (Config(), Config(seed=1), Config(inner=Inner(2)), Config(anything=(1,)))]
    monkeypatch.setattr(Config, "VERSION", 2)
    names.append(store.name(Config()))
    monkeypatch.setattr(Config, "KIND", "other")
    names.append(store.name(Config()))
    assert len(set(names)) == 6
    assert names[-1].startswith("other-")


def test_a_raised_version_renames_all_that_needs_the_cell(tmp_path, monkeypatch):
    user = Toy(1, of=(Toy(2),))
    above = Config(of=(user,))
    before = [Store(tmp_path).name(config) for config in (user, above, Config())]
    monkeypatch.setattr(Toy, "VERSION", 2)
    after = [Store(tmp_path).name(config) for config in (user, above, Config())]
    assert [new != old for new, old in zip(after, before, strict=True)] == [True, True, False]


def test_names_do_not_depend_on_the_process_or_its_hash_seed():
    code = (
        "import sys; sys.path.insert(0, 'tests'); from store_cases import Toy; from mialab.engine.store import Store;"
        "from pathlib import Path; print(Store(Path('x')).name(Toy(3, of=(Toy(1), Toy(2, fails='why')))))"
    )
    folder = Path(__file__).parent.parent
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in "12"]
    names = {subprocess.check_output([sys.executable, "-c", code], cwd=folder, env=env) for env in environments}
    assert names == {b"toy-7ca8fcfa309b9870\n"}


def test_the_store_is_imported_without_torch():
    code = "import sys, mialab.engine.store as s; s.surroundings(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_new_field_with_a_default_keeps_old_cells():
    assert settings(Config(seed=3)) == {"is": "Config", "seed": 3}


def test_settings_reach_into_tuples_of_dataclasses():
    expected = [{"is": "Inner", "width": 2}, {"is": "Inner"}, {"deep": [1, None]}]
    assert settings(Config(anything=(Inner(2), Inner(), {"deep": (1, None)})))["anything"] == expected


@dataclass
class Thawed:
    width: int = 1


@pytest.mark.parametrize(
    "value",
    [max, np.ones(2), {1, 2}, float("nan"), float("inf"), b"x", Path("x"), {1: 2}, np.int64(1), Inner, Thawed()],
)
def test_what_json_cannot_hold_is_refused_in_a_configuration(value, tmp_path):
    for config in (Config(anything=value), Config(anything=(0, (value,)))):
        with pytest.raises(TypeError, match="configuration"):
            Store(tmp_path).get(config)
    assert list(tmp_path.iterdir()) == []


# Needs, scratch, interruption


def test_what_a_cell_needs_is_computed_first_and_once(tmp_path, log):
    top = pyramid()[-1]
    cell = Store(tmp_path / "store").get(top)
    assert cell.info["total"] == 1000 + sum(range(100, 106)) + 2 * sum(range(6))
    assert set(starts(log).values()) == {1}
    assert len(contents(tmp_path / "store")) == 13


def test_an_interrupted_computation_goes_on_from_its_scratch_folder_which_then_goes(tmp_path, calls, monkeypatch):
    def interrupted(scratch):
        scratch.mkdir(parents=True)
        (scratch / "state").write_text("half")
        raise KeyboardInterrupt

    def resumed(scratch):
        return Cell({"from": (scratch / "state").read_text()}, {})

    monkeypatch.setattr(Config, "computing", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).get(Config())
    assert not Store(tmp_path).has(Config())
    monkeypatch.setattr(Config, "computing", resumed)
    assert Store(tmp_path).get(Config()).info["from"] == "half"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_scratch_left_by_a_kill_after_the_cell_was_kept_goes_too(tmp_path):
    store = Store(tmp_path)
    store.get(Config())
    left = tmp_path / "scratch" / store.name(Config())
    for look in (store.get, store.find):
        left.mkdir()
        look(Config())
        assert not left.exists()


def test_drafts_of_killed_processes_go_and_those_of_other_cells_stay(tmp_path):
    store = Store(tmp_path)
    stale = tmp_path / "scratch" / f"{store.name(Config())}.draft-dead"
    others = tmp_path / "scratch" / f"{store.name(Config(1))}.draft-live"
    for draft in (stale, others):
        draft.mkdir(parents=True)
    store.get(Config())
    assert list((tmp_path / "scratch").iterdir()) == [others]


# Several at once


def test_a_cell_that_another_is_computing_is_waited_for_or_named_busy(tmp_path, calls):
    store = Store(tmp_path)
    (tmp_path / "locks").mkdir()
    with ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / "locks" / f"{store.name(Config())}.lock"):
            with pytest.raises(Busy, match=store.name(Config())):
                store.get(Config(), wait=False)
            waiting = pool.submit(store.get, Config())
            store._write(store.folder(Config()), Cell({"value": 2.5}, {}))
            assert not waiting.done()
        assert waiting.result().info["value"] == 2.5
    assert calls == []


def test_threads_compute_a_cell_once(tmp_path, calls):
    with ThreadPoolExecutor(8) as pool:
        cells = list(pool.map(lambda _: Store(tmp_path).get(Config()), range(16)))
    assert all(cell.info["value"] == 1.5 for cell in cells)
    assert len(calls) == 1


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_used_all_the_same_with_one_warning(tmp_path, monkeypatch, number, calls):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="no locks in .*: let one process at a time use this store") as caught:
        for seed in range(3):
            Store(tmp_path).get(Config(seed))
    assert len(caught) == 1
    with ThreadPoolExecutor(8) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = list(pool.map(lambda _: Store(tmp_path).get(Config(9)), range(16)))
    assert all(cell.info["value"] == 1.5 for cell in cells), "perhaps computed twice, but whole"
    assert list((tmp_path / "scratch").iterdir()) == []


# What is merely observed


@dataclass(frozen=True)
class Observing(Config):
    """A cell whose numbers say at what it looked."""

    epochs: tuple[int, ...] = field(default=(), metadata=store_module.OBSERVED)

    def compute(self, inputs, *, scratch):
        return Cell({**super().compute(inputs, scratch=scratch).info, "looked": list(self.epochs)}, {})


def test_a_cell_that_looked_at_less_is_computed_again_with_the_union_and_then_serves_both(tmp_path, calls):
    store, few, others = Store(tmp_path), Observing(epochs=(1, 3)), Observing(epochs=(2,))
    assert store.name(few) == store.name(others)
    assert store.get(few).info["looked"] == [1, 3]
    assert store.has(few) and not store.has(others) and store.find(others) is None
    assert store.get(others).info["looked"] == [1, 2, 3]
    assert store.get(few).info["observed"] == {"epochs": [1, 2, 3]} and len(calls) == 2
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_is_no_longer_observed_under_that_name_is_forgotten(tmp_path, calls):
    store = Store(tmp_path)
    cell = store.get(Observing(epochs=(1,)))
    old = Cell({**cell.info, "observed": {"steps": [7]}}, {})
    store._write(store.folder(Observing()), old, replaces=True)
    assert store.get(Observing(epochs=(2,))).info["looked"] == [2]


def test_a_wider_cell_that_cannot_be_moved_to_its_place_leaves_the_one_that_is_there(tmp_path, monkeypatch, calls):
    store, few = Store(tmp_path), Observing(epochs=(1,))
    store.get(few)
    rename = Path.rename

    def failing(self, target):
        if self.name.partition("-")[0] == "kind" and self.suffix.startswith(".draft") and ".before" not in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
        store.get(Observing(epochs=(2,)))
    assert len(calls) == 2, "it is not tried again"
    assert store.find(few).info["looked"] == [1]


def test_writers_without_locks_who_ask_for_different_things_end_with_a_whole_cell(tmp_path, monkeypatch, calls):
    monkeypatch.setattr(store_module, "_lockable", lambda folder: False)
    with ThreadPoolExecutor(8) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for turn in range(10):
            root = tmp_path / str(turn)
            asked = [Observing(epochs=(number % 3,)) for number in range(16)]
            done = [pool.submit(Store(root).get, each) for each in asked]
            errors = [each.exception() for each in done if each.exception()]
            assert all("does not read back whole" in str(error) for error in errors), "each keeps replacing the other's"
            assert Store(root).get(Observing(epochs=(0, 1, 2))).info["looked"] == [0, 1, 2]
            assert list((root / "scratch").iterdir()) == []


# Damage


@pytest.mark.parametrize("file", ["cell.json", "arrays.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "flip", "folder"])
def test_a_damaged_cell_is_named_set_aside_and_computed_again(tmp_path, file, damage, calls):
    store = Store(tmp_path)
    store.get(Config())
    path = store.folder(Config()) / file
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "remove":
        path.write_bytes(content[: len(content) // 2] if damage == "truncate" else content[:-1] + b"\x00")
    with pytest.warns(UserWarning, match=rf"{store.name(Config())} is damaged \(.+\); set aside as .*damaged-kind-"):
        again = store.get(Config())
    assert len(calls) == 2
    np.testing.assert_array_equal(again.arrays["x"], np.arange(6).reshape(2, 3))
    assert len(list(tmp_path.glob("damaged-*"))) == 1, "nothing is deleted"


def test_a_damaged_cell_is_not_found_and_is_computed_by_who_needs_it(tmp_path, log):
    store, need = Store(tmp_path / "store"), Toy(1)
    store.get(need)
    (store.folder(need) / "cell.json").write_text("[]")
    with pytest.warns(UserWarning, match="damaged"):
        assert store.find(need) is None
    assert not store.has(need)
    assert store.get(Toy(2, of=(need,))).info["total"] == 3
    assert starts(log) == {1: 2, 2: 1}


def test_a_changed_number_is_noticed(tmp_path):
    store = Store(tmp_path)
    store.get(Config())
    path = store.folder(Config()) / "cell.json"
    path.write_text(path.read_text().replace("1.5", "1.6"))
    with pytest.warns(UserWarning, match="checksum"):
        assert store.get(Config()).info["value"] == 1.5


def test_several_may_find_the_same_damage_and_one_mends_it(tmp_path, calls):
    store = Store(tmp_path)
    store.get(Config())
    for _ in range(20):
        (store.folder(Config()) / "cell.json").write_text("damaged")
        with ThreadPoolExecutor(6) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = list(pool.map(lambda _: Store(tmp_path).get(Config()), range(6)))
        assert all(cell.info["value"] == 1.5 for cell in cells)
    assert len(calls) == 21
    assert len(list(tmp_path.glob("damaged-*"))) == 20


@pytest.mark.parametrize("thing", ["file", "empty folder", "full folder", "dangling link"])
def test_something_else_under_a_cells_name_is_named_and_set_aside(tmp_path, thing):
    store = Store(tmp_path)
    path = store.folder(Config())
    if thing == "file":
        path.write_text("mine")
    elif thing == "dangling link":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
        if thing == "full folder":
            (path / "thesis.txt").write_text("mine")
    with pytest.warns(UserWarning, match=f"{path.name} is damaged"):
        assert store.get(Config()).info["value"] == 1.5
    (aside,) = tmp_path.glob("damaged-*")
    assert thing != "file" or aside.read_text() == "mine"
    assert thing != "full folder" or (aside / "thesis.txt").read_text() == "mine"


def test_foreign_files_and_folders_are_left_alone_and_named(tmp_path):
    store = Store(tmp_path)
    assert Store(tmp_path / "none").foreign() == ()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "kind-of-blue").mkdir()
    (tmp_path / "kind-0123456789abcdef").touch()  # a damaged cell
    store.get(Config())
    assert [path.name for path in store.foreign()] == ["kind-of-blue", "notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_cell_is_plain_json_and_safetensors(tmp_path):
    Store(tmp_path).get(Config())
    folder = Store(tmp_path).folder(Config())
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.safetensors", "cell.json"]
    assert json.loads((folder / "cell.json").read_text())["kind"] == "kind"


# Disks


REMEDY = "choose another folder with --store or MIALAB_STORE"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def files(root):
    return [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_full_disk_names_the_remedy_and_leaves_nothing_half_written(small_disk):
    store, large = Store(small_disk), Toy(1, size=100_000)
    store.get(Toy(2))
    before = files(small_disk)
    with pytest.raises(StoreError, match=f"No space left on device.*free some space.*{REMEDY}") as caught:
        store.get(large)
    assert "\n" not in str(caught.value)
    assert sorted(files(small_disk)) == sorted(before + [small_disk / "scratch" / store.name(large) / "steps"])
    assert store.get(Toy(3)).info["total"] == 3, "what fits is still kept"


def test_a_disk_that_fills_up_with_checkpoints_names_the_remedy(small_disk, monkeypatch):
    def computing(scratch):
        scratch.mkdir(parents=True)
        (scratch / "checkpoint").write_bytes(bytes(1 << 20))

    monkeypatch.setattr(Config, "computing", computing)
    with pytest.raises(StoreError, match=REMEDY):
        Store(small_disk).get(Config())


def test_a_read_only_store_is_read_and_names_the_remedy_before_anything_is_computed(small_disk, calls):
    store = Store(small_disk)
    store.get(Config())
    store.get(Config(1))
    (store.folder(Config(1)) / "cell.json").write_text("damaged")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert store.get(Config()).info["value"] == 1.5
    with pytest.warns(UserWarning, match="is damaged .* and cannot be set aside"):
        assert store.find(Config(1)) is None
    with pytest.raises(StoreError, match=f"Read-only file system.*make it writable.*{REMEDY}"):
        store.get(Config(2))
    assert len(calls) == 2


def test_a_write_that_stops_in_the_middle_leaves_nothing(tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        with pytest.raises(StoreError, match=f"File too large.*{REMEDY}"):
            Store(tmp_path).get(Toy(1, size=100_000))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        limited()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob("toy-*"))
    assert not list(tmp_path.glob("scratch/*.draft-*"))


def test_a_store_that_is_no_folder_names_the_remedy(tmp_path, calls):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=REMEDY):
        Store(tmp_path / "file").get(Config())
    assert calls == []


def test_an_error_of_the_computation_itself_is_not_blamed_on_the_store(tmp_path, monkeypatch):
    def computing(scratch):
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/cifar-10.tar.gz")

    monkeypatch.setattr(Config, "computing", computing)
    with pytest.raises(OSError, match="elsewhere") as caught:
        Store(tmp_path).get(Config())
    assert not isinstance(caught.value, StoreError)


# Where, and made with what


def test_the_store_is_found_by_argument_then_environment_then_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    monkeypatch.setenv("MIALAB_STORE", str(tmp_path / "env"))
    assert open_store(tmp_path / "arg").root == tmp_path / "arg"
    assert open_store().root == tmp_path / "env"
    monkeypatch.delenv("MIALAB_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert open_store().root == tmp_path / "cache" / "mialab" / "store"
    monkeypatch.setenv("HOME", "/home/anna")
    assert open_store("~/results").root == Path("/home/anna/results")


def test_on_colab_the_store_is_in_a_mounted_drive(tmp_path, monkeypatch):
    monkeypatch.delenv("MIALAB_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store_module, "DRIVE", tmp_path / "MyDrive")
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert open_store().root == tmp_path / "cache" / "mialab" / "store", "the Drive is not mounted"
    (tmp_path / "MyDrive").mkdir()
    assert open_store().root == tmp_path / "MyDrive" / "mialab" / "store"
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    assert open_store().root == tmp_path / "cache" / "mialab" / "store", "not on Colab"


def git(folder, *command):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository that holds the package, with one commit."""
    (tmp_path / "mialab").mkdir()
    (tmp_path / "mialab" / "code.py").write_text("x = 1")
    (tmp_path / "notes").write_text("")
    monkeypatch.setattr(store_module.mialab, "__file__", str(tmp_path / "mialab" / "__init__.py"))
    store_module._code.cache_clear()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    yield tmp_path
    store_module._code.cache_clear()


def test_the_code_is_named_by_its_commit_and_whether_it_was_edited_since(checkout):
    commit = git(checkout, "rev-parse", "HEAD")[:12]
    (checkout / "notes").write_text("elsewhere")
    assert surroundings()["code"] == commit
    (checkout / "mialab" / "code.py").write_text("x = 2")
    store_module._code.cache_clear()
    assert surroundings()["code"] == f"{commit}+changed"


def test_code_outside_a_checkout_is_named_by_its_version(checkout, monkeypatch):
    inner = checkout / "lib"  # an installation inside somebody else's repository
    monkeypatch.setattr(store_module.mialab, "__file__", str(inner / "mialab" / "__init__.py"))
    assert surroundings()["code"] == store_module.mialab.__version__
    monkeypatch.setattr(store_module.mialab, "__file__", str(checkout / "mialab" / "__init__.py"))
    monkeypatch.setenv("PATH", "")
    store_module._code.cache_clear()
    assert surroundings()["code"] == store_module.mialab.__version__, "no git"
