// The list of samples and its filters.

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
  const given = judgements.has(index) ? [marks.join(" · "), CHOICES[preference]?.short].filter(Boolean).join("  ") : "";
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
