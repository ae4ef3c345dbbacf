// The page for reading and rating explanations. It loads nothing and sends nothing.
// A judgement is [left, right, preference, seconds]; 0 or "" where nothing is given.
"use strict";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const DIGEST = document.body.dataset.digest;
const STORE = `teacherlm-ratings:${DIGEST}`;
const PLACE = `teacherlm-place:${DIGEST}`;
const READER = "teacherlm-reader";
const ROW = 58; // height of a row of the list in pixels, as in the style
const BESIDE = 6; // rows outside the visible part of the list
const PAIR = data.sides === 2;
const SIDES = ["left", "right"].slice(0, data.sides);
const LETTERS = ["A", "B"];
const NO_GATES = "no gates";
const CHOICES = { left: "A", right: "B", tie: "Tie" };

const judgements = new Map(); // by index of the item
let shown = data.items.map((_, index) => index); // indices of the items that pass the filters
let position = 0; // in `shown`
let active = 0; // side that a digit rates
let needle = ""; // text that is searched for
let unsaved = false; // whether there are judgements that nothing keeps

// --- The browser's storage, which may be missing ---------------------------------------------

const store = (() => {
  try {
    localStorage.setItem("teacherlm-probe", "1");
    localStorage.removeItem("teacherlm-probe");
    return localStorage;
  } catch {
    return null;
  }
})();

function read(key, otherwise) {
  try {
    return JSON.parse(store?.getItem(key) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(key, value) {
  try {
    store?.setItem(key, JSON.stringify(value));
    return store !== null;
  } catch {
    return false;
  }
}

function warn(text) {
  $("warning").textContent = text;
  $("warning").hidden = false;
}

function readJudgements() {
  judgements.clear();
  for (const [index, judgement] of Object.entries(read(STORE, {}))) judgements.set(Number(index), judgement);
}

function keepJudgements() {
  unsaved = !write(STORE, Object.fromEntries(judgements));
  if (unsaved) {
    warn("This browser does not keep ratings for this page. Save them to a file before you close it.");
  }
}

function keepPlace() {
  write(PLACE, { item: shown[position], moveOn: $("move-on").checked });
}

// --- Parts of the page -----------------------------------------------------------------------

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// Fill an element with a text, in which what is searched for is marked.
function fill(element, text) {
  element.replaceChildren();
  const lower = text.toLowerCase();
  let from = 0;
  if (needle && lower.length === text.length) {
    for (let at; (at = lower.indexOf(needle, from)) >= 0; from = at + needle.length) {
      element.append(text.slice(from, at), make("mark", { textContent: text.slice(at, at + needle.length) }));
    }
  }
  element.append(text.slice(from));
}

let fading = 0;
function say(text) {
  $("status").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => ($("status").textContent = ""), 2500);
}

const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const sampleOf = (index) => data.samples[data.items[index][0]];
const sidesOf = (index) => data.items[index].slice(2);
const nameOf = (side) => (PAIR ? LETTERS[side] : "Explanation");

// --- Filters ---------------------------------------------------------------------------------

const sampleTexts = []; // lower case, filled when they are needed first
const itemTexts = [];

function contains(index, text) {
  const at = data.items[index][0];
  const [id, , subject, question, options, answer] = data.samples[at];
  sampleTexts[at] ??= [id, subject, question, ...options, answer].join("\n").toLowerCase();
  if (sampleTexts[at].includes(text)) return true;
  itemTexts[index] ??= sidesOf(index).map((side) => (side ? side[0] : "")).join("\n").toLowerCase();
  return itemTexts[index].includes(text);
}

function isRated(index) {
  const [left, right, preference] = judgements.get(index) ?? [0, 0, ""];
  const sides = sidesOf(index);
  return preference !== "" || sides.every((side, at) => !side || (at === 0 ? left : right) > 0);
}

const GATE_TESTS = {
  passes: (sides) => sides.every(([, , failed]) => failed?.length === 0),
  fails: (sides) => sides.some(([, , failed]) => failed?.length > 0),
  none: (sides) => sides.some(([, , failed]) => failed === null),
};

function matches() {
  const value = (id) => $(id).value;
  const [source, kind, gate] = [value("source"), value("kind"), value("gate")];
  const [rated, present] = [value("rated"), value("present")];
  const shortest = Number(value("shortest") || 0);
  const longest = Number(value("longest") || Infinity);
  const test = GATE_TESTS[gate] ?? ((sides) => sides.some(([, , failed]) => failed?.includes(Number(gate))));
  return (index) => {
    const [sample, itemKind] = data.items[index];
    const sides = sidesOf(index).filter(Boolean);
    return (
      (source === "" || data.samples[sample][1] === Number(source)) &&
      (kind === "" || itemKind === Number(kind)) &&
      (present === "" || sides.length === Number(present)) &&
      (gate === "" || test(sides)) &&
      sides.some(([, words]) => shortest <= words && words <= longest) &&
      (rated === "" || isRated(index) === (rated === "yes")) &&
      (needle === "" || contains(index, needle))
    );
  };
}

const FILTERS = ["text", "source", "kind", "gate", "rated", "present", "shortest", "longest"];

function filter() {
  needle = $("text").value.trim().toLowerCase();
  const current = shown[position];
  const test = matches();
  shown = [];
  for (let index = 0; index < data.items.length; index++) if (test(index)) shown.push(index);
  position = Math.max(0, shown.indexOf(current));
  $("clear").hidden = FILTERS.every((id) => $(id).value === "");
  $("found").textContent =
    shown.length === data.items.length
      ? `${shown.length.toLocaleString("en")} to read`
      : `${shown.length.toLocaleString("en")} of ${data.items.length.toLocaleString("en")}`;
  show();
}

function choices(id, entries) {
  $(id).replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  $(id).closest(".field").hidden = entries.length < 3; // "all" and a single value
}

function offerFilters() {
  const occurring = (at) => [...new Set(data.items.map((item) => item[at]))].sort((a, b) => a - b);
  const verdicts = data.items.flatMap((item) => item.slice(2).filter(Boolean).map((side) => side[2]));
  choices("source", [["", "all"], ...data.sources.map((name, at) => [at, name || "(no name)"])]);
  choices("kind", [["", "all"], ...occurring(1).map((at) => [at, data.kindNames[at]])]);
  const failed = new Set(verdicts.flatMap((verdict) => verdict ?? []));
  const gates = data.gates.map((name, at) => [at, `fails ${name}`]).filter(([at]) => failed.has(at));
  if (data.gates.length) gates.unshift(["passes", "passes all"], ["fails", "fails any"]);
  if (data.gates.length && verdicts.includes(null)) gates.push(["none", NO_GATES]);
  choices("gate", [["", "all"], ...gates]);
  choices("rated", [["", "all"], ["no", "not rated"], ["yes", "rated"]]);
  const counts = new Set(data.items.map((item) => item.slice(2).filter(Boolean).length));
  choices("present", counts.size > 1 ? [["", "all"], [2, "both"], [1, "one only"]] : []);
}

// --- The list, of which only a window is in the document -------------------------------------

function row(at) {
  const index = shown[at];
  const [id, source, , question] = sampleOf(index);
  const sides = sidesOf(index);
  const under = [data.kindNames[data.items[index][1]], data.sources[source], id].filter(Boolean).join(" · ");
  const [left, right, preference] = judgements.get(index) ?? [0, 0, ""];
  const marks = sides.map((side, place) => (side ? [left, right][place] || "–" : "")).filter(Boolean);
  const given = judgements.has(index) ? [marks.join(" · "), CHOICES[preference]].filter(Boolean).join("  ") : "";
  const only = PAIR && sides.includes(0) ? "one only · " : "";
  const element = make(
    "div",
    { className: "row", id: `row-${at}`, role: "option" },
    make("span", { textContent: question }),
    make("span", { className: "under" }, make("span", { textContent: only + under }),
      make("span", { className: isRated(index) ? "given done" : "given", textContent: given })),
  );
  element.style.top = `${at * ROW}px`;
  element.setAttribute("aria-selected", String(at === position));
  element.setAttribute("aria-setsize", shown.length);
  element.setAttribute("aria-posinset", at + 1);
  element.dataset.at = at;
  return element;
}

function drawList() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - BESIDE);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + BESIDE);
  $("rows").style.height = `${shown.length * ROW}px`;
  $("rows").replaceChildren(...Array.from({ length: Math.max(0, last - first) }, (_, at) => row(first + at)));
  if (first <= position && position < last) list.setAttribute("aria-activedescendant", `row-${position}`);
  else list.removeAttribute("aria-activedescendant");
}

function scrollToRow() {
  const list = $("list");
  const top = position * ROW;
  $("rows").style.height = `${shown.length * ROW}px`; // before scrolling, which it limits
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}

// --- The reader ------------------------------------------------------------------------------

function makeSides() {
  $("sides").classList.toggle("pair", PAIR);
  SIDES.forEach((_, side) => {
    const marks = [1, 2, 3, 4, 5].map((mark) => {
      const button = make("button", { type: "button", textContent: mark, onclick: () => rate(side, mark) });
      button.setAttribute("aria-label", `${nameOf(side)}: ${mark} of 5`);
      return button;
    });
    const group = make("div", { className: "marks", role: "group" }, ...marks);
    group.setAttribute("aria-label", `Rating of ${nameOf(side)}`);
    const panel = make(
      "section",
      { className: "side", id: `side-${side}`, onclick: () => activate(side) },
      make("div", { className: "rate" }, make("h3", { id: `name-${side}`, textContent: nameOf(side) }), group),
      make("div", { className: "text" }),
      make("p", { className: "facts" }),
    );
    panel.setAttribute("aria-labelledby", `name-${side}`);
    $("sides").append(panel);
  });
  $("verdict").classList.toggle("pair", PAIR);
  for (const [choice, text, key] of [["left", "A is better", "a"], ["tie", "Tie", "t"], ["right", "B is better", "b"]]) {
    const button = make("button", { type: "button", onclick: () => prefer(choice) }, text, make("kbd", { textContent: key }));
    button.dataset.choice = choice;
    if (PAIR) $("preference").append(button);
  }
}

function facts(side, index) {
  const [, words, failed, tokens, finish] = sidesOf(index)[side];
  const parts = [plural(words, "word")];
  const element = document.querySelector(`#side-${side} .facts`);
  if (data.blind) return element.replaceChildren(parts[0]);
  if (data.names[side] !== undefined) parts.unshift(data.names[side]);
  if (tokens) parts.push(plural(tokens, "token"));
  if (finish === "length") parts.push("truncated");
  const verdict = failed === null ? NO_GATES : failed.length === 0 ? "passes all gates" : "";
  const fails = failed?.map((gate) => data.gates[gate].replaceAll("_", " ")).join(", ");
  element.replaceChildren([...parts, verdict].filter(Boolean).join(" · "));
  if (fails) element.append(" · ", make("span", { className: "fails", textContent: `fails: ${fails}` }));
}

function drawQuestion(index) {
  const [id, source, subject, question, options, answer] = sampleOf(index);
  const number = `${(position + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
  fill($("place"), [number, data.kindNames[data.items[index][1]], data.sources[source], subject, id].filter(Boolean).join(" · "));
  fill($("question"), question);
  $("options").replaceChildren(
    ...options.map((option, at) => {
      const correct = at === answer;
      const text = make("span");
      fill(text, option);
      const letter = make("span", { className: "letter", textContent: `(${String.fromCharCode(65 + at)})` });
      const item = make("li", { className: correct ? "correct" : "" }, letter, text);
      if (correct) item.append(" ✓", make("span", { className: "hidden", textContent: " the correct answer" }));
      return item;
    }),
  );
  $("answer").hidden = options.length > 0;
  if (!options.length) fill($("answer"), `Answer: ${answer}`);
}

function drawJudgement() {
  const index = shown[position];
  const sides = sidesOf(index);
  const judgement = judgements.get(index) ?? [0, 0, ""];
  SIDES.forEach((_, side) => {
    const panel = $(`side-${side}`);
    panel.classList.toggle("active", PAIR && side === active && Boolean(sides[side]));
    panel.querySelectorAll(".marks button").forEach((button, at) => {
      button.setAttribute("aria-pressed", String(judgement[side] === at + 1));
      button.disabled = !sides[side];
    });
  });
  for (const button of $("preference").children) {
    button.setAttribute("aria-pressed", String(judgement[2] === button.dataset.choice));
    button.disabled = sides.includes(0);
  }
  $("previous").disabled = position === 0;
  $("next").disabled = position >= shown.length - 1;
}

function drawReader() {
  const index = shown[position];
  $("empty").hidden = index !== undefined;
  $("content").hidden = index === undefined;
  $("verdict").hidden = index === undefined;
  if (index === undefined) return;
  drawQuestion(index);
  sidesOf(index).forEach((side, at) => {
    const text = document.querySelector(`#side-${at} .text`);
    const blank = !side || !side[0].trim();
    text.classList.toggle("none", blank);
    if (blank) text.textContent = side ? "The explanation is empty." : "No explanation by this teacher.";
    else fill(text, side[0].trim());
    if (side) facts(at, index);
    else document.querySelector(`#side-${at} .facts`).replaceChildren();
  });
  drawJudgement();
}

function drawProgress() {
  const total = data.items.length;
  const done = [...judgements.keys()].filter(isRated).length;
  $("progress").textContent = `${done.toLocaleString("en")} of ${total.toLocaleString("en")} rated`;
  $("bar").value = done / Math.max(1, total);
  $("save").disabled = judgements.size === 0;
}

function show() {
  const sides = shown.length ? sidesOf(shown[position]) : [];
  const [left] = judgements.get(shown[position]) ?? [0];
  active = sides[0] && !(left && sides[1]) ? 0 : sides.length - 1; // the first side without a rating
  drawReader();
  scrollToRow();
  drawList();
  keepPlace();
}

// --- Actions ---------------------------------------------------------------------------------

function go(to) {
  if (!shown.length) return;
  const next = Math.min(Math.max(to, 0), shown.length - 1);
  if (next === position) return say(to < 0 ? "This is the first one." : "This is the last one.");
  position = next;
  show();
  $("reader").scrollTop = 0;
  if (document.activeElement !== $("list")) $("reader").focus({ preventScroll: true });
}

function activate(side) {
  if (!shown.length || active === side || !sidesOf(shown[position])[side]) return;
  active = side;
  drawJudgement();
}

function judge(change) {
  const index = shown[position];
  if (index === undefined) return false;
  const judgement = [...(judgements.get(index) ?? [0, 0, "", 0])];
  change(judgement);
  judgement[3] = Math.round(Date.now() / 1000);
  judgements.set(index, judgement); // also an empty one: it takes back what a saved file says
  keepJudgements();
  drawJudgement();
  drawList();
  drawProgress();
  return true;
}

function rate(side, mark) {
  const sides = shown.length ? sidesOf(shown[position]) : [];
  if (!sides[side]) return;
  active = side;
  const again = judgements.get(shown[position])?.[side] === mark; // takes the rating back
  const other = 1 - side;
  judge((judgement) => (judgement[side] = again ? 0 : mark));
  say(again ? `${nameOf(side)}: no rating` : `${nameOf(side)}: ${mark} of 5`);
  if (!again && PAIR && sides[other] && !judgements.get(shown[position])[other]) activate(other);
  if (!again && sides.filter(Boolean).length === 1) moveOn();
}

function prefer(choice) {
  if (!PAIR || !shown.length) return;
  if (sidesOf(shown[position]).includes(0)) return say("There is only one explanation to this one.");
  const again = judgements.get(shown[position])?.[2] === choice;
  judge((judgement) => (judgement[2] = again ? "" : choice));
  say(again ? "No preference" : { left: "A is better", right: "B is better", tie: "Tie" }[choice]);
  if (!again) moveOn();
}

function moveOn() {
  const here = position;
  if (!$("move-on").checked || here === shown.length - 1) return;
  setTimeout(() => { if (position === here) go(here + 1); }, 250);
}

function nextUnrated() {
  for (let step = 1; step <= shown.length; step++) {
    const at = (position + step) % shown.length;
    if (!isRated(shown[at])) return at === position ? undefined : go(at);
  }
  say("All of these are rated.");
}

function list(open) {
  document.body.classList.toggle("listing", open);
  $("open-list").setAttribute("aria-expanded", String(open));
  scrollToRow();
  drawList();
}

// --- Files of ratings ------------------------------------------------------------------------

function fileText(reader) {
  const saved = new Date().toISOString();
  const lines = [{ teacherlm_ratings: data.format, page: DIGEST, reader, saved, key: data.key }];
  for (const index of [...judgements.keys()].sort((a, b) => a - b)) {
    const [left, right, preference, seconds] = judgements.get(index);
    const [id, source] = sampleOf(index);
    const line = { id, source: data.sources[source], kind: data.kinds[data.items[index][1]] };
    line.left = left || null;
    if (PAIR) Object.assign(line, { right: right || null, preference: preference || null });
    lines.push({ ...line, time: new Date(seconds * 1000).toISOString() });
  }
  return lines.map((line) => JSON.stringify(line) + "\n").join("");
}

function save(reader) {
  write(READER, reader);
  const address = URL.createObjectURL(new Blob([fileText(reader)], { type: "application/x-ndjson" }));
  const name = reader.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  make("a", { href: address, download: `ratings-${name || "reader"}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  unsaved = false;
  say(`Saved ${plural(judgements.size, "judgement")}`);
}

function openSave() {
  if (!judgements.size) return say("Nothing is rated yet.");
  $("name").value = read(READER, "");
  $("save-text").textContent = `${plural(judgements.size, "judgement")} on ${plural(data.items.length, "sample")}.`;
  $("save-box").returnValue = "";
  $("save-box").showModal();
  $("name").select();
}

// Return [index, judgement] of every line of a file; throw an error that says what is wrong.
function parse(text, name) {
  const known = new Map(data.items.map(([sample, kind], index) => {
    const [id, source] = data.samples[sample];
    return [JSON.stringify([id, data.sources[source], data.kinds[kind]]), index];
  }));
  let page = "";
  const parsed = [];
  text.split("\n").forEach((line, at) => {
    if (!line.trim()) return;
    const fail = (reason) => { throw new Error(`${name}, line ${at + 1}: ${reason}. Nothing was loaded from this file.`); };
    let value;
    try { value = JSON.parse(line); } catch { fail("this is not JSON"); }
    if (value === null || typeof value !== "object") fail("this is not a JSON object");
    if (Object.hasOwn(value, "teacherlm_ratings")) {
      const format = value.teacherlm_ratings;
      if (format !== data.format) fail(`ratings of format ${format}, and this page has format ${data.format}`);
      return (page = value.page);
    }
    if (page !== DIGEST) fail(page ? "these are ratings of another page" : "this is not a file of ratings");
    const index = known.get(JSON.stringify([value.id, value.source, value.kind]));
    if (index === undefined) fail(`the page has no ${value.kind} of ${value.id}`);
    const marks = [value.left ?? 0, value.right ?? 0];
    if (!marks.every((mark) => Number.isInteger(mark) && 0 <= mark && mark <= 5)) fail("a rating is not 1 to 5");
    const preference = value.preference ?? "";
    if (preference && !Object.hasOwn(CHOICES, preference)) fail("the preference is not left, right or tie");
    parsed.push([index, [...marks, preference, Date.parse(value.time) / 1000 || 0]]);
  });
  if (!page) throw new Error(`${name}: this is not a file of ratings. Nothing was loaded from it.`);
  return parsed;
}

async function loadFiles(files) {
  let [taken, older] = [0, 0];
  try {
    for (const file of files) {
      for (const [index, judgement] of parse(await file.text(), file.name)) {
        const newer = (judgements.get(index)?.[3] ?? -1) < judgement[3];
        if (newer) judgements.set(index, judgement);
        newer ? taken++ : older++;
      }
    }
    $("warning").hidden = true;
    say(`Loaded ${plural(taken, "judgement")}${older ? `; ${older} here are as new and were kept` : ""}`);
  } catch (error) {
    warn(error.message);
  }
  keepJudgements();
  drawProgress();
  filter();
}

// --- Keys ------------------------------------------------------------------------------------

const KEYS = [
  [["j", "ArrowDown"], "next", () => go(position + 1)],
  [["k", "ArrowUp"], "previous", () => go(position - 1)],
  [["1", "2", "3", "4", "5"], PAIR ? "rate the framed side, from 1 (useless) to 5 (excellent)" : "rate, from 1 (useless) to 5 (excellent)", (key) => rate(active, Number(key))],
  [["ArrowLeft", "ArrowRight"], "frame the left or the right side", (key) => activate(key === "ArrowLeft" ? 0 : 1), true],
  [["a", "b", "t"], "A is better, B is better, tie; the same key takes it back", (key) => prefer({ a: "left", b: "right", t: "tie" }[key]), true],
  [["u"], "next one that is not rated", nextUnrated],
  [["m"], PAIR ? "move on after a preference, or not" : "move on after a rating, or not", () => { $("move-on").click(); say($("move-on").checked ? "Moves on" : "Stays"); }],
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
  if (data.blind) $("help-text").textContent += " The page does not tell who wrote them; the sides change from sample to sample.";
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
