// The server's models: what is loaded, until when, and the buttons to change that.

import { json, request } from "./api.js";
import { byId, element, plain, size, span } from "./dom.js";

const EVERY_MS = 5000;
const HOUR_S = 3600;

let asking = 0;
let ticking = 0;
let ends = []; // cells that count down, with their times

/** Ask for the models again and again while their part of the page is open. */
export function followModels(open) {
  clearInterval(asking);
  clearInterval(ticking);
  if (!open) return;
  refresh();
  asking = setInterval(refresh, EVERY_MS);
  ticking = setInterval(countDown, 1000);
}

async function refresh() {
  try {
    const [all, loaded] = await Promise.all([json("/api/lmstudio/models"), json("/api/lmstudio/models/loaded")]);
    byId("models-problem").textContent = "";
    const focused = document.activeElement?.dataset?.key;
    ends = [];
    byId("models-list").replaceChildren(...all.models.map((model) => row(model, loaded.models.filter((one) => one.model_key === model.key))));
    if (focused) document.querySelector(`#models-list button[data-key="${CSS.escape(focused)}"]`)?.focus();
    countDown();
  } catch (problem) {
    byId("models-problem").textContent = problem.message;
  }
}

function row(model, instances) {
  const state = instances.length ? instances.map(stateOf) : ["on disk"];
  const details = [model.quantization, model.size_bytes === null ? null : size(model.size_bytes)].filter(Boolean).join(", ");
  const key = plain(model.key);
  const button = instances.length
    ? element("button", { type: "button", "data-key": model.key, "aria-label": `Unload ${key}`, onclick: (event) => unload(model, event.currentTarget) }, "Unload")
    : element("button", { type: "button", "data-key": model.key, "aria-label": `Load ${key}`, onclick: (event) => load(model, event.currentTarget) }, "Load");
  return element(
    "tr",
    {},
    element("td", {}, key, element("div", { class: "quote" }, details)),
    element("td", {}, model.type === "llm" ? (model.vision ? "chat, sees images" : "chat") : "embedding"),
    element("td", {}, ...state),
    element("td", {}, button),
  );
}

function stateOf(instance) {
  const end = element("span", {});
  if (instance.expires_at !== null) ends.push([end, instance.expires_at]);
  const context = instance.context_length ? `, ${instance.context_length} tokens` : "";
  const whose = instance.ours ? "" : ", by another program";
  return element("div", {}, `loaded${context}${whose}`, end);
}

function countDown() {
  const now = Date.now() / 1000;
  for (const [cell, at] of ends) cell.textContent = `, unloaded in ${span(at - now)} if idle`;
}

async function change(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  button.textContent = "…";
  try {
    await work();
    await refresh();
  } catch (problem) {
    await refresh();
    byId("models-problem").textContent = problem.message;
  }
}

const load = (model, button) =>
  change(button, () => request("/api/lmstudio/models/load", { method: "POST", json: { model_key: model.key, ttl: HOUR_S } }));

const unload = (model, button) =>
  change(button, () => request(`/api/lmstudio/models/unload/${model.key.split("/").map(encodeURIComponent).join("/")}`, { method: "DELETE" }));
