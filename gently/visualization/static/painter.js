// Draws pictures from the server on a canvas.

import { picture } from "./api.js";

// Below this width a picture is enlarged on most screens; then its pixels are shown as they are.
const COARSE = 512;

export class Painter {
  #canvas;
  #failed;
  #wanted = null;
  #busy = false;
  #generation = 0;

  constructor(canvas, failed) {
    this.#canvas = canvas;
    this.#failed = failed;
  }

  /**
   * Draw the picture at `url`. One is fetched at a time and the one asked for last is always drawn;
   * those asked for in between are skipped, so a slider never builds up a queue.
   */
  async paint(url) {
    this.#wanted = url;
    if (this.#busy) return;
    this.#setBusy(true);
    while (this.#wanted !== null) {
      const next = this.#wanted;
      this.#wanted = null;
      await this.#draw(next, this.#generation);
    }
    this.#setBusy(false);
  }

  /** Blank the canvas and let nothing asked for until now appear on it. */
  forget() {
    this.#wanted = null;
    this.#generation += 1;
    this.#canvas.getContext("2d").clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  async #draw(url, generation) {
    try {
      const bitmap = await picture(url);
      if (generation !== this.#generation) return;
      this.#canvas.width = bitmap.width;
      this.#canvas.height = bitmap.height;
      this.#canvas.classList.toggle("coarse", bitmap.width < COARSE);
      this.#canvas.getContext("2d").drawImage(bitmap, 0, 0);
      this.#canvas.dataset.shown = url;
      bitmap.close();
    } catch (error) {
      if (generation === this.#generation) this.#failed(error);
    }
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.#canvas.parentElement.setAttribute("aria-busy", String(busy));
  }
}
