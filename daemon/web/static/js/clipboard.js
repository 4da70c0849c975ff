// Buttons that copy a text: data-copy="the text". What a page may not do over plain http is told, not hidden.
import { toast } from "./toasts.js";

export async function copy(text, what = "Copied") {
  try {
    await navigator.clipboard.writeText(text);
    toast(what);
  } catch {
    toast("The browser does not let the page copy", "It does so over https and on this machine only.", "warn");
  }
}

export function start() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button.dataset.copy);
  });
}
