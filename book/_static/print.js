// Paper cannot be clicked on, and it is white: unfold the answers and print in light colours, then fold them as before.
(() => {
  const root = document.documentElement;
  let before = null;

  function prepare() {
    if (before) return;
    const folded = "details.sd-dropdown:not([open]), details.hide:not([open]):has(.cell_output)";
    before = { theme: root.dataset.theme, folded: Array.from(document.querySelectorAll(folded)) };
    root.dataset.theme = "light";
    before.folded.forEach((answer) => (answer.open = true));
  }

  function restore() {
    if (!before) return;
    before.folded.forEach((answer) => (answer.open = false));
    root.dataset.theme = before.theme;
    before = null;
  }

  addEventListener("beforeprint", prepare);
  addEventListener("afterprint", restore);
  matchMedia("print").addEventListener("change", (media) => (media.matches ? prepare() : restore()));
})();
