"""Results side by side: what the tables say, and that they say nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_cases import Measured, Trained, experiment

from mialab.engine.store import Store
from mialab.results import show
from mialab.results.lines import Result, local
from mialab.results.means import summary
from mialab.results.tables import WIDTH, table

TABLE = """\
toy/table: A toy (ours)

preset smoke
  local: 3 seeds

attack gap, data digits, model lenet5
models  seeds        test acc. %                   AUC  TPR % at 1 % FPR
------------------------------------------------------------------------
1       3      71.0 [68.5, 73.5]  0.533 [0.533, 0.533]                 -
2       3      71.0 [68.5, 73.5]  0.567 [0.567, 0.567]                 -

attack confidence, data digits, model lenet5
models  seeds        test acc. %                   AUC  TPR % at 1 % FPR
------------------------------------------------------------------------
1       3      71.0 [68.5, 73.5]  0.543 [0.543, 0.543]    2.0 [2.0, 2.0]
2       3      71.0 [68.5, 73.5]  0.577 [0.577, 0.577]    2.0 [2.0, 2.0]

paper: prints no numbers for this

mean [95 % interval over seeds; of one seed, or equal ones, their own if they have any]; -: too few samples
also attacked by loss: see --attack NAME, or --attack all
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MIALAB_RESULTS", str(tmp_path / "results"))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def computed(toy, store, preset="smoke", seeds=None):
    for cell in toy.grid(preset, seeds=seeds):
        store.get(cell)
    return local(toy, preset, store, seeds=seeds)


def test_a_table_gives_mean_and_interval_over_seeds_per_setting(store):
    # Accuracies .70, .71, .72: mean .71, and 4.303 standard errors of .01 / sqrt(3) to either side.
    assert show.text(experiment(), [computed(experiment(), store)]) == TABLE


def test_what_is_shown_depends_on_results_alone(tmp_path):
    here, there = Store(tmp_path / "a"), Store(tmp_path / "b" / "c")
    results = [computed(experiment(), each) for each in (here, there)]
    assert show.text(experiment(), results[:1]) == show.text(experiment(), results[1:])
    assert show.to_dict(experiment(), results[:1]) == show.to_dict(experiment(), results[1:])
    assert str(tmp_path) not in show.text(experiment(), results)


def test_attacks_are_chosen_by_name_and_the_others_named(store):
    result = computed(experiment(), store)
    only_loss = show.text(experiment(), [result], attacks=["loss"])
    assert "attack loss" in only_loss and "attack gap" not in only_loss
    assert "also attacked by gap, confidence" in only_loss
    every = show.text(experiment(), [result], attacks=["all"])
    assert all(f"attack {name}" in every for name in ("gap", "confidence", "loss")) and "also attacked" not in every
    with pytest.raises(ValueError, match="unknown attack 'los'; did you mean loss"):
        show.text(experiment(), [result], attacks=["los"])
    with pytest.raises(ValueError, match="no results of attack 'loss' yet"):
        show.text(experiment(), [], attacks=["loss"])


def test_missing_cells_are_counted_with_the_command_that_computes_them(store):
    store.get(experiment().grid("smoke")[0])
    result = local(experiment(), "smoke", store)
    text = show.text(experiment(), [result])
    assert "local: 1 seed, 5 cells missing: mialab run toy/table --preset smoke" in text
    assert show.to_dict(experiment(), [result])["results"][0]["missing"] == 5


def test_missing_lines_are_named_and_asked_for_by_the_column_that_tells_them_from_those_that_are_there(store):
    toy = experiment(data=("mnist", "digits", "adult"))
    for cell in toy.grid("smoke", where={"data": "mnist"}):
        store.get(cell)
    result = local(toy, "smoke", store)
    text = show.text(toy, [result])
    assert "12 cells missing: mialab run toy/table --preset smoke --where data=digits --where data=adult\n" in text
    assert "    lines not complete: data digits, adult\n" in text
    store.get(toy.grid("smoke")[2])  # one seed of the first line on digits
    result = local(toy, "smoke", store)
    lines = show.text(toy, [result]).splitlines()
    assert "11 cells missing: mialab run toy/table --preset smoke" in lines[3] and "--where" not in lines[3]
    assert lines[4] == "    lines not complete: data digits: models 1, 2; data adult: models 1, 2"
    incomplete = show.to_dict(toy, [result])["results"][0]["incomplete"]
    assert len(incomplete) == 4 and {"data": "adult", "model": "lenet5", "method": "none", "models": 2} in incomplete


def test_a_complete_result_names_no_missing_line(store):
    result = computed(experiment(), store)
    assert result.missing_lines() == [] and result.missing_where() == {}
    assert "not complete" not in show.text(experiment(), [result])


def test_the_only_line_is_named_where_some_of_its_seeds_are_missing(store):
    toy = experiment()
    single = replace(toy, cells=lambda preset, seed: toy.cells(preset, seed)[:1])
    store.get(single.grid("smoke")[0])
    text = show.text(single, [local(single, "smoke", store)])
    assert "    lines not complete: data digits, model lenet5, method none: models 1\n" in text


def test_many_missing_lines_are_counted(store):
    toy = experiment(data=tuple(f"d{number}" for number in range(9)))
    for number in range(9):
        store.get(toy.grid("smoke", where={"data": f"d{number}", "models": 1})[0])
    text = show.text(toy, [local(toy, "smoke", store)])
    assert "45 cells missing" in text and "; data d5: models 1, 2 and 6 more\n" in text
    assert "data d6: " not in text


def test_lines_of_which_only_some_seeds_are_missing_are_not_complete(store):
    for cell in experiment().grid("smoke")[:5]:
        store.get(cell)
    assert "    lines not complete: models 2\n" in show.text(experiment(), [local(experiment(), "smoke", store)])


def test_a_column_that_some_rows_lack_is_a_dash():
    toy = experiment(by=("data", "model", "method", "keep"), values=("auc",))
    kept = [{"keep": 0.25, "method": "prune"}, {"method": "none"}]
    rows = [{"data": "mnist", "model": "lenet5", "seed": seed, "auc": 0.5, **own} for own in kept for seed in range(2)]
    lines = show.text(toy, [Result("toy/table", "smoke", "local", "", tuple(rows), 0)]).splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("prune ", "none "))] == [
        ["prune", "0.25"],
        ["none", "-"],
    ]


def test_an_experiment_may_declare_columns_of_its_own():
    toy = experiment(by=("data",), values=("gradient_norm", "weights"))
    rows = [{"data": "mnist", "seed": seed, "gradient_norm": 2.0 + seed, "weights": 61706} for seed in range(3)]
    result = Result("toy/table", "smoke", "local", "", tuple(rows), 0)
    assert "gradient norm" in show.text(toy, [result]) and "3 [0.5159, 5.484]" in show.text(toy, [result])
    [line] = show.to_dict(toy, [result])["results"][0]["lines"]
    assert line["weights"]["value"] == 61706 and line["gradient_norm"]["value"] == 3


def test_curves_are_named_below_the_tables(store):
    toy, result = experiment(), computed(experiment(), store)
    curve = {"data": "digits", "seed": 0, "curve": "attack nasr-paper", "points": {"epoch": [1], "auc": [0.5]}}
    assert "curves: " not in show.text(toy, [result])
    assert "\ncurves: attack nasr-paper: see --json OUT\n" in show.text(toy, [replace(result, curves=(curve,))])


def test_a_single_seed_shows_the_interval_of_its_own_row(store):
    text = show.text(experiment(), [computed(experiment(), store, seeds=[0])], attacks=["gap"])
    assert "70.0 [60.0, 80.0]  0.533 " in text


def test_no_results_name_the_command_that_makes_some():
    assert "no results yet: mialab run toy/table" in show.text(experiment(), [])


def test_sources_of_one_setting_stand_below_each_other_and_are_identified(store):
    here = computed(experiment(), store)
    other = replace(here, origin="recorded", device="NVIDIA H100")
    third = replace(here, origin="recorded", device="CPU (x86_64)")
    old = replace(here, origin="superseded", device="CPU (x86_64)")
    text = show.text(experiment(), [here, other, third, old], attacks=["gap"])
    assert "  local: 3 seeds\n  recorded 1: on NVIDIA H100, 3 seeds\n  recorded 2: on CPU (x86_64), 3 seeds\n" in text
    assert "  superseded: on CPU (x86_64), 3 seeds, made by cells that the code has replaced since" in text
    starts = [line.split()[:2] for line in text.splitlines() if line.startswith(("local", "recorded", "superseded"))]
    assert [first for first, _ in starts] == 2 * ["local", "recorded", "recorded", "superseded"]


def test_each_preset_has_tables_of_its_own(store):
    results = [computed(experiment(), store, preset) for preset in ("smoke", "course")]
    text = show.text(experiment(), results)
    assert text.index("preset smoke") < text.index("71.0 [") < text.index("preset course") < text.index("79.0 [")


def test_the_paper_s_numbers_stand_beside_their_setting_and_the_others_below(store):
    toy = experiment(data=("mnist", "digits"), reported=("pruning", "table1"))
    lines = show.text(toy, [computed(toy, store)], attacks=["gap"]).splitlines()
    at = lines.index("attack gap, data mnist, model lenet5")
    assert lines[at + 1].split()[:7] == ["models", "seeds", "test", "acc.", "%", "paper", "AUC"]
    assert [line.split()[5] for line in lines[at + 3 : at + 5]] == ["99.3", "99.3"]
    assert "paper" not in lines[lines.index("attack gap, data digits, model lenet5") + 1]
    rest = lines[lines.index("paper: also prints") :]
    assert any(line.split() == ["mnist", "lenet5", "none", "67"] for line in rest), "no such column here"
    assert any(line.split() == ["mnist", "lenet5", "pruning", "99.39", "53.41"] for line in rest)
    assert sum(line.startswith(("mnist", "cifar")) for line in rest) == 18


def test_the_json_holds_shares_with_intervals_and_every_attack(store):
    toy = experiment(reported=("ensemble", "figure2"))
    content = show.to_dict(toy, [computed(toy, store)])
    [result] = content["results"]
    assert (result["origin"], result["preset"], result["device"], result["missing"]) == ("local", "smoke", None, 0)
    assert len(result["lines"]) == 2 * 3 and len(content["printed"]) == 6
    line = result["lines"][0]
    assert line["data"] == "digits" and line["attack"] == "gap" and line["seeds"] == 3
    assert line["test_accuracy"]["value"] == pytest.approx(0.71)
    assert line["test_accuracy"]["high"] - 0.71 == pytest.approx(4.302653 * 0.01 / 3**0.5)
    assert line["tpr_0.01"] is None
    assert {line["attack"] for line in show.to_dict(toy, [], attacks=None)["results"]} == set()


def test_a_wide_table_is_broken_into_panels_that_fit_the_page_and_repeat_the_setting():
    groups = [[[f"value {k}", "0.123 [0.100, 0.150]"], ["paper", "12.3"]] for k in range(9)]
    lines = table([["setting", "small_cnn"]], groups)
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.startswith("small_cnn") for line in lines) == sum(line.startswith("setting") for line in lines) == 3
    assert sum(line.count("paper") for line in lines) == 9
    for line in lines:
        assert line.count("value") == line.count("paper"), "a column and the paper's stay together"


def test_gathering_reads_every_preset_but_names_what_is_missing_only_where_asked(store):
    toy = experiment()
    computed(toy, store)
    assert [result.preset for result in show.gather(toy, store)] == ["smoke"]
    [asked] = show.gather(toy, store, preset="paper")
    assert (asked.rows, asked.missing) == ((), 10)
    [one] = show.gather(toy, store, preset="smoke", seeds=[0])
    assert {row["seed"] for row in one.rows} == {0} and one.missing == 0


def test_cells_that_presets_share_are_shown_once(store):
    toy = experiment()
    computed(toy, store, "course")
    assert [result.preset for result in show.gather(toy, store)] == ["course"], "three of the five seeds of paper"
    computed(toy, store, "paper")
    assert [result.preset for result in show.gather(toy, store)] == ["course", "paper"]


def test_gathering_computes_nothing(store, monkeypatch):
    for kind in (Trained, Measured):
        monkeypatch.setattr(kind, "compute", None)
    lacks = tuple(config.columns() for config in experiment().grid("smoke"))
    assert show.gather(experiment(), store, preset="smoke") == [Result("toy/table", "smoke", "local", "", (), 6, lacks)]
    assert not Path(store.root).exists()


def test_seeds_are_those_that_have_the_value():
    rows = [{"seed": seed, "auc": 0.5 + seed / 10 if seed else None, "other": None} for seed in range(3)]
    assert summary(rows, (), ("auc", "other"))[0]["seeds"] == 2
    assert summary([{**row, "accuracy": 0.5} for row in rows], (), ("accuracy",))[0]["seeds"] == 3


def test_seeds_that_agree_have_the_widest_of_their_own_intervals_as_no_spread_is_no_certainty():
    ends = ([0.0, 0.3], [0.0, 0.7], None)
    rows = [{"seed": seed, "tpr_0.01": 0.0, "tpr_0.01_interval": own} for seed, own in enumerate(ends)]
    assert summary(rows, (), ("tpr_0.01",))[0]["tpr_0.01"] == (0.0, 0.0, 0.7)
    assert summary([*rows, {"seed": 3, "tpr_0.01": 0.1}], (), ("tpr_0.01",))[0]["tpr_0.01"].high < 0.2


def test_each_part_of_an_experiment_has_a_table_with_its_own_columns_alone(store):
    rows = [
        {"data": "x", "attack": "gap", "seed": 0, "auc": 0.6},
        {"data": "x", "part": "sides", "seed": 0, "share": 0.1},
        {"data": "x", "part": "factors", "seed": 0, "contribution": 0.2},
    ]
    parts = replace(experiment(), by=("data", "attack", "part"), values=("auc", "share", "contribution"))
    text = show.text(parts, [Result(parts.name, "smoke", "local", "CPU", tuple(rows), 0)])
    tables = [block for block in text.split("\n\n") if "data x" in block]
    heads = [block.splitlines()[1].split()[1:] for block in tables]
    assert sorted(heads) == [["AUC"], ["contribution"], ["share"]]
