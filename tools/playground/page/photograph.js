// A photograph of one's own, those of the course, and mosaics of four: EfficientNet-Lite0, when it is asked for.

import { mapsPart } from "./maps.js";
import { openPhotograph } from "./nets.js";
import { element } from "./parts.js";
import { asInput, cutOut, pixels, rgbOf } from "./pictures.js";

const SIDE = 224;

export function photograph(root, { photographs, mosaics }) {
  const $ = (name) => root.querySelector(`.${name}`);
  $("load").onclick = async () => {
    $("load").disabled = true;
    $("state").textContent = "Loading the network \u2026";
    try {
      await start();
      $("before").hidden = true;
      $("chooser").hidden = $("asking").hidden = false;
      $("state").textContent = "";
      root.dataset.ready = "yes";
    } catch (error) {
      $("state").textContent = `The network could not be loaded: ${error.message}`;
      $("load").disabled = false;
    }
  };

  async function start() {
    const { names, biases } = await (await fetch("models/imagenet.json")).json(), run = await openPhotograph();
    const part = mapsPart(root, {
      run, side: SIDE, n: 7, names, biases,
      // the five highest, those that a mosaic is made of, and one that was asked for by its name
      listed: (order, chosen, { classes }) => [...new Set([...order.slice(0, 5), ...classes, chosen])],
      remark: (map, chosen, { classes }) => (classes.length === 4 ? inQuarter(map, classes, chosen, names) : ""),
    });
    const show = (rgb, title, classes) => part.open({ rgb, x: asInput(rgb, 127, 128), title, classes });

    async function openFile(file) {
      part.open(null); // no map of another picture beside what is said now
      $("state").textContent = `Reading ${file.name} \u2026`;
      try {
        const { rgba, width, height } = await pixels(file);
        show(cutOut(rgba, width, height), file.name, []);
        $("state").textContent = "";
      } catch {
        $("state").textContent = `${file.name} cannot be read as a picture in this browser. Choose a JPEG or PNG file.`;
      }
      mark(null);
    }

    function mark(chosen) {
      for (const one of root.querySelectorAll(".samples button")) one.setAttribute("aria-pressed", one === chosen);
    }

    function offer(list, { file, title, classes = [] }) {
      const address = `pictures/${file}`, button = element("button", { type: "button", ariaLabel: `Open ${title}` });
      button.style.backgroundImage = `url(${address})`;
      button.onclick = async () => {
        mark(button);
        $("state").textContent = "";
        show((await rgbOf(address)).rgb, title, classes);
      };
      list.append(button);
    }

    photographs.forEach((one) => offer($("photographs"), one));
    for (const { file, classes } of mosaics) {
      offer($("mosaics"), { file, classes, title: `a mosaic of ${classes.map((c) => names[c]).join(", ")}` });
    }
    $("classes").replaceChildren(...names.map((name) => element("option", { value: name })));
    $("wanted").onchange = () => {
      const wanted = $("wanted").value.trim().toLowerCase(), c = names.findIndex((name) => name.toLowerCase() === wanted);
      $("unknown").textContent = c < 0 && wanted ? noClass(names, wanted) : "";
      if (c >= 0) part.ask(c);
    };
    $("file").onchange = () => {
      const [file] = $("file").files;
      $("file").value = ""; // so that the same file can be opened again
      if (file) openFile(file);
    };
    root.ondragover = (event) => event.preventDefault();
    root.ondrop = (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
    };
    $("photographs").firstChild.click();
  }
}

// What is said where no class has the wanted name, in small letters: up to three classes that contain it, those that
// contain it as a word of its own first.
function noClass(names, wanted) {
  const spaced = (name) => ` ${name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ")} `;
  const asWord = names.filter((name) => spaced(name).includes(` ${wanted} `));
  const near = [...new Set([...asWord, ...names.filter((name) => name.toLowerCase().includes(wanted))])].slice(0, 3);
  return near.length
    ? `ImageNet has no class of exactly this name. Classes that contain it: ${near.join(", ")}.`
    : "ImageNet has no class of this name. Choose one from the list.";
}

// How much of the map's positive part lies in a quarter of the picture: helpers.evaluation.grid_pointing.
export function shareInQuarter(map, quarter) {
  let all = 0, there = 0;
  map.forEach((v, i) => {
    if (v <= 0) return;
    const lower = Math.floor(i / SIDE) >= SIDE / 2, right = i % SIDE >= SIDE / 2;
    all += v;
    if (2 * lower + right === quarter) there += v;
  });
  return there / all;
}

function inQuarter(map, classes, chosen, names) {
  const quarter = classes.indexOf(chosen), labels = classes.map((c) => names[c]), last = labels.pop();
  if (quarter < 0) {
    return `The four photographs are labelled ${labels.join(", ")} and ${last}; this class is none of these labels.`;
  }
  const share = Math.round(100 * shareInQuarter(map, quarter));
  return `Of the positive part of the map, ${share} % lies in the quarter that shows this class. Chance is 25 %.`;
}
