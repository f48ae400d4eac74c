// A text that is sent while it is written: whoever reloads the page loses half a second of it, and no more.
const REST = 500; // milliseconds without a key

export default function ({ data, parentElement, setStateValue }) {
  const area = parentElement.querySelector("textarea");
  const label = parentElement.querySelector("label");
  const state = parentElement.querySelector(".state");
  if (area.own?.id !== data.id) {
    area.own = { id: data.id, timer: 0, sent: data.text };
    area.value = data.text; // never again: it would replace what is being written
  }
  const own = area.own;
  label.textContent = data.label;
  label.htmlFor = area.id = `writing-${data.id}`.replaceAll(" ", "-");
  area.maxLength = data.most;
  area.placeholder = data.placeholder;
  say();

  function say() {
    const kept = area.value === data.text;
    state.textContent = !kept ? "Not kept yet …" : area.value ? "Kept" : "";
  }
  function send() {
    clearTimeout(own.timer);
    own.timer = 0;
    if (area.value === own.sent) return;
    own.sent = area.value;
    setStateValue("text", area.value);
  }
  area.oninput = () => {
    clearTimeout(own.timer);
    own.timer = setTimeout(send, REST);
    say();
  };
  area.onblur = send;
}
