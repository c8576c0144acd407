/* The book's panels and quizzes. A classic script: it must run from a file on disk, where modules and requests do not.

   Every `.panel` holds a picture that is complete by itself and, as JSON, the data behind it (gatedrnn.panels); the
   script adds controls and redraws. A kind's function returns {get, set}: the panel's state as {key: text}, which stands
   in the address as #p=NAME:KEY=VALUE,... so that it can be linked to. */
(function () {
"use strict";

const { abs, ceil, floor, log10, max, min } = Math;
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const clamp = (v, low, high) => min(max(v, low), high);
const minus = (s) => s.replace(/-/g, "−");
const fixed = (v, digits = 2) => minus(v.toFixed(digits));
const escape = (s) => String(s).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const all = (root, selector) => [...root.querySelectorAll(selector)];
const slug = (s) => s.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

/** An HTML element with attributes (functions become listeners) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// ---- Drawing: the twins of gatedrnn.panels.markup ----

const power = (n) => "10" + String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+c]));

function number(v, top = 1e5) {
  if (v && !(abs(v) >= 1e-3 && abs(v) < top)) {
    const exponent = floor(log10(abs(v)) + 1e-9);
    const factor = String(+(v / 10 ** exponent).toPrecision(6));
    return minus(factor === "1" ? "" : factor + "·") + power(exponent);
  }
  return minus(String(+v.toPrecision(10)));
}

function phrase(template, values) {
  return template.replace(/\{([^{}:]+)(?::\.(\d+)([fe%]))?\}/g, (_, key, digits, kind) => {
    const v = values[key];
    if (v === null || v === undefined) return "–";
    if (digits === undefined) return typeof v === "string" ? v : number(v);
    if (kind === "f") return fixed(v, +digits);
    if (kind === "%") return minus((100 * v).toFixed(digits)) + " %";
    const [factor, exponent] = v.toExponential(digits).split("e");
    return minus(factor) + "·" + power(+exponent);
  });
}

function ticks(low, high, log) {
  const range = (a, b, step = 1) => Array.from({ length: max(0, floor((b - a) / step) + 1) }, (_, k) => a + k * step);
  if (log) {
    const first = ceil(log10(low) - 1e-9);
    const last = floor(log10(high) + 1e-9);
    if (last - first >= 2) return range(first, last, ceil((last - first) / 5)).map((k) => 10 ** k);
    const some = range(first - 1, last).flatMap((k) => [1, 2, 5].map((m) => m * 10 ** k));
    return some.filter((t) => low * (1 - 1e-9) <= t && t <= high * (1 + 1e-9));
  }
  const raw = (high - low) / 5;
  const size = 10 ** floor(log10(raw));
  const step = size * [1, 2, 5, 10].find((m) => m * size >= 0.75 * raw);
  return range(ceil(low / step - 1e-9), floor(high / step + 1e-9)).map((k) => k * step);
}

function place(axis, v) {
  const [low, high] = axis.log ? axis.lim.map(log10) : axis.lim;
  return (100 * ((axis.log ? log10(v) : v) - low)) / (high - low);
}

function limits(values, log) {
  const seen = values.filter((v) => v !== null && (v > 0 || !log)).map((v) => (log ? log10(v) : v));
  const [low, high] = seen.length ? [min(...seen), max(...seen)] : [0, 1];
  const pad = 0.05 * (high - low) || 0.5;
  return log ? [10 ** (low - pad), 10 ** (high + pad)] : [low - pad, high + pad];
}

const percent = (v) => v.toFixed(2) + "%";
const text = (x, y, words, anchor = "middle", dx = 0, dy = 0, more = "") =>
  `<text x="${x}" y="${y}" dx="${dx}" dy="${dy}" text-anchor="${anchor}"${more}>${escape(words)}</text>`;
const rule = (x1, y1, x2, y2, kind = "grid") =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="currentColor" ` +
  (kind === "grid" ? 'opacity="0.18"/>' : 'stroke-dasharray="5 4" opacity="0.75"/>');

const tick = (axis, v) => number(v, axis.log ? 1e3 : 1e5);

function xAxis(axis) {
  const labels = ticks(...axis.lim, axis.log).map((t) => text(percent(place(axis, t)), "100%", tick(axis, t), "middle", 0, 18));
  return rule("0", "100%", "100%", "100%") + labels.join("") + text("100%", "100%", axis.label, "end", 0, 38);
}

function yAxis(axis) {
  const lines = ticks(...axis.lim, axis.log).map((t) => {
    const y = percent(100 - place(axis, t));
    return rule("0", y, "100%", y) + text("0", y, tick(axis, t), "end", -8, 5);
  });
  return lines.join("") + text("0", "0", axis.label, "start", -46, -10);
}

function chart(spec, curves) {
  const [x, y] = ["x", "y"].map((key) => ({
    ...spec[key],
    lim: spec[key].lim || limits(curves.flatMap((c) => c[key]), spec[key].log),
  }));
  let out = xAxis(x) + yAxis(y);
  for (const [which, value, label] of spec.lines) {
    const at = percent(which === "y" ? 100 - place(y, value) : place(x, value));
    out += which === "y" ? rule("0", at, "100%", at, "mark") + text("100%", at, label, "end", 0, -6)
      : rule(at, "0", at, "100%", "mark") + text(at, "0", label, "start", 6, 12);
  }
  let dots = "";
  const paths = curves.map((curve, k) => {
    let d = "";
    let pen = "M";
    curve.x.forEach((a, j) => {
      const b = curve.y[j];
      if (a === null || b === null || (x.log && a <= 0) || (y.log && b <= 0)) {
        pen = "M";
        return;
      }
      const [left, down] = [place(x, a), 100 - place(y, b)];
      d += pen + (10 * left).toFixed(0) + " " + (10 * down).toFixed(0);
      pen = "L";
      if (spec.points || curve.dots) dots += `<circle cx="${percent(left)}" cy="${percent(down)}" r="4" fill="${curve.color}"/>`;
    });
    if (curve.dots) return "";
    const dash = DASHES[k % 4] && ` stroke-dasharray="${DASHES[k % 4]}"`;
    return `<path d="${d}" fill="none" stroke="${curve.color}" stroke-width="2.2" stroke-linejoin="round"` +
      ` vector-effect="non-scaling-stroke"${dash}/>`;
  });
  return out + `<svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none">${paths.join("")}</svg>` + dots;
}

function forest(spec, rows) {
  const seen = rows.flatMap((r) => [r.value, r.low, r.high, r.reference]).concat(spec.lines.map((l) => l[1]));
  const x = { ...spec.x, lim: spec.x.lim || limits(seen, spec.x.log) };
  const at = (v) => percent(place(x, v));
  let out = xAxis(x) + ticks(...x.lim, x.log).map((t) => rule(at(t), "0", at(t), "100%")).join("");
  for (const [, v, label] of spec.lines) out += rule(at(v), "0", at(v), "100%", "mark") + text(at(v), "0", label, "middle", 0, -4);
  rows.forEach((row, k) => {
    const y = percent((100 * (k + 0.5)) / rows.length);
    out += text("0", y, row.name, "end", -10, 5);
    if (row.value === null) {
      out += text("0", y, "no record", "start", 10, 5, ' opacity="0.6"');
      return;
    }
    if (row.low !== null) {
      out += `<line x1="${at(row.low)}" y1="${y}" x2="${at(row.high)}" y2="${y}" stroke="${row.color}" ` +
        'stroke-width="3" stroke-linecap="round"/>';
    }
    out += `<circle cx="${at(row.value)}" cy="${y}" r="6" fill="${row.color}"/>`;
    if (row.reference !== null) {
      out += `<svg x="${at(row.reference)}" y="${y}" overflow="visible"><path d="M0-7L6 0 0 7-6 0z" fill="none" ` +
        'stroke="currentColor" stroke-width="1.6"/></svg>';
    }
  });
  return out;
}

// ---- Parts that several kinds share ----

const button = (words, click, more) => make("button", { type: "button", click, ...more }, words);

/** A position that is dragged, clicked or moved by keys: a range without a look of its own, over a whole plot.
    With `turn`, the arrows up and down call it with -1 or 1, and the mark is as wide as one of the positions. */
function cursor(plot, count, label, move, turn) {
  const line = make("div", { class: turn ? "cursor wide" : "cursor", "aria-hidden": "true" });
  const input = make("input", {
    type: "range", min: 0, max: turn ? count - 1 : count, class: "cover", "aria-label": label, input: () => move(+input.value),
    keydown(event) {
      const delta = turn && { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!delta) return;
      event.preventDefault();
      turn(delta);
    },
  });
  if (turn) line.style.width = percent(100 / count);
  plot.append(line, input);
  const at = (position, words, value = position) => {
    line.style.left = percent((100 * position) / count);
    input.value = value;
    input.setAttribute("aria-valuetext", words);
  };
  return { line, input, at };
}

/** Buttons of which one is pressed. */
function choices(labels, legend, choose) {
  const buttons = labels.map((label, k) => button(label, () => choose(k)));
  const group = make("div", { class: "choices", role: "group", "aria-label": legend }, ...buttons);
  const show = (k) => buttons.forEach((b, j) => b.setAttribute("aria-pressed", j === k));
  return { group, buttons, show };
}

// ---- The kinds ----

const kinds = {};

kinds.listen = function ({ panel, readout, bar, changed }, data) {
  const voices = all(panel, ".voice");
  const players = voices.map((voice) => voice.querySelector("audio"));
  const plots = voices.map((voice) => voice.querySelector(".plot"));
  const letters = "ABCDEFGH";
  const blind = data.answer !== null;
  let guess = null;
  let current = 0;
  let wanted = null; // a position to start from, until the sound is there
  const masked = () => blind && guess === null;
  const named = (k) => (masked() ? "Voice " + letters[k] : data.voices[k]);
  const time = () => wanted ?? players[current].currentTime;

  const play = button("", () => (players[current].paused ? start() : players[current].pause()), { class: "play" });
  const clock = make("span", { class: "clock" });
  const tabs = choices(data.voices, "Voice", (k) => { select(k); changed(); });
  const ask = button("", () => { reveal(current); changed(); }, { class: "guess", hidden: !blind });
  bar(play, clock, tabs.group, ask);
  const steps = Math.round(data.span / data.step);
  const { line, input, at } = cursor(plots[0], steps, "Position", (t) => { seek(t * data.step); changed(); });
  input.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      event.preventDefault();
      play.click();
    }
  });

  function seek(seconds) {
    const player = players[current];
    seconds = clamp(seconds, 0, data.seconds[current]);
    wanted = player.readyState ? null : seconds;
    if (player.readyState) player.currentTime = seconds;
    show(seconds);
  }
  function start() {
    if (time() >= data.seconds[current] - 0.05) seek(0);
    players[current].play().catch(() => { readout.textContent = "This sound cannot be played here."; });
  }
  function show(seconds) {
    clock.textContent = fixed(seconds, 1) + " / " + fixed(data.seconds[current], 1) + " s";
    const step = clamp(floor(seconds / data.step + 1e-6), 0, steps);
    const words = data.counts === "step" ? `step ${min(step + 1, steps)} of ${steps}` : fixed(seconds, 1) + " seconds";
    at(clamp(seconds / data.step, 0, steps), words, step);
  }
  function select(k) {
    const [seconds, playing] = [time(), !players[current].paused];
    players[current].pause();
    current = k;
    voices.forEach((voice, j) => voice.classList.toggle("on", j === k));
    plots[k].append(line, input);
    tabs.show(k);
    seek(seconds);
    if (playing) start();
  }
  function frame() {
    show(time());
    if (!players[current].paused) requestAnimationFrame(frame);
  }
  players.forEach((player, k) => {
    player.addEventListener("loadedmetadata", () => {
      if (k === current && wanted !== null) seek(wanted);
    });
    for (const event of ["play", "pause", "ended"]) {
      player.addEventListener(event, () => {
        if (k !== current) return;
        label();
        frame();
      });
    }
  });

  function label() {
    const { paused } = players[current];
    play.classList.toggle("playing", !paused);
    play.setAttribute("aria-label", (paused ? "Play " : "Pause ") + named(current));
    voices.forEach((voice, k) => {
      tabs.buttons[k].textContent = named(k);
      voice.classList.toggle("masked", masked());
      plots[k].querySelector("svg").setAttribute("aria-hidden", masked());
    });
  }
  function reveal(k) {
    guess = k;
    const it = data.voices[data.answer];
    readout.textContent = (k === data.answer ? `Yes, this is ${it}. ` : `No: this is ${data.voices[k]}. ${it} is ${letters[data.answer]}. `) +
      data.voices.map((voice, j) => `${letters[j]}: ${voice}`).join(", ") + ".";
    ask.hidden = true;
    label();
  }
  if (blind) {
    ask.textContent = `This one is ${data.voices[data.answer]}`;
    readout.textContent = "Listen to all of them, then decide.";
  }
  select(0);
  label();
  return {
    get: () => ({ voice: `${current}`, t: time().toFixed(1), ...(guess === null ? {} : { guess: `${guess}` }) }),
    set(state) {
      if (blind && state.guess in data.voices) reveal(+state.guess);
      if (state.voice in data.voices) select(+state.voice);
      if (+state.t >= 0) seek(+state.t);
      label();
    },
  };
};

kinds.slider = function (ui, data) {
  const flat = (at) => at.reduce((k, i, j) => k * data.controls[j].options.length + i, 0);
  function show(at) {
    const words = {};
    data.controls.forEach((control, j) => (words[control.label] = control.options[at[j]]));
    let spec = data.chart;
    let curves = data.curves;
    if (data.model) {
      const [c, h] = latch(data.model, words.f, words.i, words.o);
      curves = data.curves.map((curve, k) => ({ ...curve, y: [c, h, data.model.offers][k] }));
      const top = 1.1 * max(1, ...c.map(abs));
      spec = { ...spec, y: { ...spec.y, lim: [-top, top] } };
      words.c = c[c.length - 1];
    } else {
      const k = flat(at);
      curves = data.curves.map((curve) => ({ ...curve, x: Array.isArray(curve.x[0]) ? curve.x[k] : curve.x, y: curve.y[k] }));
      for (const key in data.values) words[key] = data.values[key][k];
    }
    ui.svg.innerHTML = chart(spec, curves);
    ui.readout.textContent = phrase(data.readout, words);
  }
  return menus(ui, data, show);
};

function latch(model, f, i, o) {
  let c = 0;
  const memory = model.offers.map((offer, t) => (c = model.write.includes(t) ? offer : f * c + i * offer));
  return [memory, memory.map((v, t) => (model.show.includes(t) ? 1 : o) * Math.tanh(v))];
}

kinds.explorer = function (ui, data) {
  return menus(ui, data, (at) => {
    const found = {};
    for (const row of data.cells) if (at.every((i, k) => row[k] === i)) found[row[at.length]] = row.slice(at.length + 1);
    const rows = data.categories.map((name, k) => {
      const [value, low, high, reference] = found[k] || [null, null, null, null];
      return { name, color: data.colors[k], value, low, high, reference };
    });
    const base = data.baseline === null ? null : rows[data.baseline].value;
    ui.svg.innerHTML = forest({ ...data.chart, lines: base === null ? [] : [["x", base, ""]] }, rows);
    const there = rows.filter((row) => row.value !== null);
    const say = (v) => fixed(v, data.digits);
    const words = there.map((row) => `${row.name}: ${say(row.value)}` + (row.low === null ? "" : ` (${say(row.low)} to ${say(row.high)})`));
    let sentence = words.join("; ") || "no record";
    if (data.best && there.length) {
      const sign = data.best === "lowest" ? 1 : -1;
      const winner = there.reduce((a, b) => (sign * b.value < sign * a.value ? b : a));
      sentence += `. ${data.best[0].toUpperCase()}${data.best.slice(1)}: ${winner.name}.`;
    }
    ui.readout.textContent = sentence;
  });
};

/** Sliders for numbers, menus for words; show(places) is called when one is moved. Returns {get, set}. */
function menus({ panel, bar, changed }, data, show) {
  const at = [...data.start];
  const controls = data.controls.map((control, j) => {
    const key = slug(control.label);
    const id = `${panel.id}-${key}-${j}`;
    const words = control.options.map((option) => (typeof option === "string" ? option : number(option)));
    const output = make("output", { for: id });
    const input = control.menu
      ? make("select", { id }, ...words.map((word, k) => make("option", { value: k }, word)))
      : make("input", { id, type: "range", min: 0, max: words.length - 1 });
    input.addEventListener("input", () => { at[j] = +input.value; label(); show(at); changed(); });
    function label() {
      input.value = at[j];
      output.textContent = words[at[j]];
      if (!control.menu) input.setAttribute("aria-valuetext", words[at[j]]);
    }
    label();
    return { key, words, label, row: make("div", { class: "control" }, make("label", { for: id }, control.label), input, output) };
  });
  bar(...controls.map((c) => c.row));
  return {
    get: () => Object.fromEntries(controls.map((c, j) => [c.key, c.words[at[j]]])),
    set(state) {
      controls.forEach((c, j) => {
        const k = c.words.indexOf(state[c.key]);
        if (k >= 0) at[j] = k;
        c.label();
      });
      show(at);
    },
  };
}

kinds.stepper = function ({ panel, plot, readout, bar, changed }, data) {
  const strips = all(panel, ".strip");
  const lines = all(panel, ".eq .numbers");
  const diagram = panel.querySelector(".cell-diagram"); // its own style lights lit-<part>
  const symbols = all(panel, ".eq .symbolic").map((formula) => formula.innerHTML.split(" =")[0]);
  let [unit, step, part] = [0, data.start, data.parts.indexOf(data.part)];
  const moved = (act) => { act(); show(); changed(); };

  const arrow = (name, words, delta) => button(words, () => moved(() => go(delta)), { "aria-label": name });
  const tabs = choices(symbols, "Part", (k) => moved(() => { part = k; }));
  tabs.buttons.forEach((b, k) => { b.innerHTML = symbols[k]; });
  const select = make("select", { "aria-label": "Hidden unit", class: "unit", input: () => moved(() => { unit = +select.value; draw(); }) },
    ...data.units.map((name, k) => make("option", { value: k }, name)));
  bar(arrow("Previous part", "◀", -1), tabs.group, arrow("Next part", "▶", 1), ...(data.units.length > 1 ? [select] : []));
  const { at } = cursor(plot, data.steps, "Step", (t) => moved(() => { step = t; }), (delta) => moved(() => go(delta)));

  /** On by one part; after the last the next step begins with the first. */
  function go(delta) {
    const n = data.parts.length;
    const k = clamp(step * n + part + delta, 0, data.steps * n - 1);
    [step, part] = [floor(k / n), k % n];
  }
  function draw() {
    strips.forEach((strip) => {
      const { part: name } = strip.dataset;
      const scale = 100 / (data.high[name] - data.low[name]);
      const d = data.series[name][unit].map((v, t) => ` ${(scale * (data.high[name] - v)).toFixed(1)}H${t + 1}V`).join("");
      strip.querySelector("path").setAttribute("d", ("M0" + d).slice(0, -1));
    });
  }
  function show() {
    const name = data.parts[part];
    [...strips, ...all(panel, ".eq")].forEach((element) => element.classList.toggle("lit", element.classList.contains("part-" + name)));
    if (diagram) data.parts.forEach((key) => diagram.classList.toggle("lit-" + key, key === name));
    strips.forEach((strip) => {
      strip.querySelector("text:last-of-type").textContent = fixed(data.series[strip.dataset.part][unit][step]);
    });
    data.parts.forEach((key, k) => (lines[k].textContent = withNumbers(data, key, unit, step)));
    const words = `tep ${step + 1} of ${data.steps}`;
    at(step, "s" + words);
    tabs.show(part);
    readout.innerHTML = `S${words}, ${escape(data.units[unit])}: ${symbols[part]} = ` + fixed(data.series[name][unit][step]);
  }
  if (diagram) diagram.classList.add("lit");
  show();
  return {
    get: () => ({ step: `${step + 1}`, part: data.parts[part], unit: data.units[unit].split(" ")[1] }),
    set(state) {
      step = clamp((parseInt(state.step, 10) || step + 1) - 1, 0, data.steps - 1);
      part = max(0, data.parts.indexOf(state.part || data.parts[part]));
      unit = max(0, data.units.indexOf("unit " + state.unit));
      select.value = unit;
      draw();
      show();
    },
  };
};

function withNumbers(data, part, unit, step) {
  const filled = data.numbers[part].replace(/\{([^{}]+)\}/g, (_, key) => {
    if (!key.endsWith("-")) return fixed(data.series[key][unit][step]);
    return fixed(step ? data.series[key.slice(0, -1)][unit][step - 1] : 0);
  });
  return filled.replace(/\+ −/g, "− ").replace(/· (−[\d.]+)/g, "· ($1)");
}

kinds.gates = function ({ panel, plot, readout, changed }, data) {
  const images = all(panel, "image");
  const rows = data.order.length;
  const { steps, tops, tall } = data;
  let values = null; // part -> bytes of its picture, once unpacked
  let [step, row] = [0, 0];
  const moved = (act) => { act(); show(); changed(); };
  const { input, at } = cursor(plot, steps, "Step, and with the arrows up and down the hidden unit", (t) => moved(() => { step = t; }),
    (delta) => moved(() => { row = clamp(row + delta, 0, rows - 1); }));
  const marks = tops.map(() => plot.appendChild(make("div", { class: "row", "aria-hidden": "true", style: `height:${tall / rows}px` })));
  for (const event of ["pointermove", "pointerdown"]) input.addEventListener(event, point);
  function point(event) {
    const box = plot.getBoundingClientRect();
    const y = event.clientY - box.top;
    step = clamp(floor(((event.clientX - box.left) / box.width) * steps), 0, steps - 1);
    const top = tops.find((top) => y >= top && y < top + tall);
    if (top !== undefined) row = clamp(floor(((y - top) / tall) * rows), 0, rows - 1);
    show();
  }
  function show() {
    marks.forEach((mark, k) => (mark.style.top = tops[k] + (row * tall) / rows + "px"));
    const words = [`step ${step + 1}, unit ${data.order[row]}`];
    if (values) data.letters.forEach((letter, k) => words.push(`${letter} = ${fixed(values[k][row][step])}`));
    if (data.tau) words.push(`time constant ${number(+data.tau[row].toPrecision(3))} steps`);
    readout.textContent = words.join("; ");
    at(step, readout.textContent);
  }
  show();
  Promise.all(images.map((image) => unpack(image.getAttribute("href"), +image.dataset.scale, steps))).then((read) => {
    values = read;
    panel.dataset.ready = "true";
    show();
  });
  return {
    get: () => ({ step: `${step + 1}`, unit: `${data.order[row]}` }),
    set(state) {
      step = clamp((parseInt(state.step, 10) || 1) - 1, 0, steps - 1);
      row = max(0, data.order.indexOf(+state.unit));
      show();
    },
  };
};

/** The numbers in a picture of markup.heat_map: its palette has a place for each of the values -1, -0.99, ..., 1. */
async function unpack(url, scale, width) {
  const bytes = Uint8Array.from(atob(url.split(",")[1]), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let at = 8; // behind the signature: pieces of length, kind, body, checksum; wanted is IDAT
  while (view.getUint32(at + 4) !== 0x49444154) at += view.getUint32(at) + 12;
  const body = new Blob([bytes.subarray(at + 8, at + 8 + view.getUint32(at))]);
  const raw = [...new Uint8Array(await new Response(body.stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer())];
  const rows = [];
  for (let k = 1; k < raw.length; k += width + 1) rows.push(raw.slice(k, k + width).map((v) => scale * (v / 100 - 1)));
  return rows;
}

// ---- Quiz: made by book/_ext/quiz.py; without this script all explanations are open ----

function startQuizzes() {
  const quizzes = all(document, ".quiz");
  const key = "quiz " + location.pathname;
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* the page may not keep anything */ }
  const bars = [];

  function keep() {
    try { localStorage.setItem(key, JSON.stringify(kept)); } catch { /* as above */ }
    const done = quizzes.map((quiz) => kept[quiz.id]).filter(Boolean);
    const words = `${done.length} of ${quizzes.length} answered on this page, ${done.filter((state) => state.first).length} right at once`;
    bars.forEach((bar) => (bar.textContent = words));
  }

  quizzes.forEach((quiz) => {
    const { id, classList, dataset } = quiz;
    const options = all(quiz, ".quiz-choice");
    const right = options.map((option) => option.classList.contains("right"));
    const several = right.filter(Boolean).length > 1;
    const verdict = make("p", { class: "quiz-verdict", "aria-live": "polite" });
    const again = button("Again", () => { delete kept[id]; show(); keep(); inputs[0].focus(); });
    const check = button("Check", answer);
    const progress = make("span", { class: "quiz-progress" });
    const question = quiz.querySelector(".quiz-question");
    question.id ||= id + "-question";
    quiz.setAttribute("role", several ? "group" : "radiogroup");
    quiz.setAttribute("aria-labelledby", question.id);
    classList.add("live");
    const inputs = options.map((option, k) => {
      const box = option.querySelector(".quiz-text");
      box.id = `${id}-${k}`;
      const change = () => (several ? (check.disabled = false) : answer());
      const input = make("input", { type: several ? "checkbox" : "radio", name: id, "aria-labelledby": box.id, change });
      box.before(input);
      box.addEventListener("click", (event) => { if (!event.target.closest("a")) input.click(); });
      return input;
    });
    quiz.append(verdict, make("div", { class: "quiz-bar" }, ...(several ? [check] : []), again, progress));
    bars.push(progress);

    function answer() {
      const chosen = inputs.flatMap((input, k) => (input.checked ? [k] : []));
      if (!chosen.length) return;
      const good = right.every((r, k) => r === inputs[k].checked);
      kept[id] = { chosen, good, first: kept[id] ? kept[id].first : good };
      show();
      keep();
    }
    function show() {
      const { chosen = [], good } = kept[id] || {};
      inputs.forEach((input, k) => {
        input.checked = chosen.includes(k);
        // why a choice is wrong is told once it is chosen; when the answer is found, or was to be complete, everything
        options[k].classList.toggle("told", chosen.length > 0 && (input.checked || good || several));
        options[k].classList.toggle("chosen", input.checked);
      });
      again.hidden = check.disabled = !chosen.length;
      verdict.textContent = again.hidden ? "" : good ? "Right." : several ? "Not quite: see each choice." : "Not this one: choose again.";
      dataset.state = again.hidden ? "open" : good ? "right" : "wrong";
    }
    show();
  });
  if (quizzes.length) keep();
}

// ---- The page ----

function start() {
  const apis = {};
  let waiting = null;
  all(document, ".panel[data-panel]").forEach((panel) => {
    const data = JSON.parse(panel.querySelector('script[type="application/json"]').textContent);
    const changed = () => {
      clearTimeout(waiting); // browsers limit how often an address may change
      waiting = setTimeout(() => history.replaceState(null, "", address(panel.id)), 150);
    };
    const find = (selector) => panel.querySelector(selector);
    const bar = (...controls) => find(".panel-body").before(make("div", { class: "panel-controls" }, ...controls));
    const ui = { panel, plot: find(".plot"), svg: find(".plot svg"), readout: find(".panel-readout"), bar, changed };
    apis[panel.id] = kinds[panel.dataset.panel](ui, data);
    panel.classList.add("live");
  });

  const address = (id) => `#p=${id}:` + Object.entries(apis[id].get()).map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
  function restore() {
    const [, id, words] = location.hash.match(/^#p=([a-z0-9-]+):(.*)$/) || [];
    if (!apis[id]) return;
    const state = {};
    for (const pair of words.split(",")) {
      const [key, value = ""] = pair.split("=");
      try { state[key] = decodeURIComponent(value); } catch { /* a broken link: what is left of it holds */ }
    }
    apis[id].set(state);
    document.getElementById(id).scrollIntoView();
  }
  document.addEventListener("play", (event) => { // one sound at a time
    all(document, "audio").forEach((audio) => audio !== event.target && audio.pause());
  }, true);
  startQuizzes();
  restore();
  window.addEventListener("hashchange", restore);
  window.panels = { apis, latch, number, phrase, place, ticks }; // for tests
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
})();
