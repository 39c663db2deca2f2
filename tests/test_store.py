import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from mialab.store import Cell, Store, open_store, settings


@dataclass(frozen=True)
class Inner:
    width: int = 1


@dataclass(frozen=True)
class Config:
    seed: int = 0
    name: str = "a"
    inner: Inner = Inner()


def compute(calls, value=1.5):
    def function():
        calls.append(value)
        return Cell({"value": value}, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})

    return function


def test_a_cell_is_computed_once_and_read_back_equal(tmp_path):
    calls = []
    first = Store(tmp_path).cell("kind", Config(), compute(calls))
    second = Store(tmp_path).cell("kind", Config(), compute(calls))
    assert calls == [1.5]
    assert second.info["value"] == first.info["value"] == 1.5
    np.testing.assert_array_equal(second.arrays["x"], first.arrays["x"])
    assert second.info == first.info
    assert second.info["config"] == {"is": "Config", "seed": 0, "name": "a", "inner": {"is": "Inner", "width": 1}}
    assert {"mialab", "torch", "numpy", "python", "device"} <= set(second.info["made_with"])


def test_another_setting_kind_or_version_is_another_cell(tmp_path):
    store = Store(tmp_path)
    base = store.folder("kind", Config())
    others = [
        store.folder("kind", Config(seed=1)),
        store.folder("kind", Config(inner=Inner(2))),
        store.folder("other", Config()),
        store.folder("kind", Config(), version=2),
    ]
    assert len({base, *others}) == 5


def test_settings_reach_into_tuples_of_dataclasses():
    @dataclass(frozen=True)
    class Outer:
        parts: tuple = ()

    assert settings(Outer((Inner(2), Inner()))) == {
        "is": "Outer",
        "parts": [{"is": "Inner", "width": 2}, {"is": "Inner"}],
    }


def test_a_changed_number_is_noticed(tmp_path):
    calls, store = [], Store(tmp_path)
    store.cell("kind", Config(), compute(calls))
    path = store.folder("kind", Config()) / "cell.json"
    path.write_text(path.read_text().replace("1.5", "1.6"))
    with pytest.warns(UserWarning, match="checksum"):
        assert store.cell("kind", Config(), compute(calls)).info["value"] == 1.5


def test_several_processes_may_find_the_same_damage(tmp_path):
    store = Store(tmp_path)
    for _ in range(20):
        store.cell("kind", Config(), compute([]))
        (store.folder("kind", Config()) / "cell.json").write_text("damaged")
        with ThreadPoolExecutor(6) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = list(pool.map(lambda k: Store(tmp_path).cell("kind", Config(), compute([])), range(6)))
        assert all(cell.info["value"] == 1.5 for cell in cells)


def test_a_new_field_with_a_default_keeps_old_cells():
    assert settings(Config(seed=3)) == {"is": "Config", "seed": 3}


@pytest.mark.parametrize("file", ["cell.json", "arrays.safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "remove", "flip"])
def test_a_damaged_cell_is_set_aside_and_computed_again(tmp_path, file, damage):
    calls, store = [], Store(tmp_path)
    store.cell("kind", Config(), compute(calls))
    path = store.folder("kind", Config()) / file
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncate" else content[:-1] + b"\x00")
    with pytest.warns(UserWarning, match="damaged"):
        again = store.cell("kind", Config(), compute(calls))
    assert len(calls) == 2
    np.testing.assert_array_equal(again.arrays["x"], np.arange(6).reshape(2, 3))
    assert len(list(tmp_path.glob("damaged-*"))) == 1, "nothing is deleted"


def test_an_interrupted_computation_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).cell("kind", Config(), interrupted)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_cell_both_succeed(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        cells = list(pool.map(lambda k: Store(tmp_path).cell("kind", Config(), compute([])), range(16)))
    assert all(cell.info["value"] == 1.5 for cell in cells)
    assert [p.name for p in tmp_path.iterdir()] == [Store(tmp_path).folder("kind", Config()).name]


def test_the_cell_is_plain_json_and_safetensors(tmp_path):
    Store(tmp_path).cell("kind", Config(), compute([]))
    (folder,) = tmp_path.iterdir()
    assert sorted(p.name for p in folder.iterdir()) == ["arrays.safetensors", "cell.json"]
    assert json.loads((folder / "cell.json").read_text())["kind"] == "kind"


def test_an_unwritable_store_names_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="MIALAB_STORE"):
        Store(tmp_path / "file").cell("kind", Config(), compute([]))


def test_the_store_is_found_by_argument_then_environment_then_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_STORE", str(tmp_path / "env"))
    assert open_store(tmp_path / "arg").root == tmp_path / "arg"
    assert open_store().root == tmp_path / "env"
    monkeypatch.delenv("MIALAB_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert open_store().root == tmp_path / "cache" / "mialab" / "store"
    assert "MIALAB_STORE" not in os.environ
