// Prometheus' text format: samples by name, and what can be worked out of two readings of them.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Map from name to [{ labels, value }]. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (match === null) continue;
    const [, name, inside = "", value] = match;
    const labels = Object.fromEntries([...inside.matchAll(LABEL)].map(([, label, text]) => [label, text]));
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({ labels, value: value === "+Inf" ? Infinity : Number(value) });
  }
  return samples;
}

/** Over all labels that `matches` lets through. */
export function sum(samples, name, matches = () => true) {
  return (samples.get(name) ?? []).reduce((all, { labels, value }) => (matches(labels) ? all + value : all), 0);
}

/** What was counted between two readings; all of it, if the server has started anew. */
export function grown(before, after, name, matches) {
  const now = sum(after, name, matches);
  const then = before === null ? 0 : sum(before, name, matches);
  return now >= then ? now - then : now;
}

/** The quantile of what a histogram counted between two readings, between the edges of its bucket; null: nothing. */
export function quantile(before, after, name, share) {
  const buckets = (after.get(`${name}_bucket`) ?? [])
    .map(({ labels: { le } }) => {
      const at = (labels) => labels.le === le;
      return { edge: le === "+Inf" ? Infinity : Number(le), count: grown(before, after, `${name}_bucket`, at) };
    })
    .sort((one, other) => one.edge - other.edge);
  const total = buckets.at(-1)?.count ?? 0;
  if (total <= 0) return null;
  const wanted = share * total;
  let low = 0;
  let below = 0;
  for (const { edge, count } of buckets) {
    if (count >= wanted) return edge === Infinity ? low : low + ((edge - low) * (wanted - below)) / (count - below);
    low = edge;
    below = count;
  }
  return low;
}
