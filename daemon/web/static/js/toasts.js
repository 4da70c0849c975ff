// Messages in the corner: what was done, and what went wrong. Read out politely; an error stays until it is closed.
const GOOD_MS = 6000; // long enough to read a line
const MOST = 4; // more would cover the page; the oldest goes

export function toast(title, text, kind = "good") {
  const area = document.getElementById("toasts");
  const shown = document.getElementById("toast").content.firstElementChild.cloneNode(true);
  shown.classList.add(kind);
  shown.querySelector("strong").textContent = title;
  shown.querySelector("p").textContent = text || "";
  const close = () => shown.remove();
  shown.querySelector("button").addEventListener("click", close);
  while (area.children.length >= MOST) area.firstElementChild.remove();
  area.append(shown);
  if (kind === "good") setTimeout(close, GOOD_MS);
}

// What a refused answer says: problem+json has a title and a detail that tells what to do next.
export async function problemOf(answer) {
  try {
    const body = await answer.json();
    if (body.title) return body;
  } catch {
    // Not JSON: a proxy in between.
  }
  return { title: `The answer was ${answer.status}`, detail: answer.statusText, status: answer.status };
}

// The login has ended: there, and back to this page.
export function toLogin() {
  location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
}

export function showProblem(problem) {
  if (problem.status === 401) toLogin();
  else toast(problem.title, problem.detail, "bad");
}
