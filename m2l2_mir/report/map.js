// A map of tracks on a canvas: click or search for one, hear it and its neighbours. Wheel zooms, dragging moves.
const atlas = JSON.parse(document.getElementById("atlas-data").textContent);
const board = document.getElementById("atlas-board");
const panel = document.getElementById("atlas-panel");
const sound = document.getElementById("atlas-sound");
const picker = document.getElementById("atlas-colour");
const finder = document.getElementById("atlas-find");
const legend = document.getElementById("atlas-legend");
const hint = document.getElementById("atlas-hint");
const pen = board.getContext("2d");
const total = atlas.x.length;
const view = { scale: 1, x: 0, y: 0 };
const OTHER = "#9a9a96";
let colours = [];
let chosen = -1;
let playing = -1;

const element = (name, text = "", className = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
};
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ramp = (share) => {
  const stops = [[37, 99, 168], [122, 81, 149], [217, 138, 31]];
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return `rgb(${stops[low].map((value, i) => Math.round(value + (at - low) * (stops[low + 1][i] - value)))})`;
};
const swatch = (colour, text) => {
  const line = element("li");
  const dot = element("span", "", "atlas-dot");
  dot.style.background = colour;
  line.append(dot, text);
  return line;
};

function colourBy(name) {
  const column = atlas.columns[name];
  legend.replaceChildren();
  if (!column) {
    colours = Array(total).fill(atlas.palette[0]);
  } else if (column.kind === "number") {
    const [low, high] = column.range;
    colours = column.values.map((value) => (value === null ? OTHER : ramp((value - low) / (high - low || 1))));
    legend.append(swatch(ramp(0), String(low)), swatch(ramp(0.5), String((low + high) / 2)), swatch(ramp(1), String(high)));
  } else {
    colours = column.values.map((code) => atlas.palette[code] ?? OTHER);
    column.names.slice(0, atlas.palette.length).forEach((text, code) => legend.append(swatch(atlas.palette[code], text)));
    if (column.names.length > atlas.palette.length) legend.append(swatch(OTHER, `${column.names.length - atlas.palette.length} others`));
  }
  draw();
}

const place = (track) => {
  const half = Math.min(board.clientWidth, board.clientHeight) / 2 - 14;
  return [
    board.clientWidth / 2 + (atlas.x[track] - view.x) * half * view.scale,
    board.clientHeight / 2 - (atlas.y[track] - view.y) * half * view.scale,
  ];
};

function draw() {
  const density = window.devicePixelRatio || 1;
  board.width = board.clientWidth * density;
  board.height = board.clientHeight * density;
  pen.setTransform(density, 0, 0, density, 0, 0);
  pen.clearRect(0, 0, board.clientWidth, board.clientHeight);
  const size = Math.max(1.6, Math.min(6, 90 / Math.sqrt(total))) * Math.min(1.6, Math.sqrt(view.scale));
  const around = chosen < 0 ? [] : atlas.neighbours[chosen];
  pen.globalAlpha = chosen < 0 ? 0.85 : 0.45;
  for (let track = 0; track < total; track += 1) {
    const [x, y] = place(track);
    pen.fillStyle = colours[track];
    pen.beginPath();
    pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
  if (chosen < 0) return;
  const from = place(chosen);
  pen.strokeStyle = ink("--muted");
  around.forEach((track) => {
    const to = place(track);
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  });
  [...around, chosen].forEach((track) => {
    const [x, y] = place(track);
    pen.beginPath();
    pen.arc(x, y, size + (track === chosen ? 4 : 2), 0, 2 * Math.PI);
    pen.fillStyle = colours[track];
    pen.fill();
    pen.lineWidth = track === chosen ? 2.5 : 1.2;
    pen.strokeStyle = ink("--ink");
    pen.stroke();
  });
  pen.lineWidth = 1;
}

function play(track) {
  if (playing === track && !sound.paused) {
    sound.pause();
    return;
  }
  playing = track;
  sound.src = atlas.clips[track];
  sound.play();
}
function showPlaying() {
  panel.querySelectorAll("button.play").forEach((button) => {
    const on = !sound.paused && Number(button.dataset.track) === playing;
    button.classList.toggle("playing", on);
    button.setAttribute("aria-pressed", String(on));
  });
}
sound.addEventListener("play", showPlaying);
sound.addEventListener("pause", showPlaying);

function line(track, note) {
  const row = element("div", "", "row");
  if (atlas.clips[track]) {
    const button = element("button", "", "play");
    button.type = "button";
    button.dataset.track = track;
    button.setAttribute("aria-label", `play ${atlas.titles[track]}`);
    button.addEventListener("click", () => play(track));
    row.append(button);
  } else {
    row.append(element("span", "", "atlas-mute"));
  }
  const text = element("span");
  const link = element("button", atlas.titles[track], "atlas-link");
  link.type = "button";
  link.addEventListener("click", () => choose(track));
  text.append(link, element("small", note));
  row.append(text);
  return row;
}

const facts = (track) =>
  Object.entries(atlas.columns)
    .map(([name, column]) => {
      const value = column.kind === "number" ? column.values[track] : column.names[column.values[track]];
      return value === null || value === undefined ? "" : `${name}: ${value}`;
    })
    .filter(Boolean)
    .join(", ");

function choose(track) {
  chosen = track;
  panel.replaceChildren(element("h3", atlas.titles[track]), element("p", facts(track)), line(track, "this track"));
  panel.append(element("h3", "Nearest"));
  atlas.neighbours[track].forEach((other, rank) => panel.append(line(other, `${atlas.scores[track][rank].toFixed(2)}; ${facts(other)}`)));
  if (!atlas.clips[track]) panel.append(element("p", "No sound of this track is in the page."));
  showPlaying();
  draw();
}

function at(event, reach) {
  const box = board.getBoundingClientRect();
  let best = -1;
  let least = reach * reach;
  for (let track = 0; track < total; track += 1) {
    const [x, y] = place(track);
    const distance = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
    if (distance < least) [best, least] = [track, distance];
  }
  return best;
}
let drag = null;
board.addEventListener("pointerdown", (event) => {
  drag = { x: event.clientX, y: event.clientY, moved: false };
  board.setPointerCapture(event.pointerId);
});
board.addEventListener("pointermove", (event) => {
  if (!drag) {
    const track = at(event, 10);
    hint.textContent = track < 0 ? "" : atlas.titles[track];
    board.style.cursor = track < 0 ? "grab" : "pointer";
    return;
  }
  const half = (Math.min(board.clientWidth, board.clientHeight) / 2 - 14) * view.scale;
  if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4) drag.moved = true;
  if (!drag.moved) return;
  view.x -= (event.clientX - drag.x) / half;
  view.y += (event.clientY - drag.y) / half;
  Object.assign(drag, { x: event.clientX, y: event.clientY });
  draw();
});
board.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) {
    const track = at(event, 16);
    if (track >= 0) choose(track);
  }
  drag = null;
});
board.addEventListener("wheel", (event) => {
  event.preventDefault();
  view.scale = Math.min(60, Math.max(1, view.scale * Math.exp(-event.deltaY / 400)));
  if (view.scale === 1) Object.assign(view, { x: 0, y: 0 });
  draw();
}, { passive: false });
finder.addEventListener("change", () => {
  const track = atlas.titles.indexOf(finder.value);
  if (track >= 0) choose(track);
});
picker.addEventListener("change", () => colourBy(picker.value));
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
colourBy(picker.value);
