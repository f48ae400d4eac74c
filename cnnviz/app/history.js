// Streamlit adds an entry to the browser's history whenever the address changes, and changes the page and what stands
// behind its "?" one after the other, in either order. What a reader goes back through is made of it here.
if (!window.cnnvizHistory) {
  window.cnnvizHistory = true;
  const MOST_ASKED = 3;
  const add = history.pushState.bind(history);
  let touched = false; // since the address changed last
  let asks = 0; // times that the page that Back or Forward led to may still be asked for
  let written = null; // the address as sameView() left it, until anything is touched
  let before = null; // what stood there, if that took its place

  const sameView = (state, title, address) => {
    // One that changes before anybody has touched anything only completes the address that was opened.
    before = touched ? null : location.href;
    if (touched) add(state, title, address);
    else history.replaceState(state, title, address);
    written = location.href;
  };

  const otherPage = (state, title, address, early) => {
    if (asks > 0) {
      // Until the page that Back led to begins to be drawn, whatever reports something asks for the one that was left.
      asks -= 1;
      setTimeout(() => window.dispatchEvent(new PopStateEvent("popstate", { state: history.state })));
    } else if (early && !before) {
      history.replaceState(state, title, address); // the entry was added for this page
    } else {
      if (early) history.replaceState(history.state, "", before);
      add(state, title, address);
    }
  };

  history.pushState = (state, title, address) => {
    const to = new URL(address, location.href);
    if (to.pathname === location.pathname) {
      sameView(state, title, address);
    } else {
      // The next page's choices, written before its name: they stand under the name of the page before.
      const early = written === location.href && to.search !== "" && to.search === location.search;
      otherPage(state, title, address, early);
      written = null;
    }
    touched = false;
  };

  const touch = () => {
    touched = true;
    written = null;
    asks = 0;
  };
  window.addEventListener("pointerdown", touch, true);
  window.addEventListener("keydown", touch, true);
  const went = (event) => {
    touched = false;
    written = null;
    if (event.isTrusted) asks = MOST_ASKED;
  };
  window.addEventListener("popstate", went, true);
}
