// Files of ratings: saving and loading them.

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
    say(`Loaded ${plural(taken, "judgement")}${older ? `; kept ${older} that are as new here` : ""}`);
  } catch (error) {
    warn(error.message);
  }
  keepJudgements();
  drawProgress();
  filter();
}
