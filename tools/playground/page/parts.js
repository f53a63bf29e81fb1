// What the parts of the page share: numbers as text, lists of scores, equations, and updates one at a time.

// A number with its sign; what is rounded to zero has none. `plus` stands before a positive number.
export const number = (v, digits = 2, plus = "") => {
  const size = Math.abs(v).toFixed(digits);
  return (Number(size) === 0 ? "" : v < 0 ? "\u2212" : plus) + size;
};
export const signed = (v, digits = 2) => number(v, digits, "+");
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const tiny = (v) => (v < 5e-7 ? "below 0.000001" : v.toFixed(6));
export const sum = (values) => values.reduce((a, b) => a + b, 0);

export function softmax(logits) {
  const most = Math.max(...logits), exponentials = Array.from(logits, (v) => Math.exp(v - most)), all = sum(exponentials);
  return exponentials.map((v) => v / all);
}

// The numbers of the classes, that with the highest score first.
export const ranked = (scores) => Array.from(scores, (_, c) => c).sort((a, b) => scores[b] - scores[a]);

export const element = (kind, given = {}, ...inside) => {
  const made = Object.assign(document.createElement(kind), given);
  made.append(...inside);
  return made;
};

// Return update(): it runs `work` at most once at a time. What is asked for meanwhile is answered by one more run, with
// what is then the newest state, so that dragging never queues up.
export function live(work, failed) {
  let busy = false, again = false;
  return async function update() {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        await work();
      }
    } catch (error) {
      failed(error);
    } finally {
      busy = false;
    }
  };
}

// Fill a list with one button a class. rows: [class number, name, logit, probability]; choose(c) is called by a click.
// A button that has the focus keeps it, since buttons are changed and not replaced.
export function showScores(list, rows, chosen, choose) {
  while (list.children.length > rows.length) list.lastChild.remove();
  while (list.children.length < rows.length) {
    const parts = ["name", "logit", "share"].map((className) => element("span", { className }));
    list.append(element("button", { type: "button" }, ...parts));
  }
  rows.forEach(([c, name, logit, share], i) => {
    const button = list.children[i], [first, second, third] = button.children;
    button.onclick = () => choose(c);
    button.dataset.number = c;
    button.setAttribute("aria-pressed", c === chosen);
    button.style.setProperty("--share", share ?? 0);
    first.textContent = name;
    second.textContent = logit === null ? "" : number(logit);
    third.textContent = share === null ? "" : percent(share);
  });
}

// Write a + b = sum beside the logit that it has to be. terms: two pairs of words and a value.
export function showSum(box, terms, name, logit) {
  const found = sum(terms.map(([, value]) => value)), off = Math.abs(found - logit);
  const term = (words, text, className = "term") => element("span", { className }, element("b", { textContent: text }), words);
  const [[firstWords, first], [secondWords, second]] = terms;
  box.replaceChildren(
    term(firstWords, number(first, 4)),
    second < 0 ? "\u2212" : "+",
    term(secondWords, Math.abs(second).toFixed(4)),
    "=",
    term("sum", number(found, 4)),
    term(`logit of ${name}`, number(logit, 4), "term beside"),
    term("difference", tiny(off)),
  );
  Object.assign(box.dataset, { sum: found, logit });
}

// Read a result aloud once the hand rests.
export function speaker(box) {
  let waiting;
  return (words) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => (box.textContent = words), 800);
  };
}

// Where a pointer is on a canvas, in the canvas's own pixels.
export function where(event, canvas) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
}

// Call moved([x, y], first) while a pointer is held down on a canvas: mouse, pen or finger.
export function dragged(canvas, moved) {
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    moved(where(event, canvas), true);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) moved(where(one, canvas), false);
  });
}
