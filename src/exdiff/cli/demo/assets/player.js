// <exdiff-player data-result="...">: before, after and what was removed, at one position.

const SKIP_SECONDS = 2;
const SHORTEST_VIEW = 0.5;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

class Player extends HTMLElement {
  static observedAttributes = ["data-result"];

  connectedCallback() { this.open(); }

  attributeChangedCallback() { if (this.isConnected) this.open(); } // gradio keeps the element for the next result

  disconnectedCallback() { this.close(); }

  open() {
    if (this.opened === this.dataset.result) return;
    this.close();
    this.opened = this.dataset.result;
    const result = this.result = JSON.parse(this.opened);
    this.total = result.seconds; // what can be heard
    this.view = { start: 0, length: this.total };
    const engine = this.engine = new Engine(result.rate, () => this.refresh());
    this.pictures = ["before", "after", "removed"].map((name) =>
      make("img", { src: this.url(`${name}.png`), alt: "", onload: () => this.draw() }));
    this.build();
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this);
    this.keys = (event) => this.pressed(event);
    document.addEventListener("keydown", this.keys);
    engine.load([this.url("before.flac"), this.url("after.flac")]).then(
      () => { if (engine === this.engine) this.ready(); },
      (error) => this.panel.append(make("p", { class: "xd-note", role: "alert" }, error.message)),
    );
  }

  ready() {
    this.total = this.engine.duration;
    this.view = { start: 0, length: this.total };
    this.buttons.play.disabled = false;
    this.dataset.ready = "true";
    this.refresh();
    const focused = document.activeElement;
    if (focused === document.body || focused.id === "exdiff-enhance") this.buttons.play.focus({ preventScroll: true });
  }

  close() {
    if (!this.opened) return;
    this.opened = null;
    delete this.dataset.ready;
    document.removeEventListener("keydown", this.keys);
    this.sized.disconnect();
    this.engine.close();
    cancelAnimationFrame(this.frame);
  }

  url(name) { return this.result.base + encodeURIComponent(name); }

  build() {
    const { tracks, uncertainty } = this.result;
    const button = (label, action, attributes = {}, ...content) =>
      make("button", { type: "button", "aria-label": label, title: label, onclick: action, ...attributes }, ...content);
    this.buttons = {
      play: button("Play", () => this.engine.toggle(), { class: "xd-play", disabled: "" }),
      out: button("Zoom out", () => this.zoom(2), { class: "xd-zoom" }, "−"),
      in: button("Zoom in", () => this.zoom(0.5), { class: "xd-zoom" }, "+"),
    };
    this.choices = tracks.map((name, track) =>
      make("button", { type: "button", onclick: () => this.engine.choose(track) }, name));
    this.time = make("span", { class: "xd-time" });
    this.slider = make("input", {
      type: "range", min: 0, max: this.total, step: Math.max(0.01, this.total / 500), value: 0, class: "xd-slider",
      "aria-label": "Position", oninput: (event) => this.engine.seek(Number(event.target.value)),
    });
    this.canvases = tracks.map((name, track) =>
      this.canvas("xd-spectrogram", `Spectrogram: ${name}. Click to listen there.`, track));
    this.meters = tracks.map(() => make("span", { class: "xd-meter", "aria-hidden": "true" }));
    this.rows = tracks.map((name, track) => make("div", { class: "xd-row" },
      make("span", { class: "xd-name" }, name), this.canvases[track], this.meters[track]));
    this.axis = make("canvas", { class: "xd-axis", "aria-hidden": "true" });
    this.strip = uncertainty && this.canvas("xd-strip", "Where the model is unsure");
    this.panel = make("section", { "aria-label": "Player" }, ...this.top(), ...this.bottom());
    const shadow = this.shadowRoot || this.attachShadow({ mode: "open" }); // out of reach of the page's styles
    shadow.replaceChildren(make("style", {}, PLAYER_STYLE), this.panel);
    this.refresh();
  }

  top() {
    const { title, facts } = this.result;
    const choices = { class: "xd-choices", role: "group", "aria-label": "What is heard" };
    return [
      make("div", { class: "xd-head" }, make("h2", {}, title), make("p", {}, facts.join("  ·  "))),
      make("div", { class: "xd-bar" }, this.buttons.play, make("div", choices, ...this.choices), this.time),
      this.slider,
      make("div", { class: "xd-rows" }, ...this.rows),
      ...(this.strip ? [make("div", { class: "xd-row" }, this.strip)] : []),
      make("div", { class: "xd-row" }, this.axis),
    ];
  }

  bottom() {
    const { notes, samples, downloads, range_db: range } = this.result;
    const legends = [[`−${range} dB`, make("i"), "0 dB"]];
    if (this.strip) legends.push([make("b"), `where ${samples} samples differ, −50 to 0 dB`]);
    const links = downloads.map(({ label, name, bytes }) => make("a", { href: this.url(name), download: name },
      `Download ${label.toLowerCase()}`, make("small", {}, `${name.split(".").pop().toUpperCase()}, ${size(bytes)}`)));
    const keys = [["Space", "play"], ["1 2 3", "switch"], ["← →", "move"], ["+ −", "zoom"]].map(([keys, what]) =>
      make("span", {}, ...keys.split(" ").map((key) => make("kbd", {}, key)), what));
    return [
      make("div", { class: "xd-foot" }, ...legends.map((parts) => make("span", { class: "xd-legend" }, ...parts)),
        make("span", { class: "xd-zooms" }, this.buttons.out, this.buttons.in)),
      make("div", { class: "xd-links" }, ...links),
      ...[...notes, ...this.shortened()].map((note) => make("p", { class: "xd-note" }, note)),
      make("p", { class: "xd-keys" }, ...keys),
    ];
  }

  // A browser keeps the whole of what it plays, so of long recordings it gets less than the download holds.
  shortened() {
    const { seconds, whole_seconds: whole, smaller, rate } = this.result;
    const minutes = Math.round(seconds / 60);
    if (seconds < whole - 0.1) return [`The player has the first ${minutes} minutes; the download has everything.`];
    if (smaller) return [`The player has a smaller copy, ${rate / 1000} kHz; the download has everything.`];
    return [];
  }

  canvas(kind, label, track = null) {
    const canvas = make("canvas", { class: kind, role: "img", "aria-label": label });
    const seek = (event) => this.engine.seek(this.view.start + event.offsetX / canvas.clientWidth * this.view.length);
    canvas.addEventListener("pointerdown", (event) => {
      if (track !== null) this.engine.choose(track);
      seek(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons === 1) seek(event); });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.deltaX) return;
      event.preventDefault();
      if (event.ctrlKey) this.zoom(event.deltaY > 0 ? 1.25 : 0.8);
      else this.show(this.view.start + event.deltaX / canvas.clientWidth * this.view.length);
    }, { passive: false });
    return canvas;
  }

  zoom(factor) {
    this.view.length = Math.min(this.total, Math.max(Math.min(SHORTEST_VIEW, this.total), this.view.length * factor));
    this.show(this.engine.position - this.view.length / 2);
  }

  show(start) {
    this.view.start = Math.max(0, Math.min(start, this.total - this.view.length));
    this.draw();
  }

  pressed(event) {
    const target = event.composedPath()[0];
    const elsewhere = target !== document.body && event.target !== this;
    if (elsewhere || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const range = target instanceof HTMLInputElement;
    const native = target instanceof HTMLButtonElement || target instanceof HTMLAnchorElement;
    const actions = {
      1: () => this.engine.choose(0), 2: () => this.engine.choose(1), 3: () => this.engine.choose(2),
      "+": () => this.zoom(0.5), "-": () => this.zoom(2),
      ...(native ? {} : { " ": () => this.engine.toggle() }),
      ...(range ? {} : {
        ArrowLeft: () => this.engine.seek(this.engine.position - SKIP_SECONDS),
        ArrowRight: () => this.engine.seek(this.engine.position + SKIP_SECONDS),
        Home: () => this.engine.seek(0),
        End: () => this.engine.seek(this.total),
      }),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  refresh() {
    const { playing, track } = this.engine;
    const label = playing ? "Pause" : "Play";
    this.buttons.play.setAttribute("aria-label", label);
    this.buttons.play.title = label;
    this.buttons.play.classList.toggle("xd-playing", playing);
    this.choices.forEach((choice, number) => choice.setAttribute("aria-pressed", String(number === track)));
    this.rows.forEach((row, number) => row.classList.toggle("xd-heard", number === track));
    this.buttons.out.disabled = this.view.length >= this.total;
    this.draw();
    if (playing) this.animate();
  }

  animate() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      this.draw();
      if (this.engine.playing) this.animate();
    });
  }

  draw() {
    const position = this.engine.duration ? this.engine.position : 0;
    const { frequencies, uncertainty, whole_seconds: whole } = this.result;
    const { view, total } = this;
    if (this.engine.playing) view.start = Math.max(0, Math.min(position - view.length / 2, total - view.length));
    const style = getComputedStyle(this);
    this.canvases.forEach((canvas, track) =>
      drawSpectrogram(canvas, this.pictures[track], frequencies, view, whole, position));
    if (this.strip) drawStrip(this.strip, uncertainty, view, whole, position, style.getPropertyValue("--xd-accent"));
    drawAxis(this.axis, view, style.getPropertyValue("--xd-quiet"));
    this.engine.levels().forEach(([mean, peak], track) => {
      const { style: meter } = this.meters[track];
      meter.setProperty("--level", String(1 - mean / FLOOR_DB));
      meter.setProperty("--peak", String(Math.min(1, 1 - peak / FLOOR_DB)));
      meter.setProperty("--on", peak > FLOOR_DB ? "1" : "0");
    });
    this.time.textContent = `${clock(position)} / ${clock(total)}`;
    this.slider.value = position;
    this.slider.style.setProperty("--at", `${100 * position / total}%`);
    this.slider.setAttribute("aria-valuetext", `${clock(position)} of ${clock(total)}`);
    this.buttons.out.disabled = view.length >= total;
  }
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

if (!customElements.get("exdiff-player")) customElements.define("exdiff-player", Player);
