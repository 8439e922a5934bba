// A question, the answer as it comes, and its checked citations.

import { conversationName } from "./conversations.js";
import { events, request } from "./api.js";
import { byId, element, plain } from "./dom.js";
import { show } from "./source.js";

const MARKER = /\[(\d{1,4}|unverified)\]/g;

let running = null;

byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = byId("question").value.trim();
  if (question && !running) ask(question);
});
byId("question").addEventListener("keydown", (key) => {
  if (key.key === "Enter" && !key.shiftKey && !key.isComposing) {
    key.preventDefault();
    byId("ask-form").requestSubmit();
  }
});
byId("stop").addEventListener("click", () => running?.abort());

function busy(controller) {
  running = controller;
  byId("send").hidden = controller !== null;
  byId("stop").hidden = controller === null;
}

function turnOf(question) {
  const turn = element("article", { class: "turn" }, element("h3", {}, plain(question)));
  byId("turns").append(turn);
  return turn;
}

/** A turn of a conversation that was kept. */
export function kept(answer) {
  const written = element("p", { class: "answer" });
  const turn = turnOf(answer.question);
  turn.append(written);
  checked(answer, written, turn);
}

async function ask(question) {
  const turn = turnOf(question);
  const waiting = element("p", { class: "waiting", role: "status" }, "Searching");
  // Read out once it has been checked, and not piece by piece.
  const written = element("p", { class: "answer", "aria-live": "off" });
  const thought = element("details", { hidden: true }, element("summary", {}, "What the model thought"));
  const thoughts = element("p", { class: "thought" });
  thought.append(thoughts);
  turn.append(waiting, thought, written);
  turn.scrollIntoView({ block: "end" });
  byId("question").value = "";
  const controller = new AbortController();
  busy(controller);
  try {
    const body = {
      question,
      stream: true,
      strict: byId("strict").checked,
      where: byId("where").value.trim() ? [byId("where").value.trim()] : [],
      paths: byId("paths").value.split(/\s+/).filter(Boolean),
    };
    const name = conversationName();
    if (!name) body.agent = byId("agent").checked;
    const path = name ? `/api/kb/conversations/${encodeURIComponent(name)}/ask` : "/api/kb/ask";
    const answer = await request(path, { method: "POST", json: body, signal: controller.signal });
    for await (const [name, said] of events(answer)) {
      if (name === "status") waiting.textContent = plain(said.message);
      else if (name === "reasoning") {
        thought.hidden = false;
        thoughts.append(plain(said.text));
      } else if (name === "again") written.textContent = "";
      else if (name === "token") {
        waiting.textContent = "Answering; citations are checked at the end";
        written.append(plain(said.text));
      } else if (name === "answer") checked(said, written, turn);
    }
  } catch (problem) {
    const stopped = problem.name === "AbortError";
    turn.append(element("p", { class: stopped ? "said" : "problem", role: "alert" }, stopped ? "Stopped; what stands above was not checked." : problem.message));
  } finally {
    waiting.remove();
    busy(null);
    byId("question").focus();
  }
}

/** Put the checked answer in the place of what was streamed. */
function checked(answer, written, turn) {
  const cited = new Map(answer.citations.map((citation) => [String(citation.n), citation]));
  written.classList.toggle("abstained", answer.abstained);
  written.setAttribute("aria-live", "polite");
  written.replaceChildren(...marked(answer.answer, cited));
  if (answer.searched && answer.searched !== answer.question) turn.append(element("p", { class: "said" }, `Searched for: ${plain(answer.searched)}`));
  if (answer.steps.length) turn.append(element("p", { class: "said" }, `The model searched: ${answer.steps.map(stepOf).join("; ")}.`));
  if (answer.reason) turn.append(element("p", { class: "said" }, `Why: ${plain(answer.reason)}.`));
  if (answer.cut) turn.append(element("p", { class: "said" }, answer.cut === "length" ? "The answer ended at its limit of length." : "The answer was interrupted."));
  if (answer.left_out) turn.append(element("p", { class: "said" }, `${answer.left_out} unsupported sentences left out.`));
  if (answer.citations.length) {
    turn.append(element("ol", { class: "sources", "aria-label": "Sources" }, ...answer.citations.map(source)));
  } else if (answer.hits.length) {
    const nearest = answer.hits.slice(0, 3).map((hit) => element("li", {}, opening(hit, [placeOf(hit), quoteOf(hit.text)])));
    turn.append(element("details", {}, element("summary", {}, "The nearest passages"), element("ol", { class: "sources" }, ...nearest)));
  }
}

function stepOf(step) {
  const place = step.within ? ` in ${plain(step.within)}` : "";
  return `“${plain(step.words)}”${place} (${step.failed ? plain(step.failed) : `${step.found} new`})`;
}

function* marked(text, cited) {
  let at = 0;
  for (const found of text.matchAll(MARKER)) {
    yield plain(text.slice(at, found.index));
    const citation = cited.get(found[1]);
    if (citation) {
      const says = `Source ${citation.n}, ${citation.status}: ${plain(citation.source)}`;
      yield opening(citation, [String(citation.n)], { class: `cite ${citation.status}`, "aria-label": says, title: says });
    } else if (found[1] === "unverified") {
      yield element("span", { class: "doubt", title: "No passage supports this sentence" }, "[unverified]");
    } else yield found[0];
    at = found.index + found[0].length;
  }
  yield plain(text.slice(at));
}

const opening = (place, children, attributes = {}) =>
  element("button", { type: "button", onclick: (event) => show(place, event.currentTarget), ...attributes }, ...children);

const quoteOf = (text) => element("span", { class: "quote" }, `“${plain(text.length > 300 ? `${text.slice(0, 300)}…` : text)}”`);

function placeOf(place, ...badges) {
  const page = place.page ? `, page ${place.page}` : "";
  return element("span", { class: "place" }, plain(place.source) + page, ...badges);
}

function source(citation) {
  const badges = [element("span", { class: `badge ${citation.status}` }, citation.status)];
  if (citation.beside) badges.push(element("span", { class: "badge" }, "further detail"));
  if (citation.stale) badges.push(element("span", { class: "badge stale" }, "file has changed"));
  return element("li", {}, opening(citation, [placeOf(citation, ...badges), quoteOf(citation.quote)]));
}
