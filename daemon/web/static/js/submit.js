// The form of a new job: its folders, its estimate, what will be sent, and sending it.
import { make } from "./dom.js";
import { order } from "./orders.js";
import { toast } from "./toasts.js";
import { chosen, dropped, folderOf, remove, send } from "./upload.js";

const ESTIMATE_MS = 600; // after the last change
const LOOK_MS = 500; // between two looks at how far the daemon is with the order
const form = document.getElementById("submit");
const field = (id) => document.getElementById(id);
const usd = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const size = (bytes) => bytes < 1048576 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
const folders = []; // from the browser: {name, items, bytes}
// A submit without an answer keeps its key: the same order again is the same job. So are its folders' paths kept.
const LOST = "It may have been sent; pressing Submit again here is safe: it makes no second job.";
let kept = null; // of such a submit: what uploadAll() gave for `folders`

// -- what is asked for ---------------------------------------------------------------------

class NotJson extends Error {}

function json(id) {
  const text = field(id).value.trim();
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (problem) {
    field(id).setAttribute("aria-invalid", "true");
    field(id).focus();
    throw new NotJson(`${problem.message}`);
  }
}

function entry(name, folder) {
  const captions = field("captions").value;
  const prompt = field("prompt").value.trim();
  return {
    id: name, type: "local", instance_data_dir: folder, caption_strategy: captions,
    ...(captions === "instanceprompt" && prompt ? { instance_prompt: prompt } : {}),
  };
}

const nameOf = (path) => path.replace(/\/+$/, "").split("/").pop() || "dataset";

// The submit's body. uploaded: the paths of the browser's folders on the daemon's machine.
function body(uploaded = []) {
  const kind = form.elements.kind.value;
  const text = (id) => field(id).value.trim() || undefined;
  const shared = {
    version: text("version"), hardware: text("hardware"), hub_model_id: text("hub_model_id"),
    destination: text("destination"), config_name: text("config_name"), destinations: destinations(),
  };
  if (kind === "model") return { model: text("model"), input: json("input") ?? {}, ...shared };
  const paths = field("paths").value.split("\n").map((path) => path.trim()).filter(Boolean);
  const data = [
    ...folders.flatMap(({ name }, index) => uploaded[index] ? [entry(name, uploaded[index])] : []),
    ...paths.map((path) => entry(nameOf(path), path)),
  ];
  return { config: json("config"), dataloader_config: data.length ? data : undefined, ...shared };
}

function destinations() {
  const boxes = [...form.querySelectorAll("[data-destination-name]")];
  const wanted = boxes.filter((box) => box.checked).map((box) => box.dataset.destinationName);
  return wanted.length === boxes.length ? undefined : wanted;
}

const isEmpty = ({ config, dataloader_config, model }) => !config && !dataloader_config && !model;

// -- what it costs -------------------------------------------------------------------------

let waiting = null;
let asked = 0;

async function estimate() {
  const place = form.querySelector("[data-estimate]");
  const number = ++asked;
  let wanted;
  try {
    wanted = body();
  } catch {
    return; // it is still being typed
  }
  if (isEmpty(wanted)) return;
  delete wanted.dataloader_config; // folders cost nothing, and may not be there yet
  if (isEmpty(wanted)) return;
  const answer = await fetch("/api/cloud/cost-estimate", {
    method: "POST", body: JSON.stringify(wanted), headers: { "Content-Type": "application/json" },
  }).catch(() => null);
  if (number !== asked) return;
  const found = answer?.ok ? await answer.json() : null;
  if (found) {
    place.replaceChildren(make("strong", "figure", usd.format(found.expected_usd)),
      make("span", "quiet", ` ${usd.format(found.low_usd)} to ${usd.format(found.high_usd)} · ${found.basis}`));
  } else {
    const reason = answer && !answer.ok ? (await answer.json().catch(() => ({}))).detail : null;
    place.replaceChildren(make("span", "quiet", reason || "Nothing tells what this costs: no table has it, and no job like it has finished."));
  }
}

function changed() {
  clearTimeout(waiting);
  waiting = setTimeout(estimate, ESTIMATE_MS);
}

// -- folders -------------------------------------------------------------------------------

function add(items) {
  if (!items.length) return;
  folders.push(folderOf(items));
  release();
  showFolders();
}

// The folders are others now: what was sent of them is of no further use.
function release() {
  for (const { upload_id } of kept ?? []) remove(upload_id);
  kept = null;
}

function showFolders() {
  const list = form.querySelector("[data-folders]");
  list.replaceChildren(...folders.map((folder, index) => {
    const line = make("div", "line");
    const button = make("button", "outline small", "Take out");
    button.type = "button";
    button.addEventListener("click", () => { folders.splice(index, 1); release(); showFolders(); });
    line.append(make("strong", "", folder.name), make("span", "quiet small", `${folder.items.length} files, ${size(folder.bytes)}`), button);
    const item = make("li");
    item.append(line);
    return item;
  }));
}

// -- sending -------------------------------------------------------------------------------

const sending = form.querySelector("[data-sending]");

function tell(text, percent) {
  sending.hidden = text === null;
  sending.querySelector("p").textContent = text ?? "";
  const bar = sending.querySelector("progress");
  if (percent === undefined) bar.removeAttribute("value");
  else bar.value = percent;
}

// The browser's folders on the daemon's machine: [{upload_id, path}], null where one was refused.
async function uploadAll() {
  if (kept) return kept;
  const begun = [];
  for (const folder of folders) {
    const words = `Sending ${folder.name} to tunerd`;
    const one = await send(folder, (bytes) => tell(`${words}: ${size(bytes)} of ${size(folder.bytes)}`, folder.bytes ? (100 * bytes) / folder.bytes : 100));
    if (one === null) return null;
    begun.push(one);
  }
  return begun;
}

const STAGES = { packing: "Packing the dataset", uploading: "Sending the dataset to Replicate", sending: "Handing the job to Replicate" };

// How far the daemon is with the order of this key, until the interval is cleared.
function watch(key) {
  tell("Checking, packing and sending …");
  return setInterval(async () => {
    const answer = await fetch("/api/cloud/jobs/submit/progress", { headers: { "Idempotency-Key": key } }).catch(() => null);
    const { stage, bytes_done: done, bytes_total: total } = answer?.ok ? await answer.json() : {};
    if (sending.hidden || !(stage in STAGES)) return; // the order is over, or has not come so far
    if (total) tell(`${STAGES[stage]}: ${size(done ?? 0)} of ${size(total)}`, (100 * (done ?? 0)) / total);
    else tell(`${STAGES[stage]} …`);
  }, LOOK_MS);
}

async function carryOut(dryRun) {
  if (form.getAttribute("aria-busy") === "true") return;
  form.setAttribute("aria-busy", "true");
  let begun = [];
  let watching = null;
  let answer = null;
  try {
    if (isEmpty(body()) && !folders.length) return toast("Nothing to submit yet", "Give a configuration, a dataset, or a model.", "bad");
    if (form.elements.kind.value === "training") begun = await uploadAll();
    if (begun === null) return;
    const wanted = body(begun.map(({ path }) => path));
    wanted.idempotency_key = dryRun ? `look-${form.dataset.key}` : form.dataset.key; // by which it is watched, too
    if (dryRun) wanted.dry_run = true;
    watching = watch(wanted.idempotency_key);
    answer = await order("POST", "/api/cloud/jobs/submit", wanted, form.querySelector("button"), dryRun ? undefined : LOST);
    if (!dryRun) kept = answer === undefined ? begun : null;
    if (answer && dryRun) show(answer);
    else if (answer) location.assign(`/jobs/${encodeURIComponent(answer.job_id)}`);
    else if (answer === null && !dryRun) form.dataset.key = crypto.randomUUID?.() ?? String(Math.random()); // another try is another order
  } catch (problem) {
    if (!(problem instanceof NotJson)) throw problem;
    toast("This is not JSON", problem.message, "bad");
  } finally {
    clearInterval(watching);
    tell(null);
    form.removeAttribute("aria-busy");
    if (!kept) for (const { upload_id } of begun ?? []) remove(upload_id);
  }
}

function show(answer) {
  const dialog = document.getElementById("dry-run");
  dialog.querySelector("pre").textContent = JSON.stringify(answer.request, null, 2);
  const notes = [...(answer.data_notes ?? []), ...(answer.data_left_out ?? []).map(({ name, reason }) => `${name} stays here: ${reason}`)];
  const marks = { ok: ["good", "fine"], warn: ["warning", "mind"], fail: ["bad", "refused"] };
  dialog.querySelector("[data-checks]").replaceChildren(...answer.checks.map(({ status, detail }) => {
    const item = make("li");
    item.append(make("span", `badge ${marks[status][0]}`, marks[status][1]), ` ${detail}`);
    return item;
  }));
  dialog.querySelector("[data-notes]").replaceChildren(...notes.map((note) => make("li", "", note)));
  dialog.showModal();
}

// -- the form ------------------------------------------------------------------------------

function showKind() {
  for (const part of form.querySelectorAll("[data-only]")) part.hidden = part.dataset.only !== form.elements.kind.value;
}

function showPrompt() {
  form.querySelector("[data-prompt]").hidden = field("captions").value !== "instanceprompt";
}

async function openConfig(input) {
  const [file] = input.files;
  if (!file) return;
  field("config").value = await file.text();
  if (!field("config_name").value) field("config_name").value = file.name.replace(/\.json$/, "");
  input.value = "";
  changed();
}

// Keep the configuration under the form's name, for this form and for a submit's config_name. The data stay out of it; what
// an earlier one of that name says of its data stays in.
async function saveConfig() {
  const name = field("config_name");
  let config;
  try {
    config = json("config");
  } catch (problem) {
    return toast("This is not JSON", problem.message, "bad");
  }
  if (!config) return toast("Nothing to save yet", "Paste or open a configuration.", "bad");
  if (!name.value.trim()) {
    name.closest("details").open = true;
    name.focus();
    return toast("It needs a name", "Give it one in the field Name, and save it again.", "bad");
  }
  const path = `/api/cloud/configs/${encodeURIComponent(name.value.trim())}`;
  const body = { config };
  if ([...document.querySelectorAll("[data-earlier] option")].some((option) => option.value === name.value.trim())) {
    const before = await order("GET", path, undefined, form.querySelector("button"));
    if (!before) return;
    if (before.dataloader_config) body.dataloader_config = before.dataloader_config;
  }
  const saved = await order("PUT", path, body, form.querySelector("button"));
  if (saved) toast(`Saved as ${saved.name}`, "Choose it above next time, or submit it by its name (config_name).");
}

form.addEventListener("submit", (event) => { event.preventDefault(); carryOut(false); });
form.addEventListener("input", (event) => { event.target.removeAttribute("aria-invalid"); changed(); });
form.addEventListener("change", (event) => {
  showKind();
  showPrompt();
  const input = event.target;
  if ("openConfig" in input.dataset) openConfig(input);
  if ("pickFolder" in input.dataset || "pickFiles" in input.dataset) { add(chosen(input.files)); input.value = ""; }
});
for (const button of form.querySelectorAll("[data-opens]")) button.addEventListener("click", () => field(button.dataset.opens).click());
form.querySelector("[data-dry-run]").addEventListener("click", () => carryOut(true));
form.querySelector("[data-save-config]").addEventListener("click", saveConfig);
for (const choice of document.querySelectorAll("[data-earlier]")) choice.addEventListener("change", () => choice.value && choice.form.submit());
document.querySelector("#dry-run [data-close]").addEventListener("click", () => document.getElementById("dry-run").close());

const drop = form.querySelector("[data-drop]");
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", async (event) => { event.preventDefault(); add(await dropped(event.dataTransfer)); });

showKind();
showPrompt();
changed();
