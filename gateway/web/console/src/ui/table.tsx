// Dense tables with a caption for screen readers, paged by cursor.
import type { ReactNode } from "react";
import type { Paged } from "../api/queries";
import { useT } from "../i18n";
import { Icon } from "./icon";
import { Loading, Trouble } from "./parts";

export interface Column<T> {
  head: string;
  cell: (row: T) => ReactNode;
  num?: boolean;
}

interface Shown<T> {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  id: (row: T) => string | number;
  empty: ReactNode;
}

/** Rows of records; the first link of each row is where `j` and `k` go. */
export function Table<T>({ caption, columns, rows, id, empty }: Shown<T>) {
  if (rows.length === 0) return <>{empty}</>;
  return (
    <section className="table-wrap" aria-label={caption} tabIndex={0}>
      <table>
        <caption className="sr-only">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.head} scope="col" className={column.num ? "num" : ""}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)} data-row="">
              {columns.map((column) => (
                <td key={column.head} className={column.num ? "num" : ""}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A table of a paged list with its buttons. */
export function PagedTable<T>({ of, ...table }: { of: Paged<T> } & Omit<Shown<T>, "rows">) {
  const t = useT();
  if (of.error) return <Trouble error={of.error} />;
  if (of.loading) return <Loading />;
  const several = of.newer !== null || of.older !== null;
  return (
    <>
      <Table {...table} rows={of.items} />
      {several && (
        <nav className="pager" aria-label={t("pager.name", { what: table.caption })}>
          <span>{t("pager.page", { page: of.page })}</span>
          <span className="space" />
          <button
            type="button"
            className="button"
            disabled={!of.newer}
            onClick={() => of.newer?.()}
          >
            <Icon name="left" size={12} />
            {t("pager.newer")}
          </button>
          <button
            type="button"
            className="button"
            disabled={!of.older}
            onClick={() => of.older?.()}
          >
            {t("pager.older")}
            <Icon name="right" size={12} />
          </button>
        </nav>
      )}
    </>
  );
}
