# SPDX-License-Identifier: Apache-2.0
"""The budget search on a small network: it fits, proves itself, repeats itself, goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compress.nets import Net
from tests.compress.test_branches import residual
from tests.compress.test_resolution import pooled
from tinygen import api, running
from tinygen.compress import Evidence, Setting, compress
from tinygen.compress.coded import Coded
from tinygen.compress.recipe import of_content
from tinygen.errors import UsageError
from tinygen.search import Candidate, Effort, Found, Goal, Problem, Progress, Study, engine, search
from tinygen.search.aiming import LOST, by_kind
from tinygen.search.base import EFFORTS, silent
from tinygen.search.bases import Base, structures
from tinygen.search.curves import Curves
from tinygen.search.knapsack import Knapsack
from tinygen.search.last import fitted_to_all
from tinygen.search.picture import picture
from tinygen.search.ranking import frontier
from tinygen.search.remembered import beside
from tinygen.search.seeds import seeded
from tinygen.search.uniform import settings
from tinygen.search.ways import Way, entries, ladder
from tinygen.target import load_target

TARGET, HOST = load_target("cortex-m4"), load_target("host")
#: Hardly any: what a search does is the same, only less of it.
TINY = Effort("tiny", 3, (0.5,), (), tries=1, probes=2, samples=31, fine=False)
STUDIED = replace(TINY, name="studied", ratios=(), trials=4)
ALIKE = replace(TINY, name="alike", ratios=(), alike=2)


@cache
def problem() -> Problem:
    """A network whose weights are most of its flash."""
    net = Net((1, 32), seed=4)
    graph, evidence = net.finish(net.dense("head", net.dense("first", "x", 64), 8), samples=48)
    return Problem(graph, evidence, TARGET)


def there() -> Problem:
    """The same for this machine: nothing is linked, and code is estimated."""
    return replace(problem(), target=HOST)


@cache
def plain(here: bool = True) -> Found:
    return search(there() if here else problem(), Goal(flash=1 << 20), TINY)


@pytest.fixture
def few_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers have two ways to be stored: searches take less time, and what they do is the same."""
    monkeypatch.setattr(engine, "ladder", lambda fine, large: [Way(values=8), Way(values=2)])


def goal(share: float, here: bool = True) -> Goal:
    """To save this share of the weights."""
    start = plain(here).start.cost
    return Goal(flash=round(start.flash - share * start.weights))


def test_what_fits_stays_as_it_is() -> None:
    found = plain()
    assert found.fits and found.candidate == found.start and len(found.judged) == 1
    assert found.candidate.drop == 0 and found.candidate.loss == 0 and not found.candidate.recipe["technique"]


@cache
def fitted() -> tuple[Found, tuple[Progress, ...]]:
    heard = list[Progress]()
    return search(problem(), goal(0.4, False), TINY, heard=heard.append), tuple(heard)


def test_the_result_fits_by_the_linker_and_verifies(tmp_path: Path) -> None:
    found, _ = fitted()
    assert found.fits and found.candidate.cost.counted
    made = api.build(found.graph, TARGET, flash=found.goal.flash)
    assert made.report["flash"]["total"] == found.candidate.cost.flash
    assert made.report["ram"]["total"] == found.candidate.cost.ram
    assert made.program.constant_bytes == found.candidate.cost.constants
    result = running.verify(made.write(tmp_path / "made"), vectors=2)
    result.raise_if_wrong()


def test_the_recipe_makes_the_same_graph() -> None:
    found, _ = fitted()
    task = problem()
    again, lines = compress(task.graph, of_content(found.candidate.recipe, "found"), task.evidence, TARGET)
    assert {n: v.tobytes() for n, v in again.constants.items()} == {
        n: v.tobytes() for n, v in found.graph.constants.items()
    }
    assert [line.name for line in found.bought] == [line.name for line in lines]
    assert found.bought[-1].constants == lines[-1].constants == found.candidate.cost.constants


def test_it_tells_what_it_does() -> None:
    found, heard = fitted()
    assert {"start", "curves", "knapsack", "check"} == {event.phase for event in heard}
    assert all(1 <= event.number <= event.total for event in heard)
    assert heard[-1].best == found.candidate


def test_candidates_are_json_and_come_back() -> None:
    found, _ = fitted()
    for candidate in found.judged:
        assert Candidate.of_dict(json.loads(json.dumps(candidate.as_dict()))) == candidate
    assert json.loads(json.dumps(found.as_dict()))["fits"]


def test_no_candidate_beats_one_on_the_frontier() -> None:
    found, _ = fitted()
    assert found.candidate in found.judged and set(map(id, found.frontier)) <= set(map(id, found.judged))
    for one in found.frontier:
        for other in found.judged:
            better = other.cost.flash < one.cost.flash and other.loss < one.loss and other.drop < one.drop
            assert not (better and other.cost.ram <= one.cost.ram and other.cost.instructions <= one.cost.instructions)
    assert frontier(found.frontier) == found.frontier


def test_out_of_reach_says_how_close_it_came() -> None:
    found = search(there(), Goal(flash=700), TINY)
    assert not found.fits and len(found.frontier) > 2
    assert f"{found.candidate.cost.flash:,} bytes of flash for 700" in found.missed()
    assert found.candidate.cost.flash == min(c.cost.flash for c in found.judged)


# --- Settings that are the same for all layers -----------------------------------------------------------------------


@cache
def compared() -> Found:
    """The whole frontier, for this machine."""
    return search(there(), Goal(), ALIKE)


def test_nothing_uniform_beats_the_frontier() -> None:
    """Of each setting for all layers, compressed and linked here: something is as small and loses no more."""
    task, tried = there(), [c for c in compared().judged if c.origin == "uniform"]
    assert [c.recipe["technique"] for c in tried] == [list(recipe) for recipe in settings(2)]
    for candidate in tried:
        _, lines = compress(task.graph, of_content(candidate.recipe, "tried"), task.evidence, HOST)
        assert lines[-1].quality == candidate.quality and lines[-1].constants == candidate.cost.constants
        assert any(
            c.cost.flash <= candidate.cost.flash and c.drop <= candidate.drop and c.loss <= candidate.loss
            for c in compared().frontier
        )


def test_every_uniform_size_is_tried_with_settings_for_each_layer() -> None:
    """At most as large, by the linker's count, or the smallest there are."""
    judged = compared().judged
    alike = [c for c in judged if c.origin == "uniform" and c.loss <= LOST]
    front = [c for c in alike if not any(o.cost.flash <= c.cost.flash and o.loss < c.loss for o in alike)]
    least = min(c.cost.flash for c in judged if c.origin == "knapsack")
    assert len(front) > 2
    for candidate in front:
        assert any(c.origin == "knapsack" and c.cost.flash <= max(candidate.cost.flash, least) for c in judged)


@pytest.mark.usefixtures("few_ways")
def test_the_linker_has_told_the_sizes_of_a_frontier_without_limits() -> None:
    task = problem()
    found = search(task, Goal(), replace(TINY, ratios=(), sizes=1))
    for candidate in found.frontier:
        _, lines = compress(task.graph, of_content(candidate.recipe, "front"), task.evidence, TARGET)
        assert lines[-1].flash == candidate.cost.flash
    assert len(found.frontier) > 1


def test_what_is_chosen_is_fitted_to_all_samples_at_last() -> None:
    """If it still fits, is no noisier, and if there are samples that it has not seen; its quality stays what it was."""
    task = there()
    made = engine.Search(replace(task, spare=True), Goal(flash=1 << 20), TINY, silent, None)
    made.start()
    one = made.candidate(next(iter(settings(1))), "uniform")
    last = fitted_to_all(made, replace(one, loss=1.0))
    assert last is not None and last.candidate.quality == one.quality
    again, _ = compress(
        task.graph,
        of_content(last.candidate.recipe, "last"),
        task.evidence.fitting_all(),
        TARGET,
        passes=made.problem.passes,
    )
    assert {n: v.tobytes() for n, v in again.constants.items()} == {
        n: v.tobytes() for n, v in last.graph.constants.items()
    }
    assert last.candidate.recipe["samples"] == "all"
    assert fitted_to_all(made, replace(one, loss=0.0)) is None, "noisier"
    made.goal = Goal(weights=one.cost.weights - 1)
    assert fitted_to_all(made, replace(one, loss=1.0)) is None, "does not fit"
    made.goal, made.problem = Goal(flash=1 << 20), replace(made.problem, spare=False)
    assert fitted_to_all(made, replace(one, loss=1.0)) is None, "nothing is to spare"


def test_zeros_are_placed_so_that_they_just_fit() -> None:
    most = round(0.4 * plain().start.cost.weights)
    made = engine.Search(there(), Goal(weights=most), ALIKE, silent, None)
    start, sparse = made.start(), made.candidate(list(settings(2))[4], "uniform")
    seeded(made)
    tried = [c for c in made.candidates.values() if c not in (start, sparse)]
    assert all(c.recipe["technique"][0]["spread"] == "global" for c in tried)
    assert 0 < len(tried) <= 3 and 0.9 * most <= tried[-1].cost.weights <= 1.05 * most


def test_zeros_are_not_tried_where_others_lose_less() -> None:
    """In a network of convolutions whose sparse form is larger than the plain one."""
    graph, evidence = pooled()
    few = Problem(graph, Evidence(evidence.samples[:16], evidence.held_back[:16]), HOST)
    made = engine.Search(few, Goal(flash=1), ALIKE, silent, None)
    made.start()
    made.candidate(list(settings(2))[4], "uniform")
    seeded(made)
    assert len(made.candidates) == 2


@pytest.mark.usefixtures("few_ways")
def test_weights_can_be_limited_alone() -> None:
    effort, whole = replace(TINY, ratios=(), sizes=1), plain().start.cost.weights
    found = search(there(), Goal(weights=whole // 2), effort)
    assert found.fits and found.candidate.cost.weights <= whole // 2
    closest = search(there(), Goal(weights=10), effort)
    assert f"{closest.candidate.cost.weights:,} bytes of weights for 10" in closest.missed()


def test_the_picture_shows_both() -> None:
    drawn = picture(compared(), "a network")
    assert "the same for every layer: " in drawn and "settings for each layer: " in drawn


@pytest.mark.parametrize("count", [0, 1, 6])
def test_uniform_settings_are_recipes(count: int) -> None:
    made = list(settings(count))
    for recipe in made:
        assert of_content({"technique": [dict(entry) for entry in recipe]}, "uniform")
    assert len({json.dumps(recipe) for recipe in made}) == len(made) and bool(made) == bool(count)


# --- Structures ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_ways")
def test_branches_are_bases_where_there_are_any() -> None:
    graph, evidence = residual()
    names = [entry["name"] for (entry,) in structures(graph, replace(TINY, branches=(1, 2, 3)))]
    assert names == ["prune", "branches", "branches"]
    assert [e["name"] for (e,) in structures(there().graph, replace(TINY, branches=(1,)))] == ["prune"]
    effort = replace(TINY, ratios=(), branches=(1,), sizes=1)
    heard = list[Progress]()
    few = Evidence(evidence.samples[:16], evidence.held_back[:16])
    found = search(Problem(graph, few, HOST), Goal(flash=1500), effort, heard=heard.append)
    used = {entry["name"] for c in found.judged for entry in c.recipe["technique"]}
    assert "branches" in used and sum(event.phase == "curves" for event in heard) == 2


@pytest.mark.usefixtures("few_ways")
def test_settings_that_nearly_fit_are_worth_correcting() -> None:
    """Of bases, not the one wins that happens to leave a few bytes: sizes are corrected later."""
    made = engine.Search(there(), Goal(), TINY, silent, None)
    base = made.base(())
    options = {name: some[-1] for name, some in made.curves(base).items()}
    flash = made.costs.of(made.walked(base, options)).flash
    for share, fits in ((1.0, True), (0.99, True), (0.9, False)):
        made.goal = Goal(flash=round(share * flash))
        assert (made.trial(base, options)[0] == 0) == fits


@pytest.mark.usefixtures("few_ways")
def test_ram_is_met_by_fewer_channels() -> None:
    found = search(there(), Goal(ram=plain().start.cost.ram - 24), TINY)
    assert found.fits and found.candidate.recipe["technique"][0]["name"] == "prune"


@pytest.mark.usefixtures("few_ways")
def test_instructions_are_met_by_smaller_images_too() -> None:
    graph, evidence = pooled()
    few = Problem(graph, Evidence(evidence.samples[:16], evidence.held_back[:16]), HOST)
    most = round(0.6 * search(few, Goal(flash=1 << 20), TINY).start.cost.instructions)
    found = search(few, Goal(instructions=most), replace(TINY, ratios=(), sizes=2, fine=True))
    assert found.fits and found.candidate.cost.instructions <= most
    assert {"prune", "resolution"} <= {c.recipe["technique"][0]["name"] for c in found.judged[1:]}


def test_a_scale_for_each_channel_is_a_way() -> None:
    assert {way.scale for way in ladder(True, False)} == {"tensor", "channel"}
    assert {way.scale for way in ladder(False, True)} == {"tensor"}


def test_usual_ways_are_tried_alone_too() -> None:
    """Where there are others: what those add is known less well."""
    made = engine.Search(there(), Goal(), replace(TINY, fine=True), silent, None)
    base = made.base(())
    start = engine.Start(base, curves := made.curves(base), Knapsack.of(curves))
    every, usual = start.kinds
    assert every is start and any(not o.way.usual for some in curves.values() for o in some)
    for name, some in usual.curves.items():
        assert len(some) > 3 and all(option.way.usual for option in some)
        front = [(o.bytes, o.noise) for o in curves[name]]
        assert front == sorted(front, key=lambda pair: -pair[0]), "by falling bytes"
    assert usual.kinds == (usual,) and by_kind([start, usual]) == [(start, usual)]


def test_more_effort_tries_all_that_less_does() -> None:
    for less, more in pairwise(EFFORTS.values()):
        for some, all_ in ((less.ratios, more.ratios), (less.ranks, more.ranks), (less.branches, more.branches)):
            assert set(some) <= set(all_)  # type: ignore[call-overload]  # floats, or counts
        assert (less.alike, less.tries, less.sizes, less.trials) <= (more.alike, more.tries, more.sizes, more.trials)
        for large in (False, True):
            assert set(ladder(less.fine, large)) <= set(ladder(more.fine, large))


def test_a_step_is_a_way_and_part_of_a_recipe() -> None:
    one = problem()
    (way,) = [way for way in ladder(True, False) if way.step == 0.5]
    techniques = of_content({"technique": entries({"head": way})}, "here")
    made, _ = compress(one.graph, techniques, one.evidence, HOST)
    expected = Coded(Setting(None, {"head": "step:0.5"})).run(one.graph, one.evidence).graph
    head = next(node for node in one.graph.nodes if node.name == "head")
    assert np.array_equal(made.constants[head.inputs[1]], expected.constants[head.inputs[1]])
    assert not any(way.step for way in ladder(False, True))


@pytest.mark.parametrize(
    ("values", "message"),
    [({"flash": 0}, "flash to be a positive number"), ({"max_drop": -1.0}, "0 to 100 points")],
)
def test_goals_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Goal(**values)


# --- Studies ---------------------------------------------------------------------------------------------------------


def trials(path: Path) -> list[Any]:
    optuna = pytest.importorskip("optuna")
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="tinygen", storage=storage)
    return [t for t in study.get_trials() if t.values]


@pytest.mark.usefixtures("few_ways")
def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Interrupted after two trials, and begun again: no trial is lost, and candidates are not judged again."""
    pytest.importorskip("optuna")

    class Interrupt(Exception):
        pass

    def heard(event: Progress) -> None:
        if event.phase == "study" and event.number == 3:
            raise Interrupt

    study, wanted = Study(tmp_path / "study.db"), goal(0.6)
    with pytest.raises(Interrupt):
        search(there(), wanted, STUDIED, study, heard)
    before = [(t.number, t.values) for t in trials(study.path)]
    assert len(before) == 2
    found = search(there(), wanted, STUDIED, study)
    after = [(t.number, t.values) for t in trials(study.path)]
    assert after[:2] == before and len(after) == STUDIED.trials
    again = search(there(), wanted, STUDIED, study)
    assert len(trials(study.path)) == STUDIED.trials
    assert again.candidate == found.candidate
    assert {n: v.tobytes() for n, v in again.graph.constants.items()} == {
        n: v.tobytes() for n, v in found.graph.constants.items()
    }


@pytest.mark.usefixtures("few_ways")
def test_curves_are_measured_once_for_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read again equals what was measured, bit for bit; a damaged file is measured anew, and mended."""
    pytest.importorskip("optuna")
    measured, curves = list[Any](), list[Any]()
    make, look = engine.measured, engine.Search.curves

    def measuring(*some: Any) -> Any:
        measured.append(some)
        return make(*some)

    def looking(made: engine.Search, base: Base) -> Curves:
        curves.append(look(made, base))
        return curves[-1]

    monkeypatch.setattr(engine, "measured", measuring)
    monkeypatch.setattr(engine.Search, "curves", looking)
    study, wanted = Study(tmp_path / "study.db"), goal(0.6)
    effort = replace(STUDIED, trials=1)
    first = search(there(), wanted, effort, study)
    count, bases = len(measured), len(curves)
    second = search(there(), wanted, effort, study)
    assert count == bases == len(measured) and len(curves) == 2 * bases
    assert [*map(plainly, curves[:bases])] == [*map(plainly, curves[bases:])]
    assert first.candidate == second.candidate
    for file in beside(study.path).iterdir():
        file.write_bytes(file.read_bytes()[:-200])
    search(there(), wanted, effort, study)
    assert len(measured) == 2 * count
    search(there(), wanted, effort, study)
    assert len(measured) == 2 * count


def plainly(curves: Curves) -> list[Any]:
    """Everything that options consist of, in values that `==` compares."""
    return [
        (name, o.way, o.bytes, o.noise, o.node, o.types, [(n, v.dtype, v.tobytes()) for n, v in o.constants.items()])
        for name, some in curves.items()
        for o in some
    ]


@pytest.mark.usefixtures("few_ways")
def test_two_processes_share_a_study(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    found = search(there(), goal(0.3), replace(STUDIED, trials=6), Study(tmp_path / "study.db", workers=2))
    done = trials(tmp_path / "study.db")
    assert found.fits and len(done) >= 6
    assert len({t.number for t in done}) == len(done)


@pytest.mark.usefixtures("few_ways")
def test_a_study_of_another_problem_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    study = Study(tmp_path / "study.db")
    search(there(), Goal(flash=1 << 20), replace(STUDIED, trials=0, sizes=1), study)
    other = replace(there(), target=load_target("cortex-m0"))
    with pytest.raises(UsageError, match="a study of another target: name"):
        search(other, goal(0.6), STUDIED, study)
    study.path.write_text("no journal\n")
    with pytest.raises(UsageError, match="not a study that tinygen wrote"):
        search(there(), goal(0.6), STUDIED, study)


@pytest.mark.usefixtures("few_ways")
def test_samples_are_the_same_each_time() -> None:
    pytest.importorskip("optuna")
    one, two = (search(there(), goal(0.7), STUDIED) for _ in range(2))
    assert one.judged == two.judged and np.isfinite(one.candidate.loss)
