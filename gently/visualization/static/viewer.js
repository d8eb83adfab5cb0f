// One volume: its slices, its three projections, its metadata.

import * as api from "./api.js";
import { Contrast } from "./contrast.js";
import { describe, number, when } from "./format.js";
import { Overlay } from "./overlay.js";
import { Painter } from "./painter.js";

const PLANES = ["xy", "xz", "yz"];
const $ = (id) => document.getElementById(id);

export class Viewer {
  #volume = null;
  // Whether the contrast is that of the volume: before, there is no window to draw it in.
  #ready = false;
  #z = $("z");
  #failed;
  #painters;
  #overlay = new Overlay();
  #contrast = new Contrast(() => this.#paint());

  /** `failed(error)` is called when a picture cannot be had. */
  constructor(failed) {
    this.#failed = failed;
    this.#painters = new Map(["slice", ...PLANES].map((id) => [id, new Painter($(id), failed)]));
    this.#z.addEventListener("input", () => this.#paintSlice());
    $("slice-frame").addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#pick($("xz"), (event, box) => (event.clientY - box.top) / box.height);
    this.#pick($("yz"), (event, box) => (event.clientX - box.left) / box.width);
  }

  get uid() {
    return this.#volume?.uid ?? null;
  }

  /** Show a volume by its metadata, from the middle slice and with automatic contrast. */
  async show(volume) {
    if (volume.uid === this.uid) return;
    this.#volume = volume;
    for (const painter of this.#painters.values()) painter.forget();
    this.#z.max = volume.shape[0] - 1;
    const single = volume.shape[0] === 1;
    for (const id of ["z-control", "projections"]) $(id).hidden = single;
    this.#z.value = Math.floor(volume.shape[0] / 2);
    this.#ready = false;
    this.#overlay.show(volume);
    this.#label();
    this.#layOut();
    await this.#load();
  }

  /** Ask once more for what is shown, after the server was away. */
  refresh() {
    if (this.#ready) this.#paint();
    else if (this.#volume) this.#load();
  }

  /** Show nothing, so that the next `show` begins anew. */
  clear() {
    this.#volume = null;
    this.#ready = false;
  }

  async #load() {
    const uid = this.uid;
    try {
      const statistics = await api.histogram(uid);
      if (uid !== this.uid) return;
      this.#contrast.show(statistics);
      this.#ready = true;
      this.#paint();
    } catch (error) {
      if (uid === this.uid) this.#failed(error);
    }
  }

  #paint() {
    if (!this.#ready) return;
    this.#paintSlice();
    const window = this.#contrast.window;
    for (const plane of PLANES) {
      this.#painters.get(plane).paint(api.imageUrl(this.uid, { projection: plane, ...window }));
    }
  }

  #paintSlice() {
    const z = this.#z.valueAsNumber;
    const last = this.#volume.shape[0] - 1;
    const step = this.#volume.step_um;
    const depth = step > 0 ? ` · ${(z * step).toFixed(step < 1 ? 2 : 1)} µm` : "";
    $("z-value").textContent = `${z} / ${last}${depth}`;
    this.#z.setAttribute("aria-valuetext", `slice ${z} of 0 to ${last}${depth}`);
    $("slice").setAttribute("aria-label", `Slice ${z}${depth}`);
    $("planes").style.setProperty("--at", `${((z + 0.5) / (last + 1)) * 100}%`);
    if (!this.#ready) return;
    this.#painters.get("slice").paint(api.imageUrl(this.uid, { z, ...this.#contrast.window }));
  }

  #label() {
    const volume = this.#volume;
    $("plan").textContent = volume.plan_name || "Volume";
    $("when").textContent = when(volume.created);
    $("uid").textContent = volume.uid;
    const rows = describe(volume).map(([label, value]) => {
      const row = document.createElement("tr");
      const head = row.appendChild(document.createElement("th"));
      head.scope = "row";
      head.textContent = label;
      row.appendChild(document.createElement("td")).textContent = value;
      return row;
    });
    $("metadata").tBodies[0].replaceChildren(...rows);
    for (const plane of PLANES) {
      $(plane).setAttribute("aria-label", `${plane.toUpperCase()} maximum projection`);
    }
  }

  /** Give every picture its physical proportions. */
  #layOut() {
    const [slices, rows, columns] = this.#volume.shape;
    const { pixel_size_um: pixel, step_um: step } = this.#volume;
    const [x, y] = [columns * pixel, rows * pixel];
    // Without steps the third axis is time, not depth: each slice is drawn as thick as a pixel.
    const z = slices * (step > 0 ? step : pixel);
    // Fractions that add up to less than one would leave room: any large scale will do.
    const tracks = (...um) => um.map((part) => `minmax(0, ${(1000 * part) / x}fr)`).join(" ");
    $("planes").style.setProperty("--columns", tracks(x, z));
    $("planes").style.setProperty("--rows", tracks(y, z));
    $("planes").style.setProperty("--ratio", (x + z) / (y + z));
    $("slice-frame").style.setProperty("--ratio", x / y);
    $("extent").textContent = `${number(x)} × ${number(y)}${step > 0 ? ` × ${number(z)}` : ""} µm`;

    const bar = scaleBar(x / 4);
    $("scale").style.width = `${(bar / x) * 100}%`;
    $("scale").firstElementChild.textContent = `${bar} µm`;
  }

  #move(z) {
    this.#z.value = z;
    this.#paintSlice();
  }

  #wheel(event) {
    if (event.ctrlKey || !this.#volume) return;
    event.preventDefault();
    this.#move(this.#z.valueAsNumber + Math.sign(event.deltaY));
  }

  #key(event) {
    if (!this.#volume || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, textarea, select")) return;
    const z = this.#z.valueAsNumber;
    const last = Number(this.#z.max);
    const goal = { ArrowLeft: z - 1, ArrowRight: z + 1, Home: 0, End: last }[event.key];
    if (goal !== undefined) this.#move(goal);
    else if (event.key === "a" || event.key === "A") this.#contrast.auto();
    else if (event.key === "e" || event.key === "E") this.#overlay.toggle();
    else return;
    event.preventDefault();
  }

  /** Choose the slice by pressing, or dragging, in a projection that shows depth. */
  #pick(canvas, fraction) {
    const choose = (event) => {
      const at = fraction(event, canvas.getBoundingClientRect());
      this.#move(Math.floor(at * this.#volume.shape[0]));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      choose(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) choose(event);
    });
  }
}

/** The longest round length (1, 2 or 5 times a power of ten) that is not over `most`. */
function scaleBar(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return Number(((most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1) * power).toPrecision(1));
}
