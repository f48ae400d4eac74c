// A grid of pictures cut from one atlas, each a button: arrow keys walk, Enter and clicks pick.
export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  grid.setAttribute("aria-label", data.label);
  grid.style.setProperty("--atlas", `url("${data.src}")`);
  grid.style.setProperty("--wide", `${data.width * data.zoom}px`);
  grid.style.setProperty("--tall", `${data.height * data.zoom}px`);
  const columns = Math.min(data.items.length, data.columns);
  const rows = Math.ceil(data.items.length / columns);
  grid.style.setProperty(
    "--atlas-size",
    `${columns * data.width * data.zoom}px ${rows * data.height * data.zoom}px`,
  );
  grid.classList.toggle("dense", data.dense);
  while (grid.children.length > data.items.length) grid.lastChild.remove();
  while (grid.children.length < data.items.length) grid.append(button());
  const current = data.selected ?? 0;
  data.items.forEach((item, index) => {
    const each = grid.children[index];
    const [picture, strip, name, note] = each.children;
    const x = (index % columns) * data.width * data.zoom;
    const y = Math.floor(index / columns) * data.height * data.zoom;
    picture.style.backgroundPosition = `-${x}px -${y}px`;
    fill(strip, item.strip ?? "");
    name.textContent = item.name;
    note.textContent = item.note ?? "";
    each.title = item.title;
    each.setAttribute("aria-label", item.title);
    each.setAttribute("aria-pressed", String(index === data.selected));
    each.tabIndex = index === current ? 0 : -1;
  });
  const indexOf = (event) => [...grid.children].indexOf(event.target.closest("button"));
  grid.onclick = (event) => {
    const index = indexOf(event);
    if (index >= 0) setTriggerValue("picked", index);
  };
  grid.onkeydown = (event) => {
    const index = indexOf(event);
    const tops = [...grid.children].map((each) => each.offsetTop);
    const across = tops.filter((top) => top === tops[0]).length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    const next = step && grid.children[index + step];
    if (!next) return;
    event.preventDefault();
    grid.children[index].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
}

// A cell for each of its letters: "1" stands tall, "0" lies low.
function fill(strip, letters) {
  if (strip.dataset.letters === letters) return;
  strip.dataset.letters = letters;
  strip.replaceChildren(
    ...[...letters].map((letter) => {
      const cell = document.createElement("i");
      cell.className = letter === "1" ? "tall" : "low";
      return cell;
    }),
  );
}

function button() {
  const made = document.createElement("button");
  made.type = "button";
  for (const kind of ["picture", "strip", "name", "note"]) {
    const part = document.createElement("span");
    part.className = kind;
    made.append(part);
  }
  return made;
}
