// Endpoints of notifications: the API takes the whole list, so each change reads it, changes one entry, and sends it back.
import { start } from "./clipboard.js";
import { bodyOf, confirmed, order } from "./orders.js";
import { refresh } from "./moments.js";
import { toast } from "./toasts.js";

const API = "/api/cloud/notifications";
const LOOK_MS = 1000; // between two looks at what became of a test
const LOOKS = 15; // a receiver has 15 seconds to answer

async function showAnew() {
  const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const anew = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("endpoints");
  document.getElementById("endpoints").replaceWith(document.adoptNode(anew));
  refresh();
}

// Change the list as it may be sent again, where URLs and secrets that are left out stay. False: it was refused.
async function change(edit, form) {
  const now = await order("GET", API);
  if (!now) return false;
  const list = now.endpoints.map(({ name, events, enabled, allow_private }) => ({ name, events, enabled, allow_private }));
  const answer = await order("PUT", API, { endpoints: edit(list) }, form);
  if (!answer) return false;
  await showAnew();
  const made = answer.endpoints.find((one) => one.secret);
  if (made) await tell(made);
  return true;
}

function tell({ name, secret }) {
  const dialog = document.getElementById("secret");
  dialog.querySelector("h2").textContent = `The signing secret of ${name}`;
  dialog.querySelector("pre").textContent = dialog.querySelector("[data-copy]").dataset.copy = secret;
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    dialog.querySelector("pre").textContent = dialog.querySelector("[data-copy]").dataset.copy = "";
    resolve();
  }, { once: true }));
}

const with_ = (name, values) => (list) => list.map((one) => one.name === name ? { ...one, ...values } : one);

async function test(name) {
  const queued = await order("POST", `${API}/${encodeURIComponent(name)}/test`);
  if (!queued) return;
  for (let look = 0; look < LOOKS; look++) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const one = (await order("GET", API))?.endpoints.find((each) => each.name === name);
    if (!one) return;
    if (one.failing_since || one.disabled_reason || !one.pending) {
      await showAnew();
      const taken = !one.failing_since && !one.disabled_reason;
      return toast(taken ? `${name} took the message` : `${name} did not take it`, taken ? "" : one.last_error, taken ? "good" : "bad");
    }
  }
  toast("No answer yet", "The message waits and is tried again.", "warn");
}

const ACTIONS = {
  test: (name) => test(name),
  enable: (name, button) => change(with_(name, { enabled: button.dataset.enable === "true" })),
  secret: async (name) => {
    const words = { title: `A new secret for ${name}?`, text: "Messages are signed with it at once: the receiver needs it, too.", yes: "Make it" };
    if (await confirmed(words)) await change(with_(name, { secret: null }));
  },
  remove: async (name) => {
    const words = { title: `Remove ${name}?`, text: "Messages that wait for it are dropped.", yes: "Remove" };
    if (!(await confirmed(words))) return;
    if (await change((list) => list.filter((one) => one.name !== name))) toast(`${name} is removed`);
  },
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-endpoint] button");
  const action = button && Object.keys(ACTIONS).find((one) => one in button.dataset);
  if (!action) return;
  const { endpoint } = button.closest("[data-endpoint]").dataset;
  button.setAttribute("aria-busy", "true");
  await ACTIONS[action](endpoint, button);
  button.removeAttribute("aria-busy");
  if (button.isConnected) return;
  // It was shown anew: who uses the keyboard stays where they were.
  document.querySelector(`[data-endpoint="${CSS.escape(endpoint)}"] [data-${action}]`)?.focus({ preventScroll: true });
});

document.getElementById("new-endpoint").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const boxes = [...form.querySelectorAll("[data-event]")];
  const events = boxes.every((box) => box.checked) ? null : boxes.filter((box) => box.checked).map((box) => box.dataset.event);
  if (events?.length === 0) return toast("Choose at least one event", "Or all of them.", "bad");
  const entry = { ...bodyOf(form), events };
  if (await change((list) => [...list, entry], form)) form.reset();
});

start();
