// Runs inside of gr.HTML. Its value: the addresses of the photograph and the
// paintings, what was drawn as a PNG, and by whom it was set: page or brush.
const PALETTE = COLOURS; // of all the paintings, then of each
const [STEP, KEPT] = [0.02, 40]; // of an arrow key; strokes to undo
const find = (name) => element.querySelector(`.brush-${name}`);
const [board, photograph, canvas, tip, width, words, colours, load] = [
  "board", "photograph", "canvas", "tip", "width", "words", "colours", "load",
].map(find);
const pen = canvas.getContext("2d", { willReadFrequently: true });
const rgba = PALETTE.map((colour) => [1, 3, 5].map(
  (k) => parseInt(colour.slice(k, k + 2), 16)).concat(255));
const NONE = [0, 0, 0, 0];
let labels = new Uint8Array(1); // of each pixel: 0 is none, 1 + whose
let before = []; // what undo goes back to
let label = 1; // of the brush; 0 erases
let drawing = false;
let place = [0, 0]; // of the brush, in the canvas's pixels
let waiting = ""; // what was drawn before this page was loaded

const colour = (one) => (one ? rgba[one - 1] : NONE);
const far = (data, k, one) => {
  const alpha = data[k + 3] / 255;
  return [0, 1, 2].reduce(
    (sum, j) => sum + Math.abs(alpha * data[k + j] - one[j]),
    Math.abs(data[k + 3] - one[3]));
};

function show() {
  const image = pen.createImageData(canvas.width, canvas.height);
  labels.forEach((one, k) => image.data.set(colour(one), 4 * k));
  pen.putImageData(image, 0, 0);
  const drawn = labels.some(Boolean) ? canvas.toDataURL() : "";
  props.value = { ...props.value, drawn, by: "brush" };
  find("save").href = drawn || "#";
}

function change(how) {
  before = [...before, labels.slice()].slice(-KEPT);
  labels = labels.map(how);
  show();
}

// What a stroke left on the canvas: each pixel is as it was, or the brush's.
function stroked() {
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  const own = colour(label);
  change((one, k) =>
    one === label || far(data, 4 * k, own) > far(data, 4 * k, colour(one))
      ? one : label);
}

function choose(one) {
  label = one;
  find("erase").setAttribute("aria-pressed", !one);
  [...colours.children].forEach((button) =>
    button.setAttribute("aria-pressed", Number(button.dataset.label) === one));
}

// Whose colours there are: of the only painting, or of all and of each.
function offer(paintings) {
  const given = [0, 1, 2, 3].filter((k) => paintings[k]);
  const whose = given.length > 1 ? [1, ...given.map((k) => k + 2)] : [1];
  colours.replaceChildren(...whose.map((one) => {
    const button = document.createElement("button");
    const name = one > 1 ? `Painting ${one - 1}` : "All paintings";
    button.type = "button";
    button.title = whose.length > 1 ? name : "Brush";
    button.dataset.label = one;
    button.textContent = whose.length > 1 ? (one > 1 ? one - 1 : "All") : "Brush";
    button.setAttribute("aria-label", button.title);
    button.style.setProperty("--own", PALETTE[one - 1]);
    button.onclick = () => choose(one);
    return button;
  }));
  if (label && !whose.includes(label)) label = whose[0];
  choose(label);
}

function begin(first) {
  const value = props.value || {};
  if (value.by === "brush" && first !== true) return;
  offer(value.paintings || []);
  const address = value.photograph || "";
  if (address && photograph.getAttribute("src") === address) return;
  // A drawing that comes with its photograph is one from before.
  waiting = photograph.getAttribute("src") ? "" : value.drawn || "";
  board.hidden = true;
  words.textContent = "Give a photograph, then draw over a part of it.";
  if (address) photograph.src = address;
  else photograph.removeAttribute("src");
}

photograph.onload = () => {
  canvas.width = photograph.naturalWidth; // this clears it
  canvas.height = photograph.naturalHeight;
  labels = new Uint8Array(canvas.width * canvas.height);
  before = [];
  place = [canvas.width / 2, canvas.height / 2];
  board.hidden = false;
  words.textContent =
    "Draw over what is to be painted; the rest stays the photograph.";
  if (waiting) read(waiting);
  else show();
  waiting = "";
};

// A drawing of ours, or any mask: black or nothing is none.
function read(address) {
  const image = new Image();
  image.onload = () => {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    const known = [NONE, ...rgba];
    change((_, k) => {
      const black = data[4 * k] + data[4 * k + 1] + data[4 * k + 2] < 150;
      if (black || data[4 * k + 3] < 128) return 0;
      const all = known.map((one) => far(data, 4 * k, one));
      return all.indexOf(Math.min(...all.slice(1)), 1);
    });
  };
  image.onerror = () => { words.textContent = "This file is no drawing."; };
  image.src = address;
}

const reach = () =>
  (width.value / 100) * Math.max(canvas.width, canvas.height);

function go(to) {
  const limits = [canvas.width, canvas.height];
  if (drawing) {
    pen.globalCompositeOperation = label ? "source-over" : "destination-out";
    pen.strokeStyle = label ? PALETTE[label - 1] : "black";
    pen.lineCap = "round";
    pen.lineWidth = reach();
    pen.beginPath();
    pen.moveTo(place[0], place[1] + 0.01); // so that a dot is a line, too
    pen.lineTo(...to);
    pen.stroke();
  }
  place = to;
  const share = (x, k) => `${(100 * x) / limits[k]}%`;
  [tip.style.left, tip.style.top] = to.map(share);
  tip.style.width = share(reach(), 0);
  tip.hidden = false;
}

function under(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width) * canvas.width,
    ((event.clientY - box.top) / box.height) * canvas.height,
  ];
}

function end() {
  if (drawing) stroked();
  drawing = false;
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || !event.isPrimary) return;
  canvas.setPointerCapture(event.pointerId);
  place = under(event);
  drawing = true;
  go(place);
});
canvas.addEventListener("pointermove", (event) => {
  if (event.isPrimary) go(under(event));
});
canvas.addEventListener("pointerup", end);
canvas.addEventListener("pointercancel", end);
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

const ARROWS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};
canvas.addEventListener("keydown", (event) => {
  if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
  const by = ARROWS[event.key] || (event.key === " " && [0, 0]);
  if (!by) return;
  event.preventDefault();
  const step = STEP * Math.max(canvas.width, canvas.height);
  if (event.key === " ") drawing = true;
  go([
    Math.min(canvas.width, Math.max(0, place[0] + step * by[0])),
    Math.min(canvas.height, Math.max(0, place[1] + step * by[1])),
  ]);
});
canvas.addEventListener("keyup", (event) => { if (event.key === " ") end(); });
canvas.addEventListener("focus", () => go(place));
canvas.addEventListener("blur", () => { end(); tip.hidden = true; });

function undo() {
  if (!before.length) return;
  labels = before.pop();
  show();
}
find("undo").onclick = undo;
find("erase").onclick = () => choose(0);
find("rest").onclick = () => change((one) => one || label || 1);
find("invert").onclick = () => change((one) => (one ? 0 : label || 1));
find("clear").onclick = () => change(() => 0);
load.querySelector("input").onchange = (event) => {
  const [file] = event.target.files;
  if (file) read(URL.createObjectURL(file));
  event.target.value = "";
};

watch("value", begin);
begin(true);
