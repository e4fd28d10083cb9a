// Every change: who, from where, what, and whether it was let in.
import { usePaged } from "../api/queries";
import type { Audit } from "../api/types";
import { useT, useWord } from "../i18n";
import { Mark } from "../ui/badge";
import { TextFilter, useFilters } from "../ui/filters";
import { Time } from "../ui/format";
import { Card, Empty } from "../ui/parts";
import { PagedTable } from "../ui/table";

export default function AuditList() {
  const t = useT();
  const word = useWord();
  const { values, set, any } = useFilters(["user", "action"] as const);
  const found = usePaged<Audit>("audit", values);
  return (
    <Card title={t("system.audit")} flush>
      <search className="filters body">
        <TextFilter label={t("user")} value={values.user} onValue={(v) => set("user", v)} />
        <TextFilter
          wide
          label={t("action")}
          value={values.action}
          onValue={(v) => set("action", v)}
        />
      </search>
      <PagedTable
        of={found}
        caption={t("system.audit")}
        id={(row) => row.id}
        empty={
          <Empty title={t("audit.none")}>{t(any ? "notfound.text" : "audit.none.text")}</Empty>
        }
        columns={[
          { head: t("time"), cell: (row) => <Time at={row.time} /> },
          { head: t("user"), cell: (row) => row.user ?? <span className="muted">–</span> },
          { head: t("audit.via"), cell: (row) => word("via", row.via) },
          { head: t("audit.address"), cell: (row) => row.address },
          { head: t("action"), cell: (row) => <code className="break">{row.action}</code> },
          {
            head: t("audit.target"),
            cell: (row) => <span className="break small">{row.target}</span>,
          },
          {
            head: t("state"),
            cell: (row) => {
              const refused = (row.status ?? 0) >= 400;
              return (
                <Mark
                  tone={refused ? "bad" : row.status === null ? "idle" : "ok"}
                  icon={refused ? "cross" : row.status === null ? "clock" : "check"}
                  text={`${row.status ?? "–"}`}
                />
              );
            },
          },
        ]}
      />
    </Card>
  );
}
