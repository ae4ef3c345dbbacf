// The page for reading and rating explanations, which loads nothing and sends nothing. Its scripts
// are one script on the page. This part: what the page shows, and what the browser keeps of it.
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
const CHOICES = {
  left: { short: "A", text: "A is better", key: "a" },
  tie: { short: "Tie", text: "Tie", key: "t" },
  right: { short: "B", text: "B is better", key: "b" },
};

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
