// The contrast window: which counts are drawn black and white, over the volume's histogram.

import { number } from "./format.js";

const WIDTH = 256;
const HEIGHT = 64;

export class Contrast {
  #low = document.getElementById("low");
  #high = document.getElementById("high");
  #histogram = document.getElementById("histogram");
  #statistics = null;
  #changed;

  /** `changed(window)` is called with {low, high} whenever the user moves the window. */
  constructor(changed) {
    this.#changed = changed;
    this.#low.addEventListener("input", () => this.#moved(this.#low));
    this.#high.addEventListener("input", () => this.#moved(this.#high));
    document.getElementById("auto").addEventListener("click", () => this.auto());
  }

  get window() {
    return { low: this.#low.value, high: this.#high.value };
  }

  /** Take on another volume's counts, with its automatic window. Does not call `changed`. */
  show(statistics) {
    this.#statistics = statistics;
    const integer = Number.isInteger(statistics.minimum) && Number.isInteger(statistics.maximum);
    const [from, to] = this.#range;
    for (const slider of [this.#low, this.#high]) {
      slider.min = from;
      slider.max = to;
      slider.step = integer ? 1 : "any";
    }
    this.#set(statistics.window);
    this.#histogram.querySelector("path").setAttribute("d", outline(statistics.counts));
  }

  /** Go back to the automatic window. */
  auto() {
    if (!this.#statistics) return;
    this.#set(this.#statistics.window);
    this.#changed(this.window);
  }

  get #range() {
    const { minimum, maximum, window } = this.#statistics;
    return [Math.min(minimum, window.low), Math.max(maximum, window.high, minimum + 1)];
  }

  get #least() {
    const [from, to] = this.#range;
    return this.#low.step === "any" ? (to - from) / 1000 : 1;
  }

  #set({ low, high }) {
    this.#low.value = low;
    this.#high.value = Math.max(high, this.#low.valueAsNumber + this.#least);
    this.#draw();
  }

  #moved(slider) {
    // The window never closes: the handle that is moved stops short of the other.
    const low = this.#low.valueAsNumber;
    const high = this.#high.valueAsNumber;
    if (slider === this.#low) this.#low.value = Math.min(low, high - this.#least);
    else this.#high.value = Math.max(high, low + this.#least);
    this.#draw();
    this.#changed(this.window);
  }

  #draw() {
    const [from, to] = this.#range;
    const at = (slider) => ((slider.valueAsNumber - from) / (to - from)) * WIDTH;
    const ramp = `0,${HEIGHT - 1} ${at(this.#low)},${HEIGHT - 1} ${at(this.#high)},1 ${WIDTH},1`;
    this.#histogram.querySelector("polyline").setAttribute("points", ramp);
    for (const slider of [this.#low, this.#high]) {
      document.getElementById(`${slider.id}-value`).textContent = number(slider.valueAsNumber);
    }
  }
}

function outline(counts) {
  // Few bright pixels matter beside many dark ones: heights are logarithmic.
  const tallest = Math.log1p(Math.max(...counts, 1));
  const bars = counts.map((count, bin) => {
    const x = (bin * WIDTH) / counts.length;
    return `V${HEIGHT - (Math.log1p(count) / tallest) * HEIGHT}H${x + WIDTH / counts.length}`;
  });
  return `M0 ${HEIGHT}${bars.join("")}V${HEIGHT}Z`;
}
