// On paper nothing can be opened: answers and hints are printed unfolded, and folded again afterwards.
const opened = [];
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll(".bd-article details:not([open]):not(.hide)")) {
    one.open = true;
    opened.push(one);
  }
});
addEventListener("afterprint", () => {
  for (const one of opened.splice(0)) one.open = false;
});

addEventListener("DOMContentLoaded", () => {
  // The theme's labels hide the words that are seen, and its list of papers has no entries for a screen reader.
  for (const one of document.querySelectorAll("button.search-button-field, details.hide > summary")) {
    one.removeAttribute("aria-label");
  }
  for (const one of document.querySelectorAll("div.citation-list")) one.removeAttribute("role");
  // What scrolls sideways can be reached with the keyboard.
  for (const one of document.querySelectorAll(".bd-article pre, .bd-article table, .bd-article .output, .bd-article .katex-display")) {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
  }
});
