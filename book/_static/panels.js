/* The book's panels and quizzes. A classic script: it must run from a file on disk, where modules and requests do not.

   Every `.panel` holds a picture that is complete by itself and, as JSON, the data behind it (gatedrnn.panels); the
   script adds controls and redraws. A kind's function returns {get, set}: the panel's state as {key: text}, which stands
   in the address as #p=NAME:KEY=VALUE,... so that it can be linked to. */
(function () {
"use strict";

const ALL = 'width="100%" height="100%"';
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const minus = (s) => s.replace(/-/g, "−");
const fixed = (v, digits = 2) => minus(v.toFixed(digits));
const escape = (s) => String(s).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const slug = (s) => s.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

/** An HTML element with attributes (functions become listeners) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

// ---- Drawing: the twins of gatedrnn.panels.markup ----

function superscript(n) {
  return String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+c]));
}

function number(v, top = 1e5) {
  if (v && !(Math.abs(v) >= 1e-3 && Math.abs(v) < top)) {
    const exponent = Math.floor(Math.log10(Math.abs(v)) + 1e-9);
    const factor = String(+(v / 10 ** exponent).toPrecision(6));
    return minus(factor === "1" ? "" : factor + "·") + "10" + superscript(exponent);
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
    return minus(factor) + "·10" + superscript(+exponent);
  });
}

function ticks(low, high, log) {
  const range = (a, b, step = 1) => Array.from({ length: Math.max(0, Math.floor((b - a) / step) + 1) }, (_, k) => a + k * step);
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const last = Math.floor(Math.log10(high) + 1e-9);
    if (last - first >= 2) return range(first, last, Math.ceil((last - first) / 5)).map((k) => 10 ** k);
    const some = range(first - 1, last).flatMap((k) => [1, 2, 5].map((m) => m * 10 ** k));
    return some.filter((t) => low * (1 - 1e-9) <= t && t <= high * (1 + 1e-9));
  }
  const raw = (high - low) / 5;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = size * [1, 2, 5, 10].find((m) => m * size >= 0.75 * raw);
  return range(Math.ceil(low / step - 1e-9), Math.floor(high / step + 1e-9)).map((k) => k * step);
}

function place(axis, v) {
  const [low, high] = axis.log ? axis.lim.map(Math.log10) : axis.lim;
  return (100 * ((axis.log ? Math.log10(v) : v) - low)) / (high - low);
}

function limits(values, log) {
  const seen = values.filter((v) => v !== null && (v > 0 || !log)).map((v) => (log ? Math.log10(v) : v));
  let low = seen.reduce((a, b) => Math.min(a, b), Infinity);
  let high = seen.reduce((a, b) => Math.max(a, b), -Infinity);
  if (low > high) [low, high] = [0, 1];
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
  return out + `<svg ${ALL} viewBox="0 0 1000 1000" preserveAspectRatio="none">${paths.join("")}</svg>` + dots;
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

/** A position that is dragged, clicked or moved by keys: a range without a look of its own, over a whole plot. */
function cursor(plot, count, label, move) {
  const line = make("div", { class: "cursor", "aria-hidden": "true" });
  const input = make("input", {
    type: "range", min: 0, max: count, step: 1, value: 0, class: "cover", "aria-label": label, input: () => move(+input.value),
  });
  plot.append(line, input);
  return { line, input };
}

/** Buttons of which one is pressed. */
function choices(labels, legend, choose) {
  const buttons = labels.map((label, k) => make("button", { type: "button", click: () => choose(k) }, label));
  const group = make("div", { class: "choices", role: "group", "aria-label": legend }, ...buttons);
  const show = (k) => buttons.forEach((b, j) => b.setAttribute("aria-pressed", String(j === k)));
  return { group, buttons, show };
}

// ---- The kinds ----

const kinds = {};

kinds.listen = function (panel, data, changed) {
  const voices = [...panel.querySelectorAll(".voice")];
  const players = voices.map((voice) => voice.querySelector("audio"));
  const plots = voices.map((voice) => voice.querySelector(".plot"));
  const readout = panel.querySelector(".panel-readout");
  const blind = data.answer !== null;
  let guess = null;
  let current = 0;
  let wanted = null; // a position to start from, until the sound is there
  const named = (k) => (blind && guess === null ? "Voice " + "ABCDEFGH"[k] : data.voices[k]);
  const time = () => (wanted === null ? players[current].currentTime : wanted);

  const play = make("button", { type: "button", class: "play", click: () => (players[current].paused ? start() : players[current].pause()) });
  const clock = make("span", { class: "clock" });
  const tabs = choices(data.voices.map((_, k) => named(k)), "Voice", (k) => { select(k); changed(); });
  const bar = make("div", { class: "panel-controls" }, play, clock, tabs.group);
  panel.querySelector(".panel-body").before(bar);
  const steps = Math.round(data.span / data.step);
  const { line, input } = cursor(plots[0], steps, "Position", (t) => { seek(t * data.step); changed(); });
  input.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      event.preventDefault();
      play.click();
    }
  });

  function seek(seconds) {
    const player = players[current];
    seconds = clamp(seconds, 0, data.seconds[current]);
    if (player.readyState) {
      wanted = null;
      player.currentTime = seconds;
    } else wanted = seconds;
    show(seconds);
  }
  function start() {
    const player = players[current];
    if (time() >= data.seconds[current] - 0.05) seek(0);
    player.play().catch(() => { readout.textContent = "This sound cannot be played here."; });
  }
  function show(seconds) {
    const share = clamp(seconds / data.span, 0, 1);
    line.style.left = percent(100 * share);
    clock.textContent = fixed(seconds, 1) + " / " + fixed(data.seconds[current], 1) + " s";
    const step = clamp(Math.floor(seconds / data.step + 1e-6), 0, steps);
    input.value = step;
    input.setAttribute("aria-valuetext", data.counts === "step" ? `step ${Math.min(step + 1, steps)} of ${steps}` : fixed(seconds, 1) + " seconds");
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
        play.classList.toggle("playing", !player.paused);
        play.setAttribute("aria-label", (player.paused ? "Play " : "Pause ") + named(k));
        frame();
      });
    }
  });

  function label() {
    tabs.buttons.forEach((button, k) => (button.textContent = named(k)));
    play.setAttribute("aria-label", "Play " + named(current));
    voices.forEach((voice, k) => {
      voice.classList.toggle("masked", blind && guess === null);
      plots[k].querySelector("svg").setAttribute("aria-hidden", String(blind && guess === null));
    });
  }
  function reveal(k) {
    guess = k;
    const right = k === data.answer;
    const [it, mine] = [data.voices[data.answer], data.voices[k]];
    readout.textContent = (right ? `Yes, this is ${it}. ` : `No: this is ${mine}. ${it} is ${"ABCDEFGH"[data.answer]}. `) +
      data.voices.map((voice, j) => `${"ABCDEFGH"[j]}: ${voice}`).join(", ") + ".";
    ask.hidden = true;
    label();
  }
  const ask = make("button", { type: "button", class: "guess", click: () => { reveal(current); changed(); } });
  if (blind) {
    ask.textContent = `This one is ${data.voices[data.answer]}`;
    bar.append(ask);
    readout.textContent = "Listen to all of them, then decide.";
  }
  label();
  select(0);
  return {
    get: () => ({ voice: String(current), t: time().toFixed(1), ...(guess === null ? {} : { guess: String(guess) }) }),
    set(state) {
      if (blind && state.guess in data.voices) reveal(+state.guess);
      if (state.voice in data.voices) select(+state.voice);
      if (+state.t >= 0) seek(+state.t);
    },
  };
};

kinds.slider = function (panel, data, changed) {
  const svg = panel.querySelector(".plot svg");
  const readout = panel.querySelector(".panel-readout");
  const controls = menus(panel, data, (at) => { show(at); changed(); });
  const flat = (at) => at.reduce((k, i, j) => k * data.controls[j].options.length + i, 0);

  function show(at) {
    const words = {};
    data.controls.forEach((control, j) => (words[control.label] = control.options[at[j]]));
    let spec = data.chart;
    let curves = data.curves;
    if (data.model) {
      const [c, h] = latch(data.model, words.f, words.i, words.o);
      curves = data.curves.map((curve, k) => ({ ...curve, y: [c, h, data.model.offers][k] }));
      const top = 1.1 * c.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
      spec = { ...spec, y: { ...spec.y, lim: [-top, top] } };
      words.c = c[c.length - 1];
    } else {
      const k = flat(at);
      curves = data.curves.map((curve) => ({ ...curve, x: Array.isArray(curve.x[0]) ? curve.x[k] : curve.x, y: curve.y[k] }));
      for (const key in data.values) words[key] = data.values[key][k];
    }
    svg.innerHTML = chart(spec, curves);
    readout.textContent = phrase(data.readout, words);
  }
  return controls;
};

function latch(model, f, i, o) {
  let c = 0;
  const memory = model.offers.map((offer, t) => (c = model.write.includes(t) ? offer : f * c + i * offer));
  return [memory, memory.map((v, t) => (model.show.includes(t) ? 1 : o) * Math.tanh(v))];
}

kinds.explorer = function (panel, data, changed) {
  const svg = panel.querySelector(".plot svg");
  const readout = panel.querySelector(".panel-readout");
  return menus(panel, data, (at) => {
    const found = {};
    for (const row of data.cells) if (at.every((i, k) => row[k] === i)) found[row[at.length]] = row.slice(at.length + 1);
    const rows = data.categories.map((name, k) => {
      const [value, low, high, reference] = found[k] || [null, null, null, null];
      return { name, color: data.colors[k], value, low, high, reference };
    });
    const base = data.baseline === null ? null : rows[data.baseline].value;
    svg.innerHTML = forest({ ...data.chart, lines: base === null ? [] : [["x", base, ""]] }, rows);
    const there = rows.filter((row) => row.value !== null);
    const digits = data.digits;
    const words = there.map((row) => `${row.name}: ${fixed(row.value, digits)}` +
      (row.low === null ? "" : ` (${fixed(row.low, digits)} to ${fixed(row.high, digits)})`));
    let sentence = words.join("; ") || "no record";
    if (data.best && there.length) {
      const sign = data.best === "lowest" ? 1 : -1;
      const winner = there.reduce((a, b) => (sign * b.value < sign * a.value ? b : a));
      sentence += `. ${data.best[0].toUpperCase()}${data.best.slice(1)}: ${winner.name}.`;
    }
    readout.textContent = sentence;
    changed();
  });
};

/** Sliders for numbers, menus for words; show(places) is called when one is moved. Returns {get, set}. */
function menus(panel, data, show) {
  const at = [...data.start];
  const controls = data.controls.map((control, j) => {
    const id = `${panel.id}-${slug(control.label)}-${j}`;
    const words = control.options.map((option) => (typeof option === "string" ? option : number(option)));
    const output = make("output", { for: id });
    const input = control.menu
      ? make("select", { id }, ...words.map((word, k) => make("option", { value: k }, word)))
      : make("input", { id, type: "range", min: 0, max: words.length - 1, step: 1 });
    input.addEventListener("input", () => { at[j] = +input.value; label(); show(at); });
    function label() {
      input.value = at[j];
      if (!control.menu) {
        output.textContent = words[at[j]];
        input.setAttribute("aria-valuetext", words[at[j]]);
      }
    }
    label();
    return { key: slug(control.label), words, label, row: make("div", { class: "control" }, make("label", { for: id }, control.label), input, output) };
  });
  panel.querySelector(".panel-body").before(make("div", { class: "panel-controls" }, ...controls.map((c) => c.row)));
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

kinds.stepper = function (panel, data, changed) {
  const plot = panel.querySelector(".plot");
  const strips = [...panel.querySelectorAll(".strip")];
  const readout = panel.querySelector(".panel-readout");
  const lines = [...panel.querySelectorAll(".eq .numbers")];
  const parted = [...panel.querySelectorAll(".eq, .strip")];
  const diagram = panel.querySelector(".cell-diagram"); // its own style lights lit-<part>
  const symbols = data.parts.map((_, k) => panel.querySelectorAll(".eq .symbolic")[k].innerHTML.split(" =")[0]);
  let [unit, step, part] = [0, data.start, data.parts.indexOf(data.part)];

  const button = (label, words, delta) => make("button", { type: "button", "aria-label": label, click: () => { go(delta); changed(); } }, words);
  const tabs = choices(data.parts.map(() => ""), "Part", (k) => { part = k; show(); changed(); });
  tabs.buttons.forEach((b, k) => { b.innerHTML = symbols[k]; });
  const bar = make("div", { class: "panel-controls" }, button("Previous part", "◀", -1), tabs.group, button("Next part", "▶", 1));
  if (data.units.length > 1) {
    const select = make("select", { "aria-label": "Hidden unit", class: "unit", input: () => { unit = +select.value; draw(); changed(); } },
      ...data.units.map((name, k) => make("option", { value: k }, name)));
    bar.append(select);
  }
  panel.querySelector(".panel-body").before(bar);
  const { line, input } = cursor(plot, data.steps - 1, "Step", (t) => { step = t; show(); changed(); });
  line.classList.add("wide");
  line.style.width = percent(100 / data.steps);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      event.preventDefault();
      go(event.key === "ArrowUp" ? -1 : 1);
      changed();
    }
  });

  /** On by one part; after the last the next step begins with the first. */
  function go(delta) {
    const n = data.parts.length;
    const k = clamp(step * n + part + delta, 0, data.steps * n - 1);
    [step, part] = [Math.floor(k / n), k % n];
    show();
  }
  function draw() {
    strips.forEach((strip) => {
      const { part: name } = strip.dataset;
      const scale = 100 / (data.high[name] - data.low[name]);
      const d = data.series[name][unit].map((v, t) => ` ${(scale * (data.high[name] - v)).toFixed(1)}H${t + 1}V`).join("");
      strip.querySelector("path").setAttribute("d", ("M0" + d).slice(0, -1));
    });
    show();
  }
  function show() {
    const name = data.parts[part];
    parted.forEach((element) => element.classList.toggle("lit", element.classList.contains("part-" + name)));
    if (diagram) data.parts.forEach((key) => diagram.classList.toggle("lit-" + key, key === name));
    strips.forEach((strip) => {
      strip.querySelector("text:last-of-type").textContent = fixed(data.series[strip.dataset.part][unit][step]);
    });
    data.parts.forEach((key, k) => (lines[k].textContent = withNumbers(data, key, unit, step)));
    line.style.left = percent((100 * step) / data.steps);
    input.value = step;
    input.setAttribute("aria-valuetext", `step ${step + 1} of ${data.steps}`);
    tabs.show(part);
    readout.innerHTML = `Step ${step + 1} of ${data.steps}, ${escape(data.units[unit])}: ${symbols[part]} = ` +
      fixed(data.series[name][unit][step]);
  }
  if (diagram) diagram.classList.add("lit");
  show();
  return {
    get: () => ({ step: String(step + 1), part: data.parts[part], unit: data.units[unit].split(" ")[1] }),
    set(state) {
      step = clamp((parseInt(state.step, 10) || step + 1) - 1, 0, data.steps - 1);
      part = Math.max(0, data.parts.indexOf(state.part || data.parts[part]));
      unit = Math.max(0, data.units.indexOf("unit " + state.unit));
      const select = panel.querySelector("select.unit");
      if (select) select.value = unit;
      draw();
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

kinds.gates = function (panel, data, changed) {
  const plot = panel.querySelector(".plot");
  const readout = panel.querySelector(".panel-readout");
  const images = [...panel.querySelectorAll("image")];
  const rows = data.order.length;
  let values = null; // part -> bytes of its picture, once unpacked
  let [step, row] = [0, 0];
  const { line, input } = cursor(plot, data.steps - 1, "Step, and with the arrows up and down the hidden unit", (t) => { step = t; show(); changed(); });
  line.classList.add("wide");
  line.style.width = percent(100 / data.steps);
  const marks = data.tops.map((top) => plot.appendChild(make("div", { class: "row", "aria-hidden": "true", style: `height:${data.tall / rows}px` })));
  input.addEventListener("keydown", (event) => {
    const delta = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!delta) return;
    event.preventDefault();
    row = clamp(row + delta, 0, rows - 1);
    show();
    changed();
  });
  input.addEventListener("pointermove", point);
  input.addEventListener("pointerdown", point);
  function point(event) {
    const box = plot.getBoundingClientRect();
    const y = event.clientY - box.top;
    step = clamp(Math.floor(((event.clientX - box.left) / box.width) * data.steps), 0, data.steps - 1);
    const k = data.tops.findIndex((top) => y >= top && y < top + data.tall);
    if (k >= 0) row = clamp(Math.floor(((y - data.tops[k]) / data.tall) * rows), 0, rows - 1);
    show();
  }
  function show() {
    line.style.left = percent((100 * step) / data.steps);
    input.value = step;
    marks.forEach((mark, k) => (mark.style.top = data.tops[k] + (row * data.tall) / rows + "px"));
    const words = [`step ${step + 1}, unit ${data.order[row]}`];
    if (values) {
      data.letters.forEach((letter, k) => words.push(`${letter} = ${fixed(values[k][row][step])}`));
    }
    if (data.tau) words.push(`time constant ${number(+data.tau[row].toPrecision(3))} steps`);
    readout.textContent = words.join("; ");
    input.setAttribute("aria-valuetext", readout.textContent);
  }
  show();
  Promise.all(images.map((image) => unpack(image.getAttribute("href"), +image.dataset.scale))).then((all) => {
    values = all;
    panel.dataset.ready = "true";
    show();
  });
  return {
    get: () => ({ step: String(step + 1), unit: String(data.order[row]) }),
    set(state) {
      step = clamp((parseInt(state.step, 10) || 1) - 1, 0, data.steps - 1);
      row = Math.max(0, data.order.indexOf(+state.unit));
      show();
    },
  };
};

/** The numbers in a picture of markup.heat_map: its palette has a place for each value from -1 to 1. */
async function unpack(url, scale) {
  const bytes = Uint8Array.from(atob(url.split(",")[1]), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let [at, width, half, body] = [8, 0, 0, null];
  while (at < bytes.length) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") width = view.getUint32(at + 8);
    if (kind === "PLTE") half = (length / 3 - 1) / 2;
    if (kind === "IDAT") body = bytes.subarray(at + 8, at + 8 + length);
    at += length + 12;
  }
  const stream = new Blob([body]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const rows = [];
  for (let k = 0; k < raw.length; k += width + 1) {
    rows.push(Array.from(raw.subarray(k + 1, k + 1 + width), (v) => (scale * (v - half)) / half));
  }
  return rows;
}

// ---- Quiz: made by book/_ext/quiz.py; without this script all explanations are open ----

function quizzes() {
  const all = [...document.querySelectorAll(".quiz")];
  const key = "quiz " + location.pathname;
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* the page may not keep anything */ }
  const bars = [];

  function keep() {
    try { localStorage.setItem(key, JSON.stringify(kept)); } catch { /* as above */ }
    const done = all.filter((quiz) => kept[quiz.id]);
    const first = done.filter((quiz) => kept[quiz.id].first);
    const words = `${done.length} of ${all.length} answered on this page, ${first.length} right at once`;
    bars.forEach((bar) => (bar.textContent = words));
  }

  all.forEach((quiz, n) => {
    const options = [...quiz.querySelectorAll(".quiz-choice")];
    const right = options.map((option) => option.classList.contains("right"));
    const several = right.filter(Boolean).length > 1;
    const progress = make("span", { class: "quiz-progress" });
    const verdict = make("p", { class: "quiz-verdict", "aria-live": "polite" });
    const again = make("button", { type: "button", click: () => { delete kept[quiz.id]; show(null); keep(); inputs[0].focus(); } }, "Again");
    const check = make("button", { type: "button", click: answer }, "Check");
    const question = quiz.querySelector(".quiz-question");
    question.id ||= quiz.id + "-question";
    quiz.setAttribute("role", several ? "group" : "radiogroup");
    quiz.setAttribute("aria-labelledby", question.id);
    quiz.classList.add("live");
    const inputs = options.map((option, k) => {
      const box = option.querySelector(".quiz-text");
      box.id = `${quiz.id}-${k}`;
      const input = make("input", { type: several ? "checkbox" : "radio", name: quiz.id, "aria-labelledby": box.id, change: () => (several ? (check.disabled = false) : answer()) });
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
      kept[quiz.id] = { chosen, first: quiz.id in kept ? kept[quiz.id].first : good };
      show(kept[quiz.id]);
      keep();
    }
    function show(state) {
      const good = state && right.every((r, k) => r === state.chosen.includes(k));
      inputs.forEach((input, k) => {
        input.checked = Boolean(state && state.chosen.includes(k));
        // why a choice is wrong is told once it is chosen; when the answer is found, or was to be complete, everything
        options[k].classList.toggle("told", Boolean(state) && (input.checked || good || several));
        options[k].classList.toggle("chosen", input.checked);
      });
      check.disabled = !inputs.some((input) => input.checked);
      again.hidden = !state;
      verdict.textContent = !state ? "" : good ? "Right." : several ? "Not quite: see each choice." : "Not this one: choose again.";
      quiz.dataset.state = !state ? "open" : good ? "right" : "wrong";
    }
    const state = kept[quiz.id];
    show(state && Array.isArray(state.chosen) ? state : null);
  });
  if (all.length) keep();
}

// ---- The page ----

function start() {
  const apis = {};
  let waiting = null;
  document.querySelectorAll(".panel[data-panel]").forEach((panel) => {
    const data = JSON.parse(panel.querySelector('script[type="application/json"]').textContent);
    const changed = () => {
      clearTimeout(waiting); // browsers limit how often an address may change
      waiting = setTimeout(() => history.replaceState(null, "", address(panel.id)), 150);
    };
    apis[panel.id] = kinds[panel.dataset.panel](panel, data, () => panel.classList.contains("live") && changed());
    panel.classList.add("live");
  });

  function address(id) {
    const state = Object.entries(apis[id].get()).map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
    return `#p=${id}:${state.join(",")}`;
  }
  function restore() {
    const match = location.hash.match(/^#p=([a-z0-9-]+):(.*)$/);
    if (!match || !apis[match[1]]) return;
    const state = {};
    for (const pair of match[2].split(",")) {
      const [key, value = ""] = pair.split("=");
      try { state[key] = decodeURIComponent(value); } catch { /* a broken link: what is left of it holds */ }
    }
    apis[match[1]].set(state);
    document.getElementById(match[1]).scrollIntoView();
  }
  document.addEventListener("play", (event) => { // one sound at a time
    document.querySelectorAll("audio").forEach((audio) => audio !== event.target && audio.pause());
  }, true);
  quizzes();
  restore();
  window.addEventListener("hashchange", restore);
  window.panels = { apis, chart, forest, latch, limits, number, phrase, place, ticks }; // for tests
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
})();
