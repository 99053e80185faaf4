// Shows /openapi.json, and lets each operation be tried. Text goes into the page as text, never as markup.

const MAX_SHOWN_CHARS = 4000;

function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return element;
}

/** What stands between backticks as code. */
const inline = (text = "") => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

/** The same, in paragraphs. */
const prose = (text = "") => text.split("\n\n").map((paragraph) => el("p", {}, inline(paragraph)));

const refName = (schema) => schema.$ref?.split("/").pop();

/** A schema in a few words. */
function kind(schema = {}) {
  const name = refName(schema);
  if (name) return [el("a", { href: `#schema-${name}` }, name)];
  const either = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (either) return either.flatMap((one, index) => [index ? (schema.allOf ? " and " : " or ") : "", ...kind(one)]);
  if (schema.enum) {
    const values = schema.enum.filter((value) => value !== null);
    return values.flatMap((value, index) => [index ? ", " : "", el("code", {}, String(value))]);
  }
  const types = [schema.type ?? "anything"].flat().filter((type) => type !== "null");
  if (types[0] === "array") return ["list of ", ...kind(schema.items)];
  const bounds = [];
  if (schema.minimum !== undefined && schema.maximum !== undefined) bounds.push(`${schema.minimum} to ${schema.maximum}`);
  else if (schema.minimum !== undefined) bounds.push(`at least ${schema.minimum}`);
  if (schema.maxLength !== undefined) bounds.push(`at most ${schema.maxLength} characters`);
  if (schema.contentEncoding) bounds.push(schema.contentEncoding);
  return [types.join(" or ") + (bounds.length ? `, ${bounds.join(", ")}` : "")];
}

function fieldTable(rows) {
  const row = ({ name, required, schema, description }) =>
    el("tr", {},
      el("td", {}, el("code", {}, name), required ? el("div", { class: "faint" }, "required") : null),
      el("td", {}, kind(schema),
        schema.default === undefined ? null : el("div", { class: "faint" }, `default ${JSON.stringify(schema.default)}`)),
      el("td", {}, prose(description ?? schema.description)));
  const head = el("tr", {}, ["field", "what", "meaning"].map((title) => el("th", { scope: "col" }, title)));
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows.map(row))));
}

function schemaFields(schema, description) {
  const parts = schema.oneOf ?? schema.allOf;
  if (parts) return parts.flatMap((part) => [...prose(part.description), ...schemaFields(part, description)]);
  if (refName(schema)) return [el("p", {}, kind(schema))];
  if (!schema.properties) return [el("p", {}, kind(schema))];
  const required = new Set(schema.required);
  const rows = Object.entries(schema.properties).map(([name, property]) => ({
    name: property.enum?.length === 1 ? `${name}: ${JSON.stringify(property.enum[0])}` : name,
    required: required.has(name),
    schema: property,
  }));
  return [fieldTable(rows.sort((one, other) => Number(other.required) - Number(one.required)))];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(method, url, body) {
  const target = new URL(url, location.origin).href;
  return ["curl -s", method === "get" ? "" : `-d ${quoted(body)}`, quoted(target)].filter(Boolean).join(" ");
}

/** What was answered, as one would want to see or hear it. */
async function shown(response) {
  const type = response.headers.get("content-type") ?? "";
  const head = el("p", { class: response.ok ? "" : "failed" }, `${response.status} ${type}`);
  if (type.startsWith("audio/wav") || /^audio\/(mpeg|ogg|flac|aac|mp4|webm)/.test(type)) {
    const source = URL.createObjectURL(await response.blob());
    return [head, el("audio", { controls: true, autoplay: true, src: source })];
  }
  if (type.startsWith("audio/")) return [head, el("p", {}, `${(await response.blob()).size} bytes of samples`)];
  let text = await response.text();
  if (type.split(";")[0] === "application/json") text = JSON.stringify(JSON.parse(text), null, 2);
  return [head, el("pre", {}, text.length > MAX_SHOWN_CHARS ? `${text.slice(0, MAX_SHOWN_CHARS)} …` : text)];
}

function tryOut(path, method, operation, request) {
  const id = operation.operationId;
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const initial = parameter.example ?? parameter.schema?.example ?? "";
    return { parameter, input: el("input", { id: `${id}-${parameter.name}`, value: String(initial) }) };
  });
  const examples = Object.entries(request?.examples ?? {});
  const body = request && el("textarea", { id: `${id}-body`, spellcheck: "false" });
  const line = el("pre", { class: "curl" });
  const answer = el("div", { "aria-live": "polite" });
  const url = () => {
    let target = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    return query.size ? `${target}?${query}` : target;
  };
  const update = () => { line.textContent = curl(method, url(), body?.value ?? ""); };
  const choose = (value) => { body.value = JSON.stringify(value, null, 1); update(); };
  const send = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    answer.replaceChildren(el("p", {}, "Waiting …"));
    try {
      const headers = body ? { "Content-Type": "application/json" } : {};
      // What the studio was given.
      const token = operation.security && localStorage.getItem("ishowtts.token");
      if (token) headers.Authorization = `Bearer ${token}`;
      answer.replaceChildren(...await shown(await fetch(url(), { method: method.toUpperCase(), headers, body: body?.value })));
    } catch (error) {
      answer.replaceChildren(el("p", { class: "failed" }, `The answer broke off: ${error.message}`));
    }
    button.disabled = false;
  };
  const parts = [el("h3", {}, "Try it")];
  for (const { parameter, input } of inputs.filter(({ parameter }) => parameter.required || parameter.name === "voice")) {
    input.addEventListener("input", update);
    parts.push(el("p", {}, el("label", { for: input.id }, `${parameter.name} `), input));
  }
  if (body) {
    body.addEventListener("input", update);
    if (examples.length > 1) {
      const options = examples.map(([name, example]) => el("option", { value: name }, example.summary ?? name));
      const pick = (event) => choose(request.examples[event.currentTarget.value].value);
      parts.push(el("p", {}, el("label", { for: `${id}-example` }, "Example "),
        el("select", { id: `${id}-example`, onchange: pick }, options)));
    }
    parts.push(el("label", { for: body.id }, "Body"), body);
    if (examples.length) choose(examples[0][1].value);
  }
  update();
  parts.push(line, el("p", {}, el("button", { class: "send", type: "button", onclick: send }, "Send"),
    el("button", { type: "button", onclick: () => navigator.clipboard?.writeText(line.textContent) }, "Copy the command")), answer);
  return parts;
}

function exampleOf(value) {
  return el("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

function answerOf([status, response]) {
  const parts = [];
  for (const [type, content] of Object.entries(response.content ?? {})) {
    parts.push(el("p", {}, el("code", {}, type), content.schema && refName(content.schema) ? [" ", ...kind(content.schema)] : null));
    if (content.example !== undefined) parts.push(exampleOf(content.example));
    for (const [name, example] of Object.entries(content.examples ?? {})) {
      parts.push(el("p", { class: "faint" }, name), exampleOf(example.value));
    }
  }
  const headers = Object.entries(response.headers ?? {}).map(([name, header]) =>
    ({ name, schema: header.schema ?? {}, description: header.description }));
  if (headers.length) parts.push(fieldTable(headers));
  return el("details", {}, el("summary", {}, el("strong", {}, status), " ", inline(response.description)), parts);
}

function operationOf(api, path, method, operation) {
  const request = operation.requestBody?.content?.["application/json"];
  const fields = request && api.components.schemas[refName(request.schema)];
  const parameters = (operation.parameters ?? []).map((parameter) =>
    ({ name: parameter.name, required: parameter.required, schema: parameter.schema ?? {}, description: parameter.description }));
  return el("details", { class: "operation", id: operation.operationId },
    el("summary", {},
      el("span", { class: `method ${method}` }, method.toUpperCase()), el("span", { class: "path" }, path),
      el("span", { class: "faint" }, inline(operation.summary))),
    el("div", { class: "inside" },
      prose(operation.description),
      parameters.length ? [el("h3", {}, "Parameters"), fieldTable(parameters)] : null,
      fields ? [el("h3", {}, "Body"), ...schemaFields(fields)] : null,
      tryOut(path, method, operation, request),
      el("h3", {}, "Answers"), Object.entries(operation.responses).map(answerOf)));
}

function build(api) {
  document.getElementById("about").replaceWith(...prose(api.info.description),
    el("p", { class: "faint" }, `Version ${api.info.version} · `, el("a", { href: "/openapi.json" }, "openapi.json")));
  const main = document.querySelector("main");
  const links = [];
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  for (const tag of api.tags) {
    links.push(el("li", {}, el("a", { href: `#tag-${tag.name}` }, tag.name)));
    main.append(el("h2", { id: `tag-${tag.name}` }, tag.name), ...prose(tag.description));
    // Under its first tag only: its id is there once.
    for (const { path, method, operation } of operations.filter(({ operation }) => operation.tags?.[0] === tag.name)) {
      main.append(operationOf(api, path, method, operation));
    }
  }
  main.append(el("h2", { id: "schemas" }, "schemas"));
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    main.append(el("details", { class: "schema", id: `schema-${name}` }, el("summary", {}, name),
      el("div", { class: "inside" }, prose(schema.description), schemaFields(schema))));
  }
  links.push(el("li", {}, el("a", { href: "#schemas" }, "schemas")));
  document.querySelector("nav").append(el("ul", {}, links));
}

/** A link to something folded unfolds it. */
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target instanceof HTMLDetailsElement) target.open = true;
  target.scrollIntoView();
}

try {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`/openapi.json: ${response.status}`);
  build(await response.json());
  window.addEventListener("hashchange", reveal);
  reveal();
} catch (error) {
  document.getElementById("about")?.replaceChildren(`The description could not be loaded: ${error.message}`);
}
