// One table with a choice over some of its columns: rows that do not fit are hidden. A classic script, as explore.js.
((id) => {
  const here = document.currentScript && document.currentScript.closest(".mialab-filter");
  const root = here || document.getElementById(id);
  const choices = Array.from(root.querySelectorAll("select"));
  const rows = Array.from(root.querySelectorAll("tbody tr"));
  const count = root.querySelector("[aria-live]");

  function show() {
    let shown = 0;
    rows.forEach((row) => {
      row.hidden = choices.some((one) => one.value !== "" && row.cells[Number(one.dataset.column)].textContent !== one.value);
      shown += row.hidden ? 0 : 1;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  }

  root.querySelector("fieldset").hidden = false;
  root.addEventListener("change", show);
  root.addEventListener("keydown", (event) => event.stopPropagation());
  show(); // a reloaded page keeps its choices
})
