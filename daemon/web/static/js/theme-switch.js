// The button that goes from the system's colours to light, to dark, and back; the choice is remembered here.
import { setIcon } from "./dom.js";

const KEY = "tunerd-theme"; // theme.js reads it before the first paint
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const SHOWN = {
  auto: ["auto", "Colours: as the system has them"],
  light: ["sun", "Colours: light"],
  dark: ["moon", "Colours: dark"],
};

function current() {
  return document.documentElement.dataset.theme || "auto";
}

function show(button) {
  const [icon, label] = SHOWN[current()];
  setIcon(button, icon);
  button.setAttribute("aria-label", label);
  button.title = label;
}

export function start() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.hidden = false;
  show(button);
  button.addEventListener("click", () => {
    const chosen = NEXT[current()];
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    try {
      if (chosen === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, chosen);
    } catch {
      // Not remembered, then.
    }
    show(button);
    document.dispatchEvent(new CustomEvent("tunerd:theme")); // curves are drawn in the page's colours
  });
}
