// The gallery of corrections. Gradio runs this file once, as the body of a function of (element,
// trigger, props, watch); the cards come from `tab_feedback.browse` as HTML.
//
// It asks for what it shows by {digit, page, delete} as the event "ask": whenever it comes into
// sight, when a digit or another page is chosen, and when a picture is to be deleted. The event "pack"
// asks for all of them as a file.

const box = element.querySelector(".gallery");
const told = element.querySelector(".gallery-told");
let shown = { digit: "all", page: 1 };
let pressed = null; // what was pressed last, until the answer is there

const findCards = () => [...box.querySelectorAll(".card")];

function ask(change, button = null) {
  pressed = button && { ...button.dataset, card: findCards().indexOf(button.closest(".card")) };
  props.value = { ...shown, ...change, at: Date.now() };
  trigger("ask");
}

function show() {
  const value = props.value;
  if (!value || !("html" in value)) return;
  shown = { digit: value.digit, page: value.page };
  const hadFocus = box.contains(document.activeElement);
  box.innerHTML = value.html;
  told.textContent = value.told || "";
  if (hadFocus && pressed) focusLike(pressed);
  pressed = null;
}

// All buttons are made anew. The keyboard goes on at the one that was pressed, or at what has come in
// the place of a card that was deleted.
function focusLike({ digit, page, card }) {
  const cards = findCards();
  const same = digit
    ? box.querySelector(`[data-digit="${digit}"]:enabled`)
    : page
      ? box.querySelector("[data-page]:enabled")
      : cards[Math.min(card, cards.length - 1)]?.querySelector(".delete-ask");
  (same || box.querySelector("button:enabled"))?.focus();
}
watch("value", show);
show();

// Asking before something is erased: the first click only changes the button.
function confirm(place, isAsked) {
  place.querySelector(".delete-ask").hidden = isAsked;
  place.querySelector("span").hidden = !isAsked;
  place.querySelector(isAsked ? ".delete-no" : ".delete-ask").focus();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const place = button.closest(".card-delete");
  if (button.matches(".delete-ask")) confirm(place, true);
  else if (button.matches(".delete-no")) confirm(place, false);
  else if (button.matches(".delete-yes")) ask({ delete: Number(place.dataset.id) }, button);
  else if (button.matches(".pack")) trigger("pack");
  else if (button.dataset.page) ask({ page: Number(button.dataset.page) }, button);
  else if (button.dataset.digit) {
    const digit = button.dataset.digit;
    const chosen = digit === "all" ? digit : digit === "none" ? null : Number(digit);
    ask({ digit: chosen, page: 1 }, button);
  }
});

new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) ask({});
}).observe(element);
