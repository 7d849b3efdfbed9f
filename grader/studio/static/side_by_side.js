// Two files side by side with what differs marked, where there is room; on a phone one below the other, in one text.
"use strict";

(() => {
  const cm = window.CodeMirror;
  if (!cm) return;
  const [left, right] = [...document.querySelectorAll("#both pre")].map((item) => item.textContent);
  const names = [...document.querySelectorAll("#both section")].map((item) => item.getAttribute("aria-label"));
  const host = document.getElementById("merged");
  const root = host.attachShadow({ mode: "open" });
  const theme = cm.EditorView.theme({
    "&": { color: "var(--ink)", backgroundColor: "var(--paper)", fontSize: "13px" },
    ".cm-scroller": { fontFamily: "ui-monospace, monospace", lineHeight: "1.45", overflow: "auto" },
    ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--soft)" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "transparent" },
    ".cm-collapsedLines": { background: "var(--panel)", color: "var(--soft)" },
    ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: '"…"' },
    ".cm-deletedChunk": { backgroundColor: "var(--panel)" },
  });
  const extensions = (name) => [
    cm.lineNumbers(), cm.python(), theme, cm.EditorView.lineWrapping, cm.EditorState.readOnly.of(true),
    cm.EditorView.contentAttributes.of({ "aria-label": name, tabindex: "0" }),
  ];
  const collapse = { margin: 3, minSize: 6 };
  if (window.matchMedia("(min-width: 60rem)").matches) {
    new cm.MergeView({
      a: { doc: left, extensions: extensions(names[0]) },
      b: { doc: right, extensions: extensions(names[1]) },
      parent: root, root, collapseUnchanged: collapse, gutter: true,
    });
  } else {
    const merged = cm.unifiedMergeView({ original: left, mergeControls: false, collapseUnchanged: collapse });
    const state = cm.EditorState.create({ doc: right, extensions: [...extensions(names[1]), merged] });
    new cm.EditorView({ state, parent: root, root });
  }
  host.hidden = false;
  document.getElementById("both").hidden = true;
})();
