// States as a word with a shape and a colour: never by colour alone.
import { useWord } from "../i18n";
import { Icon, type IconName } from "./icon";

export type Tone = "ok" | "warn" | "bad" | "run" | "idle";

const SHOWN: Record<string, [Tone, IconName]> = {
  // payloads
  RECEIVING: ["run", "download"],
  COMPLETE: ["run", "clock"],
  ROUTED: ["ok", "check"],
  UNMATCHED: ["warn", "dash"],
  CONFLICT: ["bad", "alert"],
  QUARANTINED: ["bad", "ban"],
  DELETED: ["idle", "trash"],
  // jobs
  PENDING: ["idle", "clock"],
  RUNNING: ["run", "run"],
  STOPPED: ["idle", "stop"],
  HEALTHY: ["ok", "check"],
  FAULTED: ["bad", "cross"],
  TERMINATED: ["bad", "clock"],
  CANCELED: ["idle", "ban"],
  EVICTED: ["bad", "alert"],
  // operators
  COMPLETED: ["ok", "check"],
  // results and their files
  SENDING: ["run", "delivery"],
  SENT: ["ok", "check"],
  DELIVERED: ["ok", "check"],
  COMMITTED: ["ok", "check"],
  WAITING: ["warn", "clock"],
  WARNING: ["warn", "alert"],
  FAILED: ["bad", "cross"],
  DUE: ["idle", "clock"],
  ASKED: ["run", "clock"],
  // circuits and parts
  CLOSED: ["ok", "check"],
  HALF_OPEN: ["warn", "clock"],
  ok: ["ok", "check"],
  degraded: ["warn", "alert"],
  down: ["bad", "cross"],
  warning: ["warn", "alert"],
  failed: ["bad", "cross"],
  error: ["bad", "cross"],
  // associations
  RELEASED: ["ok", "check"],
  ABORTED: ["warn", "cross"],
  REJECTED: ["bad", "ban"],
  // decisions
  MATCHED: ["ok", "check"],
  NOT_MATCHED: ["idle", "dash"],
  ERROR: ["bad", "alert"],
  UNCHANGED: ["idle", "dash"],
  // holds
  PAUSED: ["warn", "pause"],
  DRAINING: ["warn", "clock"],
};

/** A state of some kind of record; `group` chooses its words. */
export function Badge({ group, state }: { group: string; state: string }) {
  const word = useWord();
  const open: [Tone, IconName] = group === "circuit" ? ["bad", "alert"] : ["run", "run"];
  const [tone, icon] = state === "OPEN" ? open : (SHOWN[state] ?? ["idle", "dot"]);
  return (
    <span className={`badge tone-${tone}`} data-state={state}>
      <Icon name={icon} size={12} />
      {word(group, state)}
    </span>
  );
}

/** What a job is: its state, and how it ended once it has. */
export function JobBadge({ job }: { job: { state: string; status: string } }) {
  return <Badge group="job" state={job.state === "STOPPED" ? job.status : job.state} />;
}

/** A word in a tone. */
export function Mark({ tone, icon, text }: { tone: Tone; icon: IconName; text: string }) {
  return (
    <span className={`badge tone-${tone}`}>
      <Icon name={icon} size={12} />
      {text}
    </span>
  );
}
