// The reader: one question with its explanations, and what rates them.

// --- What it shows ---------------------------------------------------------------------------

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
  for (const [choice, { text, key }] of Object.entries(CHOICES)) {
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
  if (sidesOf(shown[position]).includes(0)) return say("This sample has only one explanation.");
  const again = judgements.get(shown[position])?.[2] === choice;
  judge((judgement) => (judgement[2] = again ? "" : choice));
  say(again ? "No preference" : CHOICES[choice].text);
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
