// How the overlay looks, by its address: ?theme=card|light|bubble|bar|neon|plain&place=bottom-left&size=28&accent=ff4d8d.

const PLACES = /^(top|middle|bottom)(-(left|center|right))?$/;
const COLOUR = /^#?([0-9a-f]{3}|[0-9a-f]{6})$/i;

export function applyLook(query) {
  const root = document.documentElement;
  const theme = query.get("theme") ?? "card";
  if (/^[a-z]+$/.test(theme)) root.dataset.theme = theme;
  const place = PLACES.exec(query.get("place") ?? "");
  root.dataset.row = place?.[1] ?? "bottom";
  root.dataset.column = place?.[3] ?? (theme === "bar" ? "center" : "left");
  const size = Number(query.get("size"));
  if (size >= 8 && size <= 200) root.style.setProperty("--size", `${size}px`);
  const accent = COLOUR.exec(query.get("accent") ?? "");
  if (accent !== null) root.style.setProperty("--accent", `#${accent[1]}`);
}
