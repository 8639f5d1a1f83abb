// Plays two aligned recordings at once. A track is a mix of both, (1, 0), (0, 1) or their difference (1, -1), so a
// change of track is a change of two gains: the position stays, and nothing stops.

const MIXES = [[1, 0], [0, 1], [1, -1]];
const FADE_SECONDS = 0.01;
const FLOOR_DB = -60;

class Engine {
  constructor(rate, changed) {
    Object.assign(this, { rate, changed, buffers: [], context: null, sources: [], track: 1, offset: 0, began: 0 });
  }

  async load(urls) {
    const decoder = new OfflineAudioContext(1, 1, this.rate); // needs no click first, as an AudioContext does
    this.buffers = await Promise.all(urls.map(async (url) => {
      const response = await fetch(url);
      if (!response.ok) throw new Error("The files of this result are deleted. Enhance the recording again.");
      return decoder.decodeAudioData(await response.arrayBuffer());
    }));
    this.duration = this.buffers[0].duration;
  }

  get playing() { return this.sources.length > 0; }

  get position() {
    const elapsed = this.playing ? Math.max(0, this.context.currentTime - this.began) : 0;
    return Math.min(this.offset + elapsed, this.duration);
  }

  get gains() { return this.mix ? this.mix.map((node) => node.gain.value) : MIXES[this.track]; }

  async play() {
    if (this.playing || !this.buffers.length) return;
    this.connect();
    if (this.position >= this.duration) this.offset = 0;
    await this.context.resume();
    this.start();
    this.changed();
  }

  connect() {
    if (this.context) return;
    const context = this.context = new AudioContext({ sampleRate: this.rate });
    this.output = context.createGain();
    this.output.connect(context.destination);
    this.mix = MIXES[this.track].map((value) => new GainNode(context, { gain: value }));
    this.mix.forEach((node) => node.connect(this.output));
    this.analysers = MIXES.map(() => new AnalyserNode(context, { fftSize: 2048 }));
    this.inputs = [0, 1].map((number) => {
      const input = context.createGain();
      input.connect(this.mix[number]);
      MIXES.forEach((mix, track) => {
        if (mix[number]) input.connect(new GainNode(context, { gain: mix[number] })).connect(this.analysers[track]);
      });
      return input;
    });
  }

  start() {
    this.began = this.context.currentTime + 0.02; // both sources get the same moment
    this.sources = this.buffers.map((buffer, number) => {
      const source = new AudioBufferSourceNode(this.context, { buffer });
      source.connect(this.inputs[number]);
      source.start(this.began, this.offset);
      return source;
    });
    this.ramp(this.output, 1, 0, this.began);
    const first = this.sources[0];
    first.onended = () => {
      if (this.sources[0] !== first) return;
      this.sources = [];
      this.offset = this.duration;
      this.changed();
    };
  }

  stop() {
    this.offset = this.position;
    const end = this.context.currentTime + FADE_SECONDS;
    this.ramp(this.output, 0);
    this.sources.forEach((source) => source.stop(end));
    this.sources = [];
  }

  pause() {
    if (!this.playing) return;
    this.stop();
    this.changed();
  }

  toggle() { return this.playing ? this.pause() : this.play(); }

  seek(seconds) {
    const was = this.playing;
    if (was) this.stop();
    this.offset = Math.max(0, Math.min(seconds, this.duration));
    if (was && this.offset < this.duration) this.start();
    this.changed();
  }

  choose(track) {
    this.track = track;
    if (this.mix) this.mix.forEach((node, number) => this.ramp(node, MIXES[track][number]));
    this.changed();
  }

  ramp(node, value, from = node.gain.value, at = this.context.currentTime) {
    node.gain.cancelScheduledValues(0);
    node.gain.setValueAtTime(from, at);
    node.gain.linearRampToValueAtTime(value, at + FADE_SECONDS);
  }

  // The level of each track now, in dB below full scale: [mean, peak].
  levels() {
    if (!this.playing) return MIXES.map(() => [FLOOR_DB, FLOOR_DB]);
    return this.analysers.map((analyser) => {
      const samples = new Float32Array(analyser.fftSize);
      analyser.getFloatTimeDomainData(samples);
      let power = 0, peak = 0;
      for (const sample of samples) {
        power += sample * sample;
        peak = Math.max(peak, Math.abs(sample));
      }
      const decibels = (value) => Math.max(FLOOR_DB, 20 * Math.log10(value + 1e-9));
      return [decibels(Math.sqrt(power / samples.length)), decibels(peak)];
    });
  }

  close() {
    this.sources = [];
    if (this.context) this.context.close();
    this.buffers = [];
  }
}
