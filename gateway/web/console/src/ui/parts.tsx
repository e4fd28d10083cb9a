// What every page is made of: heads, cards, fields, problems and empty states.
import { type ReactNode, useEffect, useId } from "react";
import { useT } from "../i18n";
import { told } from "./act";
import { Icon } from "./icon";

interface Heading {
  title: string;
  /** Shown instead of the title, which stays the name of the window. */
  shown?: ReactNode;
  sub?: ReactNode;
  children?: ReactNode;
}

/** The head of a page; its title is the window's, too. */
export function Head({ title, shown, sub, children }: Heading) {
  useEffect(() => {
    document.title = `${title} · Gateway`;
  }, [title]);
  return (
    <div className="head">
      <h1>{shown ?? title}</h1>
      {children && <div className="actions">{children}</div>}
      {sub && <div className="sub">{sub}</div>}
    </div>
  );
}

interface Box {
  title?: ReactNode;
  actions?: ReactNode;
  flush?: boolean;
  children: ReactNode;
}

/** A framed part of a page. */
export function Card({ title, actions, flush, children }: Box) {
  const heading = useId();
  return (
    <section className="card" aria-labelledby={title ? heading : undefined}>
      {title && (
        <header>
          <h2 id={heading}>{title}</h2>
          {actions && <div className="actions">{actions}</div>}
        </header>
      )}
      {flush ? children : <div className="body">{children}</div>}
    </section>
  );
}

/** A labelled control. */
export function Field({
  label,
  wide,
  children,
}: {
  label: string;
  wide?: boolean;
  children: ReactNode;
}) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is the child
    <label className={`field ${wide ? "wide" : ""}`}>
      <span>{label}</span>
      {children}
    </label>
  );
}

/** What went wrong, in the server's words. */
export function Trouble({ error, retry }: { error: unknown; retry?: () => void }) {
  const t = useT();
  return (
    <div className="problem" role="alert">
      <Icon name="alert" />
      <div className="break">
        <strong>{t("trouble")}</strong>
        <p>{told(error)}</p>
      </div>
      {retry && (
        <button type="button" className="button" onClick={retry}>
          {t("again")}
        </button>
      )}
    </div>
  );
}

/** Nothing there, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <strong>{title}</strong>
      {children && <p>{children}</p>}
    </div>
  );
}

/** Something is on its way. */
export function Loading() {
  const t = useT();
  return (
    <p className="loading" role="status">
      {t("loading")}
    </p>
  );
}

interface Asked<T> {
  data: T | undefined;
  error: Error | null;
  refetch?: () => unknown;
}

/** What was asked for, or why it is not there. */
export function Loaded<T>({ of, children }: { of: Asked<T>; children: (data: T) => ReactNode }) {
  if (of.data !== undefined) return <>{children(of.data)}</>;
  if (of.error) return <Trouble error={of.error} retry={() => void of.refetch?.()} />;
  return <Loading />;
}

/** Names with their values. */
export function Facts({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {rows.map(([name, value]) => (
        <div key={name} className="pair">
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
