// The card with the curves: of one job, or of several on one plot.
import { Plot } from "./plot.js";
import { Source, TITLES, kindOf } from "./series.js";

const REFRESH_MS = 1500; // at most so often, however often events come
const HEIGHTS = { loss: 280 };
const OTHER_HEIGHT = 150;

export class Curves {
  constructor(card) {
    this.card = card;
    this.place = card.querySelector(".plots");
    this.sources = JSON.parse(card.dataset.curves).map((source) => new Source(source));
    this.plots = new Map(); // kind → Plot
    this.logScale = false;
    this.busy = false;
    this.listen();
    this.refresh();
  }

  listen() {
    const find = (name) => this.card.querySelector(`[data-${name}]`);
    this.slider = find("smooth");
    this.out = find("zoom-out");
    this.slider.addEventListener("input", () => this.draw());
    find("log-scale").addEventListener("click", (event) => {
      this.logScale = !this.logScale;
      event.currentTarget.setAttribute("aria-pressed", String(this.logScale));
      this.draw();
    });
    this.out.addEventListener("click", () => this.zoom(null));
    const recolour = () => { this.plots.forEach((plot) => plot.redraw()); this.draw(); };
    document.addEventListener("tunerd:theme", recolour);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  }

  // Something has changed: look for new points, soon.
  soon() {
    this.timer ??= setTimeout(() => { this.timer = null; this.refresh(); }, REFRESH_MS);
  }

  async refresh() {
    if (this.busy) return this.soon();
    this.busy = true;
    try {
      const changed = await Promise.all(this.sources.map((source) => source.refresh()));
      if (changed.some(Boolean) || !this.plots.size) this.draw();
    } catch {
      this.soon(); // the daemon restarts
    } finally {
      this.busy = false;
    }
  }

  draw() {
    const several = this.sources.length > 1;
    const kinds = new Map(); // kind → curves
    this.sources.forEach((source, place) => {
      Object.entries(source.series).forEach(([name, points]) => {
        const curves = kinds.get(kindOf(name)) ?? kinds.set(kindOf(name), []).get(kindOf(name));
        const label = several ? (name === kindOf(name) ? source.name : `${source.name}: ${name}`) : TITLES[name] ?? name;
        curves.push({ label, points, colour: several ? place : curves.length });
      });
    });
    const order = ["loss", "lr", ...[...kinds.keys()].filter((kind) => kind !== "loss" && kind !== "lr")];
    for (const kind of order.filter((one) => kinds.has(one))) {
      const plot = this.plots.get(kind) ?? this.make(kind);
      plot.show(kinds.get(kind), { smooth: kind === "lr" ? 0 : Number(this.slider.value), logScale: this.logScale, raw: !several });
    }
    this.card.querySelector(".no-curves").hidden = kinds.size > 0;
    this.tell(kinds);
  }

  make(kind) {
    const plot = new Plot(this.place, {
      title: TITLES[kind] ?? kind,
      height: HEIGHTS[kind] ?? OTHER_HEIGHT,
      onZoom: (range) => this.zoom(range),
    });
    this.plots.set(kind, plot);
    return plot;
  }

  zoom(range) {
    this.out.disabled = !range;
    this.plots.forEach((plot) => plot.zoom(range));
  }

  tell(kinds) {
    const points = Math.max(0, ...[...kinds.values()].flat().map((curve) => curve.points.length));
    this.card.querySelector(".curve-words").textContent = kinds.size ? `${points.toLocaleString("en")} ${points === 1 ? "point" : "points"}. Drag to zoom, double-click for the whole range.` : "";
    this.card.dataset.points = points;
  }
}
