// Drawing: pictures, maps with a sign, and maps over pictures, in the colours of the course's figures.

// RdBu of ColorBrewer, turned round: blue against, white nothing, red for.
const SIGNED = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582", "d6604d", "b2182b", "67001f"]
  .map((hex) => [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16)));

// The colours of 511 values from -1 to 1; spread: how much of the scale is used, since its darkest ends hide a picture.
const table = (spread) =>
  Array.from({ length: 511 }, (_, i) => {
    const at = 5 + (spread * (i - 255)) / 51, low = Math.min(9, Math.floor(at)), t = at - low;
    return SIGNED[low].map((v, k) => v + t * (SIGNED[low + 1][k] - v));
  });
const FULL = table(1), OVER = table(0.84);
const among = (colours, share) => colours[255 + Math.round(255 * Math.max(-1, Math.min(1, share)))];

export const largest = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

// pixel(i, rgb) writes pixel number i into rgb.
function show(canvas, side, pixel) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const pen = canvas.getContext("2d"), image = pen.createImageData(side, side), data = image.data, rgb = [0, 0, 0];
  for (let i = 0; i < side * side; i++) {
    pixel(i, rgb);
    data[4 * i] = rgb[0];
    data[4 * i + 1] = rgb[1];
    data[4 * i + 2] = rgb[2];
    data[4 * i + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
}

// values: side * side in 0..1.
export function drawGrey(canvas, values, side) {
  show(canvas, side, (i, rgb) => rgb.fill(255 * values[i]));
}

// values: side * side with a sign; what is as large as `most` gets the darkest colour.
export function drawSigned(canvas, values, side, most) {
  show(canvas, side, (i, rgb) => {
    [rgb[0], rgb[1], rgb[2]] = among(FULL, most ? values[i] / most : 0);
  });
}

const inside = (box, i, side) => {
  const column = i % side, row = Math.floor(i / side);
  return box && column >= box.left && column < box.right && row >= box.top && row < box.bottom;
};

function outline(canvas, box) {
  if (!box) return;
  const pen = canvas.getContext("2d"), { left, top, right, bottom } = box;
  for (const [style, inset] of [["black", 0.5], ["white", 1.5]]) {
    pen.strokeStyle = style;
    pen.strokeRect(left + inset, top + inset, right - left - 2 * inset, bottom - top - 2 * inset);
  }
}

// picture: side * side * 3 values from 0 to 255; hidden: the box that is covered, or null.
export function drawPicture(canvas, picture, side, hidden) {
  show(canvas, side, (i, rgb) => {
    for (let k = 0; k < 3; k++) rgb[k] = inside(hidden, i, side) ? 127 : picture[3 * i + k];
  });
  outline(canvas, hidden);
}

// A map over a grey copy of its picture: the larger a value, the more of its colour covers the picture.
export function drawOver(canvas, picture, side, hidden, map, most) {
  show(canvas, side, (i, rgb) => {
    const share = most ? map[i] / most : 0, strength = 0.85 * Math.min(1, 1.25 * Math.abs(share)) ** 0.8;
    const grey = 0.299 * picture[3 * i] + 0.587 * picture[3 * i + 1] + 0.114 * picture[3 * i + 2];
    const paper = 30 + 0.6 * (inside(hidden, i, side) ? 127 : grey), colour = among(OVER, share);
    for (let k = 0; k < 3; k++) rgb[k] = (1 - strength) * paper + strength * colour[k];
  });
  outline(canvas, hidden);
}

// A map of n * n values at the size of the picture, bilinear: torch's interpolate with align_corners=False.
export function enlarge(map, n, side) {
  const found = new Float32Array(side * side);
  const places = Array.from({ length: side }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * n) / side - 0.5), low = Math.min(n - 1, Math.floor(at));
    return [low, Math.min(n - 1, low + 1), at - low];
  });
  places.forEach(([a, b, t], i) => {
    places.forEach(([c, d, s], j) => {
      const upper = (1 - s) * map[a * n + c] + s * map[a * n + d], lower = (1 - s) * map[b * n + c] + s * map[b * n + d];
      found[i * side + j] = (1 - t) * upper + t * lower;
    });
  });
  return found;
}
