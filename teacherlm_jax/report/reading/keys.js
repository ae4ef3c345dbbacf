// The keys, the other events, and the start of the page.

// --- Keys ------------------------------------------------------------------------------------

const KEYS = [
  [["j", "ArrowDown"], "next", () => go(position + 1)],
  [["k", "ArrowUp"], "previous", () => go(position - 1)],
  [["1", "2", "3", "4", "5"], PAIR ? "rate the framed side, from 1 (useless) to 5 (excellent)" : "rate, from 1 (useless) to 5 (excellent)", (key) => rate(active, Number(key))],
  [["ArrowLeft", "ArrowRight"], "frame the left or the right side", (key) => activate(key === "ArrowLeft" ? 0 : 1), true],
  [["a", "b", "t"], "A is better, B is better, tie; the same key undoes it", (key) => prefer(Object.keys(CHOICES).find((choice) => CHOICES[choice].key === key)), true],
  [["u"], "next unrated sample", nextUnrated],
  [["m"], PAIR ? "move on after a preference: on or off" : "move on after a rating: on or off", () => { $("move-on").click(); say($("move-on").checked ? "Moves on" : "Stays"); }],
  [["/"], "search; Esc leaves the field", () => { list(true); $("text").focus(); }],
  [["s"], "save the ratings to a file", openSave],
  [["?"], "this help", () => $("help-box").showModal()],
].filter(([, , , forPairs]) => PAIR || !forPairs);
const SIGNS = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→" };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input:not([type=checkbox]), select")) {
    const leaves = event.key === "Escape" || (event.key === "Enter" && event.target.id === "text");
    if (leaves) { event.preventDefault(); list(false); $("reader").focus({ preventScroll: true }); }
    return;
  }
  if (event.key === "Escape") return list(false);
  const entry = KEYS.find(([keys]) => keys.includes(event.key));
  if (entry) { event.preventDefault(); entry[2](event.key); }
}

function offerHelp() {
  $("help-text").textContent = PAIR
    ? "Read the question and both explanations. Rate each of them, then say which one is better."
    : "Read the question and the explanation, and rate it.";
  if (data.blind) $("help-text").textContent += " The page does not say who wrote them, and the sides change from sample to sample.";
  $("move-on-text").textContent = PAIR ? "Move on after a preference" : "Move on after a rating";
  $("keys").append(...KEYS.map(([keys, meaning]) => {
    const head = make("th", {}, ...keys.map((key) => make("kbd", { textContent: SIGNS[key] ?? key })));
    head.scope = "row";
    return make("tr", {}, head, make("td", { textContent: meaning }));
  }));
}

function listen() {
  document.addEventListener("keydown", onKey);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  let waiting = 0;
  $("filters").addEventListener("input", (event) => {
    if (event.target.id === "move-on") return keepPlace();
    clearTimeout(waiting);
    waiting = setTimeout(filter, event.target.matches("select") ? 0 : 120);
  });
  $("clear").onclick = () => { $("filters").querySelectorAll("select, input:not([type=checkbox])").forEach((field) => (field.value = "")); filter(); };
  let drawing = false;
  $("list").addEventListener("scroll", () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => { drawing = false; drawList(); });
  });
  $("list").addEventListener("click", (event) => {
    const chosen = event.target.closest(".row");
    if (!chosen) return;
    position = Number(chosen.dataset.at);
    show();
    list(false);
    $("reader").scrollTop = 0;
  });
  new ResizeObserver(drawList).observe($("list"));
  $("previous").onclick = () => go(position - 1);
  $("next").onclick = () => go(position + 1);
  $("open-list").onclick = () => list(!document.body.classList.contains("listing"));
  $("close-list").onclick = () => list(false);
  $("help").onclick = () => $("help-box").showModal();
  $("save").onclick = openSave;
  $("save-box").addEventListener("close", () => { if ($("save-box").returnValue === "save") save($("name").value.trim()); });
  $("load").onclick = () => $("files").click();
  $("files").onchange = async () => { await loadFiles([...$("files").files]); $("files").value = ""; };
  addEventListener("storage", (event) => { // another tab with this page
    if (event.key !== STORE) return;
    readJudgements();
    drawProgress();
    if (shown.length) drawJudgement();
    drawList();
  });
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
}

function start() {
  if (store) readJudgements();
  else warn("This browser does not keep ratings for this page. Save them to a file before you close it.");
  const place = read(PLACE, {});
  $("more").open = matchMedia("(min-width: 56.01rem)").matches; // on a phone, the list needs the room
  $("move-on").checked = place.moveOn ?? false;
  if (data.items[place.item]) position = place.item;
  $("notes").hidden = data.notes.length === 0;
  $("notes").append(...data.notes.map((note) => make("p", { textContent: note })));
  makeSides();
  offerFilters();
  offerHelp();
  listen();
  drawProgress();
  filter();
  $("reader").focus({ preventScroll: true });
  performance.mark("ready");
}

start();
