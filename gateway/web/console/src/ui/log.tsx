// An operator's log that follows: each piece is asked for where the last one ended.
import { useEffect, useRef, useState } from "react";
import { Problem, request, segment } from "../api/client";
import type { LogPiece } from "../api/types";
import { useT } from "../i18n";
import { Trouble } from "./parts";

const POLL_MS = 1_000;
/** Characters kept on the page; the whole log can be downloaded. */
const KEPT = 400_000;

/** Text only: whatever an operator prints stays text. */
export function Log({ job, operator }: { job: string; operator: string }) {
  const t = useT();
  const [text, setText] = useState("");
  const [ended, setEnded] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const [follow, setFollow] = useState(true);
  const box = useRef<HTMLPreElement>(null);

  useEffect(() => {
    const stop = new AbortController();
    void read(job, operator, stop.signal, (piece) => {
      setText((before) => (before + piece.text).slice(-KEPT));
      setEnded(piece.ended);
    }).catch((failed: unknown) => {
      if (!stop.signal.aborted && failed instanceof Error) setError(failed);
    });
    return () => stop.abort();
  }, [job, operator]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new text is what moves the end
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text, follow]);

  const whole = `/api/v1/jobs/${job}/logs?${new URLSearchParams({ operator })}`;
  return (
    <>
      <div className="row log-head">
        <label className="row">
          <input
            type="checkbox"
            checked={follow}
            onChange={(event) => setFollow(event.target.checked)}
          />
          {t("log.follow")}
        </label>
        <span className="muted small">{t(ended ? "log.ended" : "log.running")}</span>
        <a href={whole} download={`${operator}.log`} className="small">
          {t("log.download")}
        </a>
      </div>
      {error && !(error instanceof Problem && error.status === 404) && <Trouble error={error} />}
      <pre
        className="log"
        ref={box}
        tabIndex={0}
        role="log"
        aria-label={`${t("logs")}: ${operator}`}
      >
        {text || (ended ? t("log.empty") : "")}
      </pre>
    </>
  );
}

async function read(
  job: string,
  operator: string,
  signal: AbortSignal,
  got: (piece: LogPiece) => void,
): Promise<void> {
  let offset = 0;
  const path = `jobs/${job}/operators/${segment(operator)}/log`;
  while (!signal.aborted) {
    const piece = await request<LogPiece>(path, { signal }, { offset });
    if (signal.aborted) return;
    got(piece);
    const more = piece.next_offset > offset && piece.text !== "";
    offset = piece.next_offset;
    if (piece.ended && !more) return;
    if (!more) await new Promise((resolve) => window.setTimeout(resolve, POLL_MS));
  }
}
