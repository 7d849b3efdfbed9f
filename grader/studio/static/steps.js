// The step slider: a document kvdojo/steps/v1 (see step_document.py) as a slider over steps and heat maps of arrays.
//
// An element with data-steps="URL" is filled with the document at that address, when the page is loaded, when htmx
// puts the element there, and on kvdojoSteps.load(element).  kvdojoSteps.show(element, document) draws one at hand.
// Everything in a document is text of others: it is only ever set as textContent.
"use strict";

(() => {
  const SIDES = [["expected", "expected"], ["yours", "your file"], ["gap", "difference"]];
  const MARKS = { same: "✓", differs: "✗", missing: "−", extra: "+" };
  const WORDS = { same: "the same", differs: "differs", missing: "your file does not come here", extra: "only your file comes here" };
  const LARGEST_CELL = 44, SMALLEST_CELL = 3, WITH_NUMBERS = 40, MOST_TICKS = 60;
  const HIGHEST = 440, MOST_SHOWN = 96; // pixels of a map, and its rows and columns
  const MOST_ROWS = 24, MOST_COLUMNS = 12; // of the table of numbers
  const HIDDEN = 1e8; // what is added to a score to hide it is larger
  const remembered = new Map(); // by address: what was looked at, for the document after the next save

  function make(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "text") made.textContent = value;
      else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function coded(text) {
    // what stands between backticks as code
    const parts = text.split("`");
    if (parts.length % 2 === 0) return [text];
    return parts.map((part, place) => (place % 2 ? make("code", { text: part }) : part));
  }

  // ------------------------------------------------------------------------------------------------ arrays

  function slice(item, lead, other) {
    // the rows of numbers of the last two axes at the indices `lead` of the axes before them; null where none is kept
    if (!item || item.values === null || item.values === undefined) return null;
    const values = item.values === "expected" ? other.values : item.values;
    if (!Array.isArray(values)) return null;
    const extra = Math.max(0, 2 - item.shape.length);
    const size = [...Array(extra).fill(1), ...item.size], at = [...Array(extra).fill(0), ...item.at];
    const rows = size[size.length - 2], columns = size[size.length - 1];
    let start = 0;
    for (let axis = 0; axis < size.length - 2; axis++) {
      const here = (lead[axis] || 0) - at[axis];
      if (here < 0 || here >= size[axis]) return null;
      start = start * size[axis] + here;
    }
    start *= rows * columns;
    return { rows, columns, top: at[at.length - 2], left: at[at.length - 1], number: (row, column) => values[start + row * columns + column] };
  }

  const gapOf = (point, lead) => (point.gap === null ? null : slice({ ...point.expected, values: point.gap }, lead));

  function at(part, row, column) {
    // the number at an index of the whole array; undefined where none is kept
    if (!part) return undefined;
    const r = row - part.top, c = column - part.left;
    return r < 0 || c < 0 || r >= part.rows || c >= part.columns ? undefined : part.number(r, c);
  }

  function shown(value, signed) {
    if (value === undefined) return "–";
    const number = Number(value);
    if (Number.isNaN(number)) return "NaN";
    const text = Math.abs(number) === Infinity ? "∞" : String(Math.abs(number));
    return (number < 0 ? "−" : signed && number > 0 ? "+" : "") + text;
  }

  function brief(value, signed) {
    const number = Number(value);
    if (!Number.isFinite(number)) return shown(value, signed);
    const size = Math.abs(number);
    const text = size !== 0 && (size < 0.005 || size >= 1000) ? size.toExponential(0).replace("e+", "e") : String(Number(size.toPrecision(3).slice(0, 5)));
    return (number < 0 ? "−" : signed && number > 0 ? "+" : "") + text.replace(/^0\./, ".");
  }

  function largest(parts) {
    let top = 0;
    for (const part of parts.filter(Boolean)) {
      for (let row = 0; row < part.rows; row++) {
        for (let column = 0; column < part.columns; column++) {
          const size = Math.abs(Number(part.number(row, column)));
          if (size < HIDDEN && size > top) top = size;
        }
      }
    }
    return top || 1;
  }

  // ------------------------------------------------------------------------------------------------ colours

  function palette(element) {
    const style = getComputedStyle(element);
    const colour = (name, other) => style.getPropertyValue(`--steps-${name}`).trim() || other;
    const triple = (text) => [1, 3, 5].map((place) => parseInt(text.slice(place, place + 2), 16));
    return {
      zero: triple(colour("zero", "#ffffff")), more: triple(colour("more", "#14478a")), less: triple(colour("less", "#8a3d05")),
      empty: colour("empty", "#f6f8fa"), odd: colour("odd", "#7d4e00"), line: colour("line", "#8c959f"),
      ink: colour("ink", "#1b1f24"), paper: colour("paper", "#ffffff"), mark: colour("mark", "#a40e26"),
    };
  }

  function mixed(colours, number, top) {
    const share = Math.min(1, Math.abs(number) / top);
    const far = number < 0 ? colours.less : colours.more;
    // the square root lets small numbers be told from 0
    const parts = colours.zero.map((from, place) => Math.round(from + (far[place] - from) * Math.sqrt(share)));
    const light = (0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]) / 255;
    return [`rgb(${parts.join(" ")})`, light > 0.52 ? "#111" : "#fff"];
  }

  // ------------------------------------------------------------------------------------------------ the view

  class Steps {
    constructor(root, found, before) {
      this.root = root;
      this.found = found;
      this.step = found.first ? found.first.step : Math.max(0, found.steps.length - 1);
      this.name = null;
      this.which = "";
      this.lead = [];
      this.cursor = null;
      this.from = [0, 0]; // the first row and column that are shown, of an array with more than fit
      this.panels = [];
      if (before && before.step < found.steps.length) {
        Object.assign(this, { step: before.step, name: before.name, which: before.which, lead: before.lead });
      } else if (found.first) {
        this.lookAt(found.steps[found.first.step].points[found.first.point]);
      }
      this.build();
      this.draw();
    }

    get points() {
      return this.found.steps[this.step] ? this.found.steps[this.step].points : [];
    }

    lookAt(point) {
      this.name = point.name;
      this.which = this.whichOf(point);
      this.toPlace(point);
    }

    toPlace(point) {
      const index = point.place ? point.place.index : [];
      const shape = point.expected ? point.expected.shape : [];
      if (index.length && index.length === shape.length) {
        this.lead = index.slice(0, -2);
        this.cursor = [index.length > 1 ? index[index.length - 2] : 0, index[index.length - 1]];
        this.from = this.cursor.map((place) => place - (place % MOST_SHOWN));
      } else {
        this.cursor = null;
        this.from = [0, 0];
      }
    }

    whichOf(point) {
      return `${point.program}|${point.call}`;
    }

    point() {
      const own = this.points.filter((point) => point.name === this.name);
      return own.find((point) => this.whichOf(point) === this.which) || own.find((point) => point.status !== "same") || own[0] || null;
    }

    // -------------------------------------------------------------------------------------------- parts that stay

    build() {
      const last = this.found.steps.length - 1;
      this.slider = make("input", { type: "range", min: 0, max: Math.max(0, last), step: 1, "aria-label": "Step", oninput: () => this.go(Number(this.slider.value)) });
      this.back = make("button", { type: "button", "aria-label": "Previous step", text: "◀", onclick: () => this.go(this.step - 1) });
      this.on = make("button", { type: "button", "aria-label": "Next step", text: "▶", onclick: () => this.go(this.step + 1) });
      this.title = make("p", { class: "steps-title" });
      this.ticks = make("div", { class: "steps-ticks", role: "group", "aria-label": "Steps" });
      this.asked = make("div", { class: "steps-asked" });
      this.chips = make("div", { class: "steps-chips", role: "group", "aria-label": "What is shown of this step" });
      this.choices = make("div", { class: "steps-choices" });
      this.maps = make("div", { class: "steps-maps" });
      this.said = make("div", { class: "steps-said" });
      this.read = make("p", { class: "steps-read", role: "status", "aria-label": "Numbers of the cell" });
      this.numbers = make("details", { class: "steps-numbers", ontoggle: () => this.table() }, make("summary", { text: "These numbers as a table" }), make("div", {}));
      this.root.classList.add("steps");
      this.root.replaceChildren(
        ...(this.found.first ? [this.pin()] : []),
        make("div", { class: "steps-bar" }, this.back, this.slider, this.on),
        this.ticks, this.title, this.asked, this.chips, this.choices, this.said, this.maps, this.read, this.numbers, this.notes());
      this.root.onkeydown = (event) => this.key(event);
      const steps = this.found.steps.length <= MOST_TICKS ? this.found.steps : [];
      this.ticks.replaceChildren(...steps.map((step, place) => this.tick(step, place)));
    }

    pin() {
      const { first } = this.found;
      return make("div", { class: "steps-pin" },
        make("p", {}, make("strong", { text: "First difference " }), ...coded(first.text)),
        ...first.said.map((text) => make("p", {}, ...coded(text))),
        make("button", { type: "button", text: "Go to the first difference", onclick: () => this.toFirst() }));
    }

    tick(step, place) {
      const wrong = step.points.some((point) => point.status !== "same");
      const first = this.found.first && this.found.first.step === place;
      const word = first ? ", first difference" : wrong ? ", differs" : "";
      return make("button", { type: "button", class: first ? "first" : wrong ? "wrong" : "", "aria-label": `${step.number ? `step ${step.number}` : "start"}, ${step.title}${word}`, title: step.title, text: `${step.number || "start"}${first ? " ✗" : wrong ? " ·" : ""}`, onclick: () => this.go(place) });
    }

    notes() {
      const { found } = this;
      const texts = [found.note, found.ended, ...found.cut, "Numbers are rounded to six digits. Keys: [ and ] change the step, f goes to the first difference, arrows move within a map."];
      return make("div", { class: "steps-notes" }, ...texts.filter(Boolean).map((text) => make("p", { text })));
    }

    // -------------------------------------------------------------------------------------------- moving

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      if (event.key === "[") this.go(this.step - 1);
      else if (event.key === "]") this.go(this.step + 1);
      else if (event.key === "f") this.toFirst();
      else return;
      event.preventDefault();
    }

    go(step) {
      const wanted = Math.max(0, Math.min(this.found.steps.length - 1, step));
      if (wanted === this.step) return;
      this.step = wanted;
      this.cursor = null;
      const point = this.point();
      if (point && point.status !== "same") this.toPlace(point);
      this.draw();
    }

    toFirst() {
      if (!this.found.first) return;
      this.step = this.found.first.step;
      this.lookAt(this.points[this.found.first.point]);
      this.draw();
    }

    // -------------------------------------------------------------------------------------------- drawing

    draw() {
      const step = this.found.steps[this.step];
      if (!step) return;
      if (this.name === null || !this.point()) {
        const best = this.points.find((point) => point.status !== "same") || this.points.find((point) => point.output) || this.points[0];
        if (this.name === null && best) this.lookAt(best);
      }
      this.slider.value = this.step;
      const name = step.number ? `Step ${step.number} of ${this.found.steps[this.found.steps.length - 1].number}: ${step.title}` : "Creation";
      this.slider.setAttribute("aria-valuetext", name);
      this.title.textContent = name;
      this.back.disabled = this.step === 0;
      this.on.disabled = this.step === this.found.steps.length - 1;
      for (const tick of this.ticks.children) tick.removeAttribute("aria-current");
      if (this.ticks.children[this.step]) this.ticks.children[this.step].setAttribute("aria-current", "step");
      this.drawAsked(step);
      this.drawChips();
      this.drawPoint();
    }

    drawAsked(step) {
      const asked = make("p", { class: "steps-request" }, make("span", { class: "soft", text: step.number ? "asked " : "set up " }));
      for (const [key, value] of step.asked) asked.append(make("code", { text: `${key}: ${value}` }), " ");
      const rows = [...step.facts];
      if (step.raised && step.raised.expected !== step.raised.yours) rows.push({ title: "raises", ...step.raised });
      const table = make("table", { class: "steps-facts", "aria-label": "Facts of the step" },
        make("thead", {}, make("tr", {}, ...["", "expected", "your file"].map((text) => (text ? make("th", { scope: "col", text }) : make("td", {}))))),
        make("tbody", {}, ...rows.map((fact) => make("tr", { class: fact.expected === fact.yours ? "" : "wrong" },
          make("th", { scope: "row", text: fact.title }), make("td", { text: fact.expected === null ? "–" : fact.expected }),
          make("td", { text: fact.yours === null ? "–" : `${fact.yours}${fact.expected === fact.yours ? "" : " ✗"}` })))));
      this.asked.replaceChildren(asked, ...(rows.length ? [table] : []));
    }

    drawChips() {
      const groups = new Map();
      for (const point of this.points) groups.set(point.name, [...(groups.get(point.name) || []), point]);
      if (this.name !== null && !groups.has(this.name)) groups.set(this.name, []);
      this.chips.replaceChildren(...[...groups].map(([name, points]) => {
        const worst = points.find((point) => point.status !== "same") || points[0];
        const title = points.length ? points[0].title : name;
        const mark = worst ? MARKS[worst.status] : "·";
        const word = worst ? WORDS[worst.status] : "not in this step";
        return make("button", {
          type: "button", "data-name": name, class: `${worst ? worst.status : "absent"}${points.some((point) => point.output) ? " output" : ""}`,
          "aria-pressed": name === this.name ? "true" : "false", "aria-label": `${title}: ${word}`,
          onclick: () => this.choose(name),
        }, make("span", { "aria-hidden": "true", text: `${mark} ` }), title);
      }));
    }

    choose(name) {
      this.name = name;
      this.which = "";
      const point = this.point();
      if (point) this.lookAt(point);
      this.draw();
      const chip = [...this.chips.children].find((item) => item.dataset.name === name);
      if (chip) chip.focus();
    }

    drawChoices(point) {
      const made = [];
      const own = this.points.filter((item) => item.name === this.name);
      if (own.length > 1) {
        made.push(this.choice("which", own.map((item) => [this.whichOf(item), `${item.program ? `program ${item.program}, ` : ""}call ${item.call + 1}${item.status === "same" ? "" : ` ${MARKS[item.status]}`}`]), this.whichOf(point), (value) => {
          this.which = value;
          this.toPlace(this.point());
        }));
      }
      const shape = this.shape(point);
      const pages = [...this.kept(point)].entries();
      for (const [side, [start, end]] of pages) {
        if (end - start <= MOST_SHOWN) continue;
        const name = this.axis(point, shape.length - 2 + side, shape.length);
        const firsts = [];
        for (let place = start - (start % MOST_SHOWN); place < end; place += MOST_SHOWN) firsts.push(place);
        made.push(this.choice(`${name}s`, firsts.map((place) => [String(place), `${Math.max(start, place)} to ${Math.min(end, place + MOST_SHOWN) - 1}`]), String(this.from[side]), (value) => {
          this.from[side] = Number(value);
          this.cursor = null;
        }));
      }
      for (let axis = 0; axis < shape.length - 2; axis++) {
        if (shape[axis] < 2) continue;
        const options = Array.from({ length: Math.min(shape[axis], 512) }, (_, place) => [String(place), String(place)]);
        made.push(this.choice(this.axis(point, axis, shape.length), options, String(this.lead[axis] || 0), (value) => {
          this.lead[axis] = Number(value);
        }));
      }
      this.choices.replaceChildren(...made);
    }

    choice(label, options, value, changed) {
      const select = make("select", { onchange: () => { changed(select.value); this.drawPoint(); this.refocus(label); } },
        ...options.map(([key, text]) => make("option", { value: key, text, selected: key === value })));
      return make("label", { "data-label": label }, `${label} `, select);
    }

    refocus(label) {
      const found = [...this.choices.children].find((item) => item.dataset.label === label);
      if (found) found.querySelector("select").focus();
    }

    shape(point) {
      const item = point.expected || point.yours;
      return item ? item.shape : [];
    }

    axis(point, place, count) {
      return point.axes.length === count ? point.axes[place] : count === 1 ? "index" : `axis ${place}`;
    }

    drawPoint() {
      // whoever moves within a map stays in it when the step changes
      const within = this.panels.find((panel) => panel.canvas === document.activeElement);
      this.drawMaps();
      if (!within) return;
      const next = this.panels.find((panel) => panel.side === within.side) || this.panels[0];
      (next ? next.canvas : this.slider).focus({ preventScroll: true });
    }

    drawMaps() {
      const point = this.point();
      this.panels = [];
      this.maps.replaceChildren();
      this.said.replaceChildren();
      this.choices.replaceChildren();
      this.read.textContent = "";
      this.numbers.hidden = true;
      if (!point) {
        if (this.name !== null) this.said.replaceChildren(make("p", { class: "soft", text: "This is not reached in this step." }));
        return;
      }
      this.drawChoices(point);
      const said = [];
      const values = point.place && !point.place.index.length ? `expected ${point.place.expected}, got ${point.place.yours}` : null;
      if (point.status === "missing" || point.status === "extra") said.push(WORDS[point.status]);
      for (const text of [values, ...point.said]) if (text) said.push(text);
      const shapes = [point.expected, point.yours].map((item) => item && `${item.dtype} [${item.shape.join(", ")}]`);
      if (shapes[0] && shapes[1] && shapes[0] !== shapes[1]) said.push(`expected ${shapes[0]}, got ${shapes[1]}`);
      this.said.replaceChildren(...said.map((text) => make("p", {}, ...coded(text))));
      const parts = { expected: slice(point.expected, this.lead), yours: slice(point.yours, this.lead, point.expected), gap: gapOf(point, this.lead) };
      const kept = [parts.expected, parts.yours].filter(Boolean);
      if (!kept.some((part) => part.rows && part.columns)) {
        if (shapes[0] || shapes[1]) this.said.append(make("p", { class: "soft", text: `No numbers are kept of it: ${shapes[0] || shapes[1]}.` }));
        return;
      }
      const top = largest(kept);
      const frame = this.frame(point);
      this.parts = parts;
      this.frameNow = frame;
      this.maps.classList.toggle("narrow", frame.area[3] - frame.area[1] <= 8);
      for (const [side, title] of SIDES) {
        const part = parts[side];
        if (part === null && side !== "gap") continue;
        if (side === "gap" && (point.status === "missing" || point.status === "extra" || kept.length < 2)) continue;
        this.panels.push(new Panel(this, side, title, part, side === "gap" ? largest([part]) : top, frame));
      }
      this.maps.replaceChildren(...this.panels.map((panel) => panel.figure));
      this.panels.forEach((panel) => panel.draw());
      this.tell();
      this.numbers.hidden = false;
      this.table();
    }

    kept(point) {
      // the rows and columns that an array has in any step, so that a cache is seen to fill: [from, to] of both
      let area = null;
      for (const step of this.found.steps) {
        for (const other of step.points) {
          if (other.name !== point.name) continue;
          for (const item of [other.expected, other.yours]) {
            if (!item || item.shape.length !== this.shape(point).length) continue;
            const extra = Math.max(0, 2 - item.shape.length);
            const from = [...Array(extra).fill(0), ...item.at].slice(-2), size = [...Array(extra).fill(1), ...item.size].slice(-2);
            const own = [from[0], from[1], from[0] + size[0], from[1] + size[1]];
            area = area ? [Math.min(area[0], own[0]), Math.min(area[1], own[1]), Math.max(area[2], own[2]), Math.max(area[3], own[3])] : own;
          }
        }
      }
      return area ? [[area[0], area[2]], [area[1], area[3]]] : [];
    }

    frame(point) {
      const [rows, columns] = this.kept(point).map(([start, end], side) => {
        const from = end - start <= MOST_SHOWN ? start : Math.max(start, this.from[side]);
        return [from, Math.min(end, from + MOST_SHOWN)];
      });
      const count = this.shape(point).length;
      return { area: [rows[0], columns[0], rows[1], columns[1]], old: this.before(point), rows: count > 1 ? this.axis(point, count - 2, count) : "", columns: this.axis(point, count - 1, count) || "index" };
    }

    before(point) {
      // the rows and columns that the array had in the last step which has it, for the line between old and new
      const now = this.shape(point);
      for (let place = this.step - 1; place >= 0; place--) {
        const found = this.found.steps[place].points.find((other) => other.name === point.name && this.whichOf(other) === this.whichOf(point));
        if (!found) continue;
        const then = this.shape(found);
        if (then.length !== now.length || then.length < 2) return null;
        return then.slice(-2);
      }
      return null;
    }

    // -------------------------------------------------------------------------------------------- the cell in focus

    moveTo(row, column) {
      const { area } = this.frameNow;
      this.cursor = [Math.max(area[0], Math.min(area[2] - 1, row)), Math.max(area[1], Math.min(area[3] - 1, column))];
      this.panels.forEach((panel) => panel.draw());
      this.tell();
      this.table();
    }

    tell() {
      if (!this.cursor) {
        this.read.textContent = "Point at a cell, or move to it with the arrow keys, to read its numbers.";
        return;
      }
      const point = this.point(), shape = this.shape(point), [row, column] = this.cursor;
      const names = [];
      for (let axis = 0; axis < shape.length - 2; axis++) names.push(`${this.axis(point, axis, shape.length)} ${this.lead[axis] || 0}`);
      if (shape.length > 1) names.push(`${this.frameNow.rows} ${row}`);
      if (shape.length) names.push(`${this.frameNow.columns} ${column}`);
      const [want, got, gap] = SIDES.map(([side]) => at(this.parts[side], row, column));
      const numbers = [`expected ${shown(want)}`, `yours ${shown(got)}`];
      if (gap !== undefined) numbers.push(Number(gap) === 0 ? "no difference" : `difference ${shown(gap, true)}`);
      this.read.textContent = `${names.join(", ")}: ${numbers.join(", ")}`;
    }

    table() {
      const box = this.numbers.lastElementChild;
      if (!this.numbers.open || this.numbers.hidden) return;
      const { area } = this.frameNow, [row, column] = this.cursor || [area[0], area[1]];
      const span = (from, to, middle, most) => {
        const start = Math.max(from, Math.min(middle - (most >> 1), to - most));
        return Array.from({ length: Math.min(most, to - from) }, (_, place) => start + place);
      };
      const rows = span(area[0], area[2], row, MOST_ROWS), columns = span(area[1], area[3], column, MOST_COLUMNS);
      const cell = (r, c) => {
        const [want, got, gap] = SIDES.map(([side]) => at(this.parts[side], r, c));
        const wrong = gap !== undefined && Number(gap) !== 0;
        return make("td", { class: wrong ? "wrong" : "", text: wrong ? `${shown(want)} ✗ ${shown(got)}` : shown(want === undefined ? got : want) });
      };
      box.replaceChildren(make("div", { class: "steps-scroll", role: "region", tabindex: 0, "aria-label": "Numbers" }, make("table", {},
        make("caption", { text: `${this.frameNow.rows || "row"} by ${this.frameNow.columns}; where they differ: expected ✗ yours` }),
        make("thead", {}, make("tr", {}, make("td", {}), ...columns.map((c) => make("th", { scope: "col", text: c })))),
        make("tbody", {}, ...rows.map((r) => make("tr", {}, make("th", { scope: "row", text: r }), ...columns.map((c) => cell(r, c))))))));
    }
  }

  // ------------------------------------------------------------------------------------------------ one heat map

  class Panel {
    constructor(view, side, title, part, top, frame) {
      Object.assign(this, { view, side, part, top, frame });
      const axes = frame.rows ? `${frame.rows} down, ${frame.columns} across` : `${frame.columns} across`;
      this.canvas = make("canvas", {
        tabindex: 0, role: "application", "aria-roledescription": "heat map", "aria-label": `${title}, ${axes}. Arrow keys move.`,
        onpointermove: (event) => this.point(event), onpointerdown: (event) => this.point(event), onkeydown: (event) => this.key(event),
        onfocus: () => { if (!view.cursor) view.moveTo(frame.area[0], frame.area[1]); },
      });
      this.figure = make("figure", { class: `steps-map ${side}` }, make("figcaption", {}, make("strong", { text: title }), ` ${axes}`), this.canvas);
    }

    point(event) {
      const box = this.canvas.getBoundingClientRect(), { area } = this.frame;
      const column = Math.floor((event.clientX - box.left - this.left) / this.wide), row = Math.floor((event.clientY - box.top - this.head) / this.high);
      if (row < 0 || column < 0 || row >= area[2] - area[0] || column >= area[3] - area[1]) return;
      const now = [area[0] + row, area[1] + column];
      if (!this.view.cursor || now[0] !== this.view.cursor[0] || now[1] !== this.view.cursor[1]) this.view.moveTo(...now);
    }

    key(event) {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const { area } = this.frame, [row, column] = this.view.cursor || [area[0], area[1]];
      if (moves[event.key]) this.view.moveTo(row + moves[event.key][0], column + moves[event.key][1]);
      else if (event.key === "Home") this.view.moveTo(row, area[1]);
      else if (event.key === "End") this.view.moveTo(row, area[3] - 1);
      else return;
      event.preventDefault();
    }

    draw() {
      const { area, old } = this.frame, rows = area[2] - area[0], columns = area[3] - area[1];
      const colours = palette(this.view.root);
      const room = Math.max(60, this.figure.clientWidth || 280);
      this.head = 16;
      this.left = this.frame.rows ? 10 + 6 * String(area[2] - 1).length : 4;
      const fit = (most) => Math.max(SMALLEST_CELL, Math.min(LARGEST_CELL, Math.floor(most)));
      this.high = fit(HIGHEST / rows);
      this.wide = Math.min(fit((room - this.left - 2) / columns), 4 * this.high);
      this.high = Math.min(this.high, this.wide);
      const width = this.left + columns * this.wide + 2, height = this.head + rows * this.high + 2;
      const scale = window.devicePixelRatio || 1;
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
      const pen = this.canvas.getContext("2d");
      pen.scale(scale, scale);
      pen.font = "10px ui-monospace, monospace";
      pen.textBaseline = "middle";
      this.labels(pen, colours, rows, columns);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) this.one(pen, colours, row, column);
      }
      pen.strokeStyle = colours.line;
      pen.lineWidth = 1;
      pen.strokeRect(this.left - 0.5, this.head - 0.5, columns * this.wide + 1, rows * this.high + 1);
      this.edge(pen, colours, old, rows, columns);
      this.cursor(pen, colours);
    }

    labels(pen, colours, rows, columns) {
      const { area } = this.frame, every = Math.max(1, Math.ceil(22 / this.wide)), down = Math.max(1, Math.ceil(12 / this.high));
      pen.fillStyle = colours.ink;
      pen.textAlign = "center";
      for (let column = 0; column < columns; column += every) pen.fillText(String(area[1] + column), this.left + (column + 0.5) * this.wide, 7);
      pen.textAlign = "right";
      if (this.frame.rows) for (let row = 0; row < rows; row += down) pen.fillText(String(area[0] + row), this.left - 4, this.head + (row + 0.5) * this.high);
    }

    one(pen, colours, row, column) {
      const { area } = this.frame, x = this.left + column * this.wide, y = this.head + row * this.high;
      const line = this.high > 7 ? 1 : 0, width = this.wide - line, height = this.high - line;
      const value = this.value(area[0] + row, area[1] + column);
      const number = Number(value), odd = value !== undefined && (Number.isNaN(number) || Math.abs(number) >= HIDDEN);
      const [paint, ink] = value === undefined || odd ? [colours.empty, colours.ink] : mixed(colours, number, this.top);
      pen.fillStyle = paint;
      pen.fillRect(x, y, width, height);
      if (odd) {
        pen.strokeStyle = Number.isNaN(number) ? colours.mark : colours.odd;
        pen.beginPath(); // one stroke: hidden or without end; two: no number
        pen.moveTo(x + 1, y + height - 1);
        pen.lineTo(x + width - 1, y + 1);
        if (Number.isNaN(number)) {
          pen.moveTo(x + 1, y + 1);
          pen.lineTo(x + width - 1, y + height - 1);
        }
        pen.stroke();
      } else if (value !== undefined && this.wide >= WITH_NUMBERS && this.high >= 14) {
        const gap = this.side === "gap";
        pen.fillStyle = ink;
        pen.textAlign = "center";
        pen.fillText(number === 0 && gap ? "·" : brief(value, gap), x + width / 2, y + height / 2);
      }
    }

    value(row, column) {
      if (this.part !== null) return at(this.part, row, column);
      return at(this.view.parts.expected, row, column) === undefined ? undefined : 0; // a difference that is none
    }

    edge(pen, colours, old, rows, columns) {
      // a line between what stood there after the last step and what is new
      if (!old || !this.part) return;
      const { area } = this.frame, now = [this.part.top + this.part.rows, this.part.left + this.part.columns];
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.setLineDash([4, 3]);
      pen.beginPath();
      if (old[0] > area[0] && old[0] < Math.min(now[0], area[2])) {
        pen.moveTo(this.left, this.head + (old[0] - area[0]) * this.high);
        pen.lineTo(this.left + columns * this.wide, this.head + (old[0] - area[0]) * this.high);
      }
      if (old[1] > area[1] && old[1] < Math.min(now[1], area[3])) {
        pen.moveTo(this.left + (old[1] - area[1]) * this.wide, this.head);
        pen.lineTo(this.left + (old[1] - area[1]) * this.wide, this.head + rows * this.high);
      }
      pen.stroke();
      pen.setLineDash([]);
    }

    cursor(pen, colours) {
      if (!this.view.cursor) return;
      const { area } = this.frame, [row, column] = this.view.cursor;
      if (row < area[0] || column < area[1] || row >= area[2] || column >= area[3]) return;
      const x = this.left + (column - area[1]) * this.wide, y = this.head + (row - area[0]) * this.high;
      pen.lineWidth = 3;
      pen.strokeStyle = colours.paper;
      pen.strokeRect(x - 0.5, y - 0.5, this.wide, this.high);
      pen.lineWidth = 1.5;
      pen.strokeStyle = colours.mark;
      pen.strokeRect(x - 0.5, y - 0.5, this.wide, this.high);
    }
  }

  // ------------------------------------------------------------------------------------------------ pages

  const shownIn = new WeakMap();

  function show(element, found) {
    const before = shownIn.get(element) || remembered.get(element.dataset.steps);
    const same = before && before.found.case === found.case && before.found.level === found.level;
    if (!found.steps.length) {
      const text = found.told || found.ended || "There is nothing to show.";
      element.classList.add("steps");
      element.replaceChildren(make("p", { class: "steps-told", text }));
      shownIn.delete(element);
      return;
    }
    const view = new Steps(element, found, same ? before : null);
    shownIn.set(element, view);
    if (element.dataset.steps) remembered.set(element.dataset.steps, view);
  }

  async function load(element) {
    element.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(element.dataset.steps, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`${answer.status}`);
      show(element, await answer.json());
    } catch (error) {
      element.replaceChildren(make("p", { class: "steps-told", text: "The steps could not be loaded." }));
    } finally {
      element.removeAttribute("aria-busy");
    }
  }

  function loadAll(within) {
    if (within.matches && within.matches("[data-steps]")) load(within);
    within.querySelectorAll("[data-steps]").forEach(load);
  }

  function redraw() {
    document.querySelectorAll(".steps").forEach((element) => {
      const view = shownIn.get(element);
      if (view) view.panels.forEach((panel) => panel.draw());
    });
  }

  window.kvdojoSteps = { show, load };
  document.addEventListener("htmx:load", (event) => { if (event.target !== document.body) loadAll(event.target); });
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => loadAll(document));
  else loadAll(document);
})();
