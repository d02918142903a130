// Asking the server. The token comes in the address's fragment, is kept for this tab, and travels as a header.

const KEY = "freshet-token";

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", `${location.pathname}${location.search}#stream`);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

const token = takeToken();
export const mayChange = token !== "";
const headers = () => (token ? { "x-freshet-token": token } : {});

async function answered(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.error ?? `it answers ${response.status}`), { status: response.status });
  return body;
}

export async function get(path, query = {}) {
  const search = new URLSearchParams(query).toString();
  return answered(await fetch(`api/${path}${search ? `?${search}` : ""}`, { headers: headers() }));
}

export async function post(path, body) {
  const options = { method: "POST", headers: { ...headers(), "content-type": "application/json" }, body: JSON.stringify(body) };
  return answered(await fetch(`api/${path}`, options));
}

// A picture travels as it is; the server tells what it is by its bytes.
export async function send(path, query, file) {
  const options = { method: "POST", headers: { ...headers(), "content-type": "application/octet-stream" }, body: file };
  return answered(await fetch(`api/${path}?${new URLSearchParams(query)}`, options));
}

// Server-sent events by fetch, for EventSource cannot send a header. Goes on for ever, with pauses after failures.
export async function follow(path, received, lost) {
  let pause = 500;
  for (;;) {
    try {
      const response = await fetch(`api/${path}`, { headers: headers(), cache: "no-store" });
      if (!response.ok) await answered(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let kept = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        kept += value;
        const events = kept.split("\n\n");
        kept = events.pop();
        for (const event of events) {
          if (event.startsWith("data: ")) received(JSON.parse(event.slice(6)));
          pause = 500;
        }
      }
      lost(new Error("the console ended the connection"));
    } catch (error) {
      lost(error);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 8000);
  }
}

// Pictures, each fetched once. Resolves to an address for <img>, or to "" where the product has none.
const pictures = new Map();
const KEPT = 400;
export function picture(product) {
  if (!pictures.has(product)) {
    pictures.set(product, load(product));
    if (pictures.size > KEPT) {
      const [oldest, address] = pictures.entries().next().value;
      pictures.delete(oldest);
      address.then((known) => known && URL.revokeObjectURL(known));
    }
  }
  return pictures.get(product);
}

async function load(product) {
  const response = await fetch(`api/picture?${new URLSearchParams({ product })}`, { headers: headers() }).catch(() => null);
  return response?.ok ? URL.createObjectURL(await response.blob()) : "";
}
