// CodeMirror for YAML in the colours of the console; loaded only with the editor's page.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, linter, lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import { Checker } from "./check";
import "./editor.css";

interface Editing {
  start: string;
  schema: object | null;
  /** What the gateway said, by line. */
  errors: { line: number | null; text: string }[];
  onText: (text: string) => void;
  label: string;
}

const COLOURS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], class: "ed-key" },
  { tag: tags.string, class: "ed-string" },
  { tag: [tags.number, tags.bool, tags.null], class: "ed-number" },
  { tag: tags.comment, class: "ed-comment" },
  { tag: tags.punctuation, class: "ed-sign" },
]);

/** The nonce of this page's policy: CodeMirror makes a style element of its own. */
function nonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? "";
}

function local(schema: object | null) {
  const checker = schema === null ? null : new Checker(schema);
  return linter((view) =>
    checker === null
      ? []
      : checker.faults(view.state.doc.toString()).map((fault) => ({
          from: Math.min(fault.from, view.state.doc.length),
          to: Math.min(fault.to, view.state.doc.length),
          severity: "error" as const,
          source: "schema",
          message: fault.message,
        })),
  );
}

/** An editor that tells each change; Esc, then Tab leaves it. */
export default function Editor({ start, schema, errors, onText, label }: Editing) {
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const changed = useRef(onText);
  changed.current = onText;
  const kept = useRef(start);

  useEffect(() => {
    if (box.current === null) return undefined;
    const made = new EditorView({
      parent: box.current,
      state: EditorState.create({
        doc: kept.current,
        extensions: [
          lineNumbers(),
          highlightActiveLineGutter(),
          highlightActiveLine(),
          highlightSelectionMatches(),
          history(),
          drawSelection(),
          yaml(),
          syntaxHighlighting(COLOURS),
          lintGutter(),
          local(schema),
          EditorState.tabSize.of(2),
          EditorView.lineWrapping,
          EditorView.cspNonce.of(nonce()),
          EditorView.contentAttributes.of({
            "aria-label": label,
            spellcheck: "false",
            tabindex: "0",
          }),
          keymap.of([
            ...defaultKeymap,
            ...searchKeymap,
            ...historyKeymap,
            ...lintKeymap,
            indentWithTab,
          ]),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged) return;
            kept.current = update.state.doc.toString();
            changed.current(kept.current);
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, [schema, label]);

  useEffect(() => {
    const shown = view.current;
    // With a schema the page's own check marks the text; the gateway's faults stand beside it, too.
    if (shown === null || schema !== null) return;
    const marks: Diagnostic[] = errors.flatMap((one) => {
      if (one.line === null || one.line > shown.state.doc.lines) return [];
      const line = shown.state.doc.line(one.line);
      return [{ from: line.from, to: line.to, severity: "error", message: one.text }];
    });
    shown.dispatch(setDiagnostics(shown.state, marks));
  }, [errors, schema]);

  return <div className="editor" ref={box} />;
}
