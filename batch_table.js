// The table of a batch: a press on a count shows only the rows that were counted. Gradio runs this
// file once, as the body of a function of (element, trigger, props, watch).

element.addEventListener("click", (event) => {
  const button = event.target.closest(".chips button");
  if (!button) return;
  const batch = button.closest(".batch");
  batch.dataset.show = button.dataset.show;
  for (const each of batch.querySelectorAll(".chips button")) {
    each.setAttribute("aria-pressed", each === button);
  }
});
