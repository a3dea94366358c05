// Runs inside of gr.HTML, whose value is the address of the photograph, or
// what was drawn over it: white where it is painted, transparent elsewhere.
const MOST = 1024; // pixels, long side of what is drawn
const STEP = 0.02; // of an arrow key, of the long side
const find = (name) => element.querySelector(`.brush-${name}`);
const [board, photograph, canvas, tip, width, words] = [
  "board", "photograph", "canvas", "tip", "width", "words",
].map(find);
const pen = canvas.getContext("2d", { willReadFrequently: true });
let erasing = false;
let drawing = false;
let place = [0, 0]; // of the brush, in the canvas's pixels

function begin() {
  const address = props.value || "";
  if (address.startsWith("data:")) return;
  board.hidden = true;
  words.textContent = "Give a photograph, then draw over a part of it.";
  photograph.src = address;
}

photograph.onload = () => {
  const { naturalWidth: across, naturalHeight: down } = photograph;
  const scale = Math.min(1, MOST / Math.max(across, down));
  canvas.width = Math.round(across * scale); // this clears it
  canvas.height = Math.round(down * scale);
  place = [canvas.width / 2, canvas.height / 2];
  board.hidden = false;
  words.textContent =
    "Draw over what is to be painted; the rest stays the photograph.";
};
photograph.onerror = () => {
  if (props.value) words.textContent = "The browser cannot show this file.";
};

function keep() {
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  let drawn = false;
  for (let k = 3; k < data.length && !drawn; k += 4) drawn = data[k] > 0;
  props.value = drawn ? canvas.toDataURL() : photograph.src;
}

function reach() {
  return (width.value / 100) * Math.max(canvas.width, canvas.height);
}

function go(to) {
  const limits = [canvas.width, canvas.height];
  if (drawing) {
    pen.globalCompositeOperation = erasing ? "destination-out" : "source-over";
    pen.strokeStyle = "white";
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
  if (drawing) keep();
  drawing = false;
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  canvas.setPointerCapture(event.pointerId);
  place = under(event);
  drawing = true;
  go(place);
});
canvas.addEventListener("pointermove", (event) => go(under(event)));
canvas.addEventListener("pointerup", end);
canvas.addEventListener("pointercancel", end);
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

const ARROWS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};
canvas.addEventListener("keydown", (event) => {
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

function choose(eraser) {
  erasing = eraser;
  find("draw").setAttribute("aria-pressed", !eraser);
  find("erase").setAttribute("aria-pressed", eraser);
}
find("draw").onclick = () => choose(false);
find("erase").onclick = () => choose(true);
function fill(how) {
  pen.globalCompositeOperation = how;
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  if (!board.hidden) keep();
}
find("invert").onclick = () => fill("xor");
find("clear").onclick = () => fill("destination-out");

watch("value", begin);
begin();
