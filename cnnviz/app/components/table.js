// A table: a tick belongs to a row's id, wherever the row moves to. Arrow keys walk the ticks, Shift takes a range.
export default function ({ data, parentElement, setTriggerValue }) {
  const table = parentElement.querySelector("table");
  const head = table.tHead.rows[0];
  const body = table.tBodies[0];
  const own = (table.own ??= { number: 0, unseen: new Map(), rows: new Map(), columns: "", from: null });
  own.number = Math.max(own.number, data.seen);
  for (const [id, change] of own.unseen) if (change.number <= data.seen) own.unseen.delete(id);
  table.setAttribute("aria-label", data.label);

  const columns = JSON.stringify(data.columns);
  if (columns !== own.columns) {
    own.columns = columns;
    own.rows.clear();
    body.replaceChildren();
    head.replaceChildren(headOfTicks(), ...data.columns.map(headOf));
  }
  data.columns.forEach((column, index) => {
    const cell = head.cells[index + 1];
    const sorts = column.name === data.sortedBy;
    if (sorts) cell.setAttribute("aria-sort", data.descends ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });

  const root = table.getRootNode();
  const focused = root.activeElement;
  const ids = new Set(data.rows.map((row) => row.id));
  for (const [id, row] of own.rows) {
    if (ids.has(id)) continue;
    row.remove();
    own.rows.delete(id);
  }
  const server = new Set(data.ticked);
  data.rows.forEach((item, index) => {
    let row = own.rows.get(item.id);
    if (!row) own.rows.set(item.id, (row = rowOf(item.id, data.columns)));
    fill(row, item, data.columns);
    tick(row, own.unseen.get(item.id)?.on ?? server.has(item.id));
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  if (focused && focused !== root.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  walkable(focused?.closest?.("tbody tr") ?? body.querySelector('tr:has(input[tabindex="0"])'));
  summarise();

  function walkable(row) {
    for (const each of body.rows) box(each).tabIndex = -1;
    const chosen = row?.isConnected ? row : body.rows[0];
    if (chosen) box(chosen).tabIndex = 0;
  }
  function summarise() {
    const on = [...body.rows].filter((row) => box(row).checked).length;
    const all = head.querySelector("input");
    all.checked = on > 0 && on === body.rows.length;
    all.indeterminate = on > 0 && on < body.rows.length;
  }
  function report(rows, on) {
    own.number += 1;
    for (const row of rows) {
      tick(row, on);
      own.unseen.set(row.dataset.id, { number: own.number, on });
    }
    summarise();
    const changes = [...own.unseen].map(([id, change]) => [id, change.on]);
    setTriggerValue("ticked", { number: own.number, changes });
  }

  head.onchange = (event) => report([...body.rows], event.target.checked);
  head.onclick = (event) => {
    const index = event.target.closest("th")?.cellIndex;
    if (index > 0 && event.target.closest("button")) setTriggerValue("sorted", data.columns[index - 1].name);
  };
  body.onclick = (event) => {
    if (event.target.type !== "checkbox") return;
    const row = event.target.closest("tr");
    const rows = [...body.rows];
    const [start, end] = [rows.indexOf(own.from), rows.indexOf(row)].sort((a, b) => a - b);
    report(event.shiftKey && start >= 0 ? rows.slice(start, end + 1) : [row], event.target.checked);
    own.from = row;
    walkable(row);
  };
  body.onkeydown = (event) => {
    if (event.target.type !== "checkbox") return;
    const row = event.target.closest("tr");
    const next = {
      ArrowUp: row.previousElementSibling,
      ArrowDown: row.nextElementSibling,
      Home: body.rows[0],
      End: body.rows[body.rows.length - 1],
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    if (!next) return;
    if (event.shiftKey) report([next], event.target.checked);
    own.from = next;
    walkable(next);
    box(next).focus();
  };
}

const box = (row) => row.querySelector("input");

function tick(row, on) {
  box(row).checked = on;
  row.classList.toggle("ticked", on);
}

function make(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

function headOfTicks() {
  const all = make("input", { type: "checkbox", title: "Tick all that are shown, or none" });
  all.setAttribute("aria-label", "all that are shown");
  return make("th", { scope: "col", className: "tick" }, make("label", {}, all));
}

function headOf(column) {
  const made = make("th", { scope: "col", className: column.kind, title: column.help });
  made.append(column.sorts ? make("button", { type: "button" }, column.name) : column.name);
  return made;
}

function rowOf(id, columns) {
  const first = make("td", { className: "tick" }, make("label", {}, make("input", { type: "checkbox" })));
  const row = make("tr", {}, first, ...columns.map((column) => make("td", { className: column.kind })));
  row.dataset.id = id;
  return row;
}

function fill(row, item, columns) {
  box(row).setAttribute("aria-label", item.label);
  columns.forEach((column, index) => {
    const cell = row.cells[index + 1];
    const value = item.cells[index];
    const text = String(value);
    if (cell.shown === text) return;
    cell.shown = text;
    if (column.kind === "line") cell.replaceChildren(curve(value));
    else if (column.kind === "long") cell.replaceChildren(make("div", { title: text }, text));
    else cell.textContent = text;
  });
}

function curve(shares) {
  if (shares.length < 2) return "–";
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 96 24");
  made.setAttribute("aria-hidden", "true"); // the figures beside it say as much
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const x = (index) => 1 + (94 * index) / (shares.length - 1);
  line.setAttribute("points", shares.map((y, index) => `${x(index).toFixed(1)},${(22.5 - 21 * y).toFixed(1)}`).join(" "));
  made.append(line);
  return made;
}
