// The source at its place: the page with the box, or the text with the quote marked.

import { address, json, request } from "./api.js";
import { byId, element, plain } from "./dom.js";

let opener = null;
let picture = null;
let turn = 0;

/** Show a place: of a citation or a hit. What opened it gets the focus back when it is closed. */
export async function show(place, from) {
  const mine = ++turn;
  opener = from;
  byId("source-title").textContent = plain(place.source);
  byId("source-note").textContent = noteOf(place);
  byId("source-text").replaceChildren();
  dropPicture();
  byId("source").hidden = false;
  document.body.classList.add("reading");
  byId("source").focus();
  if (place.page && place.box) await drawPage(place, mine);
  try {
    const text = await json(address("/api/kb/documents/text", { source: place.source, start: place.start, end: place.end }));
    if (mine !== turn) return;
    const mark = element("mark", { id: "quote" }, plain(text.quote));
    byId("source-text").replaceChildren(
      (text.more_before ? "… " : "") + plain(text.before), mark, plain(text.after) + (text.more_after ? " …" : ""),
    );
    const panel = byId("source");
    panel.scrollTop = byId("source-page").hidden ? mark.offsetTop - panel.clientHeight / 3 : 0;
  } catch (problem) {
    if (mine === turn) byId("source-text").replaceChildren(element("p", { class: "problem" }, problem.message));
  }
}

function noteOf(place) {
  const parts = [];
  if (place.page) parts.push(`page ${place.page}`);
  if (place.headings?.length) parts.push(place.headings.map(plain).join(" › "));
  if (place.stale) parts.push("the file has changed since it was read; this is what was read");
  if (place.also?.length) parts.push(`the same stands in ${place.also.map((one) => plain(one.source)).join(", ")}`);
  return parts.join(" · ");
}

async function drawPage(place, mine) {
  try {
    const found = await request(
      address("/api/kb/documents/page", { source: place.source, page: place.page, box: place.box.join(",") }),
    );
    const drawn = URL.createObjectURL(await found.blob());
    if (mine !== turn) return URL.revokeObjectURL(drawn);
    picture = drawn;
    byId("source-image").src = picture;
    byId("source-image").alt = `Page ${place.page} of ${plain(place.source)}, with the quote marked; its text follows`;
    byId("source-page").hidden = false;
  } catch {
    // No PDF, or its file is not there any more: the text that was read is shown below.
  }
}

function dropPicture() {
  if (picture) URL.revokeObjectURL(picture);
  picture = null;
  byId("source-page").hidden = true;
  byId("source-image").removeAttribute("src");
}

export function close() {
  turn += 1;
  byId("source").hidden = true;
  document.body.classList.remove("reading");
  dropPicture();
  opener?.focus();
}

byId("source-close").addEventListener("click", close);
document.addEventListener("keydown", (key) => {
  if (key.key === "Escape" && !byId("source").hidden) close();
});
