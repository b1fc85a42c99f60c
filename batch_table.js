// The table of a batch: a press on a count shows only the rows that were counted. Gradio runs this
// file once, as the body of a function of (element, trigger, props, watch).

// What is made anew together with its words, as the table is, is mostly not read out to who cannot
// see: so what came of a batch is repeated in an element that stays.
const said = document.createElement("p");
said.className = "unseen";
said.setAttribute("role", "status");
element.after(said);
new MutationObserver(() => {
  const parts = element.querySelectorAll(".batch-accuracy, .notice, .hint, .chips button:enabled");
  said.textContent = [...parts].map((part) => part.innerText.trim()).join(", ");
}).observe(element, { childList: true, characterData: true, attributes: true, subtree: true });

element.addEventListener("click", (event) => {
  const button = event.target.closest(".chips button");
  if (!button) return;
  const batch = button.closest(".batch");
  batch.dataset.show = button.dataset.show;
  for (const each of batch.querySelectorAll(".chips button")) {
    each.setAttribute("aria-pressed", each === button);
  }
});
