// Curves as numbers: what the metrics give, kept up to date, smoothed, and lined up for a plot.

// One job's curves. Asks only for what is new.
export class Source {
  constructor({ id, name, metrics, live }) {
    Object.assign(this, { id, name, metrics, live });
    this.series = {}; // name → [[step, value|null], …] in order of step
    this.progress = null;
  }

  get lastStep() {
    return Math.max(0, ...Object.values(this.series).map((points) => points.at(-1)?.[0] ?? 0));
  }

  // True: something is new.
  async refresh() {
    const since = this.lastStep;
    const answer = await fetch(`${this.metrics}?since=${since}`);
    if (!answer.ok) return false;
    const { series, progress } = await answer.json();
    this.progress = progress;
    let changed = false;
    for (const [name, points] of Object.entries(series)) {
      const known = (this.series[name] ??= []);
      const before = known.at(-1);
      while (known.length && known.at(-1)[0] >= (points[0]?.[0] ?? Infinity)) known.pop();
      known.push(...points);
      changed ||= known.at(-1)?.[0] !== before?.[0] || known.at(-1)?.[1] !== before?.[1];
    }
    return changed;
  }
}

// Exponential moving average; the first values are not drawn towards zero (debiased).
export function smoothed(values, weight) {
  if (!weight) return values;
  let mean = 0;
  let seen = 0;
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    mean = mean * weight + (1 - weight) * value;
    seen += 1;
    return mean / (1 - weight ** seen);
  });
}

// Several curves over one axis of steps: [steps, values, values, …], null where a curve has no point.
export function aligned(curves) {
  const steps = [...new Set(curves.flatMap((points) => points.map(([step]) => step)))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, index) => [step, index]));
  return [steps, ...curves.map((points) => {
    const values = new Array(steps.length).fill(null);
    for (const [step, value] of points) values[place.get(step)] = value;
    return values;
  })];
}

export function kindOf(name) {
  if (/(^|[_/.])loss$/.test(name)) return "loss";
  return /(^|[_/.])lr$/.test(name) ? "lr" : name;
}

export const TITLES = { loss: "Loss", lr: "Learning rate", grad_norm: "Gradient norm" };
