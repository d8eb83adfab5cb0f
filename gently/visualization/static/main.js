// Ties the page together. The address says what is shown: `#` the newest volume, `#uid` that one.

import * as api from "./api.js";
import { shortUid } from "./format.js";
import { watch } from "./microscope.js";
import { Shelf } from "./shelf.js";
import { Viewer } from "./viewer.js";

const MOST = 200;
const $ = (id) => document.getElementById(id);

const shelf = new Shelf();
const viewer = new Viewer(showFailure);

api.listen({ ready, published, lost: () => setConnection("lost", "disconnected, retrying") });
watch();
addEventListener("hashchange", route);
$("follow").addEventListener("change", follow);
$("open-form").addEventListener("submit", open);
$("open-uid").addEventListener("input", () => setOpenError(null));
document.addEventListener("click", clicked);

async function ready() {
  setConnection("live", "live");
  try {
    const { volumes } = await api.volumes(MOST);
    shelf.add(volumes);
    $("older").textContent = `The newest ${MOST}. Older ones open by UID.`;
    $("older").hidden = volumes.length < MOST;
    await route();
    viewer.refresh();
  } catch (error) {
    showFailure(error);
  }
}

function published(volume) {
  shelf.add([volume], { fresh: true });
  $("news").textContent = `New volume ${shortUid(volume.uid)} from ${volume.plan_name}`;
  if (wanted() === null) route();
}

/** Show what the address asks for. */
async function route() {
  const uid = wanted();
  $("follow").checked = uid === null;
  try {
    const volume = uid === null ? shelf.newest : await api.volume(uid);
    if (uid !== wanted()) return;
    if (volume === null) return showOnly("empty");
    showOnly("volume");
    shelf.mark(volume.uid);
    await viewer.show(volume);
  } catch (error) {
    if (uid === wanted()) showFailure(error);
  }
}

function wanted() {
  return location.hash.slice(1) || null;
}

function follow() {
  location.hash = $("follow").checked ? "" : viewer.uid ?? "";
}

async function open(event) {
  event.preventDefault();
  const uid = $("open-uid").value.trim();
  if (!uid) return setOpenError("Paste a volume's UID here: 32 hexadecimal characters.");
  try {
    await api.volume(uid);
    setOpenError(null);
    $("open-uid").value = "";
    location.hash = uid;
  } catch (error) {
    setOpenError(error.message);
  }
}

async function clicked(event) {
  const { copy, skip } = event.target.dataset;
  if (skip) {
    event.preventDefault();
    $(skip).focus();
  }
  if (copy) {
    await navigator.clipboard.writeText($(copy).textContent);
    event.target.textContent = "Copied";
    setTimeout(() => { event.target.textContent = "Copy"; }, 1500);
  }
}

function showOnly(id) {
  for (const section of ["empty", "failure", "volume"]) $(section).hidden = section !== id;
}

function showFailure(error) {
  // What was drawn before the server went away stays; it is asked again on its return.
  if (error instanceof api.UnreachableError) return;
  viewer.clear();
  shelf.mark(null);
  $("failure-reason").textContent = error.message;
  showOnly("failure");
}

function setConnection(state, text) {
  $("connection").dataset.state = state;
  $("connection").textContent = text;
}

function setOpenError(message) {
  $("open-error").textContent = message;
  $("open-error").hidden = message === null;
  $("open-uid").setAttribute("aria-invalid", String(message !== null));
}
