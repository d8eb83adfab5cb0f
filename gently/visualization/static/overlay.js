// What the latest detection has found in a volume: outlines and names over the slice.

import * as api from "./api.js";

const $ = (id) => document.getElementById(id);

export class Overlay {
  #volume = null;
  #switch = $("embryos");

  constructor() {
    this.#switch.addEventListener("change", () => this.#load());
    // A detection may have been made in the terminal meanwhile.
    addEventListener("focus", () => this.#load());
  }

  /** Show what was found in this volume. */
  show(volume) {
    this.#volume = volume;
    this.#load();
  }

  toggle() {
    this.#switch.checked = !this.#switch.checked;
    this.#load();
  }

  async #load() {
    const volume = this.#volume;
    if (volume === null) return;
    let latest = null;
    try {
      [latest = null] = (await api.detections(volume.uid)).detections;
    } catch {
      // Without outlines the volume is shown all the same.
    }
    if (volume === this.#volume) this.#draw(latest);
  }

  #draw(detection) {
    const overlay = $("overlay");
    $("embryo-count").textContent = detection ? detection.objects.length : "";
    overlay.hidden = !(detection && this.#switch.checked);
    for (const name of overlay.querySelectorAll("span")) name.remove();
    if (overlay.hidden) return;
    $("outlines").src = api.outlinesUrl(detection.uid);
    const [, rows, columns] = this.#volume.shape;
    for (const found of detection.objects) {
      const name = overlay.appendChild(document.createElement("span"));
      name.textContent = found.name.replace("embryo ", "");
      name.title = found.name;
      name.classList.toggle("uncertain", !found.certain);
      name.style.left = `${((found.column_px + 0.5) / columns) * 100}%`;
      name.style.top = `${((found.row_px + 0.5) / rows) * 100}%`;
    }
  }
}
