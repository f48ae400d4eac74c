// One or two networks from left to right: picture, maps layer by layer, classes. A map under the pointer or with the
// focus lights what feeds it; arrow keys walk, Enter and clicks pick, Escape closes what is open beside the diagram.
const GAP = 3; // pixels between maps
const NAME = 22; // above a network
const HEADING = 36; // above a column
const BETWEEN = 16; // columns, at least: lines run there
const TIGHT = { pictured: 84, classes: 158, between: 12 }; // where that brings the last columns into sight
const FAR = 2; // times the width: then much is out of sight anyway, and maps rather use the height
const HEADED = 64; // the narrowest column, so that its range fits above it
const SIDES = { most: 140, least: 26, scrolling: [30, 24] }; // of the largest map
const CLASS = 21; // pixels that a class needs
const UNITS = { most: 18, least: 8 };
const BAR = 12; // of a column that scrolls
const ABREAST = [4, 3, 2]; // maps, at most, in a column that scrolls: as many as leave all columns in sight
const MOST_UNITS_ABREAST = 8;
const BELOW = 62; // what follows on the page is in sight
const TALL = { least: 420, most: 1000 };
const OVER = 48; // pixels by which a line that passes other columns rises above them
const MOST_LINES = 24; // more would hide what they lead to
const HINT = "Point at a map, or walk with the arrow keys: what feeds it lights up. A click or Enter opens it.";
const POPUPS = '[role="dialog"], [data-baseweb="popover"], [data-testid="stPopoverBody"]';

let remembered = null; // the map with the focus: Streamlit may put the diagram up anew, which takes it away

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".diagram");
  const isNew = !root.own;
  const own = (root.own ??= { shape: "", cells: new Map(), over: null, focused: null, tab: null, size: "" });
  own.stop?.();
  own.stop = listen(root);
  const wasOpen = own.data?.selected;
  own.data = data;
  own.report = setTriggerValue;
  root.setAttribute("aria-label", data.label);
  build(root);
  fill(root);
  layout(root, true);
  light(root);
  if (isNew && remembered) setTimeout(() => document.activeElement === document.body && at(root, remembered)?.focus(), 200);
  const lost = own.closing || document.activeElement === document.body; // with what had it
  if (wasOpen && !data.selected && lost) at(root, wasOpenAt(own, wasOpen))?.focus({ preventScroll: true });
  if (!data.selected) own.closing = false;
  return own.stop;
}

// Until the function that comes back is called: Streamlit does so before each update, too.
function listen(root) {
  const { own } = root;
  const heard = new AbortController();
  const observer = new ResizeObserver(() => layout(root));
  observer.observe(root);
  const timer = setInterval(() => layout(root), 300); // what stands above comes and goes, and nothing tells
  addEventListener("resize", () => layout(root), { signal: heard.signal });
  // Before whatever has popped up closes by the same key.
  const escaped = (event) => {
    if (event.key !== "Escape" || !own.data.selected || document.querySelector(POPUPS)) return;
    own.closing = true;
    own.report("closed", true);
  };
  document.addEventListener("keydown", escaped, { signal: heard.signal, capture: true });
  const stage = root.querySelector(".stage");
  const mapOf = (event) => event.target.closest?.("button");
  stage.onpointerover = (event) => {
    own.over = mapOf(event)?.place ?? null;
    light(root);
  };
  stage.onpointerleave = () => {
    own.over = null;
    light(root);
  };
  const focused = (event) => {
    own.focused = remembered = mapOf(event)?.place ?? null;
    if (own.focused) walkable(root, own.focused);
    light(root);
  };
  const blurred = (event) => {
    own.focused = null;
    if (event.target.isConnected) remembered = null;
    light(root);
  };
  stage.addEventListener("focusin", focused, { signal: heard.signal });
  stage.addEventListener("focusout", blurred, { signal: heard.signal });
  stage.onclick = (event) => {
    const button = mapOf(event);
    if (!button) return;
    const [row, column, channel] = button.place;
    own.report("picked", [own.data.rows[row].side, own.data.rows[row].columns[column].step, channel]);
  };
  stage.onkeydown = (event) => {
    const button = mapOf(event);
    const next = button && neighbour(root, button, event.key);
    if (next === undefined) return;
    event.preventDefault();
    next?.focus();
  };
  const scrolled = () => {
    hint(root);
    light(root);
  };
  root.addEventListener("scroll", scrolled, { capture: true, passive: true, signal: heard.signal });
  return () => {
    observer.disconnect();
    clearInterval(timer);
    heard.abort();
  };
}

const key = (place) => place?.join(".");
const at = (root, place) => root.own.cells.get(key(place));

function wasOpenAt(own, [side, step, channel]) {
  const row = own.data.rows.findIndex((each) => each.side === side);
  const column = own.data.rows[row]?.columns.findIndex((each) => each?.step === step);
  return row < 0 || column < 0 ? null : [row, column, channel];
}

// -- what there is ------------------------------------------------------------------------------------------

function build(root) {
  const { own } = root;
  const rows = own.data.rows;
  const shape = JSON.stringify(rows.map((row) => row.columns.map((each) => each && [each.step, each.items.length])));
  if (shape === own.shape) return;
  own.shape = shape;
  own.cells.clear();
  own.focused = own.over = null;
  const lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  lines.setAttribute("aria-hidden", "true");
  root.querySelector(".stage").replaceChildren(lines, ...rows.map((row, index) => networkOf(own, row, index)));
}

function make(kind, className, ...children) {
  const made = document.createElement(kind);
  made.className = className;
  made.append(...children);
  return made;
}

function networkOf(own, row, index) {
  const columns = row.columns.map((column, place) => {
    if (!column) return make("div", "column");
    const last = place === row.columns.length - 1;
    const maps = make("div", last ? "maps classes" : "maps");
    column.items.forEach((_, channel) => {
      const button = make("button", last ? "class" : "map");
      button.type = "button";
      button.tabIndex = -1;
      button.place = [index, place, channel];
      if (last) button.append(make("span", "words", make("span", ""), make("span", "mark"), make("span", "percent")));
      button.append(last ? make("span", "bar", make("span", "")) : make("span", "note"));
      own.cells.set(key(button.place), button);
      maps.append(button);
    });
    const made = make("div", "column", make("div", "heading", make("b", ""), make("span", "")), maps);
    made.setAttribute("role", "group");
    return made;
  });
  const colours = make("div", "colours", ...["red", "green", "blue"].map((name) => make("span", "", name)));
  const seen = make("div", "seen");
  seen.setAttribute("role", "img");
  const heading = make("div", "heading", make("b", "", "picture"), make("span", "", "32×32"));
  const picture = make("div", "column picture", heading, seen, colours);
  const name = make("div", "name");
  const made = make("section", "network", name, make("div", "row", picture, ...columns));
  return made;
}

function fill(root) {
  const { data } = root.own;
  const networks = root.querySelectorAll(".network");
  data.rows.forEach((row, index) => {
    const network = networks[index];
    network.setAttribute("aria-label", row.name);
    const name = network.querySelector(".name");
    name.textContent = row.name;
    name.title = row.help;
    const seen = network.querySelector(".seen");
    seen.style.backgroundImage = `url("${data.picture.src}")`;
    seen.setAttribute("aria-label", data.picture.name);
    seen.title = data.picture.name;
    const columns = network.querySelectorAll(".column:not(.picture)");
    row.columns.forEach((column, place) => {
      if (!column) return;
      const made = columns[place];
      const last = place === row.columns.length - 1;
      const heading = made.querySelector(".heading");
      heading.children[0].textContent = last ? row.verdict : column.name;
      heading.children[1].textContent = last ? "" : column.extent;
      heading.title = last ? row.verdictHelp : column.help;
      made.setAttribute("aria-label", last ? `Class probabilities: ${row.verdict}` : column.help);
      made.style.setProperty("--atlas", `url("${column.src}")`);
      column.items.forEach((item, channel) => {
        const button = root.own.cells.get(key([index, place, channel]));
        button.title = item.title;
        button.setAttribute("aria-label", item.title);
        if (last) share(button, row.shares[channel]);
        else note(button, item.note);
      });
    });
  });
  const selected = data.selected && wasOpenAt(root.own, data.selected);
  for (const [place, button] of root.own.cells) button.setAttribute("aria-pressed", String(place === key(selected)));
  const tab = root.own.focused ?? selected ?? root.own.tab;
  walkable(root, at(root, tab) ? tab : [0, 0, 0]);
  bars(root);
}

function share(button, { name, share, mark }) {
  const [words, bar] = button.children;
  words.children[0].textContent = name;
  words.children[1].textContent = mark;
  words.children[2].textContent = share === null ? "–" : `${Math.round(100 * share)} %`;
  bar.firstChild.style.width = `${100 * (share ?? 0)}%`;
  button.classList.toggle("marked", mark !== "");
}

function note(button, text) {
  const [sign, ...rest] = text.split(" ");
  button.querySelector(".note").replaceChildren(...(text ? [sign, make("span", "more", ` ${rest.join(" ")}`)] : []));
}

function bars(root) {
  const { data } = root.own;
  const made = data.bars.map((bar) => {
    const ends = bar.ends.map((text) => make("span", "", text));
    const colours = make("span", "ramp");
    colours.style.backgroundImage = `url("${bar.src}")`;
    const all = make("span", "scale", ends[0], colours, ends[ends.length - 1]);
    all.title = bar.ends.length > 2 ? "white is zero; the ends are the range above each column" : "the ends are the range above each column";
    return all;
  });
  root.querySelector(".bars").replaceChildren(...made, ...data.notes.map((note) => make("span", "remark", note)));
}

function walkable(root, place) {
  const { own } = root;
  at(root, own.tab)?.setAttribute("tabindex", "-1");
  own.tab = place;
  at(root, place)?.setAttribute("tabindex", "0");
}

// -- how large it is ----------------------------------------------------------------------------------------

function layout(root, anew = false) {
  const { own } = root;
  if (!own.data) return;
  const wide = root.clientWidth;
  const scrolled = document.querySelector('[data-testid="stMain"]')?.scrollTop ?? 0;
  const foot = root.querySelector(".foot").offsetHeight;
  const top = root.getBoundingClientRect().top + scrolled;
  const tall = Math.max(TALL.least, Math.min(TALL.most, innerHeight - top - BELOW)) - foot;
  const size = `${wide} ${Math.round(tall)}`;
  if (!wide || (size === own.size && !anew)) return;
  own.size = size;

  const { rows } = own.data;
  const least = CLASS * rows[0].columns.at(-1).items.length; // two networks' classes are not to overlap
  const room = Math.max(least, Math.floor(tall / rows.length) - NAME - HEADING - 6);
  const roomy = {
    pictured: Math.min(room - 60, wide > 1100 ? 112 : wide > 700 ? 84 : 64),
    classes: wide > 1100 ? 180 : wide > 900 ? 168 : 158,
    between: BETWEEN,
  };
  const tight = {
    pictured: Math.min(roomy.pictured, TIGHT.pictured),
    classes: Math.min(roomy.classes, TIGHT.classes),
    between: TIGHT.between,
  };
  const columns = rows[0].columns.map((_, place) => {
    const every = rows.map((row) => row.columns[place]).filter(Boolean);
    return { count: Math.max(...every.map((each) => each.items.length)), cells: Math.max(...every.map((each) => each.cells)) };
  });
  columns.pop(); // the classes
  const spaces = [roomy, tight].find((each) => fitted(columns, wide, room, each)) ?? roomy;
  const plan = fitted(columns, wide, room, spaces) ?? scrolling(columns, wide, room, spaces);
  const { pictured, classes } = spaces;
  const whole = Math.max(wide, across(plan, spaces));
  const stage = root.querySelector(".stage");
  stage.style.width = `${whole}px`;
  stage.style.setProperty("--room", `${room}px`);
  stage.style.setProperty("--pictured", `${pictured}px`);
  root.style.setProperty("--wide", `${wide}px`);
  root.style.setProperty("--classes", `${classes + BETWEEN}px`);
  for (const network of root.querySelectorAll(".network")) {
    network.querySelectorAll(".column:not(.picture)").forEach((column, place) => {
      const each = plan[place] ?? { width: classes };
      column.style.width = `${each.width}px`;
      if (plan[place]) cut(column, each);
    });
  }
  reveal(root, wide, classes);
  hint(root);
  light(root);
}

const across = (plan, { pictured, classes, between }) =>
  plan.reduce((sum, each) => sum + each.width + between, pictured + classes + between);

// The plan with the largest maps that has all columns in sight, if there is one.
function fitted(columns, wide, room, spaces) {
  for (let side = SIDES.most; side >= SIDES.least; side -= 1) {
    const plan = planned(columns, side, room);
    if (across(plan, spaces) <= wide) return plan;
  }
  for (const abreast of ABREAST) {
    for (const side of SIDES.scrolling) {
      const plan = planned(columns, side, room, abreast);
      if (across(plan, spaces) <= wide) return plan;
    }
  }
  return null;
}

// The plan if columns scroll from left to right.
function scrolling(columns, wide, room, spaces) {
  const plan = planned(columns, SIDES.scrolling[0], room, ABREAST[0]);
  if (across(plan, spaces) < FAR * wide) return plan;
  return plan.map((each, place) => {
    const { count, cells } = columns[place];
    const rows = Math.ceil(count / each.abreast);
    if (cells === 1 || rows * (each.side + GAP) > room) return each;
    const side = Math.max(each.side, Math.min(HEADED, Math.floor((room + GAP) / rows) - GAP));
    return { ...each, side, width: Math.max(HEADED, each.abreast * (side + GAP)) };
  });
}

// What is open beside it stays in sight, once it is opened and whenever there is less room.
function reveal(root, wide, classes) {
  const { own } = root;
  const place = own.data.selected && wasOpenAt(own, own.data.selected);
  const column = at(root, place)?.closest(".column:not(:last-child)");
  const revealed = `${wide} ${key(place)}`;
  if (column && revealed !== own.revealed) {
    const scroll = root.querySelector(".scroll");
    const end = column.offsetLeft + column.offsetWidth + classes + 2 * BETWEEN;
    scroll.scrollLeft = Math.min(Math.max(scroll.scrollLeft, end - wide), column.offsetLeft - BETWEEN);
  }
  own.revealed = revealed;
}

// A fade where there is more to scroll to: at the classes, under which columns go, and at the ends of long columns.
function hint(root) {
  const fade = (element, start, shown, all) => {
    element.classList.toggle("before", start > 2);
    element.classList.toggle("after", start + shown < all - 2);
  };
  const scroll = root.querySelector(".scroll");
  fade(scroll, scroll.scrollLeft, scroll.clientWidth, scroll.scrollWidth);
  for (const maps of root.querySelectorAll(".maps:not(.classes)")) {
    fade(maps, maps.scrollTop, maps.clientHeight, maps.scrollHeight - 4);
  }
}

// Every column's width if the largest map had that side, and in it the largest maps that it has room for.
// most: maps abreast, in columns that scroll.
function planned(columns, side, room, most = Infinity) {
  return columns.map(({ count, cells }) => {
    if (cells === 1) {
      const few = Math.floor((room + 1) / Math.ceil(count / 3)) - 1;
      const unit = Math.max(UNITS.least, Math.min(UNITS.most, few));
      const needed = Math.ceil(count / Math.max(1, Math.floor((room + 1) / (unit + 1))));
      const abreast = Math.min(needed, MOST_UNITS_ABREAST);
      const bar = needed > abreast ? BAR : 0;
      return { side: unit, abreast, gap: 1, width: Math.max(HEADED, abreast * (unit + 1) + bar) };
    }
    const own = Math.max(12, Math.min(room, Math.round(side * (0.45 + (0.55 * cells) / 28))));
    const needed = Math.ceil(count / Math.max(1, Math.floor((room + GAP) / (own + GAP))));
    if (needed > most) return { side: own, abreast: most, gap: GAP, width: Math.max(HEADED, most * (own + GAP) + BAR) };
    const width = Math.max(HEADED, needed * (own + GAP));
    let best = { side: own, abreast: needed };
    for (let abreast = 1; abreast <= count; abreast += 1) {
      const tall = Math.floor((room + GAP) / Math.ceil(count / abreast)) - GAP;
      const fits = Math.min(tall, Math.floor((width + GAP) / abreast) - GAP, SIDES.most);
      if (fits > best.side) best = { side: fits, abreast };
    }
    return { ...best, gap: GAP, width };
  });
}

function cut(column, { side, abreast, gap }) {
  const maps = column.querySelector(".maps");
  if (!maps) return;
  const buttons = maps.children;
  maps.style.gap = `${gap}px`;
  maps.style.gridTemplateColumns = `repeat(${abreast}, ${side}px)`;
  column.style.setProperty("--side", `${side}px`);
  column.classList.toggle("small", side < 48); // for more than a sign
  for (const button of buttons) {
    const channel = button.place[2];
    sprite(button, channel, buttons.length, side, column.getRootNode().querySelector(".diagram").own.data.atlasColumns);
  }
}

// Have the element show one picture of an atlas, each drawn with that side.
function sprite(element, index, count, side, most) {
  const columns = Math.min(count, most);
  const rows = Math.ceil(count / columns);
  element.style.backgroundSize = `${columns * side}px ${rows * side}px`;
  element.style.backgroundPosition = `${-(index % columns) * side}px ${-Math.floor(index / columns) * side}px`;
}

// -- what feeds what ----------------------------------------------------------------------------------------

function light(root) {
  const { own } = root;
  const lines = root.querySelector("svg");
  if (!lines) return;
  for (const each of root.querySelectorAll(".lit")) each.classList.remove("lit");
  for (const each of root.querySelectorAll(".kernel")) each.remove();
  for (const each of root.querySelectorAll(".dimmed")) each.classList.remove("dimmed");
  lines.replaceChildren();
  const place = own.over ?? own.focused ?? (own.data.selected && wasOpenAt(own, own.data.selected));
  const target = at(root, place);
  const readout = root.querySelector(".readout");
  if (!target) {
    readout.textContent = HINT;
    return;
  }
  const [row, column, channel] = place;
  const { columns } = own.data.rows[row];
  let before = column - 1;
  while (before >= 0 && !columns[before]) before -= 1;
  const { feed, items } = columns[column];
  const network = root.querySelectorAll(".network")[row];
  const made = network.querySelectorAll(".column");
  target.classList.add("lit");
  const sources = sourcesOf(own, row, before, channel, feed, network);
  if (before >= 0) made[before + 1].classList.add("dimmed"); // the picture is the first column
  const draw = lineTo(root, lines, target);
  for (const [source, strength, label] of sources) {
    source.classList.add("lit");
    if (sources.length <= MOST_LINES) draw(source, strength, source.place && source.place[1] < before ? OVER : 0);
    if (label !== undefined && source.offsetWidth >= 24) source.append(make("span", "kernel share", label));
  }
  if (feed.kind === "kernels") {
    const side = Math.max(12, Math.min(36, Math.round(sources[0][0].offsetWidth * (before < 0 ? 1 : 0.48))));
    sources.forEach(([source], index) => {
      const kernel = make("span", "kernel");
      kernel.style.width = kernel.style.height = `${side}px`;
      kernel.style.backgroundImage = `url("${feed.src}")`;
      sprite(kernel, channel * feed.inputs + index, items.length * feed.inputs, side, own.data.atlasColumns);
      source.append(kernel);
    });
  }
  readout.textContent = `${items[channel].title}. ${fedBy(own, row, before, channel, feed)}`;
}

function sourcesOf(own, row, before, channel, feed, network) {
  const source = (index) => own.cells.get(key([row, before, index]));
  if (before < 0) {
    const colours = [...network.querySelector(".colours").children];
    return feed.kind === "kernels" ? colours.map((each) => [each, 0.5]) : [[network.querySelector(".seen"), 0.5]];
  }
  if (feed.kind === "same") {
    const brought = broughtBy(own, row, channel, feed);
    return [[source(channel), 1], ...(brought ? [[own.cells.get(key([row, brought[0], channel])), 1]] : [])];
  }
  if (feed.kind === "kernels") return Array.from({ length: feed.inputs }, (_, index) => [source(index), 0.35]);
  const largest = Math.max(1, ...feed.percents[channel].map(Math.abs));
  return feed.sources[channel].map((index, place) => {
    const percent = feed.percents[channel][place];
    return [source(index), Math.abs(percent) / largest, signed(percent)];
  });
}

// The column of the maps that a residual block's shortcut brings to its sum, and their name; null: none, or no such map.
function broughtBy(own, row, channel, feed) {
  const { columns } = own.data.rows[row];
  const place = feed.shortcut ? columns.findIndex((each) => each?.step === feed.shortcut) : -1;
  return place >= 0 && channel < columns[place].items.length ? [place, columns[place].name.split(" ")[0]] : null;
}

const signed = (percent) => `${percent < 0 ? "−" : "+"}${Math.abs(percent)} %`;

function fedBy(own, row, before, channel, feed) {
  const name = before < 0 ? "the picture" : own.data.rows[row].columns[before].name;
  const one = before >= 0 && own.data.rows[row].columns[before].cells > 1 ? "map" : "unit";
  if (feed.kind === "same") {
    if (!feed.shortcut) return `From ${one} ${channel} of ${name}.`;
    const brought = broughtBy(own, row, channel, feed);
    return `Map ${channel} of ${name}, plus ${brought ? `map ${channel} of ${brought[1]}` : "nothing: the block's input has no such map"}.`;
  }
  if (feed.kind === "kernels") {
    const all = before < 0 ? "red, green and blue of the picture" : `the ${feed.inputs} maps of ${name}`;
    return `Fed by ${all} through the kernels drawn there, ${feed.extent}.`;
  }
  if (before < 0) return "Fed by every pixel of the picture.";
  const parts = feed.sources[channel].slice(0, 5).map((index, place) => `${index} (${signed(feed.percents[channel][place])})`);
  return `Largest parts of its sum, of ${one}s of ${name}: ${parts.join(", ")}.`;
}

function lineTo(root, lines, target) {
  const stage = root.querySelector(".stage").getBoundingClientRect();
  const end = target.getBoundingClientRect();
  return (source, strength, over) => {
    const start = source.getBoundingClientRect();
    const column = source.closest(".maps")?.getBoundingClientRect();
    if (column && (start.bottom < column.top || start.top > column.bottom)) return; // scrolled away
    const [x, y] = [start.right - stage.left, (start.top + start.bottom) / 2 - stage.top];
    const [toX, toY] = [end.left - stage.left, (end.top + end.bottom) / 2 - stage.top];
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const bend = Math.max(8, (toX - x) / 2);
    path.setAttribute("d", `M${x},${y} C${x + bend},${y - over} ${toX - bend},${toY - over} ${toX},${toY}`);
    path.setAttribute("stroke-width", String(0.75 + 1.75 * strength));
    lines.append(path);
  };
}

// -- keys ---------------------------------------------------------------------------------------------------

// undefined: not a key of the diagram; null: there is nothing in that direction.
function neighbour(root, button, pressed) {
  const siblings = [...button.parentElement.children];
  if (pressed === "Home") return siblings[0];
  if (pressed === "End") return siblings[siblings.length - 1];
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[pressed];
  if (!step) return undefined;
  const [here, x, y] = middle(button);
  const [dx, dy] = step;
  let best = null;
  let least = Infinity;
  for (const [, each] of root.own.cells) {
    if (each === button) continue;
    const [box, itsX, itsY] = middle(each);
    const along = (itsX - x) * dx + (itsY - y) * dy;
    if (along < Math.min(here.width, box.width) / 2) continue;
    const [mine, its] = [button.place, each.place];
    const beside = mine[0] === its[0] && mine[1] === its[1];
    // Up and down stay in the column, of the other network if need be; left and right stay in the network.
    if (dy ? mine[1] !== its[1] : mine[0] !== its[0]) continue;
    const across = Math.abs((itsX - x) * dy) + Math.abs((itsY - y) * dx);
    const far = along + (dy ? 8 : 2) * across + (beside || dy ? 0 : 1);
    if (far < least) [best, least] = [each, far];
  }
  return best;
}

function middle(element) {
  const box = element.getBoundingClientRect();
  return [box, (box.left + box.right) / 2, (box.top + box.bottom) / 2];
}
