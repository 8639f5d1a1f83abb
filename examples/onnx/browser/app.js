// The page: a file in, a player that switches between before and after, a file out.
const part = (id) => document.getElementById(id);
const model = new URLSearchParams(location.search).get("model") ?? "speech.onnx";
const worker = new Worker("worker.js", { type: "module" });
let about, name, before, started;

worker.onmessage = ({ data }) => {
  if (data.error) fail(data.error);
  else if (data.about) ready(data.about);
  else if (data.enhanced) finish(data.enhanced);
  else progress(data.done);
};
worker.onerror = () => fail("onnxruntime-web is not here: type npm install in this folder");
worker.postMessage({ model });

function ready(found) {
  about = found;
  part("model").textContent = `${about.model}, ${about.sample_rate / 1000} kHz: ${about.description}`;
  part("file").disabled = false;
}

function fail(message) {
  part("work").hidden = false;
  part("status").textContent = message;
  part("file").disabled = !about;
}

part("file").onchange = ({ target }) => {
  if (target.files[0]) open(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
};
for (const kind of ["dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", kind === "dragover");
    const file = event.dataTransfer?.files[0];
    if (kind === "drop" && file && !part("file").disabled) open(file);
  });

async function open(file) {
  player.stop();
  part("file").disabled = part("result").hidden = true;
  part("work").hidden = false;
  part("progress").value = 0;
  part("status").textContent = `reading ${file.name} …`;
  try {
    // The browser decodes it, and converts it to the model's sample rate.
    before = await new OfflineAudioContext(1, 1, about.sample_rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    return fail(`${file.name} has no sound that this browser can decode`);
  }
  name = file.name.replace(/\.[^.]*$/, "");
  started = performance.now();
  progress(0);
  worker.postMessage({ signals: channels(before) });
}

function progress(done) {
  const passed = (performance.now() - started) / 1000;
  part("progress").value = done;
  const left = done ? `, ${clock((passed / done) * (1 - done))} left` : "";
  part("status").textContent = `${name}: ${Math.round(100 * done)} %${left}`;
}

function finish(enhanced) {
  const { length, sampleRate } = before;
  const after = new AudioBuffer({ length, sampleRate, numberOfChannels: enhanced.length });
  enhanced.forEach((signal, i) => after.copyToChannel(signal, i));
  const seconds = (performance.now() - started) / 1000;
  part("status").textContent = `${name}: ${clock(before.duration)} of sound in ${seconds.toFixed(1)} s`;
  URL.revokeObjectURL(part("download").href);
  part("download").href = URL.createObjectURL(wav(enhanced, before.sampleRate));
  part("download").download = `${name}.enhanced.wav`;
  part("result").hidden = part("file").disabled = false;
  player.load(before, after);
}

// Both recordings run together, and one is heard.
const player = {
  context: null, sources: [], gains: [], buffers: [], at: 0, since: null, chosen: 1,
  load(...buffers) {
    this.stop();
    this.buffers = buffers;
    this.at = part("position").value = 0;
    part("position").max = buffers[0].duration;
  },
  now() {
    return this.since === null ? this.at : this.at + this.context.currentTime - this.since;
  },
  play() {
    this.context ??= new AudioContext();
    this.context.resume();
    this.gains = this.buffers.map((_, i) => new GainNode(this.context, { gain: i === this.chosen ? 1 : 0 }));
    this.sources = this.buffers.map((buffer) => new AudioBufferSourceNode(this.context, { buffer }));
    this.since = this.context.currentTime;
    this.sources.forEach((source, i) => {
      source.connect(this.gains[i]).connect(this.context.destination);
      source.start(this.since, this.at);
    });
    part("play").textContent = "Pause";
  },
  stop() {
    this.at = this.now();
    this.since = null;
    this.sources.forEach((source) => source.stop());
    this.sources = [];
    part("play").textContent = "Play";
  },
  seek(seconds) {
    const playing = this.since !== null;
    this.stop();
    this.at = seconds;
    if (playing) this.play();
  },
  choose(which) {
    this.chosen = which;
    this.gains.forEach((gain, i) => gain.gain.setTargetAtTime(i === which ? 1 : 0, this.context.currentTime, 0.005));
    ["before", "after"].forEach((id, i) => part(id).setAttribute("aria-pressed", i === which));
  },
};
part("play").onclick = () => (player.since === null ? player.play() : player.stop());
part("position").oninput = ({ target }) => player.seek(+target.value);
part("before").onclick = () => player.choose(0);
part("after").onclick = () => player.choose(1);

setInterval(() => {
  if (player.since !== null && player.now() >= player.buffers[0].duration) {
    player.stop();
    player.at = 0;
  }
  part("position").value = player.now();
  part("clock").textContent = clock(player.now());
}, 100);

function channels(buffer) {
  return Array.from({ length: Math.min(2, buffer.numberOfChannels) }, (_, i) => buffer.getChannelData(i));
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function wav(signals, rate) {
  const frames = signals[0].length, size = 2 * signals.length * frames;
  const view = new DataView(new ArrayBuffer(44 + size));
  const write = (place, text) => [...text].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  write(0, "RIFF____WAVEfmt ____"), write(36, "data");
  const numbers = [[4, 36 + size], [16, 16], [24, rate], [28, 2 * signals.length * rate], [40, size]];
  numbers.forEach(([place, value]) => view.setUint32(place, value, true));
  [1, signals.length].forEach((value, i) => view.setUint16(20 + 2 * i, value, true)); // PCM
  [2 * signals.length, 16].forEach((value, i) => view.setUint16(32 + 2 * i, value, true));
  for (let i = 0, place = 44; i < frames; i++)
    for (const signal of signals) {
      view.setInt16(place, Math.round(32767 * Math.max(-1, Math.min(1, signal[i]))), true);
      place += 2;
    }
  return new Blob([view], { type: "audio/wav" });
}
