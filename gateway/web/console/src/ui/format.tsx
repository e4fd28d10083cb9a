// Times, sizes, durations and identifiers as people read them.
import { useEffect, useState } from "react";
import { useLanguage, useT } from "../i18n";
import { Icon } from "./icon";
import { useSay } from "./toast";

const two = (n: number) => String(n).padStart(2, "0");

function local(at: Date): string {
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
}

/** A time in the zone of this browser; UTC, and the day, on hover. */
export function Time({ at }: { at: string | null | undefined }) {
  if (!at) return <span className="muted">–</span>;
  return (
    <time dateTime={at} title={`${at.replace("T", " ").replace("Z", "")} UTC`} className="nowrap">
      {local(new Date(at))}
    </time>
  );
}

/** How long ago, kept up to date. */
export function Ago({ at }: { at: string | null }) {
  const { language } = useLanguage();
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const ticking = window.setInterval(() => setNow(Date.now()), 10_000);
    return () => window.clearInterval(ticking);
  }, []);
  if (at === null) return <span className="muted">–</span>;
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const [unit, size] =
    Math.abs(seconds) < 60
      ? (["second", 1] as const)
      : Math.abs(seconds) < 3600
        ? (["minute", 60] as const)
        : Math.abs(seconds) < 86400
          ? (["hour", 3600] as const)
          : (["day", 86400] as const);
  return (
    <time dateTime={at} title={`${at.replace("T", " ").replace("Z", "")} UTC`}>
      {words.format(Math.round(seconds / size), unit)}
    </time>
  );
}

/** Seconds as 40 ms, 2.5 s, 12 s, 3 min 20 s, 2 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

/** Seconds between two times, up to now when the second is not there yet. */
export function between(from: string | null | undefined, to: string | null | undefined) {
  if (!from) return null;
  const end = to ? new Date(to).getTime() : Date.now();
  return Math.max(0, (end - new Date(from).getTime()) / 1000);
}

/** How long something took, counting on while it runs. */
export function Took({ from, to }: { from: string | null; to: string | null }) {
  const [, tick] = useState(0);
  const running = Boolean(from) && !to;
  useEffect(() => {
    if (!running) return undefined;
    const ticking = window.setInterval(() => tick((n) => n + 1), 1000);
    return () => window.clearInterval(ticking);
  }, [running]);
  const seconds = between(from, to);
  return <span className="nowrap">{seconds === null ? "–" : duration(seconds)}</span>;
}

/** Bytes in the unit that fits. */
export function bytes(count: number): string {
  let value = count;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000)
      return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

/** A number in the language's own grouping. */
export function useCount(): (value: number) => string {
  const { language } = useLanguage();
  return (value) => new Intl.NumberFormat(language).format(value);
}

/** An identifier that may be long, with a button that copies it. */
export function Uid({ value, short = false }: { value: string | null; short?: boolean }) {
  const t = useT();
  const say = useSay();
  if (!value) return <span className="muted">–</span>;
  const shown = short && value.length > 20 ? `${value.slice(0, 6)}…${value.slice(-8)}` : value;
  async function copy() {
    try {
      await navigator.clipboard.writeText(value ?? "");
      say("ok", t("copied"));
    } catch {
      // Browsers give the clipboard to TLS and loopback only: the text can still be marked.
      say("bad", t("copied.not"));
    }
  }
  return (
    <span className="copy">
      <span className="uid" title={value}>
        {shown}
      </span>
      <button
        type="button"
        className="button quiet icon"
        aria-label={t("copy.what", { what: value })}
        onClick={() => void copy()}
      >
        <Icon name="copy" size={12} />
      </button>
    </span>
  );
}
