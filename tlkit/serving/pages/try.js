"use strict";
// Everything that comes from outside (names of classes and files, sentences) goes into the page as text, never as HTML.
const settings = JSON.parse(document.getElementById("settings").textContent);
const at = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const SHOWN = 5; // classes; the others on demand
// Okabe and Ito's colours, as in the pictures of `predict`: a class has the same one everywhere.
const COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"];
const colourOf = (name) => COLOURS[Math.max(settings.classes.indexOf(name), 0) % COLOURS.length];
let asking = null; // the question that is on its way
let found = null; // the newest answer
let address = null; // of the picture in this browser's memory

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Asking ------------------------------------------------------------------------------------------------------------

async function ask(body, type) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  wait(true);
  const began = performance.now();
  try {
    const response = await fetch("/predict", {
      method: "POST", body, headers: { "Content-Type": type }, signal: mine.signal,
    });
    const given = await response.json();
    if (response.ok) tell(given, performance.now() - began);
    else complain(given.error);
  } catch (error) {
    if (mine.signal.aborted) return; // another question has taken its place
    complain("The server does not answer. Is it still running in its terminal?");
  }
  if (asking === mine) {
    asking = null;
    wait(false);
  }
}

function wait(busy) {
  at("answer").setAttribute("aria-busy", busy);
  const button = document.querySelector("button.button");
  if (button) button.disabled = busy;
  if (busy) {
    at("problem").hidden = true;
    at("waiting").hidden = found !== null;
    at("waiting").textContent = "Looking …";
    at("spoken").textContent = "";
  }
}

function complain(sentence) {
  found = null;
  at("waiting").hidden = at("result").hidden = true;
  at("json-title").hidden = at("json-frame").hidden = true;
  at("problem").hidden = false;
  at("problem").textContent = at("spoken").textContent = sentence;
  if (at("boxes")) at("boxes").replaceChildren();
}

// Telling -----------------------------------------------------------------------------------------------------------

function tell(answer, whole) {
  found = answer;
  at("problem").hidden = at("waiting").hidden = true;
  at("result").hidden = false;
  const { model, request } = answer.milliseconds;
  at("time").textContent =
    `${Math.round(model)} ms in the model, ${Math.round(request)} ms in the server, ${Math.round(whole)} ms in all`;
  at("json-title").hidden = at("json-frame").hidden = false;
  at("json").textContent = readable(answer);
  at("slider").hidden = !answer.boxes;
  if (answer.boxes) {
    at("least").value = Math.round(100 * answer.shown_from);
    tellBoxes();
  } else {
    tellClasses(false);
  }
  at("spoken").textContent = at("said").textContent;
}

function readable(answer) {
  const isList = (value) => Array.isArray(value) && typeof value[0] === "object";
  const rows = (list) => `[\n  ${list.map((each) => JSON.stringify(each)).join(",\n  ")}\n ]`;
  const lines = Object.entries(answer).map(
    ([name, value]) => `"${name}": ${isList(value) ? rows(value) : JSON.stringify(value)}`,
  );
  return `{\n ${lines.join(",\n ")}\n}`;
}

function tellClasses(all) {
  const { said, classes } = found;
  const sure = said.length === 1 && classes.find((each) => each.class === said[0]);
  at("said").replaceChildren(said.length ? said.join(", ") : "none of the classes");
  if (sure) at("said").append(" ", element("small", "", percent(sure.probability)));
  const shown = all ? classes : classes.slice(0, Math.max(SHOWN, said.length));
  at("bars").replaceChildren(
    ...shown.map((each) => bar(each.class, each.probability, { chosen: said.includes(each.class) })),
  );
  at("more").hidden = shown.length === classes.length;
  at("more").textContent = `Show all ${classes.length} classes`;
}

function bar(name, share, { chosen = false, colour = null }) {
  const row = element("li");
  const what = element("span", chosen ? "what chosen" : "what", name);
  const track = element("span", "track");
  const filled = element("i");
  filled.style.width = `${100 * share}%`;
  if (colour) {
    const swatch = element("span", "swatch");
    swatch.style.background = filled.style.background = colour;
    what.prepend(swatch);
  }
  track.append(filled);
  row.append(what, element("span", "share", percent(share)), track);
  return row;
}

function tellBoxes() {
  const least = at("least").value / 100;
  at("shown-from").textContent = `${at("least").value}%`;
  // As the server has them: rounded as the slider is, the first answer shows what `predict` does.
  const exact = Math.round(100 * found.shown_from) === Number(at("least").value) ? found.shown_from : least;
  const shown = found.boxes.filter((each) => each.score >= exact);
  const counts = new Map();
  for (const each of shown) counts.set(each.class, (counts.get(each.class) || 0) + 1);
  const words = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${count} × ${name}`);
  at("said").replaceChildren(words.join(", ") || "nothing found");
  const left = found.boxes.length - shown.length;
  at("said").append(...(left ? [" ", element("small", "", `and ${left} less sure`)] : []));
  at("bars").replaceChildren(
    ...shown.map((each) => bar(each.class, each.score, { chosen: true, colour: colourOf(each.class) })),
  );
  at("more").hidden = true;
  const [width, height] = found.size;
  at("frame").classList.add("boxed");
  at("frame").style.aspectRatio = `${width} / ${height}`; // where the browser cannot show the picture
  // The surest are drawn last, on top.
  at("boxes").replaceChildren(...shown.map((each) => drawn(each, width, height)).reverse());
}

function drawn(each, width, height) {
  const [left, top, right, bottom] = each.box;
  const box = element("div");
  Object.assign(box.style, {
    left: `${(100 * left) / width}%`, top: `${(100 * top) / height}%`, borderColor: colourOf(each.class),
    width: `${(100 * (right - left)) / width}%`, height: `${(100 * (bottom - top)) / height}%`,
  });
  if (top < 0.08 * height) box.classList.add("inside"); // no room above
  if (left > 0.75 * width) box.classList.add("leftwards");
  const label = element("span", "", `${each.class} ${Math.round(100 * each.score)}%`);
  label.style.background = colourOf(each.class);
  box.append(label);
  return box;
}

// The same on a command line ------------------------------------------------------------------------------------------

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

function showCommand(type, data) {
  at("curl").textContent = `curl -H 'Content-Type: ${type}' ${data} ${location.origin}/predict`;
}

// Pictures ----------------------------------------------------------------------------------------------------------

function askAboutPicture(file) {
  const type = /^image\/[\w.+-]+$/.test(file.type) ? file.type : "application/octet-stream";
  showCommand(type, `--data-binary ${quoted(`@${file.name}`)}`);
  at("drop").classList.add("small");
  at("boxes").replaceChildren();
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  at("shown").hidden = false;
  at("name").textContent = file.name;
  at("hint").textContent = "";
  at("frame").classList.remove("blank", "boxed");
  at("frame").style.aspectRatio = "";
  at("picture").alt = `The picture ${file.name}`;
  at("picture").src = address;
  if (file.size > settings.limits.bytes) {
    if (asking) asking.abort();
    complain(`The file is too large: ${(file.size / 1e6).toFixed(1)} MB. At most ${settings.limits.bytes / 1e6} MB.`);
    wait(false);
    return;
  }
  ask(file, type);
}

function preparePictures() {
  const drop = at("drop");
  at("picture").addEventListener("load", () => {
    const { naturalWidth: width, naturalHeight: height, style } = at("picture");
    style.width = width < 320 && height < 2 * width ? `${Math.min(2 * width, 320)}px` : ""; // a thumbnail, larger
  });
  at("picture").addEventListener("error", () => {
    at("frame").classList.add("blank");
    at("hint").textContent = "(this browser cannot show it)";
  });
  at("file").addEventListener("change", (event) => {
    if (event.target.files.length) askAboutPicture(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault(); // or the browser would leave the page for the picture
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) askAboutPicture(event.dataTransfer.files[0]);
    else complain("That is no file. Save the picture, and drop it from its folder.");
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) askAboutPicture(event.clipboardData.files[0]);
  });
  showCommand("image/jpeg", "--data-binary @photo.jpg");
}

// Texts -------------------------------------------------------------------------------------------------------------

function askAboutText() {
  const text = at("text").value;
  const length = [...text].length;
  if (!text.trim()) complain("The text is empty: type a few words.");
  else if (length > settings.limits.characters) {
    complain(`The text is too long: ${length.toLocaleString("en")} characters.`);
  } else ask(JSON.stringify({ text }), "application/json");
}

function prepareTexts() {
  const changed = () => {
    const length = [...at("text").value].length;
    at("count").textContent = length.toLocaleString("en");
    at("count").classList.toggle("over-limit", length > settings.limits.characters);
    showCommand("application/json", `-d ${quoted(JSON.stringify({ text: at("text").value || "a text" }))}`);
  };
  at("text").addEventListener("input", changed);
  at("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!document.querySelector("button.button").disabled) askAboutText();
    }
  });
  changed();
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (settings.takes === "text") askAboutText();
});
at("least").addEventListener("input", tellBoxes);
at("more").addEventListener("click", () => tellClasses(true));
if (settings.takes === "image") preparePictures();
else prepareTexts();
