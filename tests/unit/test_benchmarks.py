"""What all benchmarks share: figures and their targets, the page that shows them, plots and commands."""

from __future__ import annotations

import asyncio
import json
import sys
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as commands
from benchmarks import benchmark, page, plots, results
from benchmarks.benchmark import Benchmark
from benchmarks.results import Result, Target, at_least, at_most, by_name

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("target", "value", "holds"),
    [
        (at_most(0.5), 0.5, True),
        (at_most(0.5), 0.501, False),
        (at_least(0.8), 0.8, True),
        (at_least(0.8), 0.799, False),
        (None, 1e9, True),
    ],
)
def test_a_target_holds_up_to_its_own_value(target, value, holds):
    assert Result("figure", value, "times", (value, value), target).holds is holds


@pytest.mark.parametrize("target", [at_most(0.5), at_least(17), at_most(0)])
def test_a_target_is_read_as_it_is_written(target):
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize("text", ["< 0.5", "<= fast", "0.5"])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Target.parse(text)


def test_a_figure_is_the_median_with_its_spread_beside_those_of_peers():
    found = Result.of("start", [3.0, 1.0, 2.0], "s", at_most(2), peers={"peer": [4.0, 9.0, 5.0]})
    assert (found.value, found.spread, found.runs, found.holds) == (2.0, (1.0, 3.0), 3, True)
    assert found.peers == {"peer": 5.0}


def test_a_ratio_is_the_median_of_pairs_not_the_ratio_of_medians():
    found = Result.ratio("start", [1.0, 10.0, 3.0], [4.0, 10.0, 10.0], at_most(0.3))
    assert (found.value, found.spread, found.unit, found.holds) == (0.3, (0.25, 1.0), "times", True)


def test_a_ratio_needs_pairs():
    with pytest.raises(ValueError, match="shorter"):
        Result.ratio("start", [1.0, 2.0], [1.0])


def test_of_the_worst_the_largest_counts():
    found = Result.worst("requests", [2, 7, 3], "requests", 6)
    assert (found.value, found.spread, found.runs, found.holds) == (7, (2, 7), 3, False)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.123456, 0.123), (12.3456, 12.3), (123456.7, 123457.0), (-0.98765, -0.988), (0, 0)]
)
def test_figures_have_three_digits_and_all_before_the_point(value, shown):
    assert results.rounded(value) == shown


def test_a_benchmark_takes_the_place_of_its_own_earlier_figures_only(tmp_path):
    path = tmp_path / "results.json"
    results.keep([Result.of("start", [1.0], "s", at_most(2), peers={"peer": [3.0]})], "startup", path)
    results.keep([Result.of("start", [5.0], "s"), Result.of("stop", [6.0], "s")], "launch", path)
    results.keep([Result.of("start", [7.0], "s"), Result.of("end", [8.0], "s")], "launch", path)
    assert results.load("startup", path) == by_name(
        [Result.of("start", [1.0], "s", at_most(2), peers={"peer": [3.0]})]
    )
    assert {name: each.value for name, each in results.load("launch", path).items()} == {
        "start": 7.0,
        "end": 8.0,
    }
    assert list(results.load_all(path)) == ["launch: start", "launch: end", "startup: start"]


def test_what_is_kept_is_a_list_for_other_programs(tmp_path):
    path = tmp_path / "results.json"
    results.keep([Result.of("start", [1.0, 3.0, 2.0], "s", at_most(1))], "startup", path)
    assert json.loads(path.read_text()) == [
        {
            "name": "startup: start",
            "value": 2.0,
            "unit": "s",
            "spread": [1.0, 3.0],
            "target": "<= 1",
            "holds": False,
            "peers": {},
            "runs": 3,
        }
    ]


def test_nothing_is_kept_before_the_first_run(tmp_path):
    assert results.load("startup", tmp_path / "results.json") == {}


PAGE = f"""\
# Performance

{page.begin("one")}
earlier figures
{page.end("one")}

prose

{page.begin("targets")}{page.end("targets")}
"""


def test_a_benchmark_writes_between_its_marks_and_nothing_else():
    text = page.written(PAGE, "one", "| new |\n")
    assert f"{page.begin('one')}\n\n| new |\n\n{page.end('one')}\n\nprose\n" in text
    assert "earlier" not in text
    assert page.written(text, "one", "| new |") == text


def test_a_page_without_the_marks_is_refused():
    with pytest.raises(ValueError, match="not found"):
        page.written(PAGE, "two", "text")


def test_targets_that_do_not_hold_stand_out():
    kept = [
        Result.of("a: fast", [1.0], "s", at_most(2)),
        Result.of("b: slow", [3.0], "s", at_most(2)),
        Result.of("c: known", [3.0], "s"),
    ]
    assert page.targets(kept).splitlines()[2:] == [
        "| a: fast | 1 s | <= 2 | yes |",
        "| **b: slow** | **3 s** | **<= 2** | **no** |",
    ]


@pytest.mark.parametrize(("seen", "shown"), [([2.0], "2"), ([1.0, 2.0, 4.0], "2 (1-4)")])
def test_a_spread_is_shown_where_there_is_one(seen, shown):
    assert page.spread(Result.of("start", seen, "s")) == shown


def texts(svg):
    return {each.text for each in ET.fromstring(svg).iter(f"{SVG}text")}


def test_plots_name_what_they_show_and_run_no_script():
    drawn = [
        plots.bars("Seconds", {"warm": {"ours": 1.0, "theirs": 2.0}, "cold": {"ours": 3.0, "theirs": 4.0}}),
        plots.stacked("Seconds", {"ours": [1.0, 2.0], "theirs": [3.0, 4.0]}, ["claim", "import"]),
        plots.curves("Seconds", {"ours": [(1, 1.0), (10, 2.0)], "theirs": [(1, 3.0)]}, "servers"),
    ]
    for svg in drawn:
        assert {"Seconds"} <= texts(svg)
        assert "<script" not in svg
    assert {"ours", "theirs", "warm", "cold"} <= texts(drawn[0])
    assert {"ours", "theirs", "claim", "import"} <= texts(drawn[1])
    assert {"ours", "theirs", "servers"} <= texts(drawn[2])


def test_the_same_figures_give_the_same_plot():
    first, second = (plots.bars("Seconds", {"warm": {"ours": 1.0}}) for _ in range(2))
    assert first == second


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A page, and figures that are kept, of a test's own."""
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(page, "PLOTS", tmp_path / "plots")
    kept = tmp_path / "results.json"
    for module, name, function in (
        (benchmark, "load", results.load),
        (benchmark, "keep", results.keep),
        (page, "load_all", results.load_all),
    ):
        monkeypatch.setattr(module, name, lambda *given, function=function: function(*given, kept))
    (tmp_path / "performance.md").write_text(PAGE)
    return tmp_path


def one(*seen, fails=False):
    """A benchmark of one figure, which is to be 2 at most."""

    def measured():
        yield [Result.of("start", seen, "s", at_most(2), peers={"peer": [4.0]})]
        if fails:
            raise RuntimeError("no more")

    def shown(found):
        return f"it takes {found['start'].value:g} s"

    return Benchmark("one", 1, measured, shown, lambda found: {"one.svg": f"<svg>{len(found)}</svg>"})


def test_a_run_keeps_its_figures_and_shows_them_on_the_page(place):
    done = CliRunner().invoke(one(1.0, 2.0, 1.5).command())
    assert done.exit_code == 0
    assert "start  " in done.stdout
    assert "peer: 4" in done.stdout
    text = (place / "performance.md").read_text()
    assert f"{page.begin('one')}\n\nit takes 1.5 s\n\n" in text
    assert "| one: start | 1.5 s | <= 2 | yes |" in text
    assert (place / "plots/one.svg").read_text() == "<svg>1</svg>"


def test_a_target_that_does_not_hold_is_an_exit_code_and_still_kept(place):
    done = CliRunner().invoke(one(3.0).command())
    assert done.exit_code == 1
    assert "DOES NOT HOLD" in done.stdout
    assert json.loads((place / "results.json").read_text())[0]["holds"] is False
    assert "it takes 3 s" in (place / "performance.md").read_text()


def test_a_run_that_breaks_down_keeps_nothing(place):
    done = CliRunner().invoke(one(1.0, fails=True).command())
    assert isinstance(done.exception, RuntimeError)
    assert not (place / "results.json").exists()
    assert (place / "performance.md").read_text() == PAGE


def test_of_what_was_never_run_nothing_is_shown(place):
    one(1.0).refresh()
    assert (place / "performance.md").read_text() == PAGE


def test_all_runs_each_of_the_usual_ones_and_fails_with_any(monkeypatch):
    ran = []
    codes = {"startup": -9}

    def ended(name):
        ran.append(name)
        return codes.get(name, 0)

    monkeypatch.setattr(commands, "_ended", ended)
    assert CliRunner().invoke(commands.main, ["all"]).exit_code == 1
    assert ran == [each.name for each in commands.BENCHMARKS if each.usual]
    codes.clear()
    assert CliRunner().invoke(commands.main, ["all"]).exit_code == 0


async def _cancelled():
    raise asyncio.CancelledError


def test_one_that_a_signal_ends_has_an_exit_code_of_its_own_and_keeps_nothing(place):
    def measured():
        yield []
        asyncio.run(_cancelled())

    done = CliRunner().invoke(Benchmark("one", 1, measured, lambda _: "").command())
    assert (done.exit_code, type(done.exception)) == (130, SystemExit)
    assert not (place / "results.json").exists()


def test_plots_leave_no_hook_behind_that_python_warns_of():
    assert all(hasattr(each, "find_spec") for each in sys.meta_path)


def test_the_usual_ones_take_less_than_twenty_minutes():
    assert sum(each.minutes for each in commands.BENCHMARKS if each.usual) <= 20


@pytest.mark.parametrize("each", commands.BENCHMARKS, ids=lambda each: each.name)
def test_each_has_marks_in_the_documentation(each):
    for text in (page.PAGE.read_text(), *(path.read_text() for path in each.follows)):
        assert 0 < text.index(page.begin(each.name)) < text.index(page.end(each.name))


@pytest.mark.parametrize("each", commands.BENCHMARKS, ids=lambda each: each.name)
def test_the_documentation_shows_the_figures_that_are_kept(each):
    kept = results.load(each.name)
    if kept:
        text = page.PAGE.read_text()
        assert page.written(text, each.name, each.shown(kept)) == text
        for path, shown in each.follows.items():
            assert page.written(path.read_text(), each.name, shown(kept)) == path.read_text()
        for name, plot in each.plotted(kept).items():
            assert (page.PLOTS / name).read_text() == plot


def test_the_documentation_shows_all_targets():
    text = page.PAGE.read_text()
    assert page.written(text, page.TARGETS, page.targets(results.load_all().values())) == text
