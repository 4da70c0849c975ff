// Destinations: the API takes the whole list, so each change reads it, changes one entry, and sends it back.
import { make } from "./dom.js";
import { bodyOf, confirmed, order } from "./orders.js";
import { toast } from "./toasts.js";

const API = "/api/cloud/publishing";

// The list as it may be sent again: secrets that are left out stay.
async function listed() {
  const answer = await order("GET", API);
  return answer?.destinations.map(({ secrets, ...rest }) => rest) ?? null;
}

async function save(form) {
  const { name, type, concurrency, options = {}, remove = {} } = bodyOf(form);
  for (const [key, wanted] of Object.entries(remove)) if (wanted) options[key] = null;
  const list = await listed();
  if (list === null) return;
  const place = list.findIndex((one) => one.name === form.dataset.destinationForm);
  const entry = { ...(list[place] ?? {}), name, type, concurrency, options };
  if (place < 0) list.push(entry);
  else list[place] = entry;
  if (await order("PUT", API, { destinations: list }, form)) location.assign("/publishing");
}

async function remove(card) {
  const name = card.dataset.destination;
  const words = { title: `Remove ${name}?`, text: "Nothing is deleted there. Deliveries that wait for it fail.", yes: "Remove" };
  if (!(await confirmed(words))) return;
  const list = await listed();
  if (list === null) return;
  const left = list.filter((one) => one.name !== name);
  if (!(await order("PUT", API, { destinations: left }))) return;
  card.remove();
  toast(`${name} is removed`);
}

async function test(card, button) {
  const verdict = card.querySelector(".verdict");
  button.setAttribute("aria-busy", "true");
  verdict.replaceChildren(make("span", "quiet", "Trying …"));
  const answer = await order("POST", `${API}/${encodeURIComponent(card.dataset.destination)}/test`);
  button.removeAttribute("aria-busy");
  if (!answer) return verdict.replaceChildren();
  const steps = make("ul", "steps");
  for (const step of answer.checked) steps.append(make("li", "good", step));
  if (answer.error) steps.append(make("li", "bad", answer.error));
  verdict.replaceChildren(make("span", `badge ${answer.ok ? "good" : "bad"}`, answer.ok ? "works" : "does not work"), steps);
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-destination-form]")) return;
  event.preventDefault();
  save(event.target);
});

document.addEventListener("click", (event) => {
  const card = event.target.closest("[data-destination]");
  const button = event.target.closest("button");
  if (!card || !button) return;
  if ("test" in button.dataset) test(card, button);
  if ("remove" in button.dataset) remove(card);
});
