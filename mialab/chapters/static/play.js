// One game: the list of cards in the page, shown one by one. A classic script, because modules are not run everywhere
// notebooks are shown.
((id) => {
  const here = document.currentScript && document.currentScript.closest(".mialab-play");
  const root = here || document.getElementById(id);
  const part = (name) => root.querySelector("." + name);
  const buttons = Array.from(part("answers").children);
  const words = buttons.map((button) => button.dataset.word);
  const cards = Array.from(part("cards").children);
  const isFirst = (card) => card.dataset.truth === "1";
  let order = cards;
  let said = []; // for each card so far: whether the first answer was given

  function start(next) {
    order = next;
    said = [];
    root.dataset.state = "playing";
    part("cards").append(...order);
    cards.forEach((card) => (card.querySelector(".verdict").hidden = true));
    part("turn").hidden = part("answers").hidden = false;
    part("result").hidden = true;
    show();
  }

  function show() {
    const shown = order[said.length];
    cards.forEach((card) => (card.hidden = card !== shown));
    part("turn").textContent = `Card ${said.length + 1} of ${cards.length}`;
  }

  function read() {
    const parts = Array.from(order[said.length].querySelectorAll(".heading, img, .bars li"));
    const texts = parts.map((element) => element.alt || element.textContent.replace(/ +/g, " "));
    return [part("turn").textContent, ...texts].join(". ");
  }

  function answer(first) {
    said.push(first);
    if (said.length < cards.length) {
      show();
      part("heard").textContent = read();
    } else {
      finish();
    }
  }

  function finish() {
    const right = order.filter((card, k) => isFirst(card) === said[k]).length;
    const others = order.filter((card) => !isFirst(card)).length;
    const accused = order.filter((card, k) => said[k] && !isFirst(card)).length;
    const cells = root.querySelectorAll("tbody tr:first-child td");
    cells[0].textContent = `${right} of ${cards.length}`;
    cells[1].textContent = `${accused} of ${others}`;
    part("score").textContent =
      `You got ${right} of ${cards.length} right. A coin gets ${right} or more in ${chance(right)} of games.`;
    order.forEach(judge);
    root.dataset.state = "over";
    part("turn").hidden = part("answers").hidden = true;
    part("result").hidden = false;
    part("result").focus();
    const rows = Array.from(root.querySelectorAll("tbody tr"), (row) => {
      const [who, hits, falsely] = Array.from(row.children, (cell) => cell.textContent);
      return `${who}: ${hits} right, ${falsely} falsely accused`;
    });
    part("heard").textContent = `${part("score").textContent} ${rows.join(". ")}.`;
  }

  function judge(card, k) {
    const verdict = card.querySelector(".verdict");
    const mark = (first) => (first === isFirst(card) ? "right" : "wrong");
    const lines = [words[isFirst(card) ? 0 : 1], `you: ${mark(said[k])}`, `attack: ${mark(card.dataset.attack === "1")}`];
    verdict.replaceChildren(
      ...lines.map((line) => Object.assign(document.createElement("span"), { textContent: line })),
    );
    card.hidden = verdict.hidden = false;
  }

  // In how many games fair coins are right on as many cards or more.
  function chance(right) {
    let ways = 1;
    let enough = 0;
    for (let k = 0; k <= cards.length; k++) {
      if (k >= right) enough += ways;
      ways = (ways * (cards.length - k)) / (k + 1);
    }
    const percent = (100 * enough) / 2 ** cards.length;
    return (percent < 1 ? percent.toPrecision(1) : Math.round(percent)) + "\u00a0%";
  }

  function mixed() {
    const next = order.slice();
    for (let k = next.length - 1; k > 0; k--) {
      const other = Math.floor(Math.random() * (k + 1));
      [next[k], next[other]] = [next[other], next[k]];
    }
    return next.every((card, k) => card === order[k]) ? next.reverse() : next;
  }

  buttons.forEach((button, k) => button.addEventListener("click", () => answer(k === 0)));
  part("again").addEventListener("click", () => {
    start(mixed());
    buttons[0].focus();
    part("heard").textContent = read();
  });
  root.addEventListener("keydown", (event) => {
    event.stopPropagation(); // notebooks have their own meaning for M and the arrows
    if (root.dataset.state !== "playing" || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ["ArrowLeft", "ArrowRight"].indexOf(event.key);
    const pressed = arrow >= 0 ? arrow : buttons.findIndex((button) => button.dataset.key === event.key.toLowerCase());
    if (pressed < 0) return;
    event.preventDefault();
    answer(pressed === 0);
  });
  start(cards);
})
