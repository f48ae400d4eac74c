// Streamlit adds an entry to the browser's history whenever the address changes. One that changes before anybody has
// touched anything only completes the address that was opened: it takes that one's place, or Back would lead to it.
if (!window.cnnvizHistory) {
  window.cnnvizHistory = true;
  let touched = false;
  const add = history.pushState.bind(history);
  history.pushState = (state, title, address) => {
    const sameView = new URL(address, location.href).pathname === location.pathname && !touched;
    touched = false;
    if (sameView) history.replaceState(state, title, address);
    else add(state, title, address);
  };
  const touch = () => (touched = true);
  window.addEventListener("pointerdown", touch, true);
  window.addEventListener("keydown", touch, true);
  window.addEventListener("popstate", () => (touched = false), true);
}
