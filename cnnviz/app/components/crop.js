// A square frame on a picture: dragged, sized by its corners, moved and sized by keys and the wheel; sent once it rests.
const REST = 300; // milliseconds without a key or a turn of the wheel
const SMALLEST = 8; // pixels of the picture, if it has as many

export default function ({ data, parentElement, setStateValue }) {
  const crop = parentElement.querySelector(".crop");
  const picture = crop.querySelector("img");
  const frame = crop.querySelector(".frame");
  const readout = parentElement.querySelector(".readout");
  const [width, height] = data.size;
  if (crop.own?.id !== data.id) crop.own = { id: data.id, square: data.square, sent: null, held: null, timer: 0 };
  const own = crop.own;
  own.known = String(data.square);
  // What was sent last counts until the server knows it: a page drawn meanwhile does not move the frame back.
  const resting = !own.held && !own.timer;
  if (String(own.sent) === own.known) own.sent = null;
  if (resting && !own.sent) own.square = data.square;

  crop.style.width = `${data.shown[0]}px`;
  crop.style.aspectRatio = `${data.shown[0]} / ${data.shown[1]}`;
  if (picture.src !== data.src) picture.src = data.src;
  picture.alt = data.alt;
  frame.setAttribute("aria-label", data.label);
  draw();

  function draw() {
    const [left, top, side] = own.square;
    frame.style.left = `${(100 * left) / width}%`;
    frame.style.top = `${(100 * top) / height}%`;
    frame.style.width = `${(100 * side) / width}%`;
    frame.style.height = `${(100 * side) / height}%`;
    readout.textContent = `${side}×${side} pixels at ${left}, ${top} of ${width}×${height}`;
  }
  function clamp(value, low, high) {
    return Math.round(Math.max(low, Math.min(high, value)));
  }
  function put(left, top, side) {
    const whole = clamp(side, Math.min(SMALLEST, width, height), Math.min(width, height));
    own.square = [clamp(left, 0, width - whole), clamp(top, 0, height - whole), whole];
    draw();
  }
  function grow(by) {
    const [left, top, side] = own.square;
    put(left - by / 2, top - by / 2, side + by);
  }
  function send() {
    clearTimeout(own.timer);
    own.timer = 0;
    if (String(own.square) === own.known) return;
    own.sent = own.square;
    setStateValue("square", own.square);
  }
  function sendSoon() {
    clearTimeout(own.timer);
    own.timer = setTimeout(send, REST);
  }
  function at(event) {
    const box = crop.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  }

  crop.onpointerdown = (event) => {
    if (event.button) return;
    event.preventDefault();
    frame.focus({ preventScroll: true });
    crop.setPointerCapture(event.pointerId);
    const corner = [...frame.children].indexOf(event.target);
    const [x, y] = at(event);
    if (corner < 0 && event.target !== frame) {
      const side = own.square[2]; // beside the frame: it comes here
      put(x - side / 2, y - side / 2, side);
    }
    own.held = { corner, x, y, from: own.square };
  };
  crop.onpointermove = (event) => {
    if (!own.held) return;
    const { corner, x, y, from } = own.held;
    const [left, top, side] = from;
    const [right, down] = [at(event)[0] - x, at(event)[1] - y];
    if (corner < 0) return put(left + right, top + down, side);
    // The opposite corner stays where it is.
    const [west, north] = [corner % 2 === 0, corner < 2];
    const room = Math.min(west ? left + side : width - left, north ? top + side : height - top);
    const by = ((west ? -right : right) + (north ? -down : down)) / 2;
    const now = clamp(side + by, Math.min(SMALLEST, room), room);
    put(west ? left + side - now : left, north ? top + side - now : top, now);
  };
  crop.onpointerup = crop.onpointercancel = () => {
    if (!own.held) return;
    own.held = null;
    send();
  };
  crop.onwheel = (event) => {
    event.preventDefault();
    grow(-2 * Math.sign(event.deltaY) * step());
    sendSoon();
  };
  frame.onkeydown = (event) => {
    const by = event.shiftKey ? 10 * step() : step();
    const [left, top, side] = own.square;
    if (event.key === "ArrowLeft") put(left - by, top, side);
    else if (event.key === "ArrowRight") put(left + by, top, side);
    else if (event.key === "ArrowUp") put(left, top - by, side);
    else if (event.key === "ArrowDown") put(left, top + by, side);
    else if (event.key === "+" || event.key === "=") grow(2 * step());
    else if (event.key === "-" || event.key === "_") grow(-2 * step());
    else return;
    event.preventDefault();
    event.stopPropagation();
    sendSoon();
  };
  function step() {
    return Math.max(1, Math.round(Math.max(width, height) / 200));
  }
}
