// What the rules would do with a message, and which one decides.

import { postJson } from "../shared/api.js";
import { attempt, element, make } from "./page.js";
import { inWords, ruleName, t } from "./words.js";

let verdict = null;

function asked() {
  const badges = [...element("chat-test").querySelectorAll("[name=badge]:checked")].map(({ value }) => value);
  return { platform: "api", user: element("test-user").value, text: element("test-text").value, badges };
}

function show() {
  const place = element("verdict");
  if (verdict === null) return;
  const { decision, rule, reason, speech, text, trace = [] } = verdict;
  const said = typeof speech === "object" ? speech?.text : (speech ?? text);
  place.replaceChildren(
    make("p", { className: "decision" }, t(`chat.decision_${decision}`)),
    make("p", {}, t("chat.decided", { rule: ruleName(rule), reason })),
  );
  if (said) place.append(make("p", { className: "quiet", dir: "auto" }, t("chat.says", { text: said })));
  if (trace.length > 0) {
    const steps = trace.map((step) => make("li", {}, `${ruleName(step.rule)}: ${t(`chat.outcome_${step.outcome}`)}${step.reason ? ` – ${step.reason}` : ""}`));
    place.append(make("details", {}, make("summary", {}, t("chat.trace")), make("ol", {}, ...steps)));
  }
}

/** `changed`: the queue is another one now. */
export function startChatTest(changed) {
  const form = element("chat-test");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      verdict = await postJson("v1/chat/test", asked());
      show();
    });
  });
  element("test-send").addEventListener("click", () => {
    if (!form.reportValidity()) return;
    attempt(async () => {
      await postJson("v1/chat/enqueue", asked());
      await changed();
    });
  });
  inWords(show);
}
