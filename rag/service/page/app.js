// The page: its parts, and what happens first.

import { useToken } from "./api.js";
import "./ask.js";
import { list, refreshStatus } from "./documents.js";
import { byId } from "./dom.js";
import { followModels } from "./models.js";

const PARTS = { ask: () => byId("question").focus(), documents: () => list(), models: () => {} };

function open() {
  const wanted = location.hash.slice(1);
  const part = wanted in PARTS ? wanted : "ask";
  for (const name of Object.keys(PARTS)) byId(name).hidden = name !== part;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${part}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  followModels(part === "models");
  PARTS[part]();
}

document.addEventListener("token-wanted", () => {
  byId("token-form").hidden = false;
});
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  byId("token-form").hidden = true;
  refreshStatus();
  open();
});
window.addEventListener("hashchange", open);

refreshStatus();
open();
