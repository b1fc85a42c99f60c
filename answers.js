// What becomes of the answer to what is on a pad. `pad.py` puts this before `pad.js`.
//
// The answer is shown elsewhere on the page, by the elements that `props.answers` names, and says to
// which question it belongs. Until the one to the latest question is there, what is shown is marked:
// by `aria-busy`, and by `data-late` with words for people if it takes its time. An empty pad needs
// no answer: `props.blank` is shown at once, also in place of an answer that comes too late.
//
// What is made anew together with its words is mostly not read out to who cannot see. So the words
// of an answer, its elements with `data-told`, are repeated in `said`, which stays.

const READING_MS = 300;
const LOST_MS = 8_000;
const LOST = "No answer yet: the server is busy, or cannot be reached.";

// Returns the function to call with each question: its number, and that of the first question about
// the same thing.
function watchAnswers(props, said, { isEmpty, isDrawing }) {
  let asked = 0;
  let begun = 0;
  let clocks = []; // since the latest sign of the server, while an answer is waited for
  const watched = new WeakSet(); // answers that are looked at when they change

  const findAnswers = () =>
    (props.answers || []).map((id) => document.getElementById(id)).filter(Boolean);
  const findNumber = (answer) => Number(answer.querySelector("[data-asked]")?.dataset.asked || 0);

  function mark(isNew = false) {
    const answers = findAnswers();
    for (const answer of answers) {
      watchAnswer(answer);
      if (isEmpty()) showBlank(answer);
    }
    const shown = Math.min(...answers.map(findNumber));
    const isWaiting = answers.length > 0 && shown !== asked && !isEmpty();
    for (const answer of answers) answer.setAttribute("aria-busy", String(isWaiting));
    // An answer to an earlier question about the same, as while a stroke grows, is a sign of life.
    if (!isWaiting || (isNew && shown >= begun)) stopClocks();
    if (!isWaiting && !isDrawing()) sayAnswer();
    if (isWaiting && !clocks.length) {
      clocks = [setTimeout(tellLate, READING_MS, "Reading …"), setTimeout(tellLate, LOST_MS, LOST)];
    }
  }

  // The model in use may be another by now, chosen on another page: what names it should know.
  function checkModel(answer) {
    const version = answer.querySelector("[data-model]")?.dataset.model;
    if (version) document.dispatchEvent(new CustomEvent("answered", { detail: { version } }));
  }

  function watchAnswer(answer) {
    if (watched.has(answer)) return;
    watched.add(answer);
    const changes = { childList: true, subtree: true, attributeFilter: ["data-asked"] };
    const look = () => {
      mark(true);
      checkModel(answer);
    };
    new MutationObserver(look).observe(answer, changes);
  }

  function showBlank(answer) {
    const content = answer.querySelector("[data-asked]"); // at first there is none, and all is blank
    if (!content || findNumber(answer) === asked) return;
    content.innerHTML = props.blank;
    content.dataset.asked = asked;
  }

  function sayAnswer() {
    const words = findAnswers()
      .flatMap((answer) => [...answer.querySelectorAll("[data-told] > *")])
      .filter((part) => !part.hidden && !part.ariaHidden && part.innerText.trim())
      .map((part) => part.innerText.trim())
      .join(". ");
    if (said.textContent !== words) said.textContent = words;
  }

  function stopClocks() {
    clocks.forEach(clearTimeout);
    clocks = [];
    for (const answer of findAnswers()) delete answer.dataset.late;
  }

  function tellLate(words) {
    for (const answer of findAnswers()) answer.dataset.late = words;
    said.textContent = words;
  }

  return (number, first) => {
    [asked, begun] = [number, first];
    mark();
  };
}
