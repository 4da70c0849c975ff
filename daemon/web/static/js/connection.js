// Says when the live stream is lost and when it is back. While it is lost the page shows the last known state.
import { toLogin, toast } from "./toasts.js";

const PATIENCE_MS = 2500; // a restart of the daemon takes a second: nobody needs to hear of it

let timer = null;
let lost = false;

function goneFor() {
  lost = true;
  document.documentElement.classList.add("offline");
  toast("The connection is lost", "The page shows the last known state and reconnects by itself.", "warn");
}

function back() {
  clearTimeout(timer);
  timer = null;
  document.documentElement.classList.remove("offline");
  if (!lost) return;
  lost = false;
  document.querySelectorAll("#toasts .warn").forEach((shown) => shown.remove());
  toast("Connected again");
}

export function start() {
  document.addEventListener("htmx:sse:error", ({ detail }) => {
    if (detail.status === 401) toLogin();
    timer ??= setTimeout(goneFor, PATIENCE_MS);
  });
  document.addEventListener("htmx:sse:after:connection", back);
}
