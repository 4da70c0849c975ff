// Reloads the live part of the page when the journal has something new. Without this script the page works all the same.
"use strict";

const main = document.querySelector("main");
const live = document.querySelector("[data-live]");
const kinds = ["start", "logs", "output", "completed", "failed", "cancelled", "unrecognized"];
const pause = 500; // ms: events come in bursts, one reload serves them all
const late = 5000; // ms: deliveries move without an event
let timer = null;

async function reload() {
  timer = null;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-live]");
    if (fresh) live.replaceChildren(...fresh.childNodes);
  } catch (problem) {
    // The daemon restarts; the stream comes back by itself and reloads then.
  }
}

function soon() {
  if (timer === null) timer = setTimeout(reload, pause);
}

if (main && live && window.EventSource) {
  const query = new URLSearchParams({ after: main.dataset.after });
  if (main.dataset.job) query.set("job", main.dataset.job);
  const stream = new EventSource("/api/cloud/events/stream?" + query);
  kinds.forEach((kind) => stream.addEventListener(kind, soon));
  stream.addEventListener("open", soon);
  setInterval(() => document.hidden || soon(), late);
}
