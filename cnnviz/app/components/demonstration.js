// Two small networks, computed here after every epoch: what each sees in a picture and says about it.
const SECONDS = 0.7; // each epoch
const PAUSE = 4; // epochs' time, on the last one
const SIDE = 32;

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".demonstration");
  if (root.childElementCount) return root.stop; // drawn already: it goes on playing
  const tensors = read(data.file);
  const networks = data.networks.map((network) => layers(network, tensors));
  const pictures = chunks(tensors.pictures, 3 * SIDE * SIDE);
  let epoch = 0;
  let picture = data.classes.indexOf("triangle");
  let timer;

  const head = add(root, "div", "head");
  const choice = add(head, "div", "pictures", { role: "group", "aria-label": "Picture" });
  const buttons = pictures.map((pixels, index) => {
    const button = add(choice, "button", "", { type: "button", "aria-label": data.classes[index], title: data.classes[index] });
    paint(add(button, "canvas"), [pixels], SIDE, SIDE, rgb, 3);
    button.onclick = () => show(epoch, index);
    return button;
  });
  const bench = add(root, "div", "bench");
  const rows = add(bench, "div", "rows");
  const views = networks.map((network) => view(add(rows, "section", "network"), network, data));
  const chart = curves(add(bench, "figure", "curves"), networks, data.epochs);
  const controls = add(head, "div", "controls");
  const play = add(controls, "button", "play", { type: "button" });
  const slider = add(controls, "input", "", { type: "range", min: 0, max: data.epochs, "aria-label": "Epoch" });
  const label = add(controls, "output");

  function show(nextEpoch, nextPicture) {
    [epoch, picture] = [nextEpoch, nextPicture];
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === picture)));
    views.forEach((each, index) => each(networks[index].after(epoch, pictures[picture]), epoch, picture, pictures[picture]));
    chart(epoch);
    slider.value = epoch;
    label.textContent = epoch ? `Epoch ${epoch} of ${data.epochs}` : "Untrained";
    slider.setAttribute("aria-valuetext", label.textContent);
  }
  function run(playing) {
    clearInterval(timer);
    let waited = 0;
    if (playing) {
      timer = setInterval(() => {
        if (epoch < data.epochs) show(epoch + 1, picture);
        else if (++waited >= PAUSE) {
          waited = 0;
          show(0, picture);
        }
      }, 1000 * SECONDS);
    }
    play.textContent = playing ? "Pause" : "▶ Play";
    play.onclick = () => run(!playing);
  }
  slider.oninput = () => {
    run(false);
    show(Number(slider.value), picture);
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  show(still ? data.epochs : 0, picture);
  run(!still);
  root.stop = () => clearInterval(timer);
  return root.stop;
}

// -- the file: safetensors (a length, a JSON header, the numbers), half precision and bytes -------------------

function read(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const numbers = new DataView(bytes.buffer);
  const start = 8 + Number(numbers.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  delete header.__metadata__;
  const kinds = {
    U8: [1, (at) => numbers.getUint8(at)],
    F16: [2, (at) => half(numbers.getUint16(at, true))],
    F32: [4, (at) => numbers.getFloat32(at, true)],
  };
  const entries = Object.entries(header).map(([name, { dtype, data_offsets: [from, to] }]) => {
    const [size, value] = kinds[dtype];
    return [name, Float32Array.from({ length: (to - from) / size }, (_, index) => value(start + from + index * size))];
  });
  return Object.fromEntries(entries);
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const share = (bits & 1023) / 1024;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + share) : 2 ** -14 * share);
}

function chunks(values, size) {
  return Array.from({ length: values.length / size }, (_, index) => values.subarray(index * size, (index + 1) * size));
}

// -- the networks: convolution, activation, average pooling, twice; two fully connected layers ----------------

const ACTIVATIONS = { tanh: Math.tanh, sigmoid: (x) => 1 / (1 + Math.exp(-x)) };

function layers({ name, activation, words }, tensors) {
  const act = ACTIVATIONS[activation];
  const weights = (epoch, layer) => [tensors[`${name}/${epoch}/${layer}.weight`], tensors[`${name}/${epoch}/${layer}.bias`]];
  return {
    words,
    accuracy: tensors[`${name}/accuracy`],
    after(epoch, pixels) {
      const input = new Float32Array(pixels.length);
      for (let at = 0; at < pixels.length; at++) {
        input[(at % 3) * SIDE * SIDE + Math.floor(at / 3)] = pixels[at] / 127.5 - 1; // as cnnviz.data normalises
      }
      const c1 = convolved(input, SIDE, ...weights(epoch, "c1"), 5).map(act);
      const c3 = convolved(halved(c1, 28), 14, ...weights(epoch, "c3"), 5).map(act);
      const hidden = connected(halved(c3, 10), ...weights(epoch, "fc5")).map(act);
      const exponentials = connected(hidden, ...weights(epoch, "fc6")).map(Math.exp);
      const sum = exponentials.reduce((total, value) => total + value, 0);
      return { c1, c3, probabilities: exponentials.map((value) => value / sum) };
    },
  };
}

function convolved(input, side, weight, bias, kernel) {
  const channels = input.length / (side * side);
  const size = side - kernel + 1;
  const output = new Float32Array(bias.length * size * size);
  for (let map = 0; map < bias.length; map++) {
    for (let cell = 0; cell < size * size; cell++) {
      let sum = bias[map];
      for (let channel = 0; channel < channels; channel++) {
        for (let row = 0; row < kernel; row++) {
          const from = (channel * side + Math.floor(cell / size) + row) * side + (cell % size);
          const at = ((map * channels + channel) * kernel + row) * kernel;
          for (let column = 0; column < kernel; column++) sum += weight[at + column] * input[from + column];
        }
      }
      output[map * size * size + cell] = sum;
    }
  }
  return output;
}

function halved(maps, side) {
  const size = side / 2;
  return Float32Array.from({ length: maps.length / 4 }, (_, index) => {
    const at = 2 * (Math.floor(index / size) * side + (index % size));
    return (maps[at] + maps[at + 1] + maps[at + side] + maps[at + side + 1]) / 4;
  });
}

function connected(input, weight, bias) {
  return bias.map((start, unit) => input.reduce((sum, value, index) => sum + value * weight[unit * input.length + index], start));
}

// -- what one sees -------------------------------------------------------------------------------------------

function add(parent, kind, name = "", attributes = {}) {
  const made = document.createElement(kind);
  made.className = name;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  parent.append(made);
  return made;
}

function paint(canvas, pictures, side, columns, colour, step = 1) {
  const across = Math.min(pictures.length, columns);
  const gap = pictures.length > 1 ? 1 : 0;
  canvas.width = across * (side + gap) - gap;
  canvas.height = Math.ceil(pictures.length / across) * (side + gap) - gap;
  const context = canvas.getContext("2d");
  pictures.forEach((values, index) => {
    const image = context.createImageData(side, side);
    for (let pixel = 0; pixel < side * side; pixel++) image.data.set([...colour(values, pixel * step), 255], 4 * pixel);
    context.putImageData(image, (index % across) * (side + gap), Math.floor(index / across) * (side + gap));
  });
}

function rgb(values, at) {
  return values.subarray(at, at + 3);
}

const SCALE = ["2166ac", "67a9cf", "d1e5f0", "f7f7f7", "fddbc7", "ef8a62", "b2182b"].map((hex) =>
  [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)),
); // RdBu (Brewer, Harrower, 2003), reversed: -1 is blue, 0 white, 1 red

function signed(values, at) {
  const place = (Math.max(-1, Math.min(1, values[at])) + 1) * 3;
  const low = Math.min(Math.floor(place), 5);
  return SCALE[low].map((value, part) => value + (SCALE[low + 1][part] - value) * (place - low));
}

function view(section, network, { classes }) {
  const head = add(section, "h2");
  head.textContent = network.words;
  const said = add(section, "p", "said");
  const row = add(section, "div", "flow");
  const column = (title, name) => {
    const figure = add(row, "figure", name);
    const canvas = add(figure, "canvas", "", { role: "img" });
    add(figure, "figcaption").textContent = title;
    return canvas;
  };
  const seen = column("picture", "seen");
  const first = column("1st convolution: 6 maps", "first");
  const second = column("2nd convolution: 8 maps", "second");
  const figure = add(row, "figure", "classes");
  const bars = classes.map((name) => {
    const line = add(figure, "div", "class");
    add(line, "span", "name").textContent = name;
    const bar = add(add(line, "span", "track"), "span", "bar");
    const share = add(line, "span", "share");
    return { line, bar, share };
  });
  add(figure, "figcaption").textContent = "probability of each class";
  return ({ c1, c3, probabilities }, epoch, truth, pixels) => {
    paint(seen, [pixels], SIDE, 1, rgb, 3);
    paint(first, chunks(c1, 28 * 28), 28, 3, signed);
    paint(second, chunks(c3, 10 * 10), 10, 4, signed);
    seen.setAttribute("aria-label", `a ${classes[truth]}`);
    first.setAttribute("aria-label", `six maps of the first convolution, after epoch ${epoch}`);
    second.setAttribute("aria-label", `eight maps of the second convolution, after epoch ${epoch}`);
    const best = probabilities.indexOf(Math.max(...probabilities));
    const right = best === truth;
    const guess = `${right ? "✓" : "✗"} ${classes[best]} ${percent(probabilities[best])}`;
    said.textContent = `${guess}${right ? "" : ` (it is a ${classes[truth]})`} · ${percent(network.accuracy[epoch])} of all test pictures right`;
    bars.forEach(({ line, bar, share }, index) => {
      line.classList.toggle("true", index === truth);
      line.classList.toggle("most", index === best);
      bar.style.width = `${100 * probabilities[index]}%`;
      share.textContent = percent(probabilities[index]);
    });
  };
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function curves(figure, networks, epochs) {
  const [width, height, left, bottom] = [240, 250, 36, 34];
  const x = (epoch) => left + ((width - left - 12) * epoch) / epochs;
  const y = (share) => 12 + (height - bottom - 12) * (1 - share / 0.7);
  const ticks = [0, 0.1, 0.3, 0.5, 0.7];
  const grid = ticks.map(
    (share) =>
      `<line x1="${left}" x2="${width - 12}" y1="${y(share)}" y2="${y(share)}" class="${share === 0.1 ? "chance" : "grid"}"/>` +
      `<text x="${left - 5}" y="${y(share) + 4}" text-anchor="end">${Math.round(100 * share)}</text>`,
  );
  const steps = [0, 5, 10, 15].map((epoch) => `<text x="${x(epoch)}" y="${height - 18}" text-anchor="middle">${epoch}</text>`);
  figure.innerHTML =
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Test accuracy of both networks by epoch">${grid.join("")}${steps.join("")}` +
    `<text x="${(width + left) / 2}" y="${height - 3}" text-anchor="middle">epoch</text>` +
    `<text x="${width - 12}" y="${y(0.1) - 5}" text-anchor="end">guessing</text>` +
    networks.map((_, index) => `<polyline class="line line${index}"/><circle class="end end${index}" r="4"/>`).join("") +
    "</svg><figcaption>test accuracy (%)</figcaption>";
  const lines = [...figure.querySelectorAll("polyline")];
  const ends = [...figure.querySelectorAll("circle")];
  return (epoch) => {
    networks.forEach(({ accuracy }, index) => {
      const points = Array.from(accuracy.slice(0, epoch + 1), (share, at) => `${x(at)},${y(share)}`);
      lines[index].setAttribute("points", points.join(" "));
      ends[index].setAttribute("cx", x(epoch));
      ends[index].setAttribute("cy", y(accuracy[epoch]));
    });
  };
}
