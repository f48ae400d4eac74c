// A bar of shares, and beneath it the parts as buttons: name, figure, note. One of them is chosen.
export default function ({ data, parentElement, setTriggerValue }) {
  const bar = parentElement.querySelector(".bar");
  const group = parentElement.querySelector(".parts");
  group.setAttribute("aria-label", data.label);
  group.style.setProperty("--columns", data.columns);
  bar.setAttribute("aria-hidden", "true"); // the buttons say the same
  bar.replaceChildren(
    ...data.parts
      .filter((part) => part.share > 0)
      .map((part) => {
        const piece = document.createElement("i");
        piece.style.flexGrow = part.share;
        piece.style.background = part.hue;
        return piece;
      }),
  );
  while (group.children.length > data.parts.length) group.lastChild.remove();
  while (group.children.length < data.parts.length) group.append(button());
  data.parts.forEach((part, at) => {
    const each = group.children[at];
    const [name, figure, note] = each.children;
    name.textContent = part.name;
    figure.textContent = part.figure;
    note.textContent = part.note;
    each.title = part.title;
    each.setAttribute("aria-label", `${part.name}: ${part.figure}, ${part.note}`);
    each.style.setProperty("--hue", part.share > 0 ? part.hue : "transparent");
    each.setAttribute("aria-pressed", String(at === data.selected));
    each.onclick = () => setTriggerValue("picked", at);
  });
}

function button() {
  const made = document.createElement("button");
  made.type = "button";
  for (const kind of ["span", "b", "small"]) made.append(document.createElement(kind));
  return made;
}
