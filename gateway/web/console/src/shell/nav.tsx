// The pages, and how many things wait for a person.
import { Link, useLocation } from "wouter";
import { useResource } from "../api/queries";
import type { Overview } from "../api/types";
import { useT } from "../i18n";
import { Icon } from "../ui/icon";
import { ENTRIES } from "./pages";

/** Name and way home. */
export function Brand() {
  return (
    <Link href="/" className="brand">
      <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true" fill="none">
        <rect width="32" height="32" rx="7" fill="currentColor" opacity="0.16" />
        <path
          d="M7 11h9m-4-4 4 4-4 4M25 21h-9m4-4-4 4 4 4"
          stroke="currentColor"
          strokeWidth="2.6"
          strokeLinecap="round"
          strokeLinejoin="round"
        />
      </svg>
      Gateway
    </Link>
  );
}

/** The list of pages. */
export function Nav() {
  const t = useT();
  const [path] = useLocation();
  const overview = useResource<Overview>("overview");
  const waiting = overview.data?.attention.reduce((sum, one) => sum + one.count, 0) ?? 0;
  return (
    <nav className="nav" aria-label={t("nav.name")}>
      <div className="inner">
        {ENTRIES.map((entry) => {
          const here = entry.path === "/" ? path === "/" : path.startsWith(entry.path);
          return (
            <Link key={entry.path} href={entry.path} aria-current={here ? "page" : undefined}>
              <Icon name={entry.icon} />
              {t(entry.name)}
              {entry.path === "/" && waiting > 0 && (
                <span className="count" title={t("overview.attention")}>
                  {waiting}
                  <span className="sr-only"> {t("overview.attention")}</span>
                </span>
              )}
            </Link>
          );
        })}
        <div className="foot">
          {overview.data && t("version.is", { version: overview.data.version })}
        </div>
      </div>
    </nav>
  );
}
