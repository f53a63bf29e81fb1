// The networks: each is opened once, and answers with plain arrays. onnxruntime-web runs them in a worker, on one
// thread, because more threads would need headers that a plain static server does not send.
import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.proxy = true; // in a worker: the page answers while a network runs
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };

const open = (name) =>
  ort.InferenceSession.create(new URL(`./models/${name}.onnx`, import.meta.url).href, { executionProviders: ["wasm"] });

// A copy, since the worker takes the values over, and leaves an empty array here.
const floats = (values, shape) => new ort.Tensor("float32", values.slice(), shape);

// x: Float32Array of 28 * 28 values in 0..1; classes: two numbers from 0 to 9.
// Gives logits (10) and, for each of the two classes, gradient and guided (784 each) and what the biases add.
export async function openDigit() {
  const session = await open("digits");
  return async (x, classes) => {
    const rows = new Float32Array(20);
    classes.forEach((number, row) => (rows[10 * row + number] = 1));
    const found = await session.run({ x: floats(x, [1, 1, 28, 28]), classes: floats(rows, [2, 10]) });
    const split = (output) => [output.data.slice(0, 784), output.data.slice(784)];
    return {
      logits: found.logits.data,
      gradient: split(found.gradient),
      guided: split(found.guided),
      biases: found.biases.data,
    };
  };
}

// x: Float32Array of 3 * side * side values. Gives logits and map(c): the class activation map of a class, n * n values.
async function openWithMaps(name, side, n) {
  const session = await open(name);
  return async (x) => {
    const found = await session.run({ x: floats(x, [1, 3, side, side]) });
    return { logits: found.logits.data, map: (c) => found.maps.data.slice(c * n * n, (c + 1) * n * n) };
  };
}

export const openShapes = () => openWithMaps("shapes", 128, 8);
export const openPhotograph = () => openWithMaps("photograph", 224, 7);
