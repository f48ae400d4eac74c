"""The study's checklist."""

from dataclasses import replace

from cnnviz.analysis.study import Part, checklist
from cnnviz.presets import PRESETS
from cnnviz.store.runs import Run
from tests.helpers.runs import run


def trained(key: str, epoch: int = 20, dataset: str = "cifar10", accuracy: float = 0.5) -> list[Run]:
    return [
        replace(
            run(f"{key} {index}", **vars(replace(config, epochs=max(epoch, 20)))),
            epoch=epoch,
            accuracy=(0.1, accuracy - index / 100),
        )
        for index, config in enumerate(PRESETS[key].configs(dataset=dataset))
    ]


def parts(runs: list[Run], dataset: str = "cifar10") -> dict[str, Part]:
    return {part.key: part for part in checklist(runs, dataset)}


def test_with_no_runs_all_of_it_is_to_be_trained() -> None:
    found = parts([])
    assert list(found) == ["1a", "1b", "2a", "3a", "3b", "hand-in"]
    assert {part.state for part in found.values()} == {"open"}
    assert [len(found[key].train) for key in found] == [12, 0, 1, 1, 0, 0]


def test_what_is_missing_of_the_grid_is_what_is_offered() -> None:
    grid = trained("1a")
    found = parts([*grid[:7], replace(grid[7], epoch=3, status="RUNNING")])["1a"]
    assert (found.state, found.progress) == ("begun", "7 of 12 trained, 1 in training")
    assert found.train == tuple(each.config for each in grid[8:])


def test_what_was_trained_for_too_few_epochs_goes_on() -> None:
    grid = trained("1a", 3)
    found = parts([*grid[:11], replace(grid[11], epoch=-1)])["1a"]
    assert (found.train, found.target) == ((), 20)
    assert found.resume == {17: [f"1a {index}" for index in range(11)], 20: ["1a 11"]}
    assert found.progress == "0 of 12 trained, 12 for less than 20 epochs"


def test_a_grid_of_another_data_set_or_a_fork_does_not_count() -> None:
    forks = [replace(each, parent="x") for each in trained("1a")]
    assert parts([*trained("1a", dataset="synthetic"), *forks])["1a"].state == "open"
    assert parts(trained("1a", dataset="synthetic"), "synthetic")["1a"].progress.startswith("12 of 12")


def test_one_run_of_the_grid_is_taken_on() -> None:
    grid = trained("1a")
    found = parts(grid)["1a"]
    assert found.state == "begun"
    assert found.resume == {20: ["1a 0"]}
    assert parts([replace(grid[0], epoch=40), *grid[1:]])["1a"].state == "done"


def test_the_best_and_the_worst_are_looked_at() -> None:
    found = parts(trained("1a"))["1b"]
    assert (found.look, found.page) == (("1a 0", "1a 11"), "pages/feature_maps.py")


def test_the_last_comparison_needs_forty_epochs_of_three_runs() -> None:
    runs = [*trained("1a"), *trained("2a", 25), *trained("3a", 40)]
    found = parts(runs)["3b"]
    assert (found.state, found.progress) == ("begun", "1 of 3 have 40 epochs")
    assert found.resume == {20: ["1a 0"], 15: ["2a 0"]}
    runs = [*trained("1a", 40), *trained("2a", 40), *trained("3a", 40)]
    found = parts(runs)["3b"]
    assert (found.state, found.resume, found.look) == ("done", {}, ("1a 0", "2a 0", "3a 0"))
