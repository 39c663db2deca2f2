"""The commands experiments, run, show, record, claims, regress and doctor: what they call, print and refuse."""

import json
import re
import shlex
import subprocess
import sys

import pytest
from toy_cases import MISSING, Measured, Trained, experiment

from mialab import claims, cli, data, doctor, experiments, results
from mialab.cells import cost
from mialab.chapters import regress
from mialab.chapters.regress import Report
from mialab.cli import options
from mialab.engine import executors, grid
from mialab.engine import run as run_module
from mialab.engine.store import Store, StoreError
from mialab.results import records, show

COMMANDS = ("audit", "experiments", "run", "show", "record", "claims", "regress", "doctor")


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MIALAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(cost, "_seconds_per_sample", lambda *net: 1e-6)  # nothing is timed here
    monkeypatch.setattr("mialab.engine.schedule.cores", lambda: 1)  # toys are computed here, where tests patch them


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(experiments.ALL, "toy/table", experiment())
    return experiments.ALL["toy/table"]


def refused(capsys, *arguments, message, code=2):
    """One line on stderr, nothing printed."""
    assert cli.main(list(map(str, arguments))) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("mialab: error: ")
    assert message in err


def shown(toy, store, **options):
    return show.text(toy, [results.local(toy, "smoke", store, **options)])


# what they say of themselves


def test_no_command_s_help_waits_for_torch_or_numpy():
    code = f"""
import contextlib, io, sys
from mialab.cli import main
for command in {COMMANDS!r}:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([command, "--help"]) == 0
print([name for name in ("torch", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_help_says_what_the_command_does_with_an_example_that_parses(command, capsys):
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    examples = [re.split(r"  +|&&", line.strip())[0] for line in text.splitlines() if line.startswith("  mialab ")]
    assert examples and all(len(line) <= 120 for line in text.splitlines())
    for example in examples:
        parsed = cli._parser().parse_args(shlex.split(example)[1:])
        assert parsed.run.__name__ == f"_{shlex.split(example)[1]}"


def test_the_presets_kept_for_help_are_those_of_the_package():
    assert options.PRESETS == grid.PRESETS


# bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run toy/tabel", "unknown experiment 'toy/tabel'; did you mean toy/table"),
        ("show ensemble/figure", "did you mean ensemble/figure"),
        ("record zzz", "unknown experiment 'zzz'; there are basics/overfitting"),
        ("run toy/table --preset smok", "argument --preset: unknown preset 'smok'; did you mean smoke?"),
        ("show toy/table --preset full", "argument --preset: unknown preset 'full'; there are smoke, course, paper"),
        ("claims --preset full", "argument --preset"),
        ("regress --preset full", "argument --preset"),
        ("run toy/table --only 9/8", "found '9/8'; expected a part from 1/8 to 8/8"),
        ("run toy/table --only 0/8", "expected a part from 1/8 to 8/8"),
        ("run toy/table --only 1/0", "expected a part from 1/0 to 0/0"),
        ("run toy/table --only 3", "found '3'; expected a part such as 3/8"),
        ("run toy/table --only -1/8", "argument --only"),
        ("run toy/table --jobs 0", "argument --jobs: found '0'; expected a whole number from 1 up"),
        ("run toy/table --jobs two", "argument --jobs: found 'two'"),
        ("run toy/table --where data", "argument --where: found 'data'; expected COLUMN=VALUE, such as data=mnist"),
        ("run toy/table --where date=digits", "unknown column 'date'; did you mean data or model or models? there are"),
        ("run toy/table --where data=digit", "unknown data 'digit'; did you mean digits? there are digits"),
        ("record toy/table --where data=digit", "unknown data 'digit'; did you mean digits? there are digits"),
        ("record toy/table --where model=lenet5 --where modles=1", "unknown column 'modles'; did you mean models"),
        ("run toy/table --seeds 0", "argument --seeds: found '0'"),
        ("run toy/table --seeds 4-2", "found '4-2'; expected how many, such as 3, or which, such as 2-4"),
        ("record toy/table --seeds 2-", "argument --seeds: found '2-'"),
        ("run toy/table --jobs 2 --scheduler tcp://a:1", "not allowed with argument"),
        ("run", "required: NAME; see mialab run --help"),
        ("show toy/table --attack loss", "no results of attack 'loss' yet"),
        ("show toy/table --json absent/out.json", "--json absent/out.json: found no folder"),
        ("claims --json absent/out.json", "--json absent/out.json: found no folder"),
        ("claims --paper prunning", "unknown paper 'prunning'; did you mean pruning?"),
        ("claims --verdict supportd", "unknown verdict 'supportd'; did you mean supported?"),
        ("regress 99_nothing", "unknown chapter '99_nothing'"),
    ],
)
def test_bad_input_is_refused_in_one_line_with_code_2(toy, capsys, arguments, message):
    refused(capsys, *arguments.split(), message=message)


# run and show


def test_run_computes_what_is_missing_and_prints_what_show_prints(toy, store, capsys):
    assert cli.main(["run", "toy/table"]) == 0
    printed = capsys.readouterr().out
    assert all(store.has(cell) for cell in toy.grid("smoke"))
    assert printed == shown(toy, store)
    assert cli.main(["show", "toy/table"]) == 0
    assert capsys.readouterr().out == printed


def test_a_second_run_computes_nothing(toy, store, capsys, monkeypatch):
    cli.main(["run", "toy/table"])
    monkeypatch.setattr(Trained, "compute", None)
    monkeypatch.setattr(Measured, "compute", None)
    assert cli.main(["run", "toy/table"]) == 0
    assert capsys.readouterr().err == ""


def test_store_is_where_told(toy, store, tmp_path):
    assert cli.main(["run", "toy/table", "--store", str(tmp_path / "other")]) == 0
    assert Store(tmp_path / "other").has(toy.grid("smoke")[0]) and not store.root.exists()


def test_only_a_part_of_the_trainings_leaves_the_rest_to_others(toy, store, capsys):
    assert cli.main(["run", "toy/table", "--only", "1/3"]) == 0
    assert [store.has(cell.target) for cell in toy.grid("smoke")[::2]] == [True, False, False]
    out = capsys.readouterr().out
    assert "local: 1 seed, 4 cells missing: mialab run toy/table --preset smoke" in out
    assert out.endswith("\n4 cells wait for other parts (--only)\n")
    for part in ("2/3", "3/3"):
        assert cli.main(["run", "toy/table", "--only", part]) == 0
    assert all(store.has(cell) for cell in toy.grid("smoke"))
    assert "other parts" not in capsys.readouterr().out.rpartition("preset smoke")[2]


def test_a_run_that_computed_nothing_prints_its_error_alone(toy, capsys, monkeypatch):
    cli.main(["run", "toy/table"])
    capsys.readouterr()

    def unreachable(*_, **__):
        raise executors.WorkersError("no scheduler there; start it")

    monkeypatch.setattr(run_module, "open_executor", unreachable)
    refused(capsys, "run", "toy/table", message="no scheduler there", code=1)


def test_fewer_seeds_are_run_and_shown_as_the_whole(toy, store, capsys):
    assert cli.main(["run", "toy/table", "--seeds", "1"]) == 0
    assert capsys.readouterr().out == shown(toy, store, seeds=[0])
    assert "missing" not in shown(toy, store, seeds=[0])


def test_repetitions_are_named_by_their_first_and_last(toy, store, capsys):
    assert cli.main(["run", "toy/table", "--seeds", "2-4"]) == 0
    assert capsys.readouterr().out == shown(toy, store, seeds=[2, 3, 4])
    refused(capsys, "record", "toy/table", "--seeds", "1-2", message="mialab run toy/table --preset smoke --seeds 1-2")


def test_only_the_lines_asked_for_are_run_and_shown_and_the_whole_knows_what_is_missing(store, capsys, monkeypatch):
    toy = experiment(data=("mnist", "digits", "adult"))
    monkeypatch.setitem(experiments.ALL, "toy/table", toy)
    asked = "toy/table --where data=mnist --where models=2 --where data=adult"
    assert cli.main(["run", *asked.split()]) == 0
    out = capsys.readouterr().out
    there = [cell.columns() for cell in toy.grid("smoke") if store.has(cell)]
    assert {(place["data"], place["models"]) for place in there} == {("mnist", 2), ("adult", 2)} and len(there) == 6
    assert "local: 3 seeds\n" in out and "missing" not in out
    assert out == shown(toy, store, where={"data": ["mnist", "adult"], "models": 2})
    assert cli.main(["show", "toy/table", "--preset", "smoke"]) == 0
    assert "local: 3 seeds, 12 cells missing: mialab run toy/table --preset smoke\n" in capsys.readouterr().out


def test_the_command_that_show_names_computes_just_what_is_missing(store, capsys, monkeypatch):
    toy = experiment(data=("mnist", "digits"))
    monkeypatch.setitem(experiments.ALL, "toy/table", toy)
    cli.main(["run", "toy/table", "--where", "data=mnist"])
    cli.main(["show", "toy/table"])
    [command] = re.findall(r"cells missing: mialab (.*)", capsys.readouterr().out)
    assert command.endswith("--where data=digits") and cli.main(shlex.split(command)) == 0
    assert all(store.has(cell) for cell in toy.grid("smoke"))


def test_a_missing_data_set_fails_its_cells_alone_and_says_the_remedy_of_the_data(store, capsys, monkeypatch):
    monkeypatch.setitem(experiments.ALL, "toy/table", experiment(data=("digits", "absent")))
    assert cli.main(["run", "toy/table"]) == 1
    out, err = capsys.readouterr()
    assert MISSING in err and err.count("\n") == 1 and "3 cells failed" in err
    assert "data digits" in out and "6 cells missing" in out, "what could be computed is shown"


def test_an_unwritable_store_fails_in_one_line(toy, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["run", "toy/table", "--store", str(tmp_path / "file" / "store")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "cannot write to the store" in err and "--store" in err


def test_an_interrupted_run_exits_with_130_one_line_and_no_traceback(toy, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trained, "compute", interrupted)
    assert cli.main(["run", "toy/table"]) == 130
    assert capsys.readouterr() == ("", "interrupted; finished cells are kept: run again to go on\n")


@pytest.mark.filterwarnings("default")
def test_a_damaged_cell_is_told_in_one_line_and_computed_again(toy, store, capsys):
    cli.main(["run", "toy/table"])
    before, name = capsys.readouterr().out, store.name(toy.grid("smoke")[0])
    (store.root / name / "cell.json").write_text("{")
    assert cli.main(["run", "toy/table"]) == 0
    out, err = capsys.readouterr()
    assert out == before and err.startswith(f"mialab: warning: {name} is damaged") and err.count("\n") == 1


def test_show_writes_the_json_that_the_package_gives(toy, store, tmp_path, capsys):
    cli.main(["run", "toy/table"])
    capsys.readouterr()
    out = tmp_path / "out.json"
    assert cli.main(["show", "toy/table", "--attack", "loss", "--json", str(out)]) == 0
    expected = show.to_dict(toy, [results.local(toy, "smoke", store)], attacks=["loss"])
    assert json.loads(out.read_text()) == expected
    assert "attack loss" in capsys.readouterr().out


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("command", ["run toy/table", "show toy/table", "experiments", "claims"])
def test_a_damaged_record_is_named_once_and_stops_nothing(toy, tmp_path, capsys, command):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("{")
    assert cli.main(command.split()) == 0
    out, err = capsys.readouterr()
    assert out and err.startswith(f"mialab: warning: {tmp_path}/results/a.json is no record") and err.count("\n") == 1


@pytest.mark.parametrize("command", ["run toy/table", "show toy/table", "record toy/table", "claims"])
def test_a_cell_that_cannot_be_read_is_one_line(toy, capsys, monkeypatch, command):
    cli.main(["run", "toy/table"])
    capsys.readouterr()

    def unreadable(self, folder):
        raise StoreError(f"cannot read {folder}; make it readable")

    monkeypatch.setattr(Store, "_read", unreadable)
    refused(capsys, *command.split(), message="make it readable", code=1)


# record


def test_a_finished_run_is_recorded_and_then_shown_without_its_store(toy, tmp_path, capsys):
    cli.main(["run", "toy/table"])
    capsys.readouterr()
    assert cli.main(["record", "toy/table"]) == 0
    [made] = records.load()
    assert capsys.readouterr().out == f"{tmp_path}/results/{made.file}\n"
    assert cli.main(["show", "toy/table", "--store", str(tmp_path / "empty")]) == 0
    out = capsys.readouterr().out
    assert f"  recorded: on {made.device}, 3 seeds" in out and "local" not in out and "71.0 [68.5, 73.5]" in out


def test_the_command_that_a_refused_record_names_completes_it(toy, capsys):
    cli.main(["run", "toy/table", "--only", "1/3"])
    capsys.readouterr()
    assert cli.main(["record", "toy/table"]) == 2
    command = capsys.readouterr().err.rpartition("compute them first: ")[2]
    assert cli.main(shlex.split(command)[1:]) == 0
    assert cli.main(["record", "toy/table"]) == 0


def test_some_lines_are_recorded_and_shown_and_others_join_them_from_another_store(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(experiments.ALL, "toy/table", experiment(data=("mnist", "digits")))
    for name in ("mnist", "digits"):
        line = ["--where", f"data={name}", "--store", str(tmp_path / name)]
        assert cli.main(["run", "toy/table", *line]) == cli.main(["record", "toy/table", *line]) == 0
        if name == "mnist":
            capsys.readouterr()
            cli.main(["show", "toy/table"])
            out = capsys.readouterr().out
            assert "3 seeds, 6 cells missing: mialab run toy/table --preset smoke --where data=digits\n" in out
            assert "    lines not complete: data digits\n" in out and "data mnist" in out
    [made] = records.load()
    assert {row["data"] for row in made.rows} == {"mnist", "digits"} and len(made.rows) == 36
    capsys.readouterr()
    cli.main(["show", "toy/table"])
    assert "missing" not in capsys.readouterr().out


# experiments


def test_every_experiment_is_listed_with_data_cells_cost_and_records(toy, capsys):
    cli.main(["run", "toy/table"])
    cli.main(["record", "toy/table"])
    capsys.readouterr()
    assert cli.main(["experiments"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert len(blocks) == 1 + len(experiments.ALL)
    for one in experiments.ALL.values():
        [block] = [block for block in blocks if block.startswith(f"{one.name}: {one.title} ({one.source})")]
        for preset in grid.PRESETS:
            [line] = [line.split("  ") for line in block.splitlines() if line.strip().startswith(f"{preset} ")]
            cells = [each.strip() for each in line if each.strip()]
            assert cells[1:3] == [", ".join(one.data(preset)), str(len(one.grid(preset)))]
    [own] = [block for block in blocks if block.startswith("toy/table")]
    smoke, course = own.splitlines()[3:5]
    assert smoke.endswith(records.load()[0].device) and course.endswith("  -")


def test_the_one_call_takes_the_lines_that_are_wanted(toy, store):
    found = results.result("toy/table", store=store, where={"models": 2})
    assert {row["models"] for row in found.rows} == {2} and found.missing == 0
    assert sum(map(store.has, toy.grid("smoke"))) == 3


def test_listing_experiments_loads_no_data(capsys, monkeypatch):
    monkeypatch.setattr(data, "load", None)
    assert cli.main(["experiments"]) == 0


# claims, regress, doctor


def test_claims_gives_the_verdicts_of_local_and_recorded_results(capsys, tmp_path):
    out = tmp_path / "claims.json"
    assert cli.main(["claims", "--json", str(out)]) == 0
    assert capsys.readouterr().out == claims.text(claims.verdicts([]))
    assert json.loads(out.read_text()) == json.loads(json.dumps(claims.to_dict(claims.verdicts([]))))


def test_claims_hears_the_results_of_every_experiment(toy, capsys, monkeypatch):
    cli.main(["run", "toy/table"])
    cli.main(["record", "toy/table"])
    heard = []
    monkeypatch.setattr(claims, "verdicts", lambda found: heard.extend(found) or [])
    assert cli.main(["claims"]) == 0
    assert [(each.experiment, each.origin) for each in heard] == [("toy/table", "local"), ("toy/table", "recorded")]


@pytest.mark.parametrize(("failed", "code"), [(False, 0), (True, 1)])
def test_regress_passes_its_arguments_on_and_fails_where_numbers_moved(tmp_path, capsys, monkeypatch, failed, code):
    asked = {}

    class Found(Report):
        failed = property(lambda self: asked["failed"])

        def text(self):
            return "01_game: told"

    def fake(chapters, **kwargs):
        asked.update(chapters=chapters, failed=failed, **kwargs)
        return Found(())

    monkeypatch.setattr(regress, "regress", fake)
    arguments = f"regress 01 02 --out {tmp_path} --jobs 3 --store {tmp_path}/s --update"
    assert cli.main(arguments.split()) == code
    assert capsys.readouterr().out == "01_game: told\n"
    assert (asked["chapters"], asked["out"], asked["jobs"]) == (["01", "02"], tmp_path, 3)
    assert (asked["preset"], asked["update"], asked["store"]) == ("smoke", True, tmp_path / "s")


def test_doctor_prints_the_report_on_the_store_that_it_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "blocks", lambda store: [f"{store.root}\n"])
    assert cli.main(["doctor", "--store", str(tmp_path / "other")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/other\n"
