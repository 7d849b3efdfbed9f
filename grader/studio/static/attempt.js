// The editor of an attempt: the text, saving it, what happens when it was changed elsewhere, and suspecting a line.
// The textarea is the editor wherever CodeMirror cannot be had; whatever is shown, `editor` below is how it is spoken to.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const box = $("editor");
  const url = box.dataset.url;
  const fixed = "fixed" in box.dataset;
  let base = box.dataset.digest; // names the bytes on the disk that the text began as
  let saved = $("text").value; // that text
  let theirs = null; // the file as it lies on the disk, while it is in conflict with the text
  let saving = false;

  const editor = window.CodeMirror ? mirror() : plain();

  function mirror() {
    const cm = window.CodeMirror;
    const colours = cm.HighlightStyle.define([
      { tag: [cm.tags.keyword, cm.tags.operatorKeyword, cm.tags.controlKeyword], color: "var(--keyword)" },
      { tag: [cm.tags.string, cm.tags.docString], color: "var(--string)" },
      { tag: [cm.tags.number, cm.tags.bool, cm.tags.null, cm.tags.self], color: "var(--number)" },
      { tag: cm.tags.comment, color: "var(--comment)", fontStyle: "italic" },
      { tag: [cm.tags.definition(cm.tags.variableName), cm.tags.function(cm.tags.variableName), cm.tags.className], color: "var(--name)" },
    ]);
    const theme = cm.EditorView.theme({
      "&": { color: "var(--ink)", backgroundColor: "var(--paper)", fontSize: "14px", height: "70vh" },
      "&.cm-focused": { outline: "3px solid var(--accent)", outlineOffset: "-3px" },
      ".cm-scroller": { fontFamily: "ui-monospace, monospace", lineHeight: "1.45", overflow: "auto" },
      ".cm-content": { caretColor: "var(--ink)" },
      ".cm-cursor": { borderLeftColor: "var(--ink)" },
      ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--soft)", borderRight: "1px solid var(--line)" },
      ".cm-lineNumbers .cm-gutterElement": { cursor: "pointer" },
      ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--active)" },
      ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": { background: "var(--select)" },
      ".cm-selectionMatch": { backgroundColor: "var(--select)" },
      ".cm-foldPlaceholder, .cm-tooltip, .cm-panels": { backgroundColor: "var(--panel)", color: "var(--ink)", borderColor: "var(--line)" },
      "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--select)" },
    });
    // Chromium gives what is typed over a selection a style of its own, which the policy forbids: it is put in by hand.
    const typed = (event, view) => {
      const { main } = view.state.selection;
      if (event.inputType !== "insertText" || !event.data || main.empty || view.composing || fixed) return false;
      event.preventDefault();
      const text = event.data;
      const insert = () => view.state.update(view.state.replaceSelection(text), { userEvent: "input.type", scrollIntoView: true });
      const handlers = view.state.facet(cm.EditorView.inputHandler);
      if (!handlers.some((handle) => handle(view, main.from, main.to, text, insert))) view.dispatch(insert());
      return true;
    };
    const clicked = (view, line) => {
      suspect(view.state.doc.lineAt(line.from).number);
      return true;
    };
    const extensions = [
      cm.lineNumbers({ domEventHandlers: { mousedown: clicked } }),
      cm.basicSetup,
      cm.python(),
      cm.indentUnit.of("    "),
      cm.EditorState.tabSize.of(4),
      cm.keymap.of([cm.indentWithTab]),
      cm.syntaxHighlighting(colours),
      theme,
      cm.EditorState.readOnly.of(fixed),
      cm.EditorView.domEventHandlers({ beforeinput: typed }),
      cm.EditorView.contentAttributes.of({ "aria-label": $("text").getAttribute("aria-label"), tabindex: "0" }),
      cm.EditorView.updateListener.of((update) => {
        if (update.docChanged || update.selectionSet) changed();
      }),
    ];
    const root = $("mirror").attachShadow({ mode: "open" });
    const state = cm.EditorState.create({ doc: saved, extensions });
    const view = new cm.EditorView({ state, parent: root, root });
    $("plain").hidden = true;
    return {
      get: () => view.state.doc.toString(),
      set(text) {
        // only what differs is put in, so that the place somebody looks at and the cursor stay
        const old = view.state.doc.toString();
        let from = 0;
        while (from < Math.min(old.length, text.length) && old[from] === text[from]) from++;
        let [to, end] = [old.length, text.length];
        while (to > from && end > from && old[to - 1] === text[end - 1]) [to, end] = [to - 1, end - 1];
        view.dispatch({ changes: { from, to, insert: text.slice(from, end) } });
      },
      line: () => view.state.doc.lineAt(view.state.selection.main.head).number,
      go(number) {
        const line = view.state.doc.line(Math.max(1, Math.min(number, view.state.doc.lines)));
        view.dispatch({ selection: { anchor: line.from }, effects: cm.EditorView.scrollIntoView(line.from, { y: "center" }) });
        view.focus();
      },
      focus: () => view.focus(),
      quiet() {
        // a list of completions is closed as Escape closes it
        if (root.querySelector(".cm-tooltip-autocomplete")) view.contentDOM.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", keyCode: 27, bubbles: true }));
      },
      mark(number, text) {
        const known = number && number <= view.state.doc.lines ? [view.state.doc.line(number)] : [];
        const marks = known.map((line) => ({ from: line.from, to: line.to, severity: "error", message: text }));
        view.dispatch(cm.setDiagnostics(view.state, marks));
      },
    };
  }

  function plain() {
    const area = $("text");
    const numbers = $("numbers");
    $("mirror").hidden = true;
    let leaving = false;
    const lines = () => area.value.split("\n").length;
    const lineAt = (position) => area.value.slice(0, position).split("\n").length;
    const draw = () => {
      numbers.textContent = Array.from({ length: lines() }, (_, index) => index + 1).join("\n");
      numbers.scrollTop = area.scrollTop;
    };
    const type = (text) => {
      // as if it were typed, so that it can be undone
      if (!document.execCommand("insertText", false, text)) area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
      area.dispatchEvent(new Event("input"));
    };
    area.addEventListener("scroll", () => { numbers.scrollTop = area.scrollTop; });
    area.addEventListener("input", () => { draw(); changed(); });
    area.addEventListener("click", () => changed());
    area.addEventListener("keyup", () => changed());
    area.addEventListener("keydown", (event) => {
      const tab = event.key === "Tab" && !event.ctrlKey && !event.altKey && !event.metaKey && !event.shiftKey;
      if (tab && !leaving && !fixed) {
        event.preventDefault();
        type("    ");
      } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && !fixed) {
        const line = area.value.slice(0, area.selectionStart).split("\n").pop();
        const indent = line.match(/^ */)[0] + (/:\s*(#.*)?$/.test(line) ? "    " : "");
        event.preventDefault();
        type("\n" + indent);
      }
      leaving = event.key === "Escape";
    });
    numbers.addEventListener("click", (event) => {
      const height = numbers.scrollHeight / Math.max(1, lines());
      suspect(Math.min(lines(), 1 + Math.floor((event.clientY - numbers.getBoundingClientRect().top + numbers.scrollTop) / height)));
    });
    draw();
    return {
      get: () => area.value,
      set(text) {
        const at = Math.min(area.selectionStart, text.length);
        area.value = text;
        area.setSelectionRange(at, at);
        draw();
      },
      line: () => lineAt(area.selectionStart),
      go(number) {
        const at = area.value.split("\n").slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
        area.focus();
        area.setSelectionRange(at, at);
        area.scrollTop = ((number - 5) * area.scrollHeight) / Math.max(1, lines());
      },
      focus: () => area.focus(),
      quiet() {},
      mark() {},
    };
  }

  const dirty = () => editor.get() !== saved;

  function changed() {
    $("unsaved").hidden = !dirty();
    $("line-number").textContent = editor.line();
  }

  function say(text, wrong) {
    $("said").textContent = text;
    $("said").className = wrong ? "error" : "soft";
  }

  async function ask(asked) {
    const answer = await fetch(url + "/file", {
      method: asked ? "POST" : "GET",
      headers: asked ? { "Content-Type": "application/json" } : {},
      body: asked ? JSON.stringify(asked) : undefined,
    });
    const told = (answer.headers.get("Content-Type") || "").startsWith("application/json") ? await answer.json() : {};
    return { status: answer.status, ...told };
  }

  async function save(how, replaced) {
    if (saving || fixed) return;
    saving = true;
    editor.quiet();
    $("save").disabled = true;
    const text = editor.get();
    try {
      const told = await ask({ text, base: replaced, how });
      if (told.status === 200) {
        took(text, told.digest);
        if (editor.get() !== text) changed();
        say(told.kept ? `Saved. What lay there is kept as ${told.kept}.` : "Saved.", false);
      } else if (told.status === 409 && told.digest) {
        conflict(told);
      } else {
        say(told.problem || "It was not saved: this attempt is not open any more. Copy your text, then reload the page.", true);
      }
    } catch {
      $("lost").hidden = false;
      say("It was not saved.", true);
    }
    saving = false;
    $("save").disabled = false;
    look();
  }

  function took(text, digest) {
    saved = text;
    base = digest;
    theirs = null;
    $("conflict").hidden = true;
    changed();
  }

  function conflict(told) {
    theirs = told;
    $("theirs").textContent = told.text ?? told.why;
    const mine = editor.get().split("\n");
    const first = (told.text ?? "").split("\n").findIndex((line, index) => line !== mine[index]);
    $("differs").textContent = first < 0 ? "" : `The first line that differs is ${first + 1}.`;
    $("conflict").hidden = false;
  }

  // The newest state says which bytes lie on the disk. Others than ours are taken where nothing was typed, else shown.
  async function look() {
    const digest = $("state")?.dataset.digest;
    if (!digest || digest === base || saving || (theirs && theirs.digest === digest)) return;
    let told;
    try {
      told = await ask(null);
    } catch {
      return;
    }
    if (told.status !== 200 || told.digest === base || saving) return;
    if (told.text === null) {
      say(told.why + " Reload the page to see it.", true);
    } else if (told.text === editor.get()) {
      took(told.text, told.digest);
    } else if (dirty()) {
      conflict(told);
    } else {
      editor.set(told.text);
      took(told.text, told.digest);
      say("The file was saved elsewhere, and is shown as it is now.", false);
    }
  }

  // The line at which the text is not Python is marked while the text is the one that was read.
  let marked = "";
  function broken() {
    const line = Number($("doing")?.dataset.broken || 0);
    const said = line ? $("doing").textContent : "";
    if (said === marked) return;
    marked = said;
    editor.mark(line, said);
  }

  // The steps are fetched when somebody looks at them, and again when they may be others.
  let stepsOf = "";
  function step() {
    const of = $("state")?.dataset.stepsOf || "";
    $("steps-box").hidden = !of;
    if (!of || of === stepsOf || !$("steps-box").open) return;
    stepsOf = of;
    $("steps").dataset.steps = url + "/steps";
    window.kvdojoSteps.load($("steps"));
  }

  function suspect(number) {
    $("suspected").value = number;
    $("suspicion").hidden = false;
    $("suspicion").querySelector("[name=why]").focus();
  }

  $("save").addEventListener("click", () => save("save", base));
  $("save").disabled = fixed;
  $("suspect-line").addEventListener("click", () => suspect(editor.line()));
  $("no-suspicion").addEventListener("click", () => {
    $("suspicion").hidden = true;
    editor.focus();
  });
  $("suspicion").addEventListener("submit", () => {
    if (dirty()) say("", false);
  });
  $("keep-mine").addEventListener("click", () => save("mine", theirs.digest));
  $("take-theirs").addEventListener("click", async () => {
    const taken = theirs;
    const told = await ask({ text: editor.get(), base: taken.digest, how: "aside" });
    if (told.status !== 200) {
      say(told.problem || "Yours could not be kept, so nothing was changed.", true);
      return;
    }
    editor.set(taken.text);
    took(taken.text, taken.digest);
    say(`What you had typed is kept as ${told.kept}.`, false);
    look();
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "s") {
      event.preventDefault();
      save("save", base);
    }
  });
  document.addEventListener("click", (event) => {
    const to = event.target.closest?.("[data-line]");
    if (to) editor.go(Number(to.dataset.line));
  });
  window.addEventListener("beforeunload", (event) => {
    if (dirty()) event.preventDefault();
  });
  // The newest state comes as it changes; of several that come while one is put in, the last is. A page that nobody
  // looks at does not listen, for a browser opens only six connections.
  let stream = null;
  let newest = null;
  let putting = false;
  let ended = false;
  function listen() {
    if (stream || ended || document.hidden) return;
    stream = new EventSource(url + "/events");
    stream.onmessage = (event) => {
      $("lost").hidden = true;
      newest = event.data;
      put();
    };
    stream.onerror = () => {
      $("lost").hidden = false;
      if (stream.readyState === EventSource.CLOSED) again();
    };
    stream.addEventListener("ended", () => {
      ended = true;
      stream.close();
      stream = null;
    });
  }
  function again() {
    stream = null;
    setTimeout(listen, 3000);
  }
  async function put() {
    if (putting) return;
    putting = true;
    while (newest !== null) {
      const text = newest;
      newest = null;
      await window.htmx.swap({ text, target: "#state", swap: "outerMorph", sourceElement: $("live") });
    }
    putting = false;
    broken();
    look();
    step();
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else {
      listen();
    }
  });
  document.body.addEventListener("htmx:after:swap", (event) => {
    if (event.target === $("suspicion")) {
      $("said").className = "";
      if ($("said").querySelector(".passed")) {
        $("suspicion").hidden = true;
        $("suspicion").reset();
        editor.focus();
      }
    }
  });
  $("steps-box").addEventListener("toggle", step);
  listen();
  changed();
  step();
})();
