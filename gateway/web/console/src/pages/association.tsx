// One association and the studies that it fed.
import { Link } from "wouter";
import { segment } from "../api/client";
import { useResource } from "../api/queries";
import type { AssociationDetails } from "../api/types";
import { useT } from "../i18n";
import type { PageProps } from "../shell/pages";
import { Badge } from "../ui/badge";
import { bytes, Time, Took, Uid } from "../ui/format";
import { Icon } from "../ui/icon";
import { Card, Empty, Facts, Head, Loaded } from "../ui/parts";
import { Table } from "../ui/table";

export default function AssociationPage({ params }: PageProps) {
  const id = params.id ?? "";
  const t = useT();
  const association = useResource<AssociationDetails>(`associations/${segment(id)}`);
  return (
    <Loaded of={association}>
      {(found) => {
        const title = `${found.calling_ae} → ${found.called_ae}`;
        return (
          <>
            <Head
              title={title}
              shown={
                <span className="row">
                  <Link href="/associations" className="crumb">
                    {t("nav.associations")} /
                  </Link>
                  {title} <Badge group="association" state={found.state} />
                </span>
              }
            />
            <div className="stack">
              {found.reason && (
                <div className="problem" role="note">
                  <Icon name="alert" />
                  <span className="break">{found.reason}</span>
                </div>
              )}
              <div className="split">
                <Card title={t("nav.studies")} flush>
                  <Table
                    caption={t("nav.studies")}
                    rows={found.payloads}
                    id={(row) => row.id}
                    empty={<Empty title={t("association.nostudies")} />}
                    columns={[
                      {
                        head: t("study"),
                        cell: (row) => (
                          <Link href={`/studies/${row.id}`}>
                            {row.accession_number || t("study.noaccession")}
                          </Link>
                        ),
                      },
                      {
                        head: t("state"),
                        cell: (row) => <Badge group="payload" state={row.state} />,
                      },
                      { head: t("instances"), num: true, cell: (row) => row.instances },
                      { head: t("received"), cell: (row) => <Time at={row.opened_at} /> },
                    ]}
                  />
                </Card>
                <Card title={t("about")}>
                  <Facts
                    rows={[
                      [t("calling"), found.calling_ae],
                      [t("called"), found.called_ae],
                      [t("host"), `${found.host}:${found.port}`],
                      ["TLS", found.tls ?? t("no")],
                      [t("opened"), <Time key="o" at={found.opened_at} />],
                      [t("closed"), <Time key="c" at={found.closed_at} />],
                      [t("took"), <Took key="t" from={found.opened_at} to={found.closed_at} />],
                      [t("instances"), `${found.instances} · ${bytes(found.bytes)}`],
                      [t("duplicates"), `${found.duplicates}`],
                      [t("ignored"), `${found.ignored}`],
                      [t("refused"), `${found.refused}`],
                      [t("association.id"), <Uid key="i" value={found.id} />],
                    ]}
                  />
                </Card>
              </div>
            </div>
          </>
        );
      }}
    </Loaded>
  );
}
