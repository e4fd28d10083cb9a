// One result: every instance of it, what the destination answered, and sending it again.
import { Link } from "wouter";
import { segment } from "../api/client";
import { useResource } from "../api/queries";
import type { ResultDetails } from "../api/types";
import { useT } from "../i18n";
import type { PageProps } from "../shell/pages";
import { ActButton } from "../ui/act";
import { Badge } from "../ui/badge";
import { bytes, Time, Uid } from "../ui/format";
import { Icon } from "../ui/icon";
import { Card, Empty, Facts, Head, Loaded } from "../ui/parts";
import { Table } from "../ui/table";
import { RETRIABLE } from "./delivery";

const STALE = ["results", "destinations"];

/** SOP classes that pipelines make; others are shown by their UID. */
const CLASSES: Record<string, string> = {
  "1.2.840.10008.5.1.4.1.1.2": "CT Image",
  "1.2.840.10008.5.1.4.1.1.4": "MR Image",
  "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
  "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
  "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR",
  "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR",
  "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
  "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
  "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection",
  "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF",
};

/** A DIMSE status as DICOM writes it. */
function dimse(status: number | null): string {
  return status === null ? "–" : `${status.toString(16).toUpperCase().padStart(4, "0")}H`;
}

export default function ResultPage({ params }: PageProps) {
  const id = params.id ?? "";
  const t = useT();
  const result = useResource<ResultDetails>(`results/${segment(id)}`);
  return (
    <Loaded of={result}>
      {(found) => (
        <>
          <Top found={found} />
          <div className="stack">
            {found.reason && (
              <div className="problem" role="note">
                <Icon name="alert" />
                <span className="break">{found.reason}</span>
              </div>
            )}
            <div className="split">
              <Files found={found} />
              <Card title={t("about")}>
                <Facts
                  rows={[
                    [t("destination"), found.destination ?? "–"],
                    [t("agent"), found.agent],
                    [
                      t("job"),
                      <Link key="j" href={`/jobs/${found.job_id}`}>
                        {t("job.open")}
                      </Link>,
                    ],
                    [t("created"), <Time key="c" at={found.created_at} />],
                    [t("delivered"), <Time key="d" at={found.delivered_at} />],
                    [t("delivery.tries"), `${found.retries}`],
                    [t("delivery.next"), <Time key="n" at={found.next_at} />],
                    [
                      t("commitment"),
                      found.commitment ? (
                        <Badge key="k" group="commitment" state={found.commitment} />
                      ) : (
                        t("commitment.none")
                      ),
                    ],
                    [t("result.id"), <Uid key="i" value={found.id} />],
                  ]}
                />
              </Card>
            </div>
          </div>
        </>
      )}
    </Loaded>
  );
}

function Top({ found }: { found: ResultDetails }) {
  const t = useT();
  const title = `${found.destination ?? found.agent} · ${found.id.slice(0, 8)}`;
  return (
    <Head
      title={title}
      shown={
        <span className="row">
          <Link href="/delivery" className="crumb">
            {t("nav.delivery")} /
          </Link>
          {title} <Badge group="result" state={found.state} />
        </span>
      }
    >
      {RETRIABLE.includes(found.state) && (
        <ActButton
          label={t("retry")}
          icon="refresh"
          path={`results/${found.id}/retry`}
          done={t("retry.done")}
          stale={STALE}
        />
      )}
      {["DELIVERED", "COMMITTED"].includes(found.state) && (
        <ActButton
          label={t("resend")}
          icon="delivery"
          path={`results/${found.id}/resend`}
          question={t("resend.question")}
          done={t("resend.done")}
          stale={STALE}
        />
      )}
    </Head>
  );
}

function Files({ found }: { found: ResultDetails }) {
  const t = useT();
  return (
    <Card title={t("result.files")} flush>
      <Table
        caption={t("result.files")}
        rows={found.files}
        id={(row) => row.id}
        empty={<Empty title={t("result.nofiles")} />}
        columns={[
          { head: t("state"), cell: (row) => <Badge group="file" state={row.state} /> },
          {
            head: t("instance"),
            cell: (row) => (
              <>
                {CLASSES[row.sop_class_uid ?? ""] ?? row.sop_class_uid ?? row.path}
                <div className="sub">
                  <Uid value={row.sop_instance_uid} short />
                </div>
              </>
            ),
          },
          { head: t("size"), num: true, cell: (row) => bytes(row.size) },
          { head: t("dimse"), cell: (row) => <code>{dimse(row.status)}</code> },
          { head: t("attempts"), num: true, cell: (row) => row.attempts },
          { head: t("sent"), cell: (row) => <Time at={row.sent_at} /> },
          {
            head: t("comment"),
            cell: (row) => <span className="small break">{row.comment}</span>,
          },
        ]}
      />
    </Card>
  );
}
