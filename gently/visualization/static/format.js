// Values as people read them.

const TIME = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const shortUid = (uid) => uid.slice(0, 8);

export const shape = (volume) => volume.shape.join("×");

/** The time of today's volumes, day and time of others. */
export function when(iso) {
  const date = new Date(iso);
  const today = new Date().toDateString() === date.toDateString();
  return today ? TIME.format(date) : `${DAY.format(date)} ${TIME.format(date).slice(0, 5)}`;
}

export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(count, 1)) / 3));
  return `${number(count / 1000 ** power)} ${units[power]}`;
}

/** At most four significant digits below 1000, all digits above. */
export function number(value) {
  return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

/** Rows of the metadata table: label and text of what is known, then whatever else there is. */
export function describe(volume) {
  const known = {
    uid: ["UID", String],
    created: ["Acquired", (iso) => new Date(iso).toLocaleString("en-GB")],
    plan_name: ["Plan", String],
    shape: ["Shape (z y x)", (extents) => extents.join(" × ")],
    dtype: ["Pixel type", String],
    pixel_size_um: ["Pixel size", (um) => `${um} µm`],
    step_um: ["Step", (um) => (um > 0 ? `${um} µm` : "none: nothing moved between the slices")],
    exposure_ms: ["Exposure", (ms) => `${ms} ms`],
    positions_um: ["Positions", (positions) => Object.entries(positions).map(([axis, um]) => `${axis} ${Number(um.toFixed(3))} µm`).join("\n")],
    instrument: ["Instrument", String],
    camera: ["Camera", String],
    session_id: ["Session", String],
    item_uid: ["Item", String],
    run_uid: ["Run", String],
    bytes: ["Size", bytes],
    path: ["File", String],
    checksum: ["Checksum", String],
    frames: ["Frames", String],
    waits: ["Disk waits", String],
    back_pressure_s: ["Waited in all", (s) => `${number(s)} s`],
  };
  const told = Object.keys(known).filter((key) => key in volume && !isBlank(volume[key]));
  const other = Object.keys(volume).filter((key) => !(key in known) && !isBlank(volume[key]));
  return [
    ...told.map((key) => [known[key][0], known[key][1](volume[key])]),
    ...other.map((key) => [key, typeof volume[key] === "string" ? volume[key] : JSON.stringify(volume[key])]),
  ];
}

function isBlank(value) {
  return value === null || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
}
