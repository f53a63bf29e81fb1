// Draw a digit: scores, gradient, gradient x picture and guided backprop while one draws.

import { openDigit } from "./nets.js";
import { drawGrey, drawSigned, largest } from "./paint.js";
import { dragged, element, live, number, ranked, showScores, showSum, softmax, speaker, sum } from "./parts.js";
import { frame, rgbOf } from "./pictures.js";

const SIDE = 280, PEN = 20; // of the drawing area; MNIST's pens are about two of its 28 pixels wide

export async function digit(root, labels) {
  const $ = (name) => root.querySelector(`.${name}`);
  const canvas = $("draw"), pen = canvas.getContext("2d", { willReadFrequently: true });
  const run = await openDigit(), sheet = await rgbOf("pictures/digits.png"), say = speaker($("said"));
  const state = { x: null, chosen: 0, other: 1, follow: true, drawn: false, opening: false };

  const update = live(async () => {
    const start = performance.now();
    if (state.drawn) state.x = read();
    if (!state.x) return nothing();
    const x = state.x;
    // The network explains two classes a run. Which they are is known only behind it: guess, and repeat if need be.
    let found, pair;
    do {
      pair = [state.chosen, state.other];
      found = await run(x, pair);
      const order = ranked(found.logits);
      if (state.follow) state.chosen = order[0];
      state.other = order.find((c) => c !== state.chosen);
    } while (pair[0] !== state.chosen || pair[1] !== state.other);
    show(x, found);
    $("time").dataset.ms = performance.now() - start;
    $("time").textContent = `This answer took ${Math.round(performance.now() - start)} ms.`;
  }, (error) => ($("state").textContent = `The network failed: ${error.message}`));

  // What the network sees of the drawing.
  function read() {
    state.drawn = false;
    const rgba = pen.getImageData(0, 0, SIDE, SIDE).data;
    return frame(Uint8Array.from({ length: SIDE * SIDE }, (_, i) => rgba[4 * i]), SIDE);
  }

  function show(x, { logits, gradient: [gradient, otherGradient], guided: [guided, otherGuided], biases }) {
    const { chosen, other } = state, shares = softmax(logits), parts = gradient.map((g, i) => g * x[i]);
    showScores($("scores"), DIGITS.map((c) => [c, String(c), logits[c], shares[c]]), chosen, choose);
    drawGrey($("seen"), x, 28);
    label("seen", "What the network sees", "28 \u00d7 28 pixels");
    for (const [name, words, map] of [
      ["gradient", `Gradient of the logit of ${chosen}`, gradient],
      ["product", "Gradient \u00d7 picture", parts],
      ["guided", `Guided backprop for ${chosen}`, guided],
    ]) {
      drawSigned($(name), map, 28, largest(map));
      label(name, words, `blue ${number(-largest(map))}, red +${number(largest(map))}`);
    }
    showSum($("sum"), [["gradient \u00d7 picture, summed", sum(parts)], ["biases", biases[0]]], chosen, logits[chosen]);
    const alike = [cosine(gradient, otherGradient), cosine(guided, otherGuided)].map((v) => number(v));
    $("alike").textContent =
      `Cosine similarity of the map for ${chosen} and the map for ${other}: gradient ${alike[0]}, guided backprop ${alike[1]}.`;
    say(`Highest logit: ${ranked(logits)[0]}. Logit of ${chosen}: ${number(logits[chosen])}.`);
  }

  function nothing() {
    for (const name of ["seen", "gradient", "product", "guided"]) drawGrey($(name), new Float32Array(784), 28);
    showScores($("scores"), DIGITS.map((c) => [c, String(c), null, null]), -1, choose);
    $("sum").replaceChildren("Draw a digit, or choose a sample.");
    $("alike").textContent = $("time").textContent = "";
    delete $("time").dataset.ms;
    say("The drawing area is empty.");
  }

  function label(name, words, more) {
    $(name).setAttribute("aria-label", `${words}, ${more}`);
    $(name).nextElementSibling.replaceChildren(element("b", { textContent: words }), ` ${more}`);
  }

  function choose(c) {
    Object.assign(state, { chosen: c, follow: false });
    $("follow").checked = false;
    update();
  }

  function wipe() {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, SIDE, SIDE);
    Object.assign(state, { x: null, drawn: false, opening: false });
  }

  function sample(i) {
    Object.assign(state, { drawn: false, opening: false });
    const at = (k) => Math.floor(k / 28) * sheet.width + 28 * i + (k % 28); // pixel k of sample i in the strip
    state.x = Float32Array.from({ length: 784 }, (_, k) => sheet.rgb[3 * at(k)] / 255);
    drawGrey($("seen"), state.x, 28);
    pen.imageSmoothingEnabled = false;
    pen.drawImage($("seen"), 0, 0, SIDE, SIDE);
    update();
  }

  let last;
  dragged(canvas, ([x, y], first) => {
    Object.assign(pen, { strokeStyle: "white", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    if (first && state.opening) wipe(); // a chosen sample stays, so that it can be changed
    if (first) last = [x, y];
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(x, y);
    pen.stroke();
    last = [x, y];
    state.drawn = true;
    update();
  });
  $("clear").onclick = () => {
    wipe();
    update();
  };
  $("follow").onchange = () => {
    state.follow = $("follow").checked;
    update();
  };
  labels.forEach((digit, i) => {
    const button = element("button", { type: "button", ariaLabel: `Sample: a ${digit}`, onclick: () => sample(i) });
    button.style.backgroundPosition = `${(100 * i) / (labels.length - 1)}% 0`;
    $("samples").append(button);
  });
  $("samples").style.setProperty("--count", labels.length);
  sample(labels.indexOf(4));
  state.opening = true;
  root.dataset.ready = "yes";
}

const DIGITS = Array.from({ length: 10 }, (_, c) => c);
const cosine = (a, b) => sum(a.map((v, i) => v * b[i])) / Math.sqrt(sum(a.map((v) => v * v)) * sum(b.map((v) => v * v)));
