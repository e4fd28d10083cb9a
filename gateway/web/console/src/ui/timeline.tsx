// What happened, oldest first, each entry with its time, its kind and the record it is about.
import { Link } from "wouter";
import type { TimelineEntry } from "../api/types";
import { useWord } from "../i18n";
import { Time } from "./format";
import { Icon, type IconName } from "./icon";

const ICONS: Record<string, IconName> = {
  association: "associations",
  payload: "studies",
  rule: "rules",
  job: "jobs",
  operator: "pipelines",
  result: "delivery",
  commitment: "check",
};

function linkOf(entry: TimelineEntry): string | null {
  if (entry.result_id) return `/delivery/${entry.result_id}`;
  if (entry.job_id) return `/jobs/${entry.job_id}`;
  if (entry.association_id) return `/associations/${entry.association_id}`;
  return null;
}

/** The text without what the kind has said already ("Job created" of "job created: …"). */
function rest(kind: string, text: string): string {
  const repeated = text.toLowerCase().startsWith(kind.toLowerCase());
  return repeated ? text.slice(kind.length).replace(/^[:,\s]+/, "") : text;
}

/** The story of a study. */
export function Timeline({ entries }: { entries: TimelineEntry[] }) {
  const word = useWord();
  return (
    <ol className="timeline">
      {entries.map((entry, index) => {
        const link = linkOf(entry);
        const kind = word("event", entry.kind);
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: entries have no identity of their own
          <li key={index} data-kind={entry.kind}>
            <Time at={entry.time} />
            <span className="mark">
              <Icon name={ICONS[entry.kind.split("/")[0] ?? ""] ?? "dot"} size={15} />
            </span>
            <span className="break">
              {link === null ? <strong>{kind}</strong> : <Link href={link}>{kind}</Link>}{" "}
              <span className="muted">{rest(kind, entry.text)}</span>
            </span>
          </li>
        );
      })}
    </ol>
  );
}
