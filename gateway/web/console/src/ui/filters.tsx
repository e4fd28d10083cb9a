// Filters live in the address, so that a view can be linked and the back button works.
import { type ChangeEvent, type ReactNode, useCallback, useEffect, useState } from "react";
import { useSearchParams } from "wouter";
import { useT, useWord } from "../i18n";
import { Field } from "./parts";

const TYPING_MS = 350;

/** The filters in force and a function that changes one (empty = off). */
export function useFilters<N extends string>(names: readonly N[]) {
  const [search, setSearch] = useSearchParams();
  const values = {} as Record<N, string>;
  for (const name of names) values[name] = search.get(name) ?? "";
  const set = useCallback(
    (name: N, value: string) =>
      setSearch(
        (before) => {
          const after = new URLSearchParams(before);
          if (value === "") after.delete(name);
          else after.set(name, value);
          return after;
        },
        { replace: true },
      ),
    [setSearch],
  );
  const clear = useCallback(() => setSearch({}, { replace: true }), [setSearch]);
  return { values, set, clear, any: names.some((name) => values[name] !== "") };
}

interface Typed {
  label: string;
  value: string;
  onValue: (value: string) => void;
  wide?: boolean;
  placeholder?: string;
  type?: "text" | "search" | "datetime-local";
}

/** A text filter that waits until typing pauses. */
export function TextFilter({ label, value, onValue, wide, placeholder, type = "search" }: Typed) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const waiting = window.setTimeout(() => onValue(text.trim()), TYPING_MS);
    return () => window.clearTimeout(waiting);
  }, [text, value, onValue]);
  return (
    <Field label={label} {...(wide ? { wide } : {})}>
      <input
        type={type}
        value={text}
        placeholder={placeholder}
        spellCheck={false}
        autoComplete="off"
        onChange={(event: ChangeEvent<HTMLInputElement>) => setText(event.target.value)}
      />
    </Field>
  );
}

interface Chosen {
  label: string;
  value: string;
  onValue: (value: string) => void;
  options: readonly string[];
  /** Where the words of the options are. */
  group: string;
}

/** A choice of states. */
export function ChoiceFilter({ label, value, onValue, options, group }: Chosen) {
  const t = useT();
  const word = useWord();
  return (
    <Field label={label}>
      <select value={value} onChange={(event) => onValue(event.target.value)}>
        <option value="">{t("any")}</option>
        {options.map((option) => (
          <option key={option} value={option}>
            {word(group, option)}
          </option>
        ))}
      </select>
    </Field>
  );
}

/** The local time that a datetime field shows for an RFC 3339 time in UTC. */
function localInput(utc: string): string {
  if (utc === "") return "";
  const at = new Date(utc);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

interface Timed {
  label: string;
  value: string;
  onValue: (value: string) => void;
}

/** A time in the local zone; its value is RFC 3339 in UTC. */
function TimeFilter({ label, value, onValue }: Timed) {
  return (
    <Field label={label}>
      <input
        type="datetime-local"
        value={localInput(value)}
        onChange={(event) =>
          onValue(event.target.value === "" ? "" : new Date(event.target.value).toISOString())
        }
      />
    </Field>
  );
}

interface Spanned {
  since: string;
  until: string;
  set: (name: "since" | "until", value: string) => void;
}

/** From when to when; both stay on one line. */
export function Period({ since, until, set }: Spanned) {
  const t = useT();
  return (
    <div className="period">
      <TimeFilter label={t("since")} value={since} onValue={(value) => set("since", value)} />
      <TimeFilter label={t("until")} value={until} onValue={(value) => set("until", value)} />
    </div>
  );
}

interface Bar {
  any: boolean;
  clear: () => void;
  /** Within a card that leaves no room at its edges. */
  inset?: boolean;
  children: ReactNode;
}

/** The filters of a list, with a button that clears them as soon as one is set. */
export function Filters({ any, clear, inset = false, children }: Bar) {
  const t = useT();
  return (
    <search className={inset ? "filters body" : "filters"}>
      {children}
      {any && (
        <button type="button" className="button" onClick={clear}>
          {t("filters.clear")}
        </button>
      )}
    </search>
  );
}
