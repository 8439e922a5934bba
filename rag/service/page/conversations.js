// Conversations that are kept: the same that `rag chat --session` goes on with.

import { kept } from "./ask.js";
import { json, request } from "./api.js";
import { byId, element, plain } from "./dom.js";

let opened = "";

/** The name under which the next turn is kept; "" where it is not. */
export const conversationName = () => opened;

export async function refreshConversations() {
  const found = await json("/api/kb/conversations").catch(() => ({ conversations: [] }));
  byId("conversations").replaceChildren(...found.conversations.map((one) => element("option", { value: one.name }, `${one.turns} turns`)));
}

async function open(name) {
  byId("turns").replaceChildren();
  opened = name;
  byId("conversation-delete").hidden = !name;
  if (name) {
    try {
      const found = await json(`/api/kb/conversations/${encodeURIComponent(name)}`);
      for (const turn of found.turns) kept(turn.answer);
    } catch (problem) {
      const begins = problem.status === 404 ? `“${plain(name)}” begins with the next question.` : problem.message;
      byId("turns").append(element("p", { class: "said" }, begins));
    }
  }
  byId("question").focus();
}

byId("conversation-form").addEventListener("submit", (event) => {
  event.preventDefault();
  open(byId("conversation").value.trim());
});
byId("conversation").addEventListener("focus", refreshConversations);
byId("conversation-delete").addEventListener("click", async () => {
  if (!window.confirm(`Delete the conversation “${plain(opened)}” with all its turns?`)) return;
  try {
    await request(`/api/kb/conversations/${encodeURIComponent(opened)}`, { method: "DELETE" });
  } catch (problem) {
    if (problem.status !== 404) return void byId("turns").append(element("p", { class: "problem", role: "alert" }, problem.message));
  }
  byId("conversation").value = "";
  await open("");
  refreshConversations();
});
