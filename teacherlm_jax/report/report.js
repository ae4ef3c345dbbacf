// What a reader can do with a report: sort, filter and print tables, change figures, save their
// numbers.
"use strict";

const lightColours = JSON.parse(document.getElementById("colours").textContent);
const drawings = JSON.parse(document.getElementById("drawings").textContent);

// Tables

const number = (cell) => {
  const text = cell.dataset.order ?? cell.firstChild?.textContent.trim() ?? "";
  const plain = text.replaceAll(",", "").replace("−", "-").replace(/^< /, "");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : null;
};

function sortRows(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row, index) => ({ row, index, cell: row.cells[column] }));
  const numbers = rows.map(({ cell }) => number(cell));
  const numeric = numbers.some((value) => value !== null)
    && rows.every(({ cell }, i) => numbers[i] !== null || /^(–|n\/a|)$/.test(cell.textContent.trim()));
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    if (numeric) {
      const [x, y] = [numbers[a.index], numbers[b.index]];
      if (x === null || y === null) return (x === null) - (y === null) || a.index - b.index;
      return sign * (x - y) || a.index - b.index;
    }
    return sign * a.cell.textContent.localeCompare(b.cell.textContent, "en", { numeric: true })
      || a.index - b.index;
  });
  body.append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent.trim()) button.setAttribute("aria-label", "names of the rows");
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table, column, descending);
    });
  });
}

for (const input of document.querySelectorAll(".filter input")) {
  const rows = [...document.getElementById(input.getAttribute("aria-controls")).tBodies[0].rows];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

// What is folded is printed, too.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});

// Figures

// The rows of a drawing. `smoothing` is the weight of the past in an exponential moving average.
function* rowsOf(drawing, smoothing = 0) {
  if (!drawing.curves) return yield* drawing.rows;
  for (const [name, steps, values] of drawing.curves) {
    let [past, weight] = [0, 0];
    for (const [index, step] of drawing.steps[steps].entries()) {
      past = smoothing * past + (1 - smoothing) * values[index];
      weight = smoothing * weight + (1 - smoothing);
      yield [name, step, past / weight];
    }
  }
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);

// The colours of a specification are those of light pages; replace them by the present ones.
function inPageColours(spec) {
  let text = JSON.stringify(spec);
  for (const [name, light] of Object.entries(lightColours)) {
    text = text.replaceAll(light, colour(name).trim());
  }
  return JSON.parse(text);
}

let loaded = false;
function loadLibrary() {
  if (loaded) return;
  const script = document.createElement("script");
  script.textContent = document.getElementById("library").textContent;
  document.head.append(script);
  loaded = true;
}

// Points of the curves that are drawn; CSV files have all.
const MOST_POINTS = 20000;

function* thinned(drawing, smoothing) {
  const points = drawing.curves.reduce((sum, [, , values]) => sum + values.length, 0);
  const every = Math.ceil(points / MOST_POINTS);
  let [name, index, last] = [null, 0, null];
  for (const row of rowsOf(drawing, smoothing)) {
    if (row[0] !== name) {
      if (last) yield last;
      [name, index] = [row[0], 0];
    }
    last = index % every ? row : null;
    if (!last) yield row;
    index += 1;
  }
  if (last) yield last;
}

async function draw(figure, drawing, { log, smoothing }) {
  loadLibrary();
  const spec = inPageColours(drawing.spec);
  if (drawing.curves) spec.encoding.y.scale = { type: log ? "log" : "linear", zero: !log };
  const rows = [...(drawing.curves ? thinned(drawing, smoothing) : rowsOf(drawing))]
    .filter((row) => !log || row[2] > 0)
    .map((row) => Object.fromEntries(drawing.header.map((name, i) => [name, row[i]])));
  const options = { renderer: "svg", actions: false };
  await window.vegaEmbed(figure.querySelector(".drawing"), { ...spec, datasets: { rows } }, options);
  figure.dataset.drawn = JSON.stringify({ log, smoothing });
}

function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // some browsers read it later
}

// The figure as it is shown, as a file of its own with fixed colours.
function svgOf(figure) {
  const svg = figure.querySelector("svg").cloneNode(true);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  ground.setAttribute("width", "100%");
  ground.setAttribute("height", "100%");
  ground.setAttribute("fill", colour("paper").trim());  // letters are light in the dark scheme
  svg.prepend(ground);
  const text = new XMLSerializer().serializeToString(svg);
  return text
    .replace(/var\(--sans, sans-serif\)/g, "sans-serif")
    .replace(/var\(--([a-z0-9-]+), [^)]*\)/g, (_, name) => colour(name).trim());
}

const field = (value) => /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value;
const csvOf = (drawing) =>
  [drawing.header, ...rowsOf(drawing)].map((row) => row.map(field).join(",")).join("\n") + "\n";

function button(text, label, action) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.setAttribute("aria-label", label);
  element.addEventListener("click", action);
  return element;
}

for (const figure of document.querySelectorAll("figure.chart")) {
  const name = figure.dataset.name;
  const drawing = drawings[name];
  const controls = figure.querySelector(".controls");
  if (drawing.curves) {
    const scale = drawing.spec.encoding.y.scale;
    const log = document.createElement("input");
    Object.assign(log, { type: "checkbox", checked: scale.type === "log" });
    const smoothing = document.createElement("input");
    Object.assign(smoothing, { type: "range", min: 0, max: 0.99, step: 0.01, value: 0 });
    const redraw = () =>
      draw(figure, drawing, { log: log.checked, smoothing: Number(smoothing.value) });
    for (const [text, input] of [["log scale", log], ["smoothing", smoothing]]) {
      const label = document.createElement("label");
      label.append(input, ` ${text}`);
      input.addEventListener("change", redraw);
      controls.append(label);
    }
  }
  controls.append(
    button("SVG", `Save figure ${name} as SVG`, () => save(`${name}.svg`, "image/svg+xml", svgOf(figure))),
    button("CSV", `Save the numbers of ${name} as CSV`, () => save(`${name}.csv`, "text/csv", csvOf(drawing))),
  );
  controls.hidden = false;
}

// A redrawn figure has fixed colours: draw it again if the colour scheme changes.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const figure of document.querySelectorAll("figure[data-drawn]")) {
    draw(figure, drawings[figure.dataset.name], JSON.parse(figure.dataset.drawn));
  }
});
