"""Home in a real browser: it plays with nothing trained or downloaded, and everything a click does, a key does."""

from typing import Any

import torch
from playwright.sync_api import expect
from safetensors.torch import load_file

from cnnviz.app.home import demonstration
from cnnviz.architectures import architecture
from cnnviz.inspection.network import load_network, predict
from cnnviz.jobs import control
from cnnviz.jobs.status import workers
from cnnviz.store import reading
from tests.helpers.screens import faults, page_of
from tests.helpers.workers import wait_for

EPOCHS = (0, 7, demonstration.EPOCHS)
SHOWN = """
([epochs, pictures]) => {
  const root = document.querySelector("[data-testid=stBidiComponentIsolated]").shadowRoot;
  const slider = root.querySelector("input");
  const shares = () => [...root.querySelectorAll(".network")].map(
    (network) => [...network.querySelectorAll(".share")].map((each) => parseInt(each.textContent)));
  return epochs.map((epoch) => {
    slider.value = epoch;
    slider.dispatchEvent(new Event("input"));
    return pictures.map((picture) => {
      root.querySelectorAll(".pictures button")[picture].click();
      return shares();
    });
  });
}
"""


def test_the_demonstration_plays_what_the_networks_say(browser: Any, address: str) -> None:
    page = page_of(browser, address)
    page.get_by_text("Epoch 1 of 15").wait_for()
    page.get_by_text("Epoch 2 of 15").wait_for()
    page.get_by_role("button", name="Train three networks").wait_for()
    assert page.title() == "Home · cnnviz"

    shown = torch.tensor(page.evaluate(SHOWN, [EPOCHS, list(range(10))]))  # (epochs, pictures, networks, classes)
    tensors, arch = load_file(demonstration.FILE), architecture(demonstration.MODEL)
    for place, epoch in enumerate(EPOCHS):
        for index, (name, what) in enumerate(demonstration.NETWORKS.items()):
            weights = {key: tensors[f"{name}/{epoch}/{key}"].float() for key in arch.weight_shapes}
            network = load_network(arch, what["activation"], "avg", weights)
            expected = 100 * predict(network, tensors["pictures"]).probabilities
            assert (shown[place, :, index] - expected).abs().max() < 0.51  # they are shown rounded

    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert faults(page) == []


def test_from_home_to_a_training_by_keyboard_alone(browser: Any, address: str) -> None:
    page = page_of(browser, address)
    page.get_by_role("button", name="Train three networks").wait_for()
    press_until(page, "Tab", "Train three networks")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text("Which will be best?").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    press_until(page, "Tab", "Train three networks")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text("Which will be best?").wait_for()
    page.get_by_role("combobox", name="Which will be best?").press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Train", exact=True)).to_be_enabled()
    press_until(page, "Tab", "Train")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for(state="detached")
    page.get_by_role("button", name="Train three networks").wait_for(state="detached")
    assert sorted(run.predicted.best for run in reading.runs() if run.predicted) == [False, False, True]

    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_text("3 runs", exact=True).wait_for()
    control.stop([run.id for run in reading.runs()], ended_ok=True)
    wait_for(lambda: not any(status.alive for status in workers()))
    page.locator(".st-key-pill").wait_for(state="detached")
    for name in ("Runs", "Curves"):
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            assert faults(page) == []


def press_until(page: Any, key: str, name: str) -> None:
    """Press the key until the focus is on the button of that name."""
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.innerText || ''").strip().endswith(name):
            return
    raise AssertionError(f"no {name} is reached with {key}")
