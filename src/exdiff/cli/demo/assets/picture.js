// Draws a stretch of the spectrograms, the strip below them and the axes, with the playing position.

const TICKS = [[125, "125"], [500, "500"], [2000, "2k"], [8000, "8k"]];

function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function drawPlayhead(context, width, height, view, position) {
  const x = (position - view.start) / view.length * width;
  context.fillStyle = "#fff";
  context.fillRect(Math.round(x), 0, 1.5, height);
}

function drawSpectrogram(canvas, picture, frequencies, view, total, position) {
  const { context, width, height } = fit(canvas);
  if (!picture.naturalWidth) return;
  const scale = picture.naturalWidth / total;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, view.start * scale, 0, view.length * scale, picture.naturalHeight, 0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  let lower = Infinity;
  for (const [frequency, label] of TICKS) {
    const row = frequencies.findIndex((each) => each >= frequency);
    if (row < 0) continue;
    const y = Math.max(8, Math.min(height - 8, height * (1 - row / frequencies.length)));
    if (lower - y < 15) continue;
    lower = y;
    context.fillStyle = "rgba(7, 12, 16, .72)";
    context.fillRect(0, y - 7, 9 + context.measureText(label).width, 14);
    context.fillStyle = "#fff";
    context.fillText(label, 4, y);
  }
  drawPlayhead(context, width, height, view, position);
}

function drawStrip(canvas, values, view, total, position, colour) {
  const { context, width, height } = fit(canvas);
  context.fillStyle = colour;
  for (let x = 0; x < width; x++) {
    const first = (view.start + x / width * view.length) / total * values.length;
    const last = Math.max(first + 1, first + view.length / total * values.length / width);
    const value = Math.max(...values.slice(Math.floor(first), Math.ceil(last)), 0);
    context.fillRect(x, height * (1 - value), 1, height * value);
  }
  drawPlayhead(context, width, height, view, position);
}

function drawAxis(canvas, view, colour) {
  const { context, width } = fit(canvas);
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1200];
  const step = steps.find((each) => each / view.length * width > 64) || 3600;
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "top";
  context.fillStyle = colour;
  for (let time = Math.ceil(view.start / step) * step; time < view.start + view.length; time += step) {
    const x = (time - view.start) / view.length * width;
    context.fillRect(x, 0, 1, 4);
    if (x < width - 30) context.fillText(step < 1 ? time.toFixed(1) : clock(time), x + 3, 3);
  }
}

function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
