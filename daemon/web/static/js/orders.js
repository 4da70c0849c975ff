// Buttons and forms that give an order to the API: data-api="POST /api/…".
//
// On an element:
//   data-api           method and path; on a form, too: its fields become the JSON body (see bodyOf)
//   data-body          the JSON body of a button
//   data-confirm       asks first; data-confirm-text and data-confirm-yes are the dialog's words
//   data-done          what to say when it was done
//   data-then          "reload", or a path to go to
// A refusal is shown with its detail, at the form's field where it names one. Afterwards "tunerd:done" is dispatched on
// the element, with the answer as detail.
import { problemOf, showProblem, toast } from "./toasts.js";

// What is said where no answer of the daemon came back: the order may have arrived all the same.
const LOST = "Whether it was done is not known: no answer came back. tunerd may be starting anew; look, then try again.";

// Send and return the answer's JSON; null where tunerd refused it (which was shown). Undefined where the answer was
// lost: the connection broke, a proxy or tunnel answered in its place, or it failed half-way (500). `lost`: what is
// said then.
export async function order(method, path, body, element, lost = LOST) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
    if (answer.ok) return answer.status === 204 ? {} : await answer.json();
  } catch {
    toast("tunerd cannot be reached", lost, "bad");
    return undefined;
  }
  const problem = await problemOf(answer);
  if (!problem.code || answer.status === 500) { // every problem of tunerd's own has a code
    toast(problem.title, problem.code ? `${problem.detail} ${lost}` : lost, "bad");
    return undefined;
  }
  if (!markField(element, problem)) showProblem(problem);
  return null;
}

// A field's name may be a path, "a.b"; data-type="number|boolean|json|lines" says what its text stands for.
// An empty field is left out unless it has data-null, which sends null.
export function bodyOf(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || field.type === "submit" || field.type === "button") continue;
    if (field.type === "radio" && !field.checked) continue;
    const value = valueOf(field);
    if (value === undefined) continue;
    const parts = field.name.split(".");
    let place = body;
    for (const part of parts.slice(0, -1)) place = place[part] ??= {};
    place[parts.at(-1)] = value;
  }
  return body;
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  const text = field.value.trim();
  if (text === "") return field.dataset.type === "lines" ? [] : "null" in field.dataset ? null : undefined;
  switch (field.dataset.type) {
    case "number": return Number(text);
    case "boolean": return text === "true";
    case "json": return JSON.parse(text);
    case "lines": return text.split(/[\s,]+/).filter(Boolean);
    default: return text;
  }
}

// Show the problem at the field that it names. False: the form has no such field.
function markField(element, problem) {
  const form = element?.closest("form");
  const name = problem.field?.replace(/^\w+\[\d+\]\./, ""); // one entry of a list is this form's
  const field = form && name && form.elements.namedItem(name);
  if (!(field instanceof HTMLElement)) return false;
  const id = `${field.id || field.name}-problem`;
  const words = document.getElementById(id) || field.insertAdjacentElement("afterend", document.createElement("small"));
  words.id = id;
  words.className = "field-problem";
  words.setAttribute("role", "alert");
  words.textContent = problem.detail;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-describedby", id);
  field.addEventListener("input", () => {
    words.remove();
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }, { once: true });
  field.focus();
  return true;
}

// Ask, in the page's own dialog; resolves to true or false.
export function confirmed({ title, text, yes }) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("p").textContent = text || "";
  dialog.querySelector("[value=yes]").textContent = yes || "Yes";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function carryOut(element) {
  if (element.getAttribute("aria-busy") === "true") return;
  const { confirm, confirmText, confirmYes } = element.dataset;
  if (confirm && !(await confirmed({ title: confirm, text: confirmText, yes: confirmYes }))) return;
  let body;
  try {
    if (element instanceof HTMLFormElement) body = bodyOf(element);
    else if (element.dataset.body) body = JSON.parse(element.dataset.body);
  } catch {
    toast("This is not JSON", "Check the field that holds JSON.", "bad");
    return;
  }
  const [method, path] = element.dataset.api.split(" ");
  element.setAttribute("aria-busy", "true");
  const answer = await order(method, path, body, element);
  element.removeAttribute("aria-busy");
  if (!answer) return;
  if (element.dataset.done) toast(element.dataset.done);
  element.dispatchEvent(new CustomEvent("tunerd:done", { bubbles: true, detail: answer }));
  if (element.dataset.then === "reload") location.reload();
  else if (element.dataset.then) location.assign(element.dataset.then);
}

export function start() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-api]");
    if (button) carryOut(button);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-api]")) return;
    event.preventDefault();
    carryOut(event.target);
  });
}
