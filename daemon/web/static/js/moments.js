// Times as people say them, "3 min ago", kept fresh. The exact one stays in the title, in the reader's own time zone.
const REFRESH_MS = 15_000;
const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86_400, 3600, "h"], [30 * 86_400, 86_400, "d"]]; // up to, unit, word
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

function words(date) {
  const seconds = (Date.now() - date) / 1000;
  const far = Math.abs(seconds);
  if (far < 5) return "now";
  for (const [limit, unit, word] of STEPS) {
    if (far >= limit) continue;
    const count = `${Math.floor(far / unit)} ${word}`;
    return seconds < 0 ? `in ${count}` : `${count} ago`;
  }
  return day.format(date);
}

export function refresh(root = document) {
  for (const element of root.querySelectorAll("time[data-moment]")) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const text = words(date);
    if (element.textContent !== text) element.textContent = text;
    element.title = exact.format(date);
  }
}

export function start() {
  refresh();
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
  document.addEventListener("htmx:after:swap", () => refresh());
}
