// What the explorer does in the browser: it shrinks a large photograph before it is sent, and keeps keys to itself.

const AS_IT_IS = 1e6; // bytes: a smaller file is sent unchanged, pixel by pixel
const LIMIT = 5e6; // bytes that may be sent: a notebook's server cuts the connection at 10 MB
const SIDE = 1024; // pixels of the longer side of a shrunk photograph

async function shrink(file) {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" });
  const share = Math.min(1, SIDE / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(share * image.width));
  canvas.height = Math.max(1, Math.round(share * image.height));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // below transparent parts
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

async function send(model, file) {
  const size = `${file.name} has ${(file.size / 1e6).toFixed(1)} MB`;
  let small = file;
  if (file.size > AS_IT_IS) {
    try {
      small = await shrink(file);
    } catch {
      if (file.size > LIMIT) {
        const cure = "save it as a JPEG or PNG of at most 5 MB and choose that";
        model.send({ refused: `${size}, and this browser cannot read it as a picture, so it was not sent: ${cure}.` });
        return;
      }
    }
  }
  const note = small === file ? "" : `${size}; the browser made it smaller, at most ${SIDE} pixels wide and high.`;
  model.send({ name: file.name, note }, undefined, [await small.arrayBuffer()]);
}

// JupyterLab takes a list or a slider for no place to write, and would move, insert, cut or delete cells.
function settle(box) {
  box.setAttribute("data-lm-suppress-shortcuts", "true"); // for JupyterLab and Notebook 7
  box.addEventListener("keydown", (event) => event.stopPropagation()); // for the classic Notebook
  for (const slider of box.querySelectorAll(".widget-slider")) {
    const name = slider.querySelector("label").textContent;
    slider.querySelector("[role=slider]")?.setAttribute("aria-label", name);
  }
  box.querySelector(".explorer-words").setAttribute("aria-live", "polite");
}

function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-widgets jupyter-button widget-button";
  button.style.width = model.get("width");
  button.textContent = model.get("label");
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.hidden = true;
  button.onclick = () => input.click();
  input.onchange = async () => {
    const file = input.files[0];
    input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    button.disabled = true;
    await send(model, file).finally(() => (button.disabled = false));
  };
  el.append(button, input);

  const waiting = setInterval(() => {
    const box = el.closest(".course-explorer");
    if (!box?.querySelector("[role=slider]") || !box.querySelector(".explorer-words")) return; // not all there yet
    clearInterval(waiting);
    settle(box);
  }, 50);
  return () => clearInterval(waiting);
}

export default { render };
