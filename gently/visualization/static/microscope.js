// Who has control of the microscope, and stop, which works whoever has.

import * as api from "./api.js";

const EVERY_MS = 2_000;
const $ = (id) => document.getElementById(id);

/** Say who has control from now on, and let the button stop the microscope. */
export function watch() {
  $("stop").addEventListener("click", stop);
  $("stopped").addEventListener("click", () => { $("stopped").hidden = true; });
  look();
}

async function look() {
  try {
    const lease = await api.control();
    if (lease === null) return; // there is no microscope
    $("holder").textContent = `${lease.holder ?? "nobody"} has control`;
    $("holder").title = lease.told;
    $("holder").dataset.kind = lease.kind ?? "";
    $("microscope").hidden = false;
  } catch (error) {
    $("microscope").hidden = false;
    $("holder").textContent = "microscope out of reach";
    $("holder").title = error.message;
  }
  setTimeout(look, EVERY_MS);
}

async function stop() {
  say("stopping …", "");
  try {
    const { success, told } = await api.stop();
    say(told.join("\n"), success ? "good" : "bad");
  } catch (error) {
    say(`NOT stopped from here: ${error.message}`, "bad");
  }
}

function say(text, state) {
  $("stopped").textContent = text;
  $("stopped").dataset.state = state;
  $("stopped").hidden = false;
}
