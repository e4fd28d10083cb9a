// Data sets that could not be used: kept, visible, and tried again on demand.
import { Link } from "wouter";
import { usePaged } from "../api/queries";
import type { Quarantined } from "../api/types";
import { useT } from "../i18n";
import { ActButton } from "../ui/act";
import { bytes, Time, Uid } from "../ui/format";
import { Card, Empty, Head } from "../ui/parts";
import { PagedTable } from "../ui/table";

export default function Quarantine() {
  const t = useT();
  const found = usePaged<Quarantined>("quarantine");
  return (
    <>
      <Head
        title={t("quarantine.title")}
        shown={
          <span className="row">
            <Link href="/studies" className="crumb">
              {t("nav.studies")} /
            </Link>
            {t("quarantine.title")}
          </span>
        }
      />
      <Card flush>
        <PagedTable
          of={found}
          caption={t("quarantine.title")}
          id={(row) => row.id}
          empty={<Empty title={t("quarantine.none")}>{t("quarantine.none.text")}</Empty>}
          columns={[
            { head: t("received"), cell: (row) => <Time at={row.received_at} /> },
            {
              head: t("way"),
              cell: (row) => (
                <Link href={`/associations/${row.association_id}`}>
                  {row.calling_ae} → {row.called_ae}
                </Link>
              ),
            },
            { head: t("instance"), cell: (row) => <Uid value={row.sop_instance_uid} short /> },
            { head: t("size"), num: true, cell: (row) => bytes(row.size) },
            { head: t("reason"), cell: (row) => <span className="break">{row.reason}</span> },
            {
              head: t("action"),
              cell: (row) => (
                <ActButton
                  label={t("again")}
                  path={`quarantine/${row.id}/retry`}
                  done={t("quarantine.retried")}
                  stale={["quarantine", "payloads"]}
                />
              ),
            },
          ]}
        />
      </Card>
    </>
  );
}
