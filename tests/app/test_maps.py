"""The Feature maps page through app.py: what the address says is what is shown, for networks of every kind."""

import json
import math
import re

import pytest
from streamlit.testing.v1 import AppTest

from cnnviz import data, paths
from cnnviz.app.maps import uploads
from cnnviz.config import RunConfig
from tests.helpers.architectures import BLOCKS
from tests.helpers.runs import recorded, trained
from tests.helpers.screens import diagram, said

pytestmark = pytest.mark.usefixtures("few_pictures", "no_worker")


def page(**address: object) -> AppTest:
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=60).run()
    opened.switch_page("pages/feature_maps.py")
    for name, value in address.items():
        opened.query_params[name] = value if isinstance(value, list) else str(value)
    opened.session_state[uploads.MORE.name] = True
    return opened.run()


def plain(opened: AppTest) -> str:
    assert not opened.exception
    assert not opened.error
    return said(opened).replace("\\", "")


def test_an_address_shows_all_that_it_names() -> None:
    run, other = recorded(), recorded(activation="sigmoid")
    opened = page(
        run=run,
        other=other,
        epoch=1,
        other_epoch=0,
        picture=11,
        layer="c3_activation",
        channel=4,
        cell="2.3",
        scale="layer",
        change=["c1.2:off", "c3.0:epoch-0", "fc5.7:other"],
    )
    text = plain(opened)
    assert opened.selectbox(key="run").value == run
    assert opened.selectbox(key="other").value == other
    assert opened.select_slider(key="epoch").value == 1
    shown = diagram(opened)
    assert [row["name"] for row in shown["rows"]] == ["tanh · epoch 1 · 3 channels changed", "sigmoid · epoch 0"]
    assert "sigmoid cross_entropy lr 0.01 synthetic, epoch 0" in shown["rows"][1]["help"]
    assert shown["selected"] == ["run", "c3_activation", 4]
    assert shown["picture"]["name"] == "test picture 11, as the network sees it"
    assert "c3, activation · channel 4** of tanh" in text
    assert "c3[4] at row 2, column 3: " in opened.code[0].value
    assert "With c1 · 2 off (zero), c3 · 0 from epoch 0, fc5 · 7 from the other network: accuracy on 1,000" in text
    assert opened.query_params["change"] == ["c1.2:off", "c3.0:epoch-0", "fc5.7:other"]
    for name, value in {"run": run, "epoch": "1", "picture": "11", "layer": "c3_activation", "channel": "4"}.items():
        assert opened.query_params[name] == value


def test_it_opens_on_the_best_run_with_nothing_below_its_diagram() -> None:
    stalled = recorded(activation="sigmoid")
    best = trained(RunConfig(dataset="synthetic", epochs=3))[:8]
    recorded("f30")
    opened = page(view="maps")  # as the address was once that shows the maps
    assert opened.selectbox(key="run").value == best
    assert opened.select_slider(key="epoch").value == 3
    assert opened.selectbox(key="run").options[0].endswith(" · best 30.0 %")
    (row,) = diagram(opened)["rows"]
    assert [column["name"] for column in row["columns"]] == ["c1", "s2", "c3", "s4", "fc5", "fc6", "fc7"]
    assert [len(column["items"]) for column in row["columns"]] == [6, 6, 16, 16, 120, 84, 10]
    assert sum(share["share"] for share in row["shares"]) == pytest.approx(1)
    assert "view" not in opened.query_params
    opened.segmented_control(key="view").set_value("layers").run()
    assert "Layers of lenet5x5" in plain(opened)
    opened.selectbox(key="other").set_value(stalled).run()
    assert [each["side"] for each in diagram(opened)["rows"]] == ["run", "other"]


def test_a_change_moves_the_maps_behind_it_and_can_be_taken_back() -> None:
    opened = page(run=recorded(), layer="c1_activation", channel=2)
    assert "accuracy on" not in plain(opened)
    opened.button(key="switch").click().run()
    assert "With c1 · 2 off (zero): accuracy on 1,000 test images" in plain(opened)
    assert "Its map before it was switched off" in plain(opened)
    assert opened.query_params["change"] == "c1.2:off"
    opened.selectbox(key="state of c1 2").set_value("mean").run()
    assert "With c1 · 2 held at its mean: accuracy" in plain(opened)
    assert "Its map before it was held at its mean" in plain(opened)
    assert opened.query_params["change"] == "c1.2:mean"
    opened.selectbox(key="state of c1 2").set_value("epoch-0").run()
    assert "With c1 · 2 from epoch 0: accuracy" in plain(opened)
    opened.button(key="switch").click().run()
    assert "accuracy on" not in plain(opened)
    opened.session_state["maps_layout"] = True
    opened.run()
    opened.multiselect(key="change").set_value(["c3.1:off", "c3.5:off"]).run()
    assert "With c3 · 1 off (zero), c3 · 5 off (zero): accuracy" in plain(opened)
    opened.button(key="close_channel").click().run()
    assert "channel" not in opened.query_params
    assert "With c3 · 1 off (zero), c3 · 5 off (zero): accuracy" in plain(opened)
    opened.button(key="restore").click().run()
    assert "change" not in opened.query_params
    assert "changed" not in diagram(opened)["rows"][0]["name"]


def test_what_an_address_gets_wrong_is_left_out_and_said() -> None:
    run = recorded()
    opened = page(
        run=run, other="nobody", epoch=77, picture=-3, layer="c9", channel=2, change=["c1.99:off", "nonsense"]
    )
    text = plain(opened)
    assert "run nobody from the address is not in this store; it is left out" in text
    assert "c1.99:off is left out: c1 has no channel 99" in text
    assert "nonsense is left out" in text
    assert opened.select_slider(key="epoch").value == 2
    assert diagram(opened)["rows"][0]["verdict"]
    assert "is not in this store; here is the best instead" in plain(page(run="nobody"))


@pytest.mark.parametrize("view", ["maps", "why", "match", "sheet"])
@pytest.mark.parametrize("other", ["lenet3x3", "f30"])
def test_networks_of_any_two_kinds_stand_beside_each_other(view: str, other: str) -> None:
    first, second = recorded("lenet5x5", 1), recorded(other, 1, activation="relu")
    for run, beside in ((first, second), (second, first)):
        opened = page(run=run, other=beside, view=view)
        assert not plain(opened).startswith("Unexpected")
        rows = diagram(opened)["rows"]
        assert len(rows[0]["columns"]) == len(rows[1]["columns"])
        assert any("%" in row["verdict"] for row in rows)


def test_a_network_with_blocks_shows_its_sums_and_what_they_are_made_of() -> None:
    run, plain_one = recorded(BLOCKS, 1, activation="relu"), recorded("c4k3p1t2-c4k3p1-c4k3p1-g", 1)
    chosen = {"layer": "a7_activation", "channel": "5", "change": "a4.1:off"}
    opened = page(run=run, other=plain_one, view="layers", **chosen)
    first, second = diagram(opened)["rows"]
    names = ["c1", "c2", "c3", "a4 · + c1", "c5", "c6", "a7 · + a4", "s8", "g9", "fc10", "fc11"]
    assert [column["name"] for column in first["columns"]] == names
    assert [column and column["name"] for column in second["columns"]][:4] == ["c1", "c2", None, "c3"]
    (feed,) = (column["feed"] for column in first["columns"] if column["name"] == "a7 · + a4")
    assert feed == {"kind": "same", "shortcut": "a4_activation"}
    assert "With a4 · 1 off (zero): accuracy on 1,000" in plain(opened)
    assert any("[a4 has no map 5]" in each.value for each in opened.code)
    assert not opened.exception


@pytest.mark.parametrize("view", ["maps", "why", "match", "sheet"])
def test_a_diverged_network_is_drawn_and_named(view: str) -> None:
    run, sound = recorded(gain=math.nan, activation="relu"), recorded(activation="relu")
    opened = page(run=run, view=view, layer="c3_activation", channel=1)
    assert "Not one finite value" in plain(opened)
    (note,) = diagram(opened)["notes"]
    assert "This network diverged" in note
    opened = page(run=sound, other=run, view=view)
    assert plain(opened)
    rows = diagram(opened)["rows"]
    assert rows[1]["verdict"].startswith("✕ no prediction (it is a")
    assert {share["share"] for share in rows[1]["shares"]} == {None}
    assert {item["note"] for item in rows[1]["columns"][0]["items"]} == {"✕ NaN"}


def test_a_network_of_one_epoch_without_convolutions_trained_with_mse() -> None:
    opened = page(run=recorded("f30", 1, loss="mse"), layer="fc1_activation", channel=29)
    assert "At chance level" in diagram(opened)["notes"][0]
    assert "fc1[29]: " in opened.code[0].value
    assert "Its top 9 of 1,000 test pictures" in plain(opened)
    better = trained(RunConfig(model="f30", loss="mse", dataset="synthetic", epochs=3))[:8]
    assert "Trained with MSE" in diagram(page(run=better))["notes"][0]


def test_a_new_address_replaces_all_that_was_chosen() -> None:
    first, second = recorded(epochs=1), recorded("f30")
    opened = page(run=first, scale="layer", layer="c1_activation", channel=1)
    opened.switch_page("pages/curves.py").run()
    opened.switch_page("pages/feature_maps.py")
    opened.query_params.clear()
    opened.query_params["run"], opened.query_params["epoch"] = second, "1"
    opened.run()
    assert diagram(opened)["rows"][0]["name"].endswith("epoch 1")
    assert opened.selectbox(key="run").value == second
    assert "channel" not in opened.query_params
    assert "scale" not in opened.query_params


def test_playing_goes_through_the_epochs_and_stops() -> None:
    opened = page(run=recorded())
    opened.button(key="play").click().run()
    assert opened.session_state.playing
    assert opened.select_slider(key="epoch").value == 0  # from the end it begins again
    opened.button(key="play").click().run()
    assert not opened.session_state.playing


@pytest.mark.parametrize("order", ["random", "mistakes", "disagreements"])
def test_the_strip_has_every_order(order: str) -> None:
    opened = page(run=recorded(epochs=1), other=recorded("f30", 1), order=order, picture=12, **{"class": "ring"})
    assert plain(opened)
    assert opened.selectbox(key="order").value == order
    assert opened.selectbox(key="class").value == "ring"
    assert opened.number_input(key="picture").value == 12


def items(opened: AppTest, label: str = "Test pictures") -> list[str]:
    """What the tiles say, those of the strip by default, and which is chosen, marked by a star."""
    (strip,) = (each for each in opened.get("bidi_component") if f'"{label}"' in each.proto.json)
    drawn = json.loads(strip.proto.json)
    chosen = drawn["selected"]
    return [("*" if chosen == place else "") + each["title"] for place, each in enumerate(drawn["items"])]


def test_the_first_mistake_is_chosen_at_once_and_says_what_it_was_taken_for() -> None:
    opened = page(run=recorded(epochs=1))
    assert items(opened)[0].startswith("*test picture 0, ")
    assert len(items(opened)) == 10
    opened.selectbox(key="order").set_value("mistakes").run()
    first = opened.number_input(key="picture").value
    assert re.match(rf"\*test picture {first}: ✗ \w+ \d+ % \(it is an? \w+\)$", items(opened)[0])
    assert opened.query_params["picture"] == str(first)
    opened.selectbox(key="class").set_value("ring").run()
    assert re.match(r"\*test picture \d+: ✗ \w+ \d+ % \(it is a ring\)$", items(opened)[0])
    opened.number_input(key="page").set_value(2).run()
    assert not any(each.startswith("*") for each in items(opened))
    opened.number_input(key="picture").set_value(4711).run()
    opened.selectbox(key="class").set_value("all").run()
    opened.selectbox(key="order").set_value("index").run()
    assert opened.number_input(key="page").value == int(opened.number_input(key="picture").value or 0) // 10 + 1
    # An address that names no picture shows the first one, too.
    assert items(page(run=recorded(epochs=1), order="mistakes"))[0].startswith("*test picture")


def test_an_order_with_nothing_in_it_says_the_way_back() -> None:
    run = recorded(epochs=1)
    opened = page(run=run, other=run, order="disagreements", picture=3, view="sheet")
    assert "No disagreements: both networks say the same" in plain(opened)
    opened.button(key="all_pictures").click().run()
    assert "*test picture 3, " in "".join(items(opened))


def test_kernels_of_any_networks_at_an_epoch_and_epoch_by_epoch() -> None:
    run, diverged, flat = recorded(), recorded("lenet3x3", 1, gain=math.nan), recorded("f30", 1)
    opened = page(run=run, other=diverged, view="kernels", epoch=1)
    text = plain(opened)
    assert "6 kernels of 5×5×3: grey is zero, full colour a weight of ±" in text
    assert "a column for each of 3 kept epochs" in text
    opened.segmented_control(key="kernel_scale").set_value("own").run()
    assert "full colour each kernel's own largest weight" in plain(opened)
    opened.segmented_control(key="kernel_layer").set_value("c3").run()
    assert "A column for each of 16 maps that come out, a row for each of 6 that go in, 5×5 weights" in plain(opened)
    assert opened.query_params["kernel_layer"] == "c3"
    assert "have no convolution" in plain(page(run=flat, view="kernels"))


def test_mistakes_are_filtered_by_what_was_taken_for_what() -> None:
    opened = page(run=recorded(epochs=1), other=recorded(gain=math.nan), view="mistakes")
    assert list((paths.home() / "outputs").rglob("*.safetensors")), "kept, for other pages too"
    text = plain(opened)
    assert re.search(r"gets [\d,]+ of 1,000 test pictures wrong\. The 24 most confident of", text)
    pairs = opened.pills(key="pair")
    assert pairs.options[0].startswith("All ")
    true, taken, count = re.match(r"(\w+) → (\w+) ([\d,]+)", pairs.options[1]).groups()  # type: ignore[union-attr]
    classes = data.load("synthetic").classes
    again = page(run=opened.query_params["run"], view="mistakes", pair=f"{classes.index(true)}-{classes.index(taken)}")
    assert f"most confident of {count};" in plain(again)
    titles = items(again, "Mistakes")
    assert all(re.search(rf": ✗ {taken} \d+ % \(it is an? {true}\)$", title) for title in titles)
    opened.segmented_control(key="mistakes_of").set_value("other").run()
    assert "✗ no class, the logits are not finite" in items(opened, "Mistakes")[0]


def test_maps_on_one_scale_name_the_same_numbers() -> None:
    run, other = recorded(activation="sigmoid"), recorded(gain=0.1, activation="sigmoid")

    def firsts(**address: object) -> list[dict[str, str]]:
        opened = page(run=run, other=other, **address)
        assert plain(opened)
        return [row["columns"][0] for row in diagram(opened)["rows"]]

    first, second = firsts()
    assert first["extent"] == second["extent"]
    assert re.search(
        r"Spread \(standard deviation within a map from cell to cell\): [\d.]+, [\d.]+ times", first["help"]
    )
    first, second = firsts(scale="layer", before=True)
    assert first["name"] == "c1 before"
    assert "c1: convolution, before sigmoid, 6×28×28" in first["help"]
    assert first["extent"] != second["extent"]
    assert {each["extent"] for each in firsts(scale="channel")} == {"each its own"}


def test_training_mode_stands_beside_evaluation_mode_where_they_differ() -> None:
    run = trained(RunConfig(model="c4k5-s2-f12", dataset="synthetic", batch_norm="on", dropout=0.5, batch_size=20), 1)
    opened = page(run=run[:8], view="training", step=2)
    text = plain(opened)
    assert re.search(
        r"In evaluation mode: .* Under 30 dropout masks: \d+ to \d+ %, \d+ % on average; \d+ of them", text
    )
    assert "As step 2 of epoch 2 has it, with this picture in its batch of 20." in text
    assert re.search(r"\d+ of 12 units are set to zero \(p = 0.5\)", text)
    opened.button(key="another_step").click().run()
    assert "As step 3 of epoch 2" in plain(opened)
    opened.selectbox(key="training_layer").select("c1 batch norm").run()
    assert "running deviations from the running means" in plain(opened)
    assert opened.button(key="another_step").label == "Take another batch"


def test_a_network_without_dropout_and_batch_norm_has_no_training_mode_to_show() -> None:
    opened = page(run=recorded(epochs=1), view="training")
    assert "In evaluation mode" not in plain(opened)
    (views,) = (each for each in opened.get("button_group") if each.proto.id.endswith("view"))
    assert not any("Training mode" in option.content for option in views.proto.options)
