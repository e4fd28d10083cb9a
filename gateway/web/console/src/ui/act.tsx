// Buttons that change something: one click or a question first, the answer as a message.
import { useState } from "react";
import { Problem, request } from "../api/client";
import { useRefresh } from "../api/queries";
import { useT } from "../i18n";
import { Dialog } from "./dialog";
import { Icon, type IconName } from "./icon";
import { useRole } from "./role";
import { useSay } from "./toast";

/** What can be seen of an error. */
export function told(error: unknown): string {
  if (error instanceof Problem) return error.detail;
  return error instanceof Error ? error.message : String(error);
}

/** Send a change; its failure is said, its success refreshes everything of `stale`. */
export function useAct(stale: string[]) {
  const say = useSay();
  const refresh = useRefresh();
  const [busy, setBusy] = useState(false);
  async function act<T>(send: () => Promise<T>, done: string | ((answer: T) => string)) {
    setBusy(true);
    try {
      const answer = await send();
      say("ok", typeof done === "string" ? done : done(answer));
      return true;
    } catch (error) {
      say("bad", told(error));
      return false;
    } finally {
      setBusy(false);
      refresh(...stale, "overview");
    }
  }
  return { act, busy };
}

interface Doing {
  label: string;
  path: string;
  method?: string;
  values?: Record<string, string>;
  stale: string[];
  done: string;
  icon?: IconName;
  danger?: boolean;
  /** Asked before anything is sent. */
  question?: string;
  needs?: "operator" | "administrator";
  disabled?: boolean;
  className?: string;
}

/** A button that sends one request; not there for those whose role does not reach. */
export function ActButton(doing: Doing) {
  const t = useT();
  const may = useRole();
  const [asking, setAsking] = useState(false);
  const { act, busy } = useAct(doing.stale);
  if (!may(doing.needs ?? "operator")) return null;
  async function send() {
    const sending = { method: doing.method ?? "POST" };
    await act(() => request(doing.path, sending, doing.values), doing.done);
    setAsking(false);
  }
  return (
    <>
      <button
        type="button"
        className={`button ${doing.danger ? "danger" : ""} ${doing.className ?? ""}`}
        disabled={busy || doing.disabled}
        onClick={() => (doing.question ? setAsking(true) : void send())}
      >
        {doing.icon && <Icon name={doing.icon} size={14} />}
        {doing.label}
      </button>
      {asking && (
        <Dialog
          title={doing.label}
          onClose={() => setAsking(false)}
          confirm={{
            text: doing.label,
            danger: doing.danger ?? false,
            busy,
            act: () => void send(),
          }}
        >
          <p>{doing.question ?? t("sure")}</p>
        </Dialog>
      )}
    </>
  );
}
