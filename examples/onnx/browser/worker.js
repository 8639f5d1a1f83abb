// Runs the model, window by window, as ../enhance.py does. All signals are at the model's sample rate.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;

let session, about;

onmessage = async ({ data }) => {
  try {
    if (data.model) {
      const answer = await fetch(data.model);
      if (!answer.ok) throw new Error(`${data.model} is not here: type exdiff export speech speech.onnx`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      about = metadata(bytes);
      session = await ort.InferenceSession.create(bytes);
      postMessage({ about });
    } else {
      const enhanced = await enhance(data.signals);
      postMessage({ enhanced }, enhanced.map((signal) => signal.buffer));
    }
  } catch (error) {
    postMessage({ error: error.message });
  }
};

async function enhance(signals) {
  const keys = ["sample_rate", "channels", "window_samples", "hop_samples"];
  const [rate, channels, length, hop] = keys.map((key) => +about[key]);
  const fade = Math.floor(rate / 10), seam = Math.floor((length - hop - fade) / 2), total = signals[0].length;
  const rise = (i) => Math.sin((Math.PI / 2) * (i + 0.5) / fade) ** 2;
  const enhanced = signals.map(() => new Float32Array(total));
  const groups = channels === 1 ? signals.map((_, i) => [i]) : [signals.map((_, i) => i)];
  const count = 1 + Math.max(0, Math.ceil((total - length) / hop));
  for (const [number, group] of groups.entries())
    for (let window = 0; window < count; window++) {
      const start = window * hop, size = Math.min(length, total - start);
      const input = new Float32Array(channels * size); // mono is given to a stereo model twice
      for (let c = 0; c < channels; c++)
        input.set(signals[group[c % group.length]].subarray(start, start + size), c * size);
      const output = await session.run({ noisy: new ort.Tensor("float32", input, [channels, size]) });
      const result = output.enhanced.data;
      for (let i = 0; i < size; i++) {
        let weight = 1;
        if (window > 0 && i < seam + fade) weight = i < seam ? 0 : rise(i - seam);
        if (window < count - 1 && i >= hop + seam) weight = i < hop + seam + fade ? rise(hop + seam + fade - 1 - i) : 0;
        for (let c = 0; c < channels; c++) {
          const share = group.length < channels ? 1 / channels : 1;
          enhanced[group[c % group.length]][start + i] += weight * share * result[c * size + i];
        }
      }
      postMessage({ done: (number + (window + 1) / count) / groups.length });
    }
  return enhanced;
}

// What `exdiff export` wrote beside the graph: entries 14 of the message ModelProto, each a key (1) and a value (2).
function metadata(bytes) {
  const found = {};
  for (const [number, content] of fields(bytes))
    if (number === 14) {
      const entry = new Map(fields(content));
      found[text(entry.get(1))] = text(entry.get(2));
    }
  return found;
}

function* fields(bytes) {
  let place = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[place++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127);
    return value;
  };
  while (place < bytes.length) {
    const tag = varint(), kind = tag % 8, size = { 0: 0, 1: 8, 2: -1, 5: 4 }[kind];
    const length = kind === 0 ? (varint(), 0) : size < 0 ? varint() : size;
    yield [Math.floor(tag / 8), bytes.subarray(place, (place += length))];
  }
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}
