// Light or dark, before anything is painted. Without a choice the page follows the system.
"use strict";
try {
  const chosen = localStorage.getItem("tunerd-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is switched off: the system decides.
}
