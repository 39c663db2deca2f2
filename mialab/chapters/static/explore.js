// One explorer: range inputs over pictures that were drawn in advance. A classic script, because modules are not
// run everywhere notebooks are shown.
((frames, counts, id) => {
  const here = document.currentScript && document.currentScript.closest(".mialab-explore");
  const root = here || document.getElementById(id);
  const inputs = Array.from(root.querySelectorAll("input"));
  const picture = root.querySelector("img");
  const numbers = root.querySelector("[aria-live]");

  function show() {
    const frame = frames[inputs.reduce((index, input, axis) => index * counts[axis] + input.valueAsNumber, 0)];
    picture.src = frame.src;
    picture.alt = numbers.textContent = frame.text;
    inputs.forEach((input, axis) => {
      const label = frame.labels[axis];
      input.setAttribute("aria-valuetext", label);
      input.nextElementSibling.textContent = label;
    });
  }

  root.querySelector("fieldset").hidden = false;
  root.addEventListener("input", show);
  // JupyterLab takes the arrow keys for itself unless they stop here.
  root.addEventListener("keydown", (event) => event.stopPropagation());
  show(); // a reloaded page keeps the sliders where they were
})
