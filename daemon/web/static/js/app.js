// What every page runs. Each concern has a module of its own.
import * as connection from "./connection.js";
import * as moments from "./moments.js";
import * as orders from "./orders.js";
import * as themeSwitch from "./theme-switch.js";
import { showProblem, toast } from "./toasts.js";

themeSwitch.start();
moments.start();
orders.start();
connection.start();

// htmx swaps no refusal into the page (noSwap in base.html): it is told here.
document.addEventListener("htmx:response:error", (event) => {
  const { text, response } = event.detail.ctx;
  try {
    showProblem(JSON.parse(text));
  } catch {
    toast(`The answer was ${response.status}`, "Try again in a moment.", "bad");
  }
});
