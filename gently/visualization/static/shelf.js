// The list of volumes, newest first.

import { shape, shortUid, when } from "./format.js";

export class Shelf {
  #list = document.getElementById("volumes");
  #count = document.getElementById("count");
  #volumes = new Map();
  #current = null;

  constructor() {
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
  }

  get newest() {
    return this.all[0] ?? null;
  }

  get all() {
    return [...this.#volumes.values()].sort((a, b) => b.created.localeCompare(a.created));
  }

  /** Put volumes on the shelf; those that `fresh` asks for light up for a moment. */
  add(volumes, { fresh = false } = {}) {
    // A label image is shown over the volume that it is of.
    const taken = volumes.filter((volume) => !volume.tags.includes("labels"));
    for (const volume of taken) this.#volumes.set(volume.uid, volume);
    this.#draw(fresh ? new Set(volumes.map((volume) => volume.uid)) : new Set());
  }

  /** Mark the volume that is shown. */
  mark(uid) {
    this.#current = uid;
    for (const link of this.#list.querySelectorAll("a")) {
      if (link.dataset.uid === uid) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  #draw(fresh) {
    const focused = document.activeElement?.dataset?.uid;
    this.#list.replaceChildren(...this.all.map((volume) => entry(volume, fresh.has(volume.uid))));
    this.#count.textContent = this.#volumes.size || "";
    this.mark(this.#current);
    if (focused) this.#list.querySelector(`[data-uid="${focused}"]`)?.focus();
  }

  #walk(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const link = step && event.target.closest("li")?.[step]?.querySelector("a");
    if (!link) return;
    event.preventDefault();
    link.focus();
  }
}

function entry(volume, fresh) {
  const link = document.createElement("a");
  link.href = `#${volume.uid}`;
  link.dataset.uid = volume.uid;
  link.classList.toggle("fresh", fresh);
  link.append(
    text("b", volume.plan_name || "volume"),
    text("small", when(volume.created)),
    text("small", shape(volume)),
    text("code", shortUid(volume.uid)),
  );
  if (volume.session_id) {
    link.append(text("small", `session ${volume.session_id}`));
    link.lastElementChild.className = "session";
  }
  const item = document.createElement("li");
  item.append(link);
  return item;
}

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  element.title = content;
  return element;
}
