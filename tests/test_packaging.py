"""pyproject.toml, constraints.txt, environment.yml and the places that carry the version or the address agree."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mialab

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
EXTRAS = PROJECT["optional-dependencies"]


def pins(file):
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def requirements():
    return [Requirement(text) for texts in [PROJECT["dependencies"], *EXTRAS.values()] for text in texts]


def test_constraints_pin_every_package_exactly():
    assert all(re.fullmatch(r"[\w.!+]+", version) for version in pins("constraints.txt").values())


def test_every_requirement_is_locked_at_a_version_that_it_admits():
    locked = pins("constraints.txt")
    for requirement in requirements():
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_floors_admit_what_colab_ships():
    colab = pins("tests/colab.txt")
    runtime = [Requirement(text) for text in PROJECT["dependencies"]]
    checked = [r for r in runtime if canonicalize_name(r.name) in colab]
    assert len(checked) >= 7
    for requirement in checked:
        assert colab[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert colab["python"] in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_torch_is_not_pinned_to_the_release_that_breaks_torchvision():
    assert not pins("constraints.txt")["torch"].startswith("2.13")


def test_jupyter_book_stays_at_the_frozen_release():
    assert pins("constraints.txt")["jupyter-book"] == "1.0.4.post1"
    assert "jupyter-book==1.0.4.post1" in EXTRAS["book"]


def test_environment_yml_installs_what_make_setup_installs():
    *_, pip = ENVIRONMENT["dependencies"]
    installed = re.search(r"--editable '\.\[(.*?)\]'", (ROOT / "Makefile").read_text())[1]
    assert pip == {"pip": ["--constraint constraints.txt", f"--editable .[{installed}]"]}
    python = next(d for d in ENVIRONMENT["dependencies"] if str(d).startswith("python="))
    assert python.removeprefix("python=") in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_the_version_and_the_address_are_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    book = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert citation["version"] == mialab.__version__
    assert book["repository"]["url"] == PROJECT["urls"]["Repository"] == citation["repository-code"]


def test_the_workflows_call_the_same_targets_as_everyone():
    workflows = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")]
    commands = [step["run"] for w in workflows for job in w["jobs"].values() for step in job["steps"] if "run" in step]
    assert sorted(commands) == ["bash .ci/run", "make book"]
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_wheel_carries_every_file_of_the_package_and_the_licence_of_its_images():
    files = [path for path in (ROOT / "mialab").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    carried = SETTINGS["tool"]["setuptools"]["package-data"]
    matched = {
        path
        for package, patterns in carried.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert set(files) <= matched
    assert ROOT / "mialab/data/fashion/images.png" in matched
    assert "mialab/data/fashion/LICENSE" in PROJECT["license-files"]
