// One map, large: its values under the pointer, a click or Enter picks a cell, arrow keys move.
export default function ({ data, parentElement, setTriggerValue }) {
  const map = parentElement.querySelector(".map");
  const mark = parentElement.querySelector(".mark");
  const chosen = parentElement.querySelector(".chosen");
  const readout = parentElement.querySelector(".readout");
  const { rows, columns, zoom } = data;
  map.style.width = `${columns * zoom}px`;
  map.style.height = `${rows * zoom}px`;
  map.style.backgroundImage = `url("${data.src}")`;
  map.setAttribute("aria-label", data.label);
  let at = [data.row, data.column];
  const place = (frame, [row, column]) => {
    frame.style.width = frame.style.height = `${zoom}px`;
    frame.style.transform = `translate(${column * zoom}px, ${row * zoom}px)`;
  };
  const show = (cell) => {
    at = cell;
    place(mark, cell);
    const value = data.values[cell[0] * columns + cell[1]];
    readout.textContent = `row ${cell[0]}, column ${cell[1]}: ${value}`;
  };
  const inside = (value, size) => Math.max(0, Math.min(size - 1, value));
  const under = (event) => {
    const box = map.getBoundingClientRect();
    return [
      inside(Math.floor((event.clientY - box.top) / zoom), rows),
      inside(Math.floor((event.clientX - box.left) / zoom), columns),
    ];
  };
  const pick = () => setTriggerValue("picked", at);
  place(chosen, at);
  show(at);
  map.onpointermove = (event) => show(under(event));
  map.onpointerleave = () => show([data.row, data.column]);
  map.onclick = (event) => {
    show(under(event));
    pick();
  };
  map.onkeydown = (event) => {
    const [down, right] =
      { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key] ?? [0, 0];
    if (down || right) {
      event.preventDefault();
      show([inside(at[0] + down, rows), inside(at[1] + right, columns)]);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      pick();
    }
  };
}
