// The service's API: JSON, server-sent events, and the token where one is demanded.

const TOKEN = "lmstudio-rag token"; // until the window is closed

export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** What the service answered instead: `message` is for people. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function request(path, { method = "GET", json, body, signal } = {}) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service does not answer. Is `rag serve` still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => null);
  if (answer.status === 401) document.dispatchEvent(new Event("token-wanted"));
  throw new Problem(answer.status, told?.error?.message ?? `The service answered ${answer.status}.`);
}

export async function json(path, options) {
  return (await request(path, options)).json();
}

/** The address of a path with its parameters; lists repeat the name, and what is empty is left out. */
export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined && one !== false) query.append(name, one);
    }
  }
  return `${path}?${query}`;
}

/** The server-sent events of an answer, as [name, data]; raises Problem for an `error` event. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n");
        const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
        const data = field("data").join("\n");
        if (!data) continue;
        const name = field("event")[0] ?? "message";
        const said = JSON.parse(data);
        if (name === "error") throw new Problem(0, said.error?.message ?? String(said.error));
        yield [name, said];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
