"use strict";
(() => {
  const read = (place) => JSON.parse(place.querySelector(":scope > script").textContent);

  // Charts. ast: Vega reads its expressions itself, so that the page may forbid making functions of text.
  const drawn = [...document.querySelectorAll(".chart")].map(async (place) => {
    const spec = read(place);
    delete spec.$schema;
    const body = document.createElement("div");
    body.style.width = "100%";
    place.append(body);
    const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true };
    place.view = (await vegaEmbed(body, spec, options)).view;
  });
  const fit = () => window.dispatchEvent(new Event("resize"));
  Promise.allSettled(drawn).then((found) => {
    for (const each of found) if (each.status === "rejected") console.error(each.reason);
    for (const each of document.querySelectorAll("details[data-folded]")) each.open = false;
    document.documentElement.dataset.drawn = found.every((each) => each.status === "fulfilled");
  });
  for (const each of document.querySelectorAll("details")) each.addEventListener("toggle", fit);

  // Legends: what is not ticked is not shown.
  for (const charts of document.querySelectorAll(".charts")) {
    const boxes = [...charts.querySelectorAll(".legend input")];
    for (const box of boxes) {
      box.addEventListener("change", () => {
        const hidden = boxes.filter((each) => !each.checked).map((each) => each.value);
        for (const chart of charts.querySelectorAll(".chart")) chart.view?.signal("hidden", hidden).runAsync();
      });
    }
  }

  // Sliders over epochs.
  for (const figures of document.querySelectorAll(".figures")) {
    const slider = figures.querySelector(".slider");
    if (!slider) continue;
    const [input, output, steps] = [slider.querySelector("input"), slider.querySelector("output"), read(slider)];
    const show = () => {
      output.textContent = steps[input.value];
      input.setAttribute("aria-valuetext", steps[input.value]);
      for (const figure of figures.querySelectorAll("figure")) {
        const images = [...figure.querySelectorAll("img")].slice(-steps.length);
        images.forEach((image, place) => (image.hidden = place !== Number(input.value)));
        const captions = figure.querySelectorAll("figcaption");
        captions.forEach((caption, place) => (caption.hidden = place !== Number(input.value)));
      }
    };
    input.addEventListener("input", show);
    show();
  }

  // Cells of a confusion matrix.
  for (const matrix of document.querySelectorAll(".matrix")) {
    const { classes, cells } = read(matrix);
    const opened = matrix.querySelector(".opened");
    const [side, across] = [3 * matrix.dataset.side, Number(matrix.dataset.across)];
    const buttons = [...matrix.querySelectorAll("button")];
    const show = (button) => {
      for (const each of buttons) each.setAttribute("aria-pressed", each === button);
      const [truth, taken] = button.dataset.cell.split(" ").map(Number);
      const title = document.createElement("p");
      title.textContent =
        truth === taken
          ? `${classes[truth]}, recognised: ${button.textContent}`
          : `${classes[truth]} taken for ${classes[taken]}: ${button.textContent}`;
      const list = document.createElement("ul");
      for (const [place, words] of cells[button.dataset.cell]) {
        const item = document.createElement("li");
        const picture = document.createElement("i");
        picture.style.backgroundPosition = `-${side * (place % across)}px -${side * Math.floor(place / across)}px`;
        item.append(picture, words);
        list.append(item);
      }
      opened.replaceChildren(title, list);
    };
    for (const button of buttons) button.addEventListener("click", () => show(button));
    const wrong = buttons.filter((each) => new Set(each.dataset.cell.split(" ")).size > 1);
    wrong.sort((one, other) => Number(other.textContent) - Number(one.textContent));
    if (wrong.length) show(wrong[0]);
  }

  // Links of the contents, where the file is shown within another page, too.
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", (event) => {
      const place = document.getElementById(link.hash.slice(1));
      if (!place) return;
      event.preventDefault();
      const chapter = place.querySelector("details");
      if (chapter) chapter.open = true;
      scrollTo(0, place.offsetTop); // not the page around this one
      place.querySelector("summary")?.focus({ preventScroll: true });
    });
  }

  // On paper nothing can be unfolded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });
})();
