// The page: its three parts, one after the other, so that the first is ready as early as possible.

import { digit } from "./digit.js";
import { photograph } from "./photograph.js";
import { shapes } from "./shapes.js";

async function begin(id, part, given) {
  const root = document.getElementById(id), state = root.querySelector(".state");
  try {
    await part(root, given);
    if (id !== "photograph") state.textContent = "";
  } catch (error) {
    state.textContent = `This part could not be loaded: ${error.message}`;
  }
}

// A file that is dropped beside the part that opens it would take the place of the page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
}

const made = await (await fetch("made.json")).json();
for (const shown of document.querySelectorAll("[data-bytes]")) {
  const bytes = shown.dataset.bytes.split(" ").map((name) => made.bytes[name]).reduce((a, b) => a + b);
  shown.textContent = `${(bytes / 1e6).toFixed(1)} MB`;
}
await begin("photograph", photograph, made.photographs);
await begin("digit", digit, made.digits);
await begin("shapes", shapes, made.shapes);
