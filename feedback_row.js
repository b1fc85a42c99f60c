// The row below an answer. Gradio runs this file once, as the body of a function of (element,
// trigger, props, watch); `tab_feedback.py` makes the elements that are looked up here.
//
// A click sends {said: a digit, or null for no digit} as the event "said"; the answer to it arrives
// as {kept, text}. The row belongs to what the page shows as its answer: when that changes,
// everything can be said again, and when there is none, nothing.

let answer = null; // where the page shows it
const find = (name) => element.querySelector(".teach-" + name);
const buttons = [find("yes"), ...element.querySelectorAll("[data-said]")];

// What the page says the picture shows: a digit, null for no digit, undefined for no answer.
function readAnswer() {
  const panel = answer.querySelector(".answer-ok, .answer-unsure, .answer-refused");
  if (!panel) return undefined;
  if (panel.matches(".answer-refused")) return null;
  return Number(panel.querySelector(".answer-digit").textContent);
}

function isTestPicture() {
  return answer.querySelector(".answer-right, .answer-wrong") !== null;
}

function tell(text, { closed, again = false }) {
  find("text").textContent = text;
  find("hint").hidden = text !== "";
  find("again").hidden = !again;
  for (const button of buttons) button.disabled = closed;
}

function open() {
  const isTest = isTestPicture();
  tell(isTest ? props.test_picture : "", { closed: isTest || readAnswer() === undefined });
}

function say(said) {
  tell("Storing …", { closed: true });
  props.value = { said, at: Date.now() };
  trigger("said");
}

find("yes").addEventListener("click", () => say(readAnswer()));
for (const button of element.querySelectorAll("[data-said]")) {
  const said = button.dataset.said;
  button.addEventListener("click", () => say(said === "none" ? null : Number(said)));
}
find("again").addEventListener("click", open);
watch("value", () => {
  const value = props.value;
  if (value && "text" in value) tell(value.text, { closed: value.kept, again: value.kept });
});

// The page may show the answer a moment after this row.
function follow() {
  answer = document.querySelector("#answer");
  if (!answer) return requestAnimationFrame(follow);
  new MutationObserver(open).observe(answer, { childList: true, subtree: true });
  open();
}
follow();
