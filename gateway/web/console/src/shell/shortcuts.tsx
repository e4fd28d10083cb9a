// Keys: g and a letter goes somewhere, j and k walk the rows, ? tells all of them.
import { useCallback, useEffect, useRef, useState } from "react";
import { useLocation } from "wouter";
import { useT } from "../i18n";
import { Dialog } from "../ui/dialog";
import { remember, remembered } from "../ui/remember";
import { ENTRIES } from "./pages";

const HELP = "gateway:help";
const CHORD_MS = 1_500;

/** Show the list of keys. */
export function openHelp(): void {
  window.dispatchEvent(new Event(HELP));
}

function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    target.closest("input, select, textarea, dialog, [contenteditable=true]") !== null
  );
}

function walk(step: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLElement>("tr[data-row]")].flatMap((row) => {
    const link = row.querySelector<HTMLElement>("a, button");
    return link === null ? [] : [link];
  });
  const at = links.findIndex((link) => link.closest("tr")?.contains(document.activeElement));
  links[at === -1 ? (step === 1 ? 0 : links.length - 1) : at + step]?.focus();
}

const KEYS: Record<string, () => void> = {
  j: () => walk(1),
  k: () => walk(-1),
  t: () => document.getElementById("theme")?.click(),
  "/": () => document.getElementById("find")?.focus(),
};

/** Listens to the keys and shows them on demand. */
export function Shortcuts() {
  const t = useT();
  const [, go] = useLocation();
  const [helping, setHelping] = useState(false);
  const [on, setOn] = useState(() => remembered("shortcuts") !== "off");
  const chord = useRef(0);

  const pressed = useCallback(
    (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      const going = Date.now() - chord.current < CHORD_MS;
      chord.current = event.key === "g" ? Date.now() : 0;
      const entry = going ? ENTRIES.find((one) => one.key === event.key) : undefined;
      if (entry !== undefined) go(entry.path);
      else if (event.key === "?") setHelping(true);
      else if (event.key in KEYS) {
        event.preventDefault();
        KEYS[event.key]?.();
      }
    },
    [go],
  );
  useEffect(() => {
    if (!on) return undefined;
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, [on, pressed]);
  useEffect(() => {
    const show = () => setHelping(true);
    window.addEventListener(HELP, show);
    return () => window.removeEventListener(HELP, show);
  }, []);

  if (!helping) return null;
  const keys: [string, string][] = [
    ...ENTRIES.map((entry): [string, string] => [`g ${entry.key}`, t(entry.name)]),
    ["/", t("find.hint")],
    ["j", t("key.down")],
    ["k", t("key.up")],
    ["t", t("key.theme")],
    ["?", t("help.title")],
    ["Esc", t("close")],
  ];
  return (
    <Dialog title={t("help.title")} onClose={() => setHelping(false)}>
      <dl className="facts keys">
        {keys.map(([key, text]) => (
          <div key={key} className="pair">
            <dt>
              {key.split(" ").map((part) => (
                <kbd key={part}>{part}</kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <label className="row">
        <input
          type="checkbox"
          checked={on}
          onChange={(event) => {
            remember("shortcuts", event.target.checked ? "on" : "off");
            setOn(event.target.checked);
          }}
        />
        {t("key.use")}
      </label>
    </Dialog>
  );
}
