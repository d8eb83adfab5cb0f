// The viz server as the page sees it: JSON, pictures, and the feed of new volumes.

// The server sends something at least every ten seconds.
const SILENCE_MS = 25_000;
const RETRY_MS = 2_000;

/** The server does not answer; the state of the connection says so, and it is tried again. */
export class UnreachableError extends Error {}

export const volumes = (limit) => json(`/api/volumes?limit=${limit}`);
export const volume = (uid) => json(`/api/volumes/${encodeURIComponent(uid)}`);
export const histogram = (uid) => json(`/api/images/${encodeURIComponent(uid)}/histogram`);

export const control = () => json("/api/control");
export const stop = () => json("/api/stop", { method: "POST" });
export const detections = (uid) => json(`/api/volumes/${encodeURIComponent(uid)}/detections`);

/** The address of the outlines of one detection. */
export const outlinesUrl = (uid) => `/api/labels/${encodeURIComponent(uid)}`;

/** The address of one picture; `parameters` are the query of /api/images. */
export function imageUrl(uid, parameters) {
  return `/api/images/${encodeURIComponent(uid)}?${new URLSearchParams(parameters)}`;
}

export async function picture(url) {
  return createImageBitmap(await (await get(url)).blob());
}

/**
 * Listen for new volumes until the page is closed, reconnecting by itself.
 * `ready` is called whenever listening begins: read the list then and nothing is missed.
 */
export function listen({ ready, published, lost }) {
  let source;
  let watchdog;

  const connect = () => {
    source = new EventSource("/api/events");
    source.addEventListener("ready", () => { alive(); ready(); });
    source.addEventListener("heartbeat", alive);
    source.addEventListener("volume.published", (event) => { alive(); published(JSON.parse(event.data)); });
    source.addEventListener("error", () => {
      lost();
      // After a refusal, unlike after a broken connection, the browser does not try again.
      if (source.readyState !== EventSource.CLOSED) return;
      volumes(1).catch(() => {}); // which finds out if it is this page that is refused
      reconnect(RETRY_MS);
    });
  };
  const reconnect = (delay) => {
    clearTimeout(watchdog);
    source.close();
    watchdog = setTimeout(connect, delay);
  };
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => { lost(); reconnect(0); }, SILENCE_MS);
  };
  connect();
}

async function json(path, options) {
  return (await get(path, options)).json();
}

async function get(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new UnreachableError("The viz server does not answer. Is the copilot still running?");
  }
  if (response.ok) return response;
  if (response.status === 401) location.reload(); // another copilot, which asks who this is
  const body = await response.json().catch(() => ({}));
  throw new Error(body.detail ?? `The viz server answered ${response.status}.`);
}
