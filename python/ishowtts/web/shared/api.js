// The server's answers, and what it says against a request.

/** What the server said against a request, in words for a person. */
export class Refused extends Error {
  constructor(error, status, retryAfter = null) {
    super(error?.message ?? `The server answered with status ${status}.`);
    this.code = error?.code ?? "unknown";
    this.status = status;
    this.retryable = status === 429 || status === 503;
    this.retryAfterMs = Number(retryAfter) > 0 ? Number(retryAfter) * 1000 : null;
  }
}

let token = null;

/** Is shown with every question from now on; null: none. */
export function showToken(shown) {
  token = shown;
}

function headersOf({ headers }) {
  const all = new Headers(headers);
  // A header takes no letters such as 你; a token has none, so that what was typed is refused as a wrong one.
  if (token !== null) all.set("Authorization", `Bearer ${encodeURIComponent(token)}`);
  return all;
}

/** The answer, if it is a good one; throws Refused for another and TypeError where no server answers. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headersOf(options) });
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  throw new Refused(told?.error, response.status, response.headers.get("Retry-After"));
}

export async function getJson(path, signal) {
  return (await ask(path, { signal, cache: "no-store" })).json();
}

/** Answers without a body are null. */
export async function postJson(path, body = {}, options = {}) {
  const response = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    ...options,
  });
  const text = await response.text();
  return text === "" ? null : JSON.parse(text);
}
