// The form of a new job: its folders, its estimate, what will be sent, and sending it.
import { make } from "./dom.js";
import { order } from "./orders.js";
import { toast } from "./toasts.js";
import { chosen, dropped, folderOf, remove, send } from "./upload.js";

const ESTIMATE_MS = 600; // after the last change
const LOOK_MS = 1000; // between two looks at how far the upload to Replicate is
const form = document.getElementById("submit");
const field = (id) => document.getElementById(id);
const usd = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const size = (bytes) => bytes < 1048576 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
const folders = []; // from the browser: {name, items, bytes}

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
  showFolders();
}

function showFolders() {
  const list = form.querySelector("[data-folders]");
  list.replaceChildren(...folders.map((folder, index) => {
    const line = make("div", "line");
    const button = make("button", "outline small", "Take out");
    button.type = "button";
    button.addEventListener("click", () => { folders.splice(index, 1); showFolders(); });
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
  const begun = [];
  for (const folder of folders) {
    const words = `Sending ${folder.name} to tunerd`;
    const one = await send(folder, (bytes) => tell(`${words}: ${size(bytes)} of ${size(folder.bytes)}`, folder.bytes ? (100 * bytes) / folder.bytes : 100));
    if (one === null) return null;
    begun.push(one);
  }
  return begun;
}

// While the daemon packs and sends: the newest job that is uploading is ours.
function watchUpload() {
  tell("Checking, packing and sending to Replicate …");
  return setInterval(async () => {
    const answer = await fetch("/api/cloud/jobs?status=uploading&limit=1").catch(() => null);
    const job = answer?.ok ? (await answer.json()).jobs[0] : null;
    if (job?.progress && !sending.hidden) tell(`Sending the dataset to Replicate: ${job.progress.step} of ${job.progress.total_steps} MiB`, job.progress.percent);
  }, LOOK_MS);
}

async function carryOut(dryRun) {
  if (form.getAttribute("aria-busy") === "true") return;
  form.setAttribute("aria-busy", "true");
  let begun = [];
  let watching = null;
  try {
    if (isEmpty(body()) && !folders.length) return toast("Nothing to submit yet", "Give a configuration, a dataset, or a model.", "bad");
    if (form.elements.kind.value === "training") begun = await uploadAll();
    if (begun === null) return;
    const wanted = body(begun.map(({ path }) => path));
    if (dryRun) wanted.dry_run = true;
    else wanted.idempotency_key = form.dataset.key;
    watching = watchUpload();
    const answer = await order("POST", "/api/cloud/jobs/submit", wanted, form.querySelector("button"));
    if (answer === null) form.dataset.key = crypto.randomUUID?.() ?? String(Math.random()); // another try is another order
    else if (dryRun) show(answer);
    else location.assign(`/jobs/${encodeURIComponent(answer.job_id)}`);
  } catch (problem) {
    if (!(problem instanceof NotJson)) throw problem;
    toast("This is not JSON", problem.message, "bad");
  } finally {
    clearInterval(watching);
    tell(null);
    form.removeAttribute("aria-busy");
    for (const { upload_id } of begun ?? []) remove(upload_id);
  }
}

function show(answer) {
  const dialog = document.getElementById("dry-run");
  dialog.querySelector("pre").textContent = JSON.stringify(answer.request, null, 2);
  const notes = [...(answer.data_notes ?? []), ...(answer.data_left_out ?? []).map(({ name, reason }) => `${name} stays here: ${reason}`)];
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

form.addEventListener("submit", (event) => { event.preventDefault(); carryOut(false); });
form.addEventListener("input", (event) => { event.target.removeAttribute("aria-invalid"); changed(); });
form.addEventListener("change", (event) => {
  showKind();
  showPrompt();
  const input = event.target;
  if ("openConfig" in input.dataset) openConfig(input);
  if ("pickFolder" in input.dataset || "pickFiles" in input.dataset) { add(chosen(input.files)); input.value = ""; }
});
form.addEventListener("keydown", (event) => { // a label that looks like a button works like one
  if (event.target.matches("label.pick") && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); event.target.click(); }
});
form.querySelector("[data-dry-run]").addEventListener("click", () => carryOut(true));
document.querySelector("[data-earlier]").addEventListener("change", (event) => event.target.value && event.target.form.submit());
document.querySelector("#dry-run [data-close]").addEventListener("click", () => document.getElementById("dry-run").close());

const drop = form.querySelector("[data-drop]");
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", async (event) => { event.preventDefault(); add(await dropped(event.dataTransfer)); });

showKind();
showPrompt();
changed();
