// What the knowledge base holds: dropped files on their way in, the list, removal.

import { address, events, json, Problem, request } from "./api.js";
import { byId, counted, element, plain, size } from "./dom.js";
import { show } from "./source.js";

const PAGE = 200;
const GOOD = new Set(["added", "updated", "unchanged", "renamed"]);

let shown = 0;

/** One line about all that there is. */
export async function refreshStatus() {
  try {
    const status = await json("/api/kb");
    const failed = status.failed ? `, ${status.failed} failed` : "";
    byId("holds").textContent = status.documents ? `${counted(status.documents, "document")}, ${counted(status.chunks, "passage")}${failed}` : "No documents yet";
  } catch (problem) {
    byId("holds").textContent = problem.message;
  }
}

/** The list from its beginning, or the next part of it. */
export async function list(more = false) {
  const where = byId("list-where").value.trim();
  const offset = more ? shown : 0;
  byId("list-problem").textContent = "";
  try {
    const found = await json(
      address("/api/kb/documents", { where, failed: byId("list-failed").checked, offset, limit: PAGE }),
    );
    const rows = found.documents.map(row);
    if (more) byId("list").append(...rows);
    else byId("list").replaceChildren(...rows);
    shown = offset + rows.length;
    byId("list-count").textContent = `${shown} of ${found.total} documents`;
    byId("list-more").hidden = shown >= found.total;
  } catch (problem) {
    byId("list-problem").textContent = problem.message;
  }
}

function row(found) {
  const read = { source: found.source, start: 0, end: 0 };
  const name = found.chunks
    ? element("button", { type: "button", onclick: (event) => show(read, event.currentTarget) }, plain(found.source))
    : element("span", {}, plain(found.source));
  const reason = found.error ? element("div", { class: "problem" }, plain(found.error)) : null;
  const made = element(
    "tr",
    {},
    element("td", {}, name, reason),
    element("td", { class: "number" }, String(found.chunks)),
    element("td", { class: "number" }, size(found.size)),
    element("td", { class: "number" }, new Date(found.modified * 1000).toLocaleDateString()),
    element("td", {}, element("button", { type: "button", "aria-label": `Remove ${plain(found.source)}`, onclick: () => remove(found, made) }, "Remove")),
  );
  return made;
}

async function remove(found, made) {
  const file = found.uploaded ? "Its file goes with it." : "Its file stays where it is.";
  if (!window.confirm(`Remove ${plain(found.source)} from the knowledge base? ${file}`)) return;
  try {
    await request(address("/api/kb/documents", { source: found.source }), { method: "DELETE" });
    made.remove();
    refreshStatus();
  } catch (problem) {
    byId("list-problem").textContent = problem.message;
  }
}

/** Send files one after another, each with its own line of progress. */
async function upload(files) {
  const lines = [...files].map((file) => {
    const progress = element("progress", { max: 1, "aria-label": plain(file.name) });
    const said = element("span", {}, " waiting");
    byId("uploads").append(element("li", {}, progress, ` ${plain(file.name)}`, said));
    return [file, progress, said];
  });
  for (const [file, progress, said] of lines) {
    try {
      said.textContent = " — sending";
      const form = new FormData();
      form.append("files", file, file.name);
      const answer = await request("/api/kb/documents", { method: "POST", body: form });
      const told = [];
      for await (const [name, step] of events(answer)) {
        if (name === "status") said.textContent = ` — ${plain(step.message)}`;
        else if (name === "progress") said.textContent = ` — ${step.chunks} passages`;
        else if (name === "file") told.push(step);
      }
      progress.value = 1;
      said.textContent = ` — ${outcome(told)}`;
      said.className = told.every((one) => GOOD.has(one.status)) ? "verified" : "problem";
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      progress.remove();
      said.textContent = ` — ${problem.message}`;
      said.className = "problem";
    }
    refreshStatus();
  }
  list();
}

function outcome(told) {
  if (told.length === 1) return told[0].status + (told[0].reason ? `: ${plain(told[0].reason)}` : "");
  const failed = told.filter((one) => !GOOD.has(one.status));
  return `${told.length} documents${failed.length ? `, ${failed.length} not read` : ""}`;
}

byId("files").addEventListener("change", (event) => {
  upload(event.target.files);
  event.target.value = "";
});
byId("list-form").addEventListener("submit", (event) => {
  event.preventDefault();
  list();
});
byId("list-failed").addEventListener("change", () => list());
byId("list-more").addEventListener("click", () => list(true));

// Files may be dropped anywhere; a miss must not make the browser open the file in the page's place.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  if (event.dataTransfer.files.length) {
    location.hash = "documents";
    upload(event.dataTransfer.files);
  }
});
