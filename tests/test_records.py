"""Recorded results: what a file holds, when it is stale, what happens to the old one, and the committed ones."""

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import toy_cases
from toy_cases import Measured, Trained, experiment

from mialab import claims, experiments
from mialab.claims import Claim, Effect, First, Last
from mialab.claims.claim import above
from mialab.engine.store import Store
from mialab.results import curves, recording, records, show
from mialab.results.lines import local
from mialab.results.recorded import outdated, stale, together
from mialab.results.recording import record
from mialab.results.records import RecordError, load, read

COMMITTED = Path(__file__).parents[1] / "book" / "results"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(experiments.ALL, "toy/table", experiment())
    return experiments.ALL["toy/table"]


@pytest.fixture
def several(monkeypatch):
    """The same toy on two data sets."""
    monkeypatch.setitem(experiments.ALL, "toy/table", experiment(data=("mnist", "digits")))
    return experiments.ALL["toy/table"]


def recorded(toy, store, preset="smoke"):
    for cell in toy.grid(preset):
        store.get(cell)
    return record(toy, preset, store)


def changed_device(path, device):
    """The same record as if made on another device, under its own name."""
    other = replace(read(path), device=device)
    path.with_name(other.file).write_text(records.text(other))
    return path.with_name(other.file)


# what a record holds


def test_a_record_reads_back_with_rows_seeds_device_versions_and_seconds(toy, store):
    path = recorded(toy, store)
    made = read(path)
    rows = sorted(local(toy, "smoke", store).rows, key=lambda row: row["models"])  # a line's rows stand together
    assert [list(row) for row in made.rows] == [list(row) for row in rows]
    assert [row["auc"] for row in made.rows] == pytest.approx([row["auc"] for row in rows], rel=1e-5)
    assert [row["tpr_0.01"] for row in made.rows] == [row["tpr_0.01"] for row in rows]
    assert (made.experiment, made.preset, made.seeds) == ("toy/table", "smoke", (0, 1, 2))
    cells = [store.find(config) for config in (*toy.grid("smoke"), *(each.target for each in toy.grid("smoke")[::2]))]
    assert made.seconds == pytest.approx(sum(cell.info["seconds"] for cell in cells), abs=0.06)
    assert made.device == cells[0].info["made_with"]["device"]
    assert made.code == cells[0].info["made_with"]["code"] and made.made_with["torch"]
    assert load() == [made] and made.origin == "recorded"


def test_the_file_is_named_by_experiment_preset_and_device(toy, store):
    path = recorded(toy, store)
    assert path.name.startswith("toy-table.smoke.cpu-") and path.name.endswith(".json")
    assert replace(read(path), device="NVIDIA H100 80GB HBM3").file == "toy-table.smoke.nvidia-h100-80gb-hbm3.json"


def test_the_file_has_a_line_for_each_cell_and_row_and_is_plain_json(toy, store):
    path = recorded(toy, store)
    content = json.loads(path.read_text(), parse_constant=None)
    lines = path.read_text().splitlines()
    assert len(content["cells"]) == 6 + 3, "the trainings too"
    tables = [table for line in content["lines"] for table in line["tables"]]
    assert [len(table["rows"]) for table in tables] == [9, 9], "of each line, columns are named once"
    for part in (*content["cells"], *(row for table in tables for row in table["rows"])):
        assert any(line.strip().rstrip(",") == json.dumps(part) for line in lines)
    assert len(lines) < 27 + 30


def test_numbers_are_kept_to_six_significant_digits():
    assert recording.short({"a": 0.123456789, "b": [1.0 / 3e6, None], "c": 7, "d": True}) == {
        "a": 0.123457,
        "b": [3.33333e-07, None],
        "c": 7,
        "d": True,
    }


def test_rows_of_different_columns_keep_theirs(tmp_path, toy, store):
    made = read(recorded(toy, store))
    rows = ({"seed": 0, "a": 1}, {"seed": 1, "b": None}, {"seed": 2, "b": 2})
    mixed = replace(made, lines=(replace(made.lines[0], rows=rows),))
    (tmp_path / "mixed.json").write_text(records.text(mixed))
    assert read(tmp_path / "mixed.json") == mixed


def test_where_cells_were_made_with_several_versions_all_are_named():
    assert together([{"torch": "2", "python": "3"}, {"torch": "1", "python": "3"}]) == {
        "torch": "1 + 2",
        "python": "3",
    }


# when one is refused


def test_a_partial_result_is_refused_with_the_command_that_completes_it(toy, store, folder):
    store.get(toy.grid("smoke")[0])
    with pytest.raises(RecordError, match="5 of 6 cells of toy/table at preset smoke are not in the store") as refused:
        record(toy, "smoke", store)
    assert str(refused.value).endswith(f"mialab run toy/table --preset smoke --store {store.root}")
    assert not folder.exists()


def test_a_place_that_cannot_be_written_is_refused_and_keeps_what_lies_there(toy, store, folder, monkeypatch):
    path = recorded(toy, store)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RecordError, match="cannot be written .No space left on device.; set MIALAB_RESULTS"):
        record(toy, "smoke", store)
    assert path.read_bytes() == before and list(folder.iterdir()) == [path]


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda text: text[:100], "JSONDecodeError"),
        (lambda text: "[]", "TypeError"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "its format is 1, expected 2"),
        (lambda text: text.replace('"format": 2,', ""), "KeyError"),
        (lambda text: text.replace('"device":', '"machine":'), "machine"),
        (lambda text: text.replace('"columns": ["data", ', '"columns": [', 1), "ValueError"),
        (lambda text: text.replace('"preset": "smoke"', '"preset": "smoky"'), "its preset is 'smoky'"),
        (lambda text: text.replace('"kind":', '"sort":'), "one of its cells lacks one of"),
        (lambda text: text.replace('"seed"', '"number"'), "one of its rows lacks one of seed"),
        (
            lambda text: text.replace('"seconds": ', '"seconds": "long", "made": ', 1),
            "the seconds of one of its cells is of type",
        ),
        (lambda text: text.replace("0.543333", "0.943333", 1), "its content does not match its checksum"),
        (lambda text: text.replace('"data": "digits"', '"data": "mnist"', 1), "does not match its checksum"),
        (lambda text: text.replace('"device": "', '"device": "other '), "does not match its checksum"),
        (lambda text: text.replace('"sha256":', '"md5":'), "KeyError: 'sha256'"),
        (lambda text: text.replace("0.543333", "NaN", 1), "one of its rows has auc = nan"),
        (lambda text: text.replace("0.543333", "-Infinity", 1), "one of its rows has auc = -inf"),
        (lambda text: text.replace('"kind": "toytrained"', '"kind": 7', 1), "the kind of one of its cells is of type"),
        (
            lambda text: text.replace('"config": {', '"config": "x", "old": {', 1),
            "the config of one of its cells is of",
        ),
        (lambda text: text.replace('"seeds": [0, 1, 2]', '"seeds": [0, 1]'), "those of its rows are others"),
        (lambda text: text.replace('"seeds": [0, 1, 2]', '"seeds": [0, 1, 2, 3]'), "those of its rows are others"),
        (lambda text: text.replace('"loss"', '"gap"', 1), "one of its rows stands twice"),
    ],
)
def test_a_damaged_record_is_named_with_the_cause_and_the_remedy(toy, store, damage, cause):
    path = recorded(toy, store)
    assert damage(path.read_text()) != path.read_text()
    path.write_text(damage(path.read_text()))
    with pytest.raises(RecordError, match=cause) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path} is no record (") and "restore it with git" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_record_is_named_and_the_others_are_read(toy, store, folder):
    path = recorded(toy, store)
    (folder / "damaged.json").write_text(path.read_text()[:-300])
    with pytest.warns(UserWarning, match=f"{folder}/damaged.json is no record"):
        assert load() == [read(path)]


def test_json_of_another_sort_is_passed_over(toy, store, folder):
    path = recorded(toy, store)
    (folder / "list.json").write_text("[1, 2]")
    (folder / "settings.json").write_text('{"theme": "dark"}')
    assert load() == [read(path)]


def test_a_results_folder_that_is_a_file_is_refused_in_one_line(toy, store, tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_RESULTS", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be written .*; set MIALAB_RESULTS to a folder of yours"):
        recorded(toy, store)
    assert load() == []


def test_rows_that_could_not_be_read_back_are_not_recorded(toy, store, folder, monkeypatch):
    monkeypatch.setitem(experiments.ALL, "toy/table", replace(toy, by=("data", "model")))
    with pytest.raises(RecordError, match="toy/table cannot be recorded: one of its rows stands twice"):
        recorded(experiments.ALL["toy/table"], store)
    assert not folder.exists()


# when one is stale


def test_a_fresh_record_is_not_stale(toy, store):
    assert stale(read(recorded(toy, store))) is None
    assert stale(read(recorded(toy, store, "paper"))) is None


def test_a_raised_version_makes_records_stale_also_of_what_the_cells_need(toy, store, monkeypatch):
    made = read(recorded(toy, store))
    monkeypatch.setattr(Measured, "VERSION", 2)
    assert stale(made) == "they are made with toymeasured of version 1, the code makes version 2"
    monkeypatch.setattr(Measured, "VERSION", 1)
    monkeypatch.setattr(Trained, "VERSION", 3)
    assert stale(made) == "they are made with toytrained of version 1, the code makes version 3"


def test_a_changed_configuration_makes_records_stale_and_is_named(toy, store, monkeypatch):
    made = read(recorded(toy, store))

    def longer(preset, seed):
        return tuple(replace(cell, target=replace(cell.target, epochs=7)) for cell in toy.cells(preset, seed))

    monkeypatch.setitem(experiments.ALL, "toy/table", replace(toy, cells=longer))
    assert stale(made) == "9 of its 9 cells are no longer in the grid, 9 are new: epochs default -> 7"


def test_a_record_without_its_experiment_is_stale(toy, store, monkeypatch):
    made = read(recorded(toy, store))
    monkeypatch.delitem(experiments.ALL, "toy/table")
    assert stale(made) == "there is no experiment toy/table any more"


def test_a_refactoring_that_changes_no_setting_keeps_records(toy, store, monkeypatch):
    made = read(recorded(toy, store))

    @dataclass(frozen=True)
    class Trained(toy_cases.Trained):
        def compute(self, inputs, *, scratch):
            raise NotImplementedError

    def refactored(preset, seed):
        cells = toy.cells(preset, seed)
        return tuple(replace(cell, target=Trained(cell.data, seed, cell.target.epochs)) for cell in cells)

    monkeypatch.setitem(experiments.ALL, "toy/table", replace(toy, cells=refactored))
    assert stale(made) is None


# what happens to the old one


def test_recording_again_replaces_a_record_that_holds(toy, store, folder):
    first = recorded(toy, store)
    assert recorded(toy, store) == first and [path.name for path in folder.rglob("*")] == [first.name]


def test_recording_again_keeps_a_stale_record_among_the_superseded(toy, store, folder, monkeypatch):
    old = read(recorded(toy, store))
    monkeypatch.setattr(Measured, "VERSION", 2)
    new = recorded(toy, store)
    current, superseded = load()
    assert (current.origin, superseded.origin) == ("recorded", "superseded")
    assert stale(current) is None and superseded == replace(old, origin="superseded")
    monkeypatch.setattr(Measured, "VERSION", 3)
    recorded(toy, store)
    assert len(load()) == 3, "each has a name of its own"
    assert [path.parent for path in sorted(folder.rglob("*.json"))].count(new.parent / "superseded") == 2


def test_records_of_other_devices_stay(toy, store, monkeypatch):
    other = changed_device(recorded(toy, store), "NVIDIA H100")
    monkeypatch.setattr(Measured, "VERSION", 2)
    recorded(toy, store)
    assert other.exists() and {each.device for each in load() if each.origin == "recorded"} >= {"NVIDIA H100"}


def test_a_stale_record_is_shown_as_superseded_even_before_it_is_moved(toy, store, tmp_path, monkeypatch):
    recorded(toy, store)
    empty = Store(tmp_path / "empty")
    assert [result.origin for result in show.gather(toy, empty)] == ["recorded"]
    monkeypatch.setattr(Measured, "VERSION", 2)
    assert [result.origin for result in show.gather(toy, empty)] == ["superseded"]


# where they lie


def test_records_are_looked_for_where_told_then_in_the_checkout_then_in_the_wheel(tmp_path, monkeypatch):
    assert records.results_folder(tmp_path) == tmp_path
    assert records.results_folder() == tmp_path / "results"
    monkeypatch.delenv("MIALAB_RESULTS")
    assert records.results_folder() == COMMITTED
    monkeypatch.setattr(records, "_checkout", lambda: None)
    assert records.results_folder() == records._installed() != COMMITTED


def test_a_wheel_s_records_are_found_by_its_list_of_files(tmp_path, monkeypatch):
    share = tmp_path / "share" / "mialab" / "results"

    class File(type(Path())):
        def locate(self):
            return tmp_path / self

    files = [File("mialab/audit.py"), File("share/mialab/results/a.smoke.cpu.json")]
    monkeypatch.setattr(records.importlib.metadata, "files", lambda _: files)
    assert records._installed() == share


def test_nothing_is_recorded_into_an_installed_package(toy, store, monkeypatch):
    for cell in toy.grid("smoke"):
        store.get(cell)
    monkeypatch.delenv("MIALAB_RESULTS")
    monkeypatch.setattr(records, "_checkout", lambda: None)
    with pytest.raises(RecordError, match="belongs to the installed package; set MIALAB_RESULTS"):
        record(toy, "smoke", store)


def test_no_folder_means_no_records(tmp_path):
    assert load(tmp_path / "absent") == []


# part of an experiment


def test_some_lines_can_be_recorded_and_later_ones_join_them(several, store, monkeypatch):
    [mnist, digits] = (several.grid("smoke", where={"data": [name]}) for name in ("mnist", "digits"))
    for cell in mnist:
        store.get(cell)
    with pytest.raises(RecordError, match="6 of 12 cells"):
        record(several, "smoke", store)
    with pytest.raises(RecordError, match="--preset smoke --where data=digits"):
        record(several, "smoke", store, where={"data": ["digits"]})
    first = read(record(several, "smoke", store, where={"data": ["mnist"]}))
    assert {line.columns["data"] for line in first.lines} == {"mnist"} and len(first.rows) == 18
    [half] = first.results()
    assert (half.origin, half.missing) == ("recorded", 6)
    assert half.missing_at({"data": "mnist"}) == 0 and half.missing_at({"data": "digits"}) == 6
    for cell in digits:
        store.get(cell)
    monkeypatch.setattr(recording, "together", lambda several: {**together(several), "code": "later"})
    whole = read(record(several, "smoke", store, where={"data": ["digits"]}))
    assert [line.columns["data"] for line in whole.lines] == ["mnist"] * 2 + ["digits"] * 2, "in the grid's order"
    assert whole.lines[:2] == first.lines, "what was recorded stays, with what made it"
    assert {line.code for line in whole.lines[2:]} == {"later"}
    assert [result.missing for result in whole.results()] == [0]
    assert whole.seconds == pytest.approx(sum(cell["seconds"] for cell in whole.cells), abs=0.06)
    assert {cell["name"] for cell in first.cells} < {cell["name"] for cell in whole.cells}


def test_a_record_of_fewer_seeds_says_so_and_gives_way_to_one_of_more(toy, store):
    for cell in toy.grid("smoke", seeds=(0, 1)):
        store.get(cell)
    with pytest.raises(RecordError, match="smoke --seeds 3"):
        record(toy, "smoke", store, seeds=range(3))
    path = record(toy, "smoke", store, seeds=range(2))
    [first] = read(path).results()
    assert {row["seed"] for row in first.rows} == {0, 1} and first.missing == 0
    assert not stale(read(path))
    whole = read(recorded(toy, store))
    assert whole.file == path.name and whole.seeds == (0, 1, 2)


@pytest.mark.parametrize("parts", [[(0,), (1, 2)], [(2,), (0, 1)], [(1,), (0, 1, 2)], [(0, 1, 2), (1,)]])
def test_a_record_grows_by_repetitions_from_stores_that_know_nothing_of_each_other(toy, tmp_path, folder, parts):
    for number, seeds in enumerate(parts):
        store = Store(tmp_path / f"store{number}")
        for cell in toy.grid("smoke", seeds=seeds):
            store.get(cell)
        path = record(toy, "smoke", store, seeds=seeds)
    grown = read(path)
    whole = Store(tmp_path / "whole")
    for cell in toy.grid("smoke"):
        whole.get(cell)
    at_once = read(record(toy, "smoke", whole, folder=tmp_path / "other"))
    assert grown.rows == at_once.rows and grown.seeds == (0, 1, 2) and not stale(grown)
    assert [set(line.cells) for line in grown.lines] == [set(line.cells) for line in at_once.lines]
    assert [line.seeds for line in grown.lines] == [(0, 1, 2)] * 2
    assert [cell["name"] for cell in grown.cells] == [cell["name"] for cell in at_once.cells]
    assert all(cell["seconds"] >= 0 for cell in grown.cells) and [each.missing for each in grown.results()] == [0]


def test_a_line_names_the_code_of_all_its_repetitions_and_what_is_recorded_again_is_the_new(toy, store, folder):
    path = recorded(toy, store)
    made = read(path)
    rows = tuple(row | {"auc": 0.9} for row in made.lines[0].rows)
    path.write_text(records.text(replace(made, lines=(replace(made.lines[0], code="earlier", rows=rows),))))
    [line, _] = read(record(toy, "smoke", store, seeds=(1,))).lines
    assert line.code == " + ".join(sorted([made.code, "earlier"]))
    assert [row["auc"] for row in line.rows] == [0.9] * 3 + [row["auc"] for row in made.lines[0].rows[3:6]] + [0.9] * 3
    assert read(recorded(toy, store)).code == made.code


def test_what_is_recorded_of_an_experiment_is_its_lines_of_all_devices_each_once(several, store, folder):
    made = read(recorded(several, store))
    longer = [replace(line, rows=tuple(row | {"auc": 0.9} for row in line.rows)) for line in made.lines[1:3]]
    shorter = replace(made, lines=tuple(restricted(line, (0, 1)) for line in made.lines[:2]))
    for part, device in ((replace(made, lines=tuple(longer)), "NVIDIA H100"), (shorter, made.device)):
        (folder / (part := replace(part, device=device)).file).write_text(records.text(part))
    found = records.recorded("toy/table")
    assert (found.origin, found.missing) == ("recorded", 3) and found.device == f"{made.device}, NVIDIA H100"
    rows = [(row["data"], row["models"], row["seed"], row["auc"] == 0.9) for row in found.rows[::3]]
    assert rows == [
        *(("mnist", 1, seed, False) for seed in range(2)),
        *(("mnist", 2, seed, True) for seed in range(3)),
        *(("digits", 1, seed, True) for seed in range(3)),
    ]


def restricted(line, seeds):
    """The line with some of its repetitions alone; its toy has a cell for each."""
    cells = tuple(line.cells[line.seeds.index(seed)] for seed in seeds)
    return replace(line, seeds=seeds, cells=cells, rows=tuple(row for row in line.rows if row["seed"] in seeds))


def test_what_is_stale_or_not_recorded_at_all_is_not_taken_and_the_remedy_named(toy, store, monkeypatch):
    with pytest.raises(RecordError, match="mialab run toy/table --preset smoke && mialab record toy/table --preset sm"):
        records.recorded("toy/table")
    recorded(toy, store)
    assert len(records.recorded("toy/table").rows) == 18
    monkeypatch.setattr(Measured, "VERSION", 2)
    with pytest.raises(RecordError, match="nothing is recorded of toy/table at preset smoke"):
        records.recorded("toy/table")


def test_a_stale_line_does_not_grow_but_moves(toy, store, monkeypatch):
    for cell in toy.grid("smoke"):
        store.get(cell)
    record(toy, "smoke", store, seeds=range(2))
    monkeypatch.setattr(Measured, "VERSION", 2)
    for cell in toy.grid("smoke"):
        store.get(cell)
    new = read(record(toy, "smoke", store, seeds=(2,)))
    assert new.seeds == (2,) and [each.origin for each in load()] == ["recorded", "superseded"]


def test_a_misspelt_column_or_value_is_refused_with_close_names(several):
    with pytest.raises(ValueError, match="unknown column 'date'; did you mean data"):
        several.grid("smoke", where={"date": ["mnist"]})
    with pytest.raises(ValueError, match="unknown data 'mnits'; did you mean mnist"):
        several.grid("smoke", where={"data": ["mnits"]})


def test_values_of_one_column_are_alternatives_and_columns_are_all_required(several):
    chosen = several.grid("smoke", seeds=(0,), where={"data": ["mnist", "digits"], "models": ["2"]})
    assert [cell.columns()["models"] for cell in chosen] == [2, 2]


def test_a_value_may_be_a_number_or_text_alone_or_among_others(several):
    asked = [
        {"models": 2},
        {"models": "2"},
        {"models": [2]},
        {"models": ("2",)},
        {"models": {2}},
        {"models": range(2, 3)},
    ]
    assert len({several.grid("smoke", where=where) for where in asked}) == 1


def test_values_that_no_line_has_at_once_are_refused(several):
    cells = several.cells
    mixed = replace(several, cells=lambda preset, seed: cells(preset, seed)[1:3])  # mnist with 2, digits with 1
    with pytest.raises(ValueError, match="no line has data mnist and models 1 at once; leave out one of these columns"):
        mixed.grid("smoke", where={"data": "mnist", "models": 1})


def test_a_line_recorded_again_replaces_itself_and_leaves_the_others(several, store, monkeypatch):
    before = read(recorded(several, store))
    monkeypatch.setattr(recording, "together", lambda several: {**together(several), "code": "later"})
    after = read(record(several, "smoke", store, where={"data": "digits", "models": 1}))
    assert [line.code == "later" for line in after.lines] == [False, False, True, False]
    assert [line.rows for line in after.lines] == [line.rows for line in before.lines]
    assert after.code == f"{before.code} + later" and len(load()) == 1


def test_a_record_says_which_lines_of_the_grid_it_lacks(several, store):
    for cell in several.grid("smoke", where={"models": 2}):
        store.get(cell)
    path = record(several, "smoke", store, where={"models": 2})
    assert [columns["data"] for columns in read(path).absent] == ["mnist", "digits"]
    assert {columns["models"] for columns in read(path).absent} == {1}
    assert read(recorded(several, store)).absent == ()


def test_claims_are_decided_where_a_record_has_all_lines_and_undecided_where_it_lacks_some(several, store, monkeypatch):
    compute = Measured.compute

    def spread(cell, inputs, *, scratch):
        made = compute(cell, inputs, scratch=scratch)
        for row in made.info["rows"]:
            row["auc"] += 0.001 * row["seed"] * row["models"]
        return made

    def judged():
        results = [result for made in load() for result in made.results()]
        return [(found.verdict, found.missing) for found in claims.verdicts(results, [claim])]

    def three(preset, seed):
        return tuple(replace(cell, models=models) for cell in several.cells(preset, seed)[::2] for models in (1, 2, 4))

    monkeypatch.setattr(Measured, "compute", spread)
    monkeypatch.setitem(experiments.ALL, "toy/table", toy := replace(several, cells=three))
    places = tuple({"data": name, "model": "lenet5"} for name in ("mnist", "digits"))
    gain = Effect("auc", {"models": Last(), "attack": "gap"}, {"models": First(), "attack": "gap"})
    claim = Claim("made", "pruning", "1", "A sentence.", "toy/table", above(gain), settings=places)
    for cell in toy.grid("paper"):
        store.get(cell)
    record(toy, "paper", store, where={"data": "mnist"})
    assert judged() == [("supported", 0), ("not run", 0)]
    record(toy, "paper", store, where={"data": "digits", "models": [1, 2]})
    assert judged() == [("supported", 0), ("undecided", 5)], "four models, the last of all, are still to come"
    record(toy, "paper", store, where={"data": "digits", "models": 4})
    assert judged() == [("supported", 0), ("supported", 0)]


def test_a_result_of_some_lines_alone_decides_no_claim_on_lines_that_were_left_out(several, store):
    places = tuple({"data": name, "model": "lenet5"} for name in ("mnist", "digits"))
    gain = Effect("auc", {"models": Last(), "attack": "gap"}, {"models": First(), "attack": "gap"})
    claim = Claim("made", "pruning", "1", "A sentence.", "toy/table", above(gain), settings=places)

    def reasons(where):
        found = claims.verdicts([local(several, "paper", store, where=where)], [claim])
        return {verdict.setting["data"]: (verdict.verdict, verdict.reason) for verdict in found}

    for cell in several.grid("paper"):
        store.get(cell)
    whole = reasons(None)
    assert reasons({"data": "mnist"}) == {"mnist": whole["mnist"], "digits": ("not run", "")}
    part = local(several, "paper", store, where={"models": 2})
    assert (part.missing, part.missing_lines(), part.missing_at({"data": "mnist"})) == (0, [], 5)
    assert part.missing_at({"data": "svhn"}) == 0

    def models(preset, seed):
        return tuple(replace(cell, models=number) for cell in several.cells(preset, seed)[::2] for number in (1, 2, 4))

    three = replace(several, cells=models)
    for cell in three.grid("paper"):
        store.get(cell)
    found = claims.verdicts([local(three, "paper", store, where={"models": [1, 2]})], [claim])
    assert {verdict.reason for verdict in found} == {"5 cells missing"}, "four models are the last of all"


def test_records_made_at_once_lose_no_line_of_each_other(several, store, folder, monkeypatch):
    for cell in several.grid("smoke"):
        store.get(cell)
    read_it, first_has_read, failures = recording.read, threading.Event(), []

    def slow(path):
        made = read_it(path)
        first_has_read.set()
        time.sleep(0.3)
        return made

    def later():
        try:
            first_has_read.wait(10)
            record(several, "smoke", store, where={"data": "digits", "models": 2})
        except Exception as error:
            failures.append(error)

    record(several, "smoke", store, where={"data": "mnist", "models": 1})
    monkeypatch.setattr(recording, "read", slow)
    other = threading.Thread(target=later)
    other.start()
    record(several, "smoke", store, where={"data": "mnist", "models": 2})
    other.join(10)
    assert not failures and len(load()[0].lines) == 3
    assert [path.suffix for path in folder.iterdir()] == [".json"], "nothing else is left in the folder"


def test_an_experiment_whose_cells_have_no_data_names_none(toy, monkeypatch):
    monkeypatch.setattr(Measured, "columns", lambda cell: {"models": cell.models})
    assert toy.data("smoke") == ()


def test_what_moves_to_the_superseded_still_knows_that_it_is_a_part(several, store, monkeypatch):
    monkeypatch.setattr(Measured, "versions", lambda cell: {"odd": 1} if cell.models == 2 else {})
    recorded(several, store)
    monkeypatch.setattr(Measured, "versions", lambda cell: {"odd": 2} if cell.models == 2 else {})
    [fresh, gone] = load()[0].results()
    assert (fresh.missing, gone.missing) == (6, 6) and gone.missing_at({"data": "mnist"}) == 3
    recorded(several, store)
    [now, old] = [result for made in load() for result in made.results()]
    assert (now.origin, now.missing, old.origin, old.missing) == ("recorded", 0, "superseded", 6)
    assert {columns["models"] for columns in old.missing_lines()} == {1}


def test_a_line_to_whose_setting_the_code_adds_a_cell_is_stale(toy, store, monkeypatch):
    made = read(recorded(toy, store))

    @dataclass(frozen=True)
    class Also(Measured):
        KIND = "toyalso"

    def more(preset, seed):
        cells = toy.cells(preset, seed)
        return (*cells, Also(cells[0].target, 1))

    monkeypatch.setitem(experiments.ALL, "toy/table", replace(toy, cells=more))
    assert [line.columns["models"] for line in outdated(made)] == [1]
    assert stale(made) == "1 of its 2 lines: 0 of its 9 cells are no longer in the grid, 3 are new"


def test_cells_that_both_runs_need_keep_the_seconds_of_a_training_that_the_second_store_lacks(toy, store, tmp_path):
    first = read(recorded(toy, store))
    for config in {cell.target for cell in toy.grid("smoke")}:
        for path in store.folder(config).iterdir():
            path.unlink()
        store.folder(config).rmdir()
    again = read(record(toy, "smoke", store))
    assert {c["name"]: c["seconds"] for c in again.cells} == {c["name"]: c["seconds"] for c in first.cells}


def test_rows_that_contradict_what_their_cell_says_it_is_of_are_refused(toy, store, monkeypatch):
    for cell in toy.grid("smoke"):
        store.get(cell)
    monkeypatch.setattr(Measured, "columns", lambda cell: {"data": "digits", "models": 9 + cell.models})
    with pytest.raises(RecordError, match="one of its rows has models = 1, its line 10; mend its cells"):
        record(toy, "smoke", store)


def test_a_raised_version_makes_stale_just_the_lines_that_use_it(several, store, monkeypatch):
    def raised(by):
        monkeypatch.setattr(Measured, "versions", lambda cell: {"odd": by} if is_odd(cell) else {})

    def is_odd(cell):
        return cell.data == "digits" and cell.models == 2

    raised(2)
    made = read(recorded(several, store))
    assert stale(made) is None
    raised(3)
    assert [line.columns["data"] for line in outdated(made)] == ["digits"]
    assert stale(made) == "1 of its 4 lines: they are made with odd of version 2, the code makes version 3"
    assert [(result.origin, len(result.rows)) for result in made.results()] == [("recorded", 27), ("superseded", 9)]
    again = read(recorded(several, store))
    assert stale(again) is None and again.lines[:3] == made.lines[:3]
    assert [len(record.lines) for record in load()] == [4, 1], "the line that was replaced is kept"


def test_curves_travel_in_records_and_have_an_interval_at_each_point(toy, store, monkeypatch):
    compute = Measured.compute

    def with_curve(cell, inputs, *, scratch):
        made = compute(cell, inputs, scratch=scratch)
        seed = cell.target.seed
        points = {"epoch": [1, 2], "loss": [2.0 + seed, 1.0 / 3 + seed]}
        made.info["curves"] = [{**cell.columns(), "seed": seed, "curve": "training", "points": points}]
        return made

    monkeypatch.setattr(Measured, "compute", with_curve)
    [result] = read(recorded(toy, store)).results()
    assert result.curves[0]["points"] == {"epoch": [1, 2], "loss": [2.0, 0.333333]}
    single, double = curves.mean_curves(result.curves, "training")
    assert (single["models"], single["seeds"], single["points"]["epoch"]) == (1, 3, [1, 2])
    value, low, high = single["points"]["loss"][0]
    assert value == 3.0 and (value - low) == pytest.approx(4.303 / 3**0.5, abs=1e-3) and high - value == value - low
    assert curves.mean_curves(result.curves, "attack") == []
    shown = show.to_dict(toy, [result])["results"][0]["curves"]
    assert shown[0]["points"]["loss"][0] == {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("curve", "cause"),
    [
        ({"points": {"epoch": [1, 2], "loss": [0.5]}}, "its curve training has columns of different lengths"),
        ({"points": [1, 2]}, "what stands for points of its curve training is of type list"),
        ({"seed": 9}, "its curve training is of seed 9, its rows of others"),
        ({"curve": None}, "the name of one of its curves is of type NoneType"),
        ({"points": {"loss": [float("nan")]}}, "has points = {'loss': .nan.}"),
        ({"models": 7}, "has models = 7, its line 1"),
    ],
)
def test_a_curve_that_is_none_is_not_recorded(toy, store, monkeypatch, curve, cause):
    compute = Measured.compute

    def with_curve(cell, inputs, *, scratch):
        made = compute(cell, inputs, scratch=scratch)
        good = {**cell.columns(), "seed": cell.target.seed, "curve": "training", "points": {"epoch": [1]}}
        made.info["curves"] = [good | curve]
        return made

    monkeypatch.setattr(Measured, "compute", with_curve)
    with pytest.raises(RecordError, match=cause):
        recorded(toy, store)


def test_what_the_settings_of_many_cells_share_stands_once_in_the_file(toy, store, monkeypatch):
    monkeypatch.setattr(Measured, "versions", lambda cell: {f"attack-{number}": 1 for number in range(20)})
    path = recorded(toy, store)
    content = json.loads(path.read_text())
    assert path.read_text().count("attack-19") == 1 and len(content["shared"]) == 1
    assert [cell["versions"] for cell in content["cells"][1:3]] == [{"shared": 0}] * 2
    assert [cell["versions"]["attack-19"] for cell in read(path).cells if cell["kind"] == "toymeasured"] == [1] * 6


# those of the book


def test_every_committed_record_is_what_the_code_makes():
    """Else: record it again on its device, or move it."""
    told = []
    for path in sorted(COMMITTED.glob("*.json")):
        made = read(path)
        assert path.name == made.file
        if reason := stale(made):
            command = f"{made.experiment} --preset {made.preset}"
            told.append(
                f"{path.name} is stale: {reason}. On {made.device}: mialab run {command} && mialab record {command}; "
                f"or where that cannot be now: git mv book/results/{path.name} book/results/superseded/"
            )
    assert not told, "\n".join(told)


def test_committed_superseded_records_can_be_read():
    assert all(read(path).rows for path in (COMMITTED / "superseded").glob("*.json"))
