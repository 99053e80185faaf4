// The token that the chat may ask for: from the link /#token=…, or typed once. It stays in this browser.

import { showToken } from "../shared/api.js";
import { element } from "./page.js";

const KEY = "ishowtts.token";
const LINK = "#token=";

function keep(token) {
  localStorage.setItem(KEY, token);
  showToken(token);
}

/** Whether the address was such a link; the token does not stay there, and the chat is shown. */
export function takeLink() {
  if (!location.hash.startsWith(LINK)) return;
  keep(location.hash.slice(LINK.length));
  history.replaceState(null, "", "#chat");
}

export function askForToken(needed) {
  element("chat-token-form").hidden = !needed;
}

/** `again` is called once another token is there. */
export function startToken(again) {
  showToken(localStorage.getItem(KEY));
  element("chat-token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep(element("chat-token").value.trim());
    element("chat-token").value = "";
    again();
  });
}
