// A picture with a cover to drag, the class activation map of a class, and the numbers that go with both.

import { drawOver, drawPicture, enlarge } from "./paint.js";
import { dragged, live, number, percent, ranked, showScores, showSum, signed, softmax, speaker, sum } from "./parts.js";
import { box, covered } from "./pictures.js";

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// root: the part of the page; run: the network; side, n: of its pictures and its maps; names, biases: of its classes;
// listed(order, chosen, picture): which classes are offered; remark(map, chosen, picture): one more sentence.
// Returns open(picture) and ask(class); a picture is {rgb, x, title, classes}.
export function mapsPart(root, { run, side, n, names, biases, listed, remark }) {
  const $ = (name) => root.querySelector(`.${name}`);
  $("maps").append(document.getElementById("maps").content.cloneNode(true));
  const canvas = $("picture"), say = speaker($("said"));
  const state = { picture: null, plain: null, chosen: 0, at: [0, 0], size: side / 4, cover: false };

  const update = live(async () => {
    const { picture, chosen, cover } = state;
    if (!picture) return;
    const start = performance.now(), hidden = cover ? box(state.at, state.size, side) : null;
    const plain = (state.plain ??= await run(picture.x));
    const now = hidden ? await run(covered(picture.x, hidden, side)) : plain;
    if (picture !== state.picture) return; // another one was opened meanwhile
    show(picture, plain, now, hidden, chosen ?? ranked(plain.logits)[0]);
    $("time").dataset.ms = performance.now() - start;
    $("time").textContent = `This answer took ${Math.round(performance.now() - start)} ms.`;
  }, (error) => ($("state").textContent = `The network failed: ${error.message}`));

  function show(picture, plain, now, hidden, chosen) {
    const order = ranked(plain.logits), shares = softmax(now.logits), offered = listed(order, chosen, picture);
    const map = now.map(chosen), large = enlarge(map, n, side), name = names[chosen];
    // The scale ends at the highest value of any map without the cover, so that a covered map looks as weak as it is.
    const most = Math.max(...offered.map((c) => Math.max(...plain.map(c))), 0.1);
    drawOver($("map"), picture.rgb, side, hidden, large, most);
    $("map").setAttribute("aria-label", `Class activation map for ${name} over ${picture.title}`);
    $("map-title").textContent = `Class activation map for ${name}`;
    $("least").textContent = `${number(-most, 1)} or less`;
    $("most").textContent = `+${number(most, 1)}`;
    showScores($("scores"), offered.map((c) => [c, names[c], now.logits[c], shares[c]]), chosen, ask);
    showSum($("sum"), [["mean of the map", sum(map) / (n * n)], ["bias", biases[chosen]]], name, now.logits[chosen]);
    const before = softmax(plain.logits)[chosen], change = now.logits[chosen] - plain.logits[chosen];
    $("effect").hidden = !hidden;
    $("asked").textContent = name;
    $("logit-before").textContent = number(plain.logits[chosen]);
    $("logit-after").textContent = number(now.logits[chosen]);
    $("logit-change").textContent = signed(change);
    $("share-before").textContent = percent(before);
    $("share-after").textContent = percent(shares[chosen]);
    $("share-change").textContent = `${signed(100 * (shares[chosen] - before), 1)} points`;
    $("remark").textContent = remark?.(large, chosen, picture) ?? "";
    say(`${name}: logit ${number(now.logits[chosen])}` + (hidden ? `, ${number(plain.logits[chosen])} without the cover.` : "."));
  }

  // The picture itself is drawn at once, so that the cover follows the hand also where the network is slow.
  function changed() {
    drawPicture(canvas, state.picture.rgb, side, state.cover ? box(state.at, state.size, side) : null);
    update();
  }

  function ask(c) {
    state.chosen = c;
    update();
  }

  function open(picture) {
    Object.assign(state, { picture, plain: null, chosen: picture?.classes[0] ?? null, at: [side / 2, side / 2] });
    $("maps").hidden = !picture;
    if (!picture) return;
    $("picture-title").textContent = `Picture: ${picture.title}`;
    canvas.setAttribute("aria-label", `Picture: ${picture.title}. The arrow keys move a grey cover over it`);
    changed();
  }

  const move = (to) => {
    state.at = to.map((v) => Math.max(0, Math.min(side, v)));
    state.cover = $("cover").checked = true;
    changed();
  };
  dragged(canvas, move);
  canvas.onkeydown = (event) => {
    const step = KEYS[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); // the page stays where it is
    move(state.at.map((v, i) => v + (step[i] * side) / 32));
  };
  $("cover").onchange = () => {
    state.cover = $("cover").checked;
    changed();
  };
  $("size").oninput = () => {
    state.size = Math.round(($("size").value * side) / 100);
    move(state.at);
  };
  return { open, ask };
}
