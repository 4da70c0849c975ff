// Settings: what an order answered is told where it was given; after a change the page shows what is in force now.
import { make } from "./dom.js";
import { refresh } from "./moments.js";

const both = (error, fix) => [error, fix].filter(Boolean).map((text) => text.replace(/\.?$/, ".")).join(" ");

// data-report → the place, and the answer in words: [mark, word, detail]
const REPORTS = {
  validate: ["token-verdict", ({ valid, error, fix, user_info, token_source }) => valid
    ? ["good", "valid", `It is ${user_info.username}'s, from the ${token_source === "stored" ? "store" : token_source}.`]
    : ["bad", "not valid", both(error, fix)]],
  token: ["token-verdict", ({ valid, error, fix }) => valid ? ["good", "saved", "Replicate takes it."]
    : ["bad", valid === null ? "saved, not checked" : "saved, not valid", both(error, fix)]],
  webhook: ["webhook-verdict", ({ ok, detail }) => ok ? ["good", "reached", detail]
    : [ok === null ? "warning" : "bad", ok === null ? "not proven" : "does not work", detail]],
};

async function showAnew() {
  const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const anew = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("settings");
  document.getElementById("settings").replaceWith(document.adoptNode(anew));
  refresh();
}

document.addEventListener("tunerd:done", async (event) => {
  const { report } = event.target.dataset;
  const id = event.target.id || event.target.querySelector("[id]")?.id;
  if ("refresh" in event.target.dataset) {
    await showAnew();
    document.getElementById(id)?.focus({ preventScroll: true });
  }
  if (!report) return;
  const [place, words] = REPORTS[report];
  const [mark, word, detail] = words(event.detail);
  document.getElementById(place).replaceChildren(make("span", `badge ${mark}`, word), ` ${detail ?? ""}`);
});
