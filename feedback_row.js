// The row below an answer. Gradio runs this file once, as the body of a function of (element,
// trigger, props, watch); `tab_feedback.py` makes the elements that are looked up here.
//
// A click sends {said: a digit, or null for no digit} as the event "said"; the answer to it arrives
// as {kept, text, id, receipt}, also if the server failed. "Change" sends {id, receipts} as the event "changed", which takes that
// back, and is answered in the same way. The row belongs to what the page shows as its answer: when
// that changes, everything can be said again, and when there is none, or one that is out of date,
// nothing. What is said is about the picture, though: it stays when only another model reads that.

let answer = null; // where the page shows it
let seen = ""; // of it, when it was looked at last
let kept = null; // the number of the picture about which something was said
let askedAbout = null; // what was on the pad when something was said last
let said = null; // exactly which picture that was, until nothing is kept of it
let lostFocus = false; // since a button was pressed that is closed now
const receipts = []; // for all that was said here and may be taken back
const find = (name) => element.querySelector(".teach-" + name);
const buttons = [find("yes"), ...element.querySelectorAll("[data-said]")];

// What the page says the picture shows: a digit, null for no digit, undefined for no answer.
function readAnswer() {
  if (answer.dataset.late) return undefined;
  const panel = answer.querySelector(".answer-ok, .answer-unsure, .answer-refused");
  if (!panel) return undefined;
  if (panel.matches(".answer-refused")) return null;
  return Number(panel.querySelector(".answer-digit").textContent);
}

// Which drawing or picture is on the pad; the same while strokes are added to it.
function findSubject() {
  return document.querySelector("#pad [data-about]")?.dataset.about;
}

// Which picture that is by now: another one with each stroke.
function findPicture() {
  return document.querySelector("#pad [data-at]")?.dataset.at;
}

function isTestPicture() {
  return answer.querySelector(".answer-right, .answer-wrong") !== null;
}

function tell(text, { closed, again = false }) {
  lostFocus ||= element.contains(document.activeElement);
  find("text").textContent = text;
  find("hint").hidden = text !== "";
  find("again").hidden = !again;
  for (const button of buttons) button.disabled = closed;
  giveFocusBack();
}

// A button that was pressed may be closed or gone now, and the focus of a keyboard with it.
function giveFocusBack() {
  const next = [find("again"), ...buttons].find((button) => !button.hidden && !button.disabled);
  if (!lostFocus || !next) return;
  lostFocus = false;
  const focused = document.activeElement;
  if (focused === document.body || (element.contains(focused) && (focused.disabled || focused.hidden))) {
    next.focus();
  }
}

function open() {
  const isTest = isTestPicture();
  tell(isTest ? props.test_picture : "", { closed: isTest || readAnswer() === undefined });
}

function ask(event, about) {
  askedAbout = findSubject();
  said = findPicture();
  props.value = { ...about, at: Date.now() }; // the same twice is two questions
  trigger(event);
}

function say(digit) {
  tell("Storing …", { closed: true });
  ask("said", { said: digit });
}

find("yes").addEventListener("click", () => say(readAnswer()));
for (const button of element.querySelectorAll("[data-said]")) {
  const digit = button.dataset.said;
  button.addEventListener("click", () => say(digit === "none" ? null : Number(digit)));
}
find("again").addEventListener("click", () => {
  tell("Taking it back …", { closed: true });
  ask("changed", { id: kept, receipts });
});
watch("value", () => {
  const value = props.value;
  if (!value || !("text" in value)) return;
  if (value.receipt) receipts.push(value.receipt);
  if (askedAbout !== findSubject()) return; // something else is on the pad by now
  kept = value.id;
  if (!value.kept) said = null;
  tell(value.text, { closed: value.kept || readAnswer() === undefined, again: value.kept });
});

function look() {
  const now = answer.dataset.late || answer.querySelector(".answer")?.outerHTML;
  if (now === seen) return; // the same was read again
  seen = now;
  if (said === null || said !== findPicture()) open();
}

// The page may show the answer a moment after this row.
function follow() {
  answer = document.querySelector("#answer");
  if (!answer) return requestAnimationFrame(follow);
  const changes = { childList: true, subtree: true, attributeFilter: ["data-asked", "data-late"] };
  new MutationObserver(look).observe(answer, changes);
  look();
}
follow();
