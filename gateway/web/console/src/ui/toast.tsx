// Short answers to what somebody did, read out by screen readers.
import { createContext, type ReactNode, useCallback, useContext, useRef, useState } from "react";
import { Icon } from "./icon";

type Kind = "ok" | "bad";
type Say = (kind: Kind, text: string) => void;

const SHOWN_MS = { ok: 4_000, bad: 12_000 };

const Context = createContext<Say>(() => {});

/** Holds the messages and gives `useSay` to everything inside. */
export function Toasts({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<{ id: number; kind: Kind; text: string }[]>([]);
  const count = useRef(0);
  const say = useCallback<Say>((kind, text) => {
    count.current += 1;
    const id = count.current;
    setShown((all) => [...all.slice(-3), { id, kind, text }]);
    window.setTimeout(() => setShown((all) => all.filter((one) => one.id !== id)), SHOWN_MS[kind]);
  }, []);
  return (
    <Context value={say}>
      {children}
      <div className="toasts" role="status" aria-live="polite">
        {shown.map((one) => (
          <div key={one.id} className={`toast ${one.kind}`}>
            <Icon name={one.kind === "ok" ? "check" : "alert"} />
            <span className="break">{one.text}</span>
          </div>
        ))}
      </div>
    </Context>
  );
}

/** Say something to the user. */
export function useSay(): Say {
  return useContext(Context);
}
