// The drawing pad. Gradio runs this file once for each pad, as the body of a function of
// (element, trigger, props, watch), after `answers.js`; `pad.build_pad` makes the elements that are
// looked up here.
//
// What the pad shows is the end of a list of actions: strokes, pictures and clears. Undo drops the
// last action and shows the rest, so it also brings back what was cleared or replaced.
//
// What the pad sends is
//   {kind: "drawing" | "picture" | "sample", name, size, data: "data:image/png;base64,...", at, asked}
// or {kind: "nothing", at, asked} as the event "input"; `at` is when it came onto the pad, in
// milliseconds, and `asked` the number of the question. A press of the button for a test picture is
// the event "sample". Whatever the page puts on the pad arrives as a new `props.value` and is
// announced as "input" too; with `again` in it, even if the pad has it already. With `sampled` in it,
// it answers the press of that button, and is dropped if the pad was changed since.
//
// Gradio loads the page anew when it has lost the server, and phones when they had to drop it. What was
// drawn is then there again in the same tab, of pads with a `props.drawn_name`.

// The pad's own unit: the sheet is so many high and wide, however large it is shown.
const HIGH = 280;
const WIDE = props.sheet_width || HIGH;
const LIVE_MS = 120; // while a stroke grows, the pad sends this often
const ERASER_FACTOR = 1.6; // an eraser that is wider than the pen needs fewer strokes
const CURSOR_STEP = 7; // for drawing with the arrow keys
const SMALL_PICTURE = 100; // pixels; smaller pictures are shown as squares, not blurred
const MOST_ACTIONS = 100; // that can be undone; pictures among them may be large
const PATIENCE_MS = 10_000; // after which a test picture is no longer waited for
const NOTHING = "nothing"; // the kind of value that an empty pad has

const find = (name) => element.querySelector(".pad-" + name);
const stage = find("stage");
const canvas = find("canvas");
const ink = canvas.getContext("2d");
const picture = find("picture");
const noPreview = find("no-preview");
const cursor = find("cursor");
const width = find("width");
const file = find("file");
const note = find("note");
const said = find("said");
const camera = find("camera");
const video = camera.querySelector("video");

let actions = [];
let changes = 0; // of the actions, so far
let stroke = null; // the one that is being drawn
let erasing = false;
let timer = null;
let latest = null; // when the value that the pad has now came onto it
let asked = 0; // the number of the latest question
let begun = 0; // the first question about what is on the pad now; those before were about others
let about = 0; // the same, but for asking again: one about the same by another model is no other
let subject; // the action with which that began
const awaitAnswer = watchAnswers(props, said, { isEmpty, isDrawing: () => stroke !== null });
let owed = false; // whether a drawing that came back is still to be asked about
let spot = null; // where the keyboard's pen is
let keyStroke = false; // whether it is down

// ---- What is on the pad -----------------------------------------------------------------------

function startOfScene() {
  for (let i = actions.length - 1; i >= 0; i--) {
    if (actions[i].kind !== "stroke" || actions[i].fresh) return i;
  }
  return 0;
}

function scene() {
  const shown = actions.slice(startOfScene());
  const head = shown[0];
  return {
    picture: head && head.kind === "picture" ? head.value : null,
    strokes: shown.filter((action) => action.kind === "stroke"),
  };
}

function isEmpty() {
  const { picture, strokes } = scene();
  return !picture && strokes.length === 0;
}

function currentValue() {
  const { picture, strokes } = scene();
  if (picture) return picture;
  if (!strokes.length) return { kind: NOTHING };
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [WIDE, HIGH];
  const context = sheet.getContext("2d");
  context.drawImage(canvas, 0, 0, WIDE, HIGH);
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, WIDE, HIGH);
  const data = sheet.toDataURL("image/png");
  return { kind: "drawing", name: "drawing.png", size: data.length, data };
}

function send() {
  clearTimeout(timer);
  timer = null;
  latest = Date.now();
  ask({ ...currentValue(), at: latest });
}

function ask(value, again = false) {
  asked += 1;
  owed = false;
  const head = actions[startOfScene()];
  if (again || head !== subject) begun = asked;
  if (head !== subject) about = asked;
  subject = head;
  // For who speaks about what is on the pad. Gradio may take away what is not written each time.
  stage.dataset.about = about;
  stage.dataset.at = value.at;
  props.value = { ...value, asked };
  trigger("input");
  awaitAnswer(asked, begun);
}

function sendSoon() {
  if (timer === null) timer = setTimeout(send, LIVE_MS);
}

function add(action) {
  closeCamera();
  changes += 1;
  actions.push(action);
  while (actions.length > MOST_ACTIONS && startOfScene() > 0) actions.shift();
  show();
}

// ---- Drawing it -------------------------------------------------------------------------------

function prepareInk(action) {
  ink.globalCompositeOperation = action.erase ? "destination-out" : "source-over";
  ink.lineWidth = action.width;
  ink.lineCap = ink.lineJoin = "round";
  ink.strokeStyle = ink.fillStyle = "#000";
}

const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

// Draws the part of a stroke that its point number `i` adds: a curve from middle to middle of the
// straight pieces, so that a fast hand leaves no corners.
function drawPoint(action, i) {
  const [before, from, to] = [action.points[i - 2], action.points[i - 1], action.points[i]];
  ink.beginPath();
  if (!from) {
    ink.arc(to[0], to[1], action.width / 2, 0, 2 * Math.PI);
    ink.fill();
    return;
  }
  if (before) {
    ink.moveTo(...middle(before, from));
    ink.quadraticCurveTo(...from, ...middle(from, to));
  } else {
    ink.moveTo(...from);
    ink.lineTo(...middle(from, to));
  }
  ink.stroke();
}

function drawEnd(action) {
  const last = action.points.length - 1;
  if (last < 1) return;
  ink.beginPath();
  ink.moveTo(...middle(action.points[last - 1], action.points[last]));
  ink.lineTo(...action.points[last]);
  ink.stroke();
}

function show() {
  const { picture: value, strokes } = scene();
  ink.setTransform(1, 0, 0, 1, 0, 0);
  ink.clearRect(0, 0, canvas.width, canvas.height);
  ink.setTransform(canvas.width / WIDE, 0, 0, canvas.height / HIGH, 0, 0);
  for (const action of strokes) {
    prepareInk(action);
    action.points.forEach((_, i) => drawPoint(action, i));
    drawEnd(action);
  }
  showPicture(value);
  stage.classList.toggle("pad-empty", isEmpty());
  disable(find("undo"), actions.length === 0);
  disable(find("clear"), isEmpty());
}

// The focus of a keyboard would be lost with a button that cannot be pressed any more.
function disable(button, isOff) {
  const hadFocus = button === document.activeElement;
  button.disabled = isOff;
  if (isOff && hadFocus) canvas.focus();
}

function showPicture(value) {
  picture.hidden = !value || !value.data;
  noPreview.hidden = true;
  if (!value) return picture.removeAttribute("src");
  if (!value.data) return showNoPreview(value);
  picture.onload = () =>
    picture.classList.toggle("pad-pixels", picture.naturalWidth < SMALL_PICTURE);
  picture.onerror = () => showNoPreview(value);
  picture.classList.toggle("pad-drawn", value.kind === "drawing"); // on another pad
  picture.alt = value.name;
  if (picture.src !== value.data) picture.src = value.data;
}

function showNoPreview(value) {
  picture.hidden = true;
  noPreview.hidden = false;
  noPreview.textContent = value.name;
}

// The canvas has as many pixels as the screen shows, so that ink is sharp on every display.
new ResizeObserver(() => {
  const pixels = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (!pixels) return;
  if (pixels !== canvas.width) {
    [canvas.width, canvas.height] = [pixels, Math.round((pixels * HIGH) / WIDE)];
    show();
  }
  if (owed) send();
}).observe(canvas);

// ---- Strokes of mouse, finger and pen -----------------------------------------------------------

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * WIDE) / box.width,
    ((event.clientY - box.top) * HIGH) / box.height,
  ];
}

function beginStroke(point, erase) {
  const pen = Number(width.value);
  stroke = {
    kind: "stroke",
    fresh: Boolean(scene().picture), // drawing on a picture starts a new sheet
    erase,
    width: erase ? pen * ERASER_FACTOR : pen,
    points: [point],
  };
  add(stroke);
  prepareInk(stroke);
}

function extendStroke(point) {
  stroke.points.push(point);
  drawPoint(stroke, stroke.points.length - 1);
  sendSoon();
}

function endStroke() {
  drawEnd(stroke);
  stroke = null;
  send();
}

canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || (event.pointerType === "mouse" && event.button !== 0)) return;
  hideCursor();
  if (stroke) endStroke(); // its own end was lost
  canvas.setPointerCapture(event.pointerId);
  say("");
  const turnedPen = (event.buttons & 32) !== 0; // the rubber end of a stylus
  beginStroke(place(event), erasing || turnedPen);
});
canvas.addEventListener("pointermove", (event) => {
  if (!stroke || keyStroke || !event.isPrimary) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const part of events.length ? events : [event]) extendStroke(place(part));
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, (event) => {
    if (stroke && !keyStroke && event.isPrimary) endStroke();
  });
}

// ---- Tools --------------------------------------------------------------------------------------

function choosePen(eraser) {
  erasing = eraser;
  find("pen").setAttribute("aria-pressed", String(!eraser));
  find("eraser").setAttribute("aria-pressed", String(eraser));
  stage.classList.toggle("pad-erasing", eraser);
}

function undo() {
  if (!actions.length || stroke) return;
  closeCamera();
  changes += 1;
  actions.pop();
  show();
  send();
}

function clear() {
  if (isEmpty() || stroke) return;
  add({ kind: "clear" });
  send();
}

function say(text) {
  note.textContent = text;
}

find("pen").addEventListener("click", () => choosePen(false));
find("eraser").addEventListener("click", () => choosePen(true));
find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", () => {
  say("");
  clear();
});
const sample = find("sample"); // not every pad has it
if (sample) {
  sample.addEventListener("click", () => {
    say("");
    changesAtPress = changes;
    waitForSample(true);
    trigger("sample");
  });
}

let changesAtPress = 0;
let patience = null;
function waitForSample(waiting) {
  if (!sample) return;
  clearTimeout(patience);
  sample.classList.toggle("pad-waiting", waiting);
  if (waiting) patience = setTimeout(() => waitForSample(false), PATIENCE_MS);
}

// ---- Keyboard -----------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// With caps lock or shift, keys have the names of capital letters.
const isLetter = (event, letter) => event.key.toLowerCase() === letter;

function showCursor() {
  cursor.hidden = false;
  cursor.style.left = (100 * spot[0]) / WIDE + "%";
  cursor.style.top = (100 * spot[1]) / HIGH + "%";
  cursor.classList.toggle("pad-cursor-down", keyStroke);
}

function hideCursor() {
  liftKeyPen();
  cursor.hidden = true;
}

function liftKeyPen() {
  if (!keyStroke) return;
  keyStroke = false;
  endStroke();
}

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key];
  if (arrow) {
    spot = spot || [WIDE / 2, HIGH / 2];
    const step = event.shiftKey ? 1 : CURSOR_STEP;
    spot = spot.map((at, axis) => Math.min([WIDE, HIGH][axis], Math.max(0, at + arrow[axis] * step)));
    if (keyStroke) extendStroke(spot);
    showCursor();
  } else if (event.key === " ") {
    spot = spot || [WIDE / 2, HIGH / 2];
    if (keyStroke) {
      liftKeyPen();
    } else if (!stroke) {
      keyStroke = true;
      beginStroke(spot, erasing);
      sendSoon();
    }
    showCursor();
  } else if (event.key === "Escape") hideCursor();
  else if (event.key === "Delete" || event.key === "Backspace") {
    liftKeyPen();
    clear();
  } else if (isLetter(event, "e")) choosePen(true);
  else if (isLetter(event, "p")) choosePen(false);
  else return;
  event.preventDefault();
});
canvas.addEventListener("blur", hideCursor);

// Some keys work wherever the focus is, except where text is typed; a pad in a tab that is not
// shown stays out of it.
const TYPED = "textarea, [contenteditable], input:not([type=range], [type=radio], [type=checkbox])";
const isForUs = (event) =>
  element.isConnected &&
  canvas.offsetParent !== null &&
  !(event.target instanceof Element && event.target.closest(TYPED));

document.addEventListener("keydown", (event) => {
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && isLetter(event, "z");
  if (!isUndo || !isForUs(event)) return;
  event.preventDefault();
  liftKeyPen();
  undo();
});

// ---- Pictures -----------------------------------------------------------------------------------

function addPicture(value) {
  say("");
  liftKeyPen();
  add({ kind: "picture", value });
  send();
}

function takeFile(source) {
  const value = { kind: "picture", name: source.name || "pasted picture", size: source.size, data: "" };
  if (source.size > props.max_bytes) return addPicture(value); // the answer says that it is too large
  const before = changes;
  const reader = new FileReader();
  reader.onload = () => {
    // What came onto the pad while a large file was read is newer, and stays.
    if (changes === before) addPicture({ ...value, data: String(reader.result) });
  };
  reader.onerror = () => say(`${value.name} could not be opened: choose it again.`);
  reader.readAsDataURL(source);
}

find("upload").addEventListener("click", () => {
  file.removeAttribute("capture");
  file.click();
});
file.addEventListener("change", () => {
  if (file.files.length) takeFile(file.files[0]);
  file.value = ""; // so that choosing the same file again is a change
});

let dragDepth = 0; // enter and leave also come for each element inside
const dragged = (change) => {
  dragDepth = Math.max(0, change);
  stage.classList.toggle("pad-dropping", dragDepth > 0);
};
stage.addEventListener("dragenter", () => dragged(dragDepth + 1));
stage.addEventListener("dragleave", () => dragged(dragDepth - 1));
stage.addEventListener("dragover", (event) => event.preventDefault());
stage.addEventListener("drop", (event) => {
  event.preventDefault();
  dragged(0);
  if (event.dataTransfer.files.length) takeFile(event.dataTransfer.files[0]);
  else say("That was not a file: save the picture first, then drop it here.");
});

document.addEventListener("paste", (event) => {
  if (!isForUs(event)) return;
  const files = event.clipboardData ? event.clipboardData.files : [];
  if (files.length) takeFile(files[0]);
  else say("There is no picture on the clipboard: copy one first.");
});

find("paste").addEventListener("click", async () => {
  if (!navigator.clipboard || !navigator.clipboard.read) {
    return say("Press Ctrl+V (⌘V on a Mac) to paste a picture.");
  }
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((name) => name.startsWith("image/"));
      if (type) return takeFile(await item.getType(type));
    }
    say("There is no picture on the clipboard: copy one first.");
  } catch (error) {
    console.warn("clipboard:", error);
    say("The browser did not give the clipboard: press Ctrl+V (⌘V on a Mac) instead.");
  }
});

// ---- Camera -------------------------------------------------------------------------------------

function closeCamera() {
  if (!video.srcObject) return;
  video.srcObject.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  const hadFocus = camera.contains(document.activeElement);
  camera.hidden = true;
  if (hadFocus) find("photo").focus();
}

// Nobody is filmed by a pad that is out of sight: on another tab of the page, or of the browser.
new IntersectionObserver(([entry]) => {
  if (!entry.isIntersecting) closeCamera();
}).observe(camera);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) closeCamera();
});

let opening = false; // the visitor may take long to say yes, and press the button again
find("photo").addEventListener("click", async () => {
  say("");
  if (opening || video.srcObject) return;
  if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) {
    // Browsers give pages from other machines no live camera without https; phones still offer
    // theirs as a file.
    file.setAttribute("capture", "environment");
    return file.click();
  }
  opening = true;
  try {
    const wish = { facingMode: { ideal: "environment" }, width: { ideal: 1280 } };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wish });
  } catch (error) {
    console.warn("camera:", error);
    return say(
      error.name === "NotFoundError"
        ? "No camera was found: upload a picture instead."
        : "The camera cannot be used: allow it in the browser, or upload a picture.",
    );
  } finally {
    opening = false;
  }
  if (!canvas.offsetParent || document.hidden) return closeCamera(); // they have left meanwhile
  camera.hidden = false;
  find("shoot").focus();
});
find("shoot").addEventListener("click", () => {
  const side = Math.min(video.videoWidth, video.videoHeight);
  if (!side) return; // the first frame is still to come
  const sheet = document.createElement("canvas");
  sheet.width = sheet.height = side;
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  sheet.getContext("2d").drawImage(video, left, top, side, side, 0, 0, side, side);
  closeCamera();
  const data = sheet.toDataURL("image/jpeg", 0.92);
  addPicture({ kind: "picture", name: "photo.jpg", size: data.length, data });
});
find("cancel").addEventListener("click", closeCamera);
camera.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeCamera();
});

// ---- After the page was loaded anew ---------------------------------------------------------------

// While the page is open and in sight, nothing of the drawing lies in the browser's storage.
function keepDrawn() {
  forgetDrawn();
  const { strokes } = scene();
  if (!strokes.length) return;
  try {
    sessionStorage.setItem(props.drawn_name, JSON.stringify(strokes));
  } catch (error) {
    console.warn("the drawing is not kept:", error); // no room, or no storage
  }
}

function forgetDrawn() {
  try {
    sessionStorage.removeItem(props.drawn_name);
  } catch {
    // Where there is no storage, nothing is in it.
  }
}

function takeBackDrawn() {
  try {
    const strokes = JSON.parse(sessionStorage.getItem(props.drawn_name)) || [];
    actions = strokes.map(readStroke);
  } catch (error) {
    console.warn("the drawing is lost:", error);
  }
  owed = actions.length > 0;
  keepWhileAway();
}

function keepWhileAway() {
  if (document.hidden) keepDrawn();
  else forgetDrawn();
}

// Anything may lie in the storage.
function readStroke({ erase, width, points }) {
  const isNumber = (value) => Number.isFinite(value);
  const isPoint = (value) => Array.isArray(value) && value.length === 2 && value.every(isNumber);
  if (!(width > 0) || !isNumber(width) || !points.length || !points.every(isPoint)) {
    throw new TypeError("not a stroke");
  }
  return { kind: "stroke", fresh: false, erase: erase === true, width, points };
}

if (props.drawn_name) {
  window.addEventListener("pagehide", keepDrawn);
  window.addEventListener("pageshow", keepWhileAway);
  // A page that is out of sight may be dropped without another word.
  document.addEventListener("visibilitychange", keepWhileAway);
  takeBackDrawn();
}

// ---- From the server ----------------------------------------------------------------------------

function takeValue() {
  waitForSample(false);
  const { again, sampled, ...value } = props.value || { kind: NOTHING };
  if (sampled && changes !== changesAtPress) return stroke ? sendSoon() : send(); // what is here counts
  const isNew = !value.at || value.at !== latest; // else our own, or sent twice
  latest = value.at = value.at || Date.now();
  if (value.kind === NOTHING) {
    if (isEmpty()) return;
    add({ kind: "clear" });
  } else if (isNew) {
    say("");
    liftKeyPen();
    add({ kind: "picture", value });
    if (value.kind === "sample") bringIntoView();
  }
  if (isNew || again) ask(value, again);
}
watch("value", takeValue);

// On a phone the examples lie below the pad and its answer.
function bringIntoView() {
  const box = stage.getBoundingClientRect();
  if (box.height && (box.top < 0 || box.bottom > window.innerHeight)) element.scrollIntoView();
}

choosePen(false);
show();
if (props.value) takeValue(); // it came before the pad was shown for the first time
