// One plot with uPlot: several curves over the steps, with zoom by dragging, and log scale.
import { aligned, smoothed } from "./series.js";

const COLOURS = ["--curve-1", "--curve-2", "--curve-3", "--curve-4", "--curve-5", "--curve-6"];
const FAINT = "55"; // alpha of a curve's own points behind its smoothed line

export function colourOf(index) {
  return colour(COLOURS[index % COLOURS.length]);
}

function colour(name) {
  // A light-dark() value is resolved only where it is used as a colour.
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  probe.hidden = true;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  const [red, green, blue] = found.match(/\d+(\.\d+)?/g).map(Number);
  return `#${[red, green, blue].map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

function words(value) {
  if (value === null || value === undefined) return "–";
  const plain = value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 10_000);
  return plain ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

export class Plot {
  // curves: [{label, points, colour: index}]; onZoom(min, max) is told of every zoom of a person's
  constructor(place, { title, height, onZoom }) {
    this.title = title;
    this.height = height;
    this.onZoom = onZoom;
    this.zoomed = null;
    this.box = document.createElement("div");
    this.box.className = "plot";
    this.box.setAttribute("role", "img");
    place.append(this.box);
    this.curves = [];
    this.shape = "";
    this.width = new ResizeObserver(() => this.u?.setSize({ width: this.box.clientWidth, height: this.height }));
    this.width.observe(this.box);
  }

  show(curves, { smooth, logScale, raw }) {
    const positive = (value) => (logScale && !(value > 0) ? null : value);
    const [steps, ...values] = aligned(curves.map((curve) => curve.points));
    const rows = values.map((row) => row.map(positive));
    const faint = raw && smooth > 0;
    const data = [steps, ...(faint ? rows : []), ...rows.map((row) => smoothed(row, smooth))];
    const shape = JSON.stringify([curves.map((curve) => [curve.label, curve.colour]), logScale, faint]);
    if (!this.u || shape !== this.shape) this.build(curves, data, logScale, faint);
    else this.u.setData(data, !this.zoomed);
    this.shape = shape;
    if (this.zoomed) this.u.setScale("x", this.zoomed);
    const last = curves.map((curve) => `${curve.label} ${words(curve.points.at(-1)?.[1])}`).join(", ");
    this.box.setAttribute("aria-label", `${this.title} over ${steps.at(-1) ?? 0} steps; last: ${last}`);
  }

  build(curves, data, logScale, faint) {
    this.u?.destroy();
    const [ink, line] = [colour("--quiet"), colour("--line")];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const drawn = (curve, label, alpha, width) => ({
      label, stroke: colourOf(curve.colour) + alpha, width, spanGaps: true,
      points: { show: (u) => u.data[0].length < 3, size: 6 }, // one point makes no line
      value: (_, value) => words(value),
    });
    const behind = faint ? curves.map((curve) => drawn(curve, `${curve.label} as logged`, FAINT, 1)) : [];
    this.u = new uPlot({
      width: this.box.clientWidth || 600,
      height: this.height,
      title: this.title,
      cursor: { sync: { key: "steps" }, drag: { x: true, y: false }, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: false }, y: { distr: logScale ? 3 : 1 } },
      axes: [{ ...axis, size: 34 }, { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : words(tick))) }],
      series: [{ label: "Step" }, ...behind, ...curves.map((curve) => drawn(curve, curve.label, "", 2))],
      hooks: { setSelect: [(u) => this.select(u)] },
    }, data, this.box);
    this.u.over.addEventListener("dblclick", () => this.onZoom(null));
  }

  select(u) {
    if (u.select.width < 3) return;
    const [from, to] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.onZoom({ min: from, max: to });
  }

  zoom(range) {
    this.zoomed = range;
    if (!this.u) return;
    if (range) this.u.setScale("x", range);
    else this.u.setData(this.u.data, true);
  }

  redraw() {
    this.shape = ""; // built anew with the next data: in other colours
  }
}
