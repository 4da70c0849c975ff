// Several jobs' curves on one plot.
import { Curves } from "./curves.js";

const LOOK_MS = 5000; // jobs that still run

const card = document.querySelector("[data-curves]");
if (card) {
  const curves = new Curves(card);
  if (curves.sources.some((source) => source.live)) setInterval(() => document.hidden || curves.soon(), LOOK_MS);
}
