// Turns the versions of a clip (scripts/site_sounds.py) into one player: all of them run in step, one is heard, so that
// switching keeps the position and leaves no gap. Without this file they are plain audio elements.

const FADE_SECONDS = 0.015;
let context = null; // made at the first click, as browsers want it
let playing = null; // one player at a time

class Player {
  constructor(box) {
    this.versions = [...box.querySelectorAll("figure")].map((figure) => ({
      label: figure.querySelector("figcaption").dataset.label,
      note: figure.querySelector("figcaption").innerHTML,
      picture: figure.querySelector("img").src,
      alt: figure.querySelector("img").alt,
      sound: figure.querySelector("audio").src,
    }));
    this.chosen = 0;
    this.position = 0; // seconds, while nothing plays
    this.seconds = 0;
    this.build(box);
    this.choose(0);
  }

  build(box) {
    box.innerHTML = `
      <div class="listen-bar">
        <button type="button" class="listen-play" aria-label="Play"><span></span></button>
        <div class="listen-versions" role="group" aria-label="Version"></div>
        <output class="listen-time"></output>
      </div>
      <div class="listen-picture"><img><div class="listen-head"></div>
        <input type="range" min="0" max="1" step="0.001" value="0" aria-label="Position"></div>
      <p class="listen-note" aria-live="polite"></p>`;
    const find = (name) => box.querySelector(name);
    [this.button, this.picture, this.head, this.slider, this.note, this.time] =
      [".listen-play", "img", ".listen-head", "input", ".listen-note", ".listen-time"].map(find);
    this.switches = this.versions.map((version, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = version.label;
      button.addEventListener("click", () => this.choose(index));
      find(".listen-versions").append(button);
      return button;
    });
    this.button.addEventListener("click", () => (this.sources ? this.stop() : this.start()));
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    box.classList.add("listen-ready");
  }

  choose(index) {
    this.chosen = index;
    this.switches.forEach((button, other) => button.setAttribute("aria-pressed", other === index));
    this.picture.src = this.versions[index].picture;
    this.picture.alt = this.versions[index].alt;
    this.note.innerHTML = this.versions[index].note;
    this.gains?.forEach((gain, other) => {
      gain.gain.setTargetAtTime(other === index ? 1 : 0, context.currentTime, FADE_SECONDS / 3);
    });
  }

  async load() {
    context ??= new AudioContext();
    this.buffers ??= Promise.all(
      this.versions.map(async ({ sound }) => context.decodeAudioData(await (await fetch(sound)).arrayBuffer())),
    );
    const buffers = await this.buffers;
    this.seconds = buffers[0].duration;
    return buffers;
  }

  async start() {
    playing?.stop();
    playing = this;
    const buffers = await this.load();
    await context.resume();
    if (playing !== this || this.sources) return; // another one was started meanwhile
    if (this.position >= this.seconds - 0.05) this.position = 0;
    this.gains = buffers.map((_, index) => new GainNode(context, { gain: index === this.chosen ? 1 : 0 }));
    this.sources = buffers.map((buffer, index) => new AudioBufferSourceNode(context, { buffer }));
    this.sources.forEach((source, index) => source.connect(this.gains[index]).connect(context.destination));
    this.began = context.currentTime + 0.02 - this.position;
    this.sources.forEach((source) => source.start(this.began + this.position, this.position));
    this.button.classList.add("listen-playing");
    this.button.setAttribute("aria-label", "Pause");
    this.draw();
  }

  stop() {
    if (playing === this) playing = null;
    if (!this.sources) return;
    this.position = this.now();
    this.sources.forEach((source) => source.stop());
    this.sources = this.gains = null;
    this.button.classList.remove("listen-playing");
    this.button.setAttribute("aria-label", "Play");
  }

  async seek(share) {
    const went = Boolean(this.sources);
    if (went) this.stop();
    await this.load();
    this.position = share * this.seconds;
    this.show();
    if (went) await this.start();
  }

  now() {
    return this.sources ? Math.max(0, Math.min(context.currentTime - this.began, this.seconds)) : this.position;
  }

  draw() {
    if (!this.sources) return;
    this.show();
    if (this.now() >= this.seconds) this.stop();
    else requestAnimationFrame(() => this.draw());
  }

  show() {
    const share = this.now() / this.seconds;
    this.head.style.left = `${100 * share}%`;
    this.slider.value = share;
    this.time.textContent = `${this.now().toFixed(1)} / ${this.seconds.toFixed(1)} s`;
  }
}

document.querySelectorAll(".listen").forEach((box) => new Player(box));
