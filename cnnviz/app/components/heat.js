// Heat maps: every cell is a button, with a pointer or with keys; arrow keys move from cell to cell.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".heat");
  const make = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  };
  const focused = root.getRootNode().activeElement?.dataset?.place;
  root.replaceChildren();
  root.setAttribute("aria-label", data.label);
  root.classList.toggle("compact", data.compact);
  root.classList.toggle("numbered", data.columns.every((text) => text.length < 3));
  const [rowsAre, columnsAre] = data.axes;
  const chosen = data.chosen?.join(" ");

  const cellOf = (cell, place) => {
    if (!cell) {
      const empty = make("td", "–", { class: "empty", title: data.empty });
      empty.setAttribute("aria-label", data.empty);
      return empty;
    }
    const holder = make("td");
    const button = make("button", "", { type: "button", title: cell.label, "aria-label": cell.label, tabindex: -1 });
    button.dataset.place = place.join(" ");
    button.style.background = cell.paper;
    button.style.color = cell.ink;
    button.classList.toggle("framed", cell.framed);
    if (data.toggles) button.setAttribute("aria-pressed", String(button.dataset.place === chosen));
    button.append(make("b", cell.text));
    if (cell.note) button.append(make("small", cell.note));
    button.onclick = () => setTriggerValue("picked", place);
    holder.append(button);
    return holder;
  };

  data.maps.forEach((map, at) => {
    const table = make("table");
    table.append(make("caption", map.title || data.label));
    const head = make("tr");
    head.append(make("td", rowsAre, { class: "corner" }));
    data.columns.forEach((text) => {
      const name = make("th", "", { scope: "col" });
      name.append(make("span", text));
      head.append(name);
    });
    const body = make("tbody");
    map.cells.forEach((cells, row) => {
      if (!cells.some(Boolean)) return; // of another map
      const line = make("tr");
      line.append(make("th", data.rows[row], { scope: "row" }));
      cells.forEach((cell, column) => line.append(cellOf(cell, [at, row, column])));
      body.append(line);
    });
    const top = make("thead");
    if (columnsAre) {
      const title = make("tr");
      title.append(
        make("td", "", { class: "corner" }),
        make("th", columnsAre, { colspan: data.columns.length, scope: "colgroup", class: "axis" }),
      );
      top.append(title);
    }
    top.append(head);
    table.append(top, body);
    const first = table.querySelector("button[aria-pressed=true]") ?? table.querySelector("button");
    if (first) first.tabIndex = 0; // one stop of the Tab key for each map
    const scroll = make("div", "", { class: "scroll" });
    scroll.append(table);
    root.append(scroll);
  });
  data.bars.forEach((each) => {
    const bar = make("div", each.title, { class: "bar" });
    const colours = make("i", "", { "aria-hidden": "true" });
    colours.style.background = each.gradient;
    bar.append(make("span", each.low), colours, make("span", each.high));
    root.append(bar);
  });
  const again = focused && root.querySelector(`button[data-place="${focused}"]`);
  if (again) {
    again.closest("table").querySelectorAll("button").forEach((each) => (each.tabIndex = -1));
    again.tabIndex = 0;
    again.focus();
  }

  root.onkeydown = (event) => {
    const [down, right] =
      { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] ?? [0, 0];
    const from = event.target.closest("button");
    if (!from || !(down || right)) return;
    event.preventDefault();
    let [map, row, column] = from.dataset.place.split(" ").map(Number);
    for (;;) {
      row += down;
      column += right;
      if (!(row in data.rows) || !(column in data.columns)) return;
      const next = root.querySelector(`button[data-place="${map} ${row} ${column}"]`);
      if (!next) continue; // over what was not trained
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      return;
    }
  };
}
