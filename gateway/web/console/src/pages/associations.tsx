// Who connected, who is connected, and who was turned away and why.
import { Link } from "wouter";
import { usePaged } from "../api/queries";
import type { Association } from "../api/types";
import { useT } from "../i18n";
import { Badge } from "../ui/badge";
import { ChoiceFilter, Filters, Period, TextFilter, useFilters } from "../ui/filters";
import { bytes, Time, Took } from "../ui/format";
import { Card, Empty, Head } from "../ui/parts";
import { PagedTable } from "../ui/table";

const NAMES = ["state", "calling_ae", "called_ae", "host", "since", "until"] as const;

export default function Associations() {
  const t = useT();
  const { values, set, clear, any } = useFilters(NAMES);
  const found = usePaged<Association>("associations", values);
  return (
    <>
      <Head title={t("nav.associations")} />
      <Filters any={any} clear={clear}>
        <ChoiceFilter
          label={t("state")}
          value={values.state}
          onValue={(value) => set("state", value)}
          options={["OPEN", "RELEASED", "ABORTED", "REJECTED"]}
          group="association"
        />
        <TextFilter
          label={t("calling")}
          value={values.calling_ae}
          onValue={(value) => set("calling_ae", value)}
        />
        <TextFilter
          label={t("called")}
          value={values.called_ae}
          onValue={(value) => set("called_ae", value)}
        />
        <TextFilter label={t("host")} value={values.host} onValue={(v) => set("host", v)} />
        <Period since={values.since} until={values.until} set={set} />
      </Filters>
      <Card flush>
        <PagedTable
          of={found}
          caption={t("nav.associations")}
          id={(row) => row.id}
          empty={
            <Empty title={t("associations.none")}>
              {t(any ? "notfound.text" : "associations.none.text")}
            </Empty>
          }
          columns={[
            {
              head: t("opened"),
              cell: (row) => (
                <Link href={`/associations/${row.id}`}>
                  <Time at={row.opened_at} />
                </Link>
              ),
            },
            { head: t("state"), cell: (row) => <Badge group="association" state={row.state} /> },
            {
              head: t("way"),
              cell: (row) => (
                <>
                  <span className="nowrap">
                    {row.calling_ae} → {row.called_ae}
                  </span>
                  <div className="sub">
                    {row.host}:{row.port}
                    {row.tls && ` · ${row.tls}`}
                  </div>
                </>
              ),
            },
            {
              head: t("took"),
              num: true,
              cell: (row) => <Took from={row.opened_at} to={row.closed_at} />,
            },
            { head: t("instances"), num: true, cell: (row) => row.instances },
            { head: t("size"), num: true, cell: (row) => bytes(row.bytes) },
            { head: t("duplicates"), num: true, cell: (row) => row.duplicates },
            { head: t("refused"), num: true, cell: (row) => row.refused + row.ignored },
            { head: t("reason"), cell: (row) => <span className="small break">{row.reason}</span> },
          ]}
        />
      </Card>
    </>
  );
}
