// From pictures to what a network takes, in the same way as the course's helpers do it in Python.

// ---- digits: helpers.data.digits.frame ----

const FAINT = 40; // ink up to this grey is left out of the box

// The whole number nearest to v; halves go to the even one, as in Python.
function rounded(v) {
  const low = Math.floor(v);
  if (v - low !== 0.5) return Math.round(v);
  return low % 2 === 0 ? low : low + 1;
}

// Shrink a line of `from` values to `to`: which values each new one covers, and how much of them.
function shares(from, to) {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    const start = i * step, end = Math.min(from, start + step), found = [];
    for (let k = Math.floor(start); k < end - 1e-9; k++) {
      found.push([k, (Math.min(end, k + 1) - Math.max(start, k)) / (end - start)]);
    }
    return found;
  });
}

// Frame a drawing as MNIST does: its box is scaled to 20 pixels, its centre of mass moved to the middle of 28 x 28.
// ink: side * side values from 0 to 255, white on black. Gives 784 values in 0..1, or null where there is no ink.
export function frame(ink, side) {
  let top = side, bottom = -1, left = side, right = -1;
  for (let i = 0; i < side; i++) {
    for (let j = 0; j < side; j++) {
      if (ink[i * side + j] <= FAINT) continue;
      top = Math.min(top, i);
      bottom = Math.max(bottom, i);
      left = Math.min(left, j);
      right = Math.max(right, j);
    }
  }
  if (bottom < 0) return null;
  const high = bottom - top + 1, wide = right - left + 1, longest = Math.max(high, wide);
  const h = Math.max(1, rounded((high * 20) / longest)), w = Math.max(1, rounded((wide * 20) / longest));
  const rows = shares(high, h), columns = shares(wide, w), small = new Float32Array(h * w);
  let mass = 0, massDown = 0, massRight = 0;
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) {
      let sum = 0;
      for (const [k, a] of rows[i]) {
        for (const [l, b] of columns[j]) sum += a * b * ink[(top + k) * side + left + l];
      }
      const grey = rounded(sum);
      small[i * w + j] = grey;
      mass += grey;
      massDown += grey * i;
      massRight += grey * j;
    }
  }
  const within = (v, most) => Math.max(0, Math.min(most, v));
  const down = within(rounded(13.5 - massDown / mass), 28 - h);
  const along = within(rounded(13.5 - massRight / mass), 28 - w);
  const framed = new Float32Array(784);
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) framed[(down + i) * 28 + along + j] = small[i * w + j] / 255;
  }
  return framed;
}

// ---- photographs: helpers.models.efficientnet_lite0.cut_out ----

const bicubic = (x) => {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
};

// For each of `to` new values: the first old one it is made from, and their weights. As Pillow: where a line shrinks,
// the bicubic kernel is widened, so that no old value is left out.
function weights(start, length, from, to) {
  const scale = length / to, widened = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 2 * widened + 0.5));
    const last = Math.min(from, Math.trunc(centre + 2 * widened + 0.5));
    const found = [];
    for (let k = first; k < last; k++) found.push(bicubic((k - centre + 0.5) / widened));
    const sum = found.reduce((a, b) => a + b, 0);
    return [first, found.map((w) => w / sum)];
  });
}

// Cut the square in the middle out of a picture, 224/256 of its shorter side, and bring it to 224 x 224 pixels, as
// Pillow's bicubic resize does. rgba: width * height pixels. Gives 3 * 224 * 224 values from 0 to 255, RGB pixel by pixel.
export function cutOut(rgba, width, height) {
  const edge = (Math.min(width, height) * 224) / 256, left = (width - edge) / 2, top = (height - edge) / 2;
  const across = weights(left, edge, width, 224), down = weights(top, edge, height, 224);
  const first = down[0][0], count = down[223][0] + down[223][1].length - first;
  const narrow = new Uint8ClampedArray(count * 224 * 3); // rounds and cuts off at 0 and 255, as Pillow does between its passes
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < 224; j++) {
      const [start, list] = across[j];
      let r = 0, g = 0, b = 0, at = ((first + i) * width + start) * 4;
      for (let k = 0; k < list.length; k++, at += 4) {
        r += list[k] * rgba[at];
        g += list[k] * rgba[at + 1];
        b += list[k] * rgba[at + 2];
      }
      narrow.set([r, g, b], (i * 224 + j) * 3);
    }
  }
  const rgb = new Uint8ClampedArray(224 * 224 * 3);
  for (let i = 0; i < 224; i++) {
    const [start, list] = down[i];
    for (let j = 0; j < 224 * 3; j++) {
      let sum = 0;
      for (let k = 0; k < list.length; k++) sum += list[k] * narrow[(start - first + k) * 224 * 3 + j];
      rgb[i * 224 * 3 + j] = sum;
    }
  }
  return rgb;
}

// ---- all pictures ----

// Values from 0 to 255, RGB pixel by pixel, as a network's input [3, side, side]: (value - middle) / unit.
export function asInput(rgb, middle, unit) {
  const area = rgb.length / 3, x = new Float32Array(rgb.length);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) x[c * area + i] = (rgb[3 * i + c] - middle) / unit;
  }
  return x;
}

// The pixels that a square of `size` around [across, down] covers, cut off at the edges of the picture.
export function box([across, down], size, side) {
  const cut = (v) => Math.max(0, Math.min(side, v)), left = Math.round(across - size / 2), top = Math.round(down - size / 2);
  return { left: cut(left), right: cut(left + size), top: cut(top), bottom: cut(top + size) };
}

// An input [3, side, side] with a grey cover: zeros in a box.
export function covered(x, { left, right, top, bottom }, side) {
  const found = x.slice();
  for (let c = 0; c < 3; c++) {
    for (let i = top; i < bottom; i++) found.fill(0, (c * side + i) * side + left, (c * side + i) * side + right);
  }
  return found;
}

// Read a picture file into pixels: upright, on white where it is transparent, its colours as they are stored.
export async function pixels(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  const shrunk = Math.min(1, Math.sqrt(16e6 / (bitmap.width * bitmap.height))); // some phones allow no larger canvas
  const width = Math.max(1, Math.round(bitmap.width * shrunk)), height = Math.max(1, Math.round(bitmap.height * shrunk));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { rgba: pen.getImageData(0, 0, width, height).data, width, height };
}

// Read a picture of ours from its address: RGB pixel by pixel, 0 to 255.
export async function rgbOf(address) {
  const { rgba, width, height } = await pixels(await (await fetch(address)).blob());
  const rgb = new Uint8ClampedArray(width * height * 3);
  for (let i = 0; i < width * height; i++) rgb.set(rgba.subarray(4 * i, 4 * i + 3), 3 * i);
  return { rgb, width, height };
}
