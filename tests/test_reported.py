"""The papers' printed numbers that the package carries."""

from collections import Counter

import pytest

from mialab.results import reported


def one(**wanted):
    [row] = [row for row in reported.rows() if wanted.items() <= row.items()]
    return row["value"]


def test_the_package_carries_all_147_printed_numbers_by_source():
    counts = Counter((row["paper"], row["source"]) for row in reported.rows())
    tables = {"table1": 36, "table2": 8, "table3": 8, "table4": 27, "table5": 12, "table6": 12}
    texts = {"text_abstract": 2, "text_5.1": 1, "text_5.3": 23, "text_5.4": 3}
    assert counts == Counter(
        {("pruning", source): n for source, n in (tables | texts).items()}
        | {("ensemble", f"figure2{panel}"): 1 for panel in "abcdef"}
        | {("ensemble", "text_A.5"): 9}
    )
    assert len(reported.rows()) == sum(counts.values()) == 147


def test_values_are_those_printed():
    vgg = {"source": "table1", "dataset": "cifar10", "model": "vgg16"}
    assert one(**vgg, method="baseline", metric="test_accuracy") == 91.28
    assert one(**vgg, method="mia_pruning", metric="attack_accuracy") == 59.02
    assert one(source="table2", dataset="mnist", method="dp", metric="attack_accuracy") == 78.54
    assert one(source="table4", dataset="imagenet", model="resnet18", metric="reduction_ratio") == 3.37
    assert one(source="figure2f") == 0.3792


def test_the_words_before_a_number_are_kept_apart_from_it():
    words = {row["qualifier"]: 0 for row in reported.rows()}
    assert set(words) == {"", "up to", "approximately", "close to", "under", "less than", "at least"}
    assert one(source="text_abstract", method="baseline minus mia_pruning") == 13.6
    assert one(source="text_5.3", qualifier="under") == 70


def test_no_setting_has_two_numbers():
    settings = [tuple(row[name] for name in reported.TEXT) for row in reported.rows()]
    assert len(set(settings)) == len(settings)


def test_rows_of_a_paper_and_a_source_are_selected_and_a_figure_takes_its_panels_along():
    assert {row["source"] for row in reported.rows("ensemble", "figure2")} == {f"figure2{panel}" for panel in "abcdef"}
    assert {row["paper"] for row in reported.rows("pruning")} == {"pruning"}
    assert len(reported.rows("pruning", "table1")) == 36


def test_a_caller_cannot_change_the_table():
    reported.rows()[0]["value"] = -1
    assert reported.rows()[0]["value"] == 99.3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("prunning",), "unknown paper 'prunning'; did you mean pruning?"),
        (("pruning", "tabel1"), "unknown source 'tabel1'; did you mean table1"),
        (("ensemble", "table1"), "unknown source 'table1'"),
        (("pruning", "table"), "unknown source 'table'"),
    ],
)
def test_an_unknown_paper_or_source_is_refused_with_close_names(asked, message):
    with pytest.raises(ValueError, match=message):
        reported.rows(*asked)


@pytest.mark.parametrize(
    "row",
    ["pruning,table1,mnist,lenet5,baseline,auc,much,", "pruning,table1,mnist", "a,b,c,d,e,f,1", "a,b,c,d,e,f,1,2,3"],
)
def test_a_damaged_line_is_named(row):
    import csv

    [parsed] = csv.DictReader([",".join((*reported.TEXT, "value", "qualifier")), row])
    with pytest.raises(ValueError, match="line 7"):
        reported._typed(7, parsed)
