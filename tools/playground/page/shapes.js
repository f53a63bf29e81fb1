// Shapes and pairs: the course's drawings, and a small residual network.

import { mapsPart } from "./maps.js";
import { openShapes } from "./nets.js";
import { element } from "./parts.js";
import { asInput, rgbOf } from "./pictures.js";

const SIDE = 128;

export async function shapes(root, { pictures, categories, biases }) {
  const run = await openShapes(), sheet = await rgbOf("pictures/shapes.png"), outlines = await rgbOf("pictures/places.png");
  const strip = root.querySelector(".samples");
  const all = categories.map((_, c) => c);
  const part = mapsPart(root, { run, side: SIDE, n: 8, names: categories, biases, listed: () => all, remark });

  // Picture number i of a strip of them.
  function cut({ rgb, width }, i) {
    const found = new Uint8ClampedArray(SIDE * SIDE * 3);
    for (let row = 0; row < SIDE; row++) {
      const start = 3 * (row * width + SIDE * i);
      found.set(rgb.subarray(start, start + 3 * SIDE), 3 * SIDE * row);
    }
    return found;
  }

  function choose(i) {
    const rgb = cut(sheet, i), places = cut(outlines, i);
    [...strip.children].forEach((button, k) => button.setAttribute("aria-pressed", k === i));
    part.open({ rgb, places, x: asInput(rgb, 127.5, 63.75), title: title(pictures[i]), classes: pictures[i] });
  }

  // The truth is known, because the course draws these pictures: on which object does the map have its highest value?
  function remark(map, chosen, { places, classes }) {
    const highest = map.reduce((best, v, i) => (v > map[best] ? i : best), 0), found = classes[places[3 * highest] - 1];
    const where = found === undefined ? "on the ground" : `on the ${categories[found]}`;
    return `The highest value of the map for ${categories[chosen]} lies ${where}.`;
  }

  const title = (classes) => classes.map((c) => `a ${categories[c]}`.replace("a arrow", "an arrow")).join(" and ");
  pictures.forEach((classes, i) => {
    const button = element("button", { type: "button", ariaLabel: `Picture of ${title(classes)}`, onclick: () => choose(i) });
    button.style.backgroundPosition = `${(100 * i) / (pictures.length - 1)}% 0`;
    strip.append(button);
  });
  strip.style.setProperty("--count", pictures.length);
  choose(0);
  root.dataset.ready = "yes";
}
