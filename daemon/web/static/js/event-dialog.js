// An event's raw body with the headers that sign it, and "verify again".
import { copy } from "./clipboard.js";
import { make } from "./dom.js";
import { problemOf, showProblem } from "./toasts.js";

const HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const MOST_SHOWN = 300_000; // characters; a browser lays out more only slowly, and the download has all
const MARKS = { valid: "good", invalid: "bad", unsigned: "", unknown: "warning" };

export function start(api) {
  const dialog = document.getElementById("event");
  const part = (selector) => dialog.querySelector(selector);
  let text = "";
  let seq = null;

  async function show(button) {
    seq = button.dataset.event;
    const path = `${api}/events/${seq}/body`;
    const answer = await fetch(path);
    if (!answer.ok) return showProblem(await problemOf(answer));
    text = await answer.text();
    part("h2").textContent = `Event ${seq}: ${button.dataset.eventKind}`;
    part(".headers").replaceChildren(...HEADERS.flatMap((name) => {
      const value = answer.headers.get(name);
      return value === null ? [] : [make("dt", "", name), make("dd", "mono", value)];
    }));
    const shown = pretty(text);
    part(".body").textContent = shown.length > MOST_SHOWN ? `${shown.slice(0, MOST_SHOWN)}\n… the download has all of it` : shown;
    part(".verdict").className = "verdict";
    part(".verdict").textContent = "";
    part("[data-download]").href = path;
    part("[data-download]").download = `event-${seq}.json`;
    dialog.showModal();
  }

  async function verify() {
    const answer = await fetch(`/api/cloud/events/${seq}/verify`);
    if (!answer.ok) return showProblem(await problemOf(answer));
    const { verdict, detail } = await answer.json();
    part(".verdict").replaceChildren(make("span", `badge ${MARKS[verdict]}`, verdict), ` ${detail}`);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-event]");
    if (button) show(button);
  });
  part("[data-close]").addEventListener("click", () => dialog.close());
  part("[data-verify]").addEventListener("click", verify);
  part("[data-copy-body]").addEventListener("click", () => copy(text, "Copied the body, as it was received"));
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
