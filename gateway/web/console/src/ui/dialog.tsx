// The browser's own modal dialog: it keeps the focus inside and gives it back.
import { type FormEvent, type ReactNode, useEffect, useId, useRef } from "react";
import { useT } from "../i18n";

interface Asking {
  title: string;
  onClose: () => void;
  children?: ReactNode;
  wide?: boolean;
  /** With it, the dialog is a form: its button says so. */
  confirm?: { text: string; danger?: boolean; busy?: boolean; act: () => void };
}

/** Shown as long as it is rendered. */
export function Dialog({ title, onClose, children, wide, confirm }: Asking) {
  const t = useT();
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  function submit(event: FormEvent) {
    event.preventDefault();
    confirm?.act();
  }
  const content = (
    <>
      <header>
        <h2 id={heading}>{title}</h2>
      </header>
      <div className="body">{children}</div>
      <footer>
        <button type="button" className="button" onClick={onClose}>
          {t(confirm ? "cancel" : "close")}
        </button>
        {confirm && (
          <button
            type="submit"
            className={`button ${confirm.danger ? "danger" : "primary"}`}
            disabled={confirm.busy}
          >
            {confirm.text}
          </button>
        )}
      </footer>
    </>
  );
  return (
    <dialog ref={ref} className={wide ? "wide" : ""} aria-labelledby={heading} onClose={onClose}>
      {confirm ? <form onSubmit={submit}>{content}</form> : content}
    </dialog>
  );
}
