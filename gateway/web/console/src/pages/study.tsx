// One received payload: its story, its revisions, what the rules decided, what came of it.
import { Link } from "wouter";
import { segment } from "../api/client";
import { useResource } from "../api/queries";
import type { Page, PayloadDetails, TimelineEntry } from "../api/types";
import { useT, useWord } from "../i18n";
import type { PageProps } from "../shell/pages";
import { ActButton } from "../ui/act";
import { Badge, JobBadge } from "../ui/badge";
import { bytes, Time, Took, Uid } from "../ui/format";
import { Icon } from "../ui/icon";
import { Card, Empty, Facts, Head, Loaded } from "../ui/parts";
import { Table } from "../ui/table";
import { Timeline } from "../ui/timeline";

export default function Study({ params }: PageProps) {
  const id = params.id ?? "";
  const t = useT();
  const payload = useResource<PayloadDetails>(`payloads/${segment(id)}`);
  const story = useResource<Page<TimelineEntry>>(`payloads/${segment(id)}/timeline`);
  return (
    <Loaded of={payload}>
      {(found) => (
        <>
          <Top found={found} />
          {found.state === "CONFLICT" && (
            <div className="problem conflict" role="note">
              <Icon name="alert" />
              <span>{t("conflict.text")}</span>
            </div>
          )}
          <div className="split">
            <div className="stack">
              <Card title={t("timeline")}>
                <Loaded of={story}>{(told) => <Timeline entries={told.items} />}</Loaded>
              </Card>
              <Jobs found={found} />
              <Decisions found={found} />
            </div>
            <div className="stack">
              <About found={found} />
              <Revisions found={found} />
              <Series found={found} />
              <Associations found={found} />
            </div>
          </div>
        </>
      )}
    </Loaded>
  );
}

function Top({ found }: { found: PayloadDetails }) {
  const t = useT();
  const stale = ["payloads", "where", "jobs"];
  const title = found.accession_number || t("study");
  return (
    <Head
      title={title}
      shown={
        <span className="row">
          <Link href="/studies" className="crumb">
            {t("nav.studies")} /
          </Link>
          {title} <Badge group="payload" state={found.state} />
        </span>
      }
      sub={<Uid value={found.study_instance_uid} />}
    >
      {found.conflict && !found.conflict_released && (
        <ActButton
          label={t("release")}
          icon="check"
          path={`payloads/${found.id}/release`}
          question={t("release.question")}
          done={t("release.done")}
          stale={stale}
        />
      )}
      {["ROUTED", "UNMATCHED"].includes(found.state) && (
        <ActButton
          label={t("reroute")}
          icon="refresh"
          path={`payloads/${found.id}/reroute`}
          question={t("reroute.question")}
          done={t("reroute.done")}
          stale={stale}
        />
      )}
      {found.state !== "DELETED" && (
        <ActButton
          danger
          label={t("delete")}
          icon="trash"
          method="DELETE"
          path={`payloads/${found.id}`}
          question={t("payload.delete.question")}
          done={t("payload.delete.done")}
          stale={stale}
        />
      )}
    </Head>
  );
}

function About({ found }: { found: PayloadDetails }) {
  const t = useT();
  const word = useWord();
  return (
    <Card title={t("about")}>
      <Facts
        rows={[
          [t("patient"), found.patient_id],
          [t("accession"), found.accession_number],
          [t("calling"), `${found.calling_ae} (${found.host})`],
          [t("called"), found.called_ae],
          [t("instances"), `${found.instances} · ${bytes(found.bytes)}`],
          [t("received"), <Time key="r" at={found.opened_at} />],
          [t("completed"), <Time key="c" at={found.completed_at} />],
          [t("reason"), found.reason && word("complete", found.reason)],
          [t("payload.id"), <Uid key="i" value={found.id} />],
        ]}
      />
    </Card>
  );
}

function Revisions({ found }: { found: PayloadDetails }) {
  const t = useT();
  const word = useWord();
  return (
    <Card title={t("revisions")} flush>
      <Table
        caption={t("revisions")}
        rows={found.revisions}
        id={(row) => row.revision}
        empty={<Empty title={t("revisions.none")}>{t("revisions.none.text")}</Empty>}
        columns={[
          { head: t("revision"), num: true, cell: (row) => row.revision },
          { head: t("instances"), num: true, cell: (row) => row.instances },
          { head: t("completed"), cell: (row) => <Time at={row.completed_at} /> },
          { head: t("by"), cell: (row) => word("complete", row.reason) },
        ]}
      />
    </Card>
  );
}

function Series({ found }: { found: PayloadDetails }) {
  const t = useT();
  return (
    <Card title={t("series")} flush>
      <Table
        caption={t("series")}
        rows={found.series}
        id={(row) => row.series_instance_uid}
        empty={<Empty title={t("series.none")} />}
        columns={[
          { head: t("modality"), cell: (row) => row.modality ?? "–" },
          { head: t("series"), cell: (row) => <Uid value={row.series_instance_uid} short /> },
          { head: t("instances"), num: true, cell: (row) => row.instances },
        ]}
      />
    </Card>
  );
}

function Associations({ found }: { found: PayloadDetails }) {
  const t = useT();
  return (
    <Card title={t("nav.associations")} flush>
      <Table
        caption={t("nav.associations")}
        rows={found.associations}
        id={(row) => row.id}
        empty={<Empty title={t("associations.none")} />}
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
          { head: t("instances"), num: true, cell: (row) => row.instances },
        ]}
      />
    </Card>
  );
}

function Jobs({ found }: { found: PayloadDetails }) {
  const t = useT();
  return (
    <Card title={t("nav.jobs")} flush>
      <Table
        caption={t("nav.jobs")}
        rows={found.jobs}
        id={(row) => row.id}
        empty={<Empty title={t("study.nojobs")}>{t("study.nojobs.text")}</Empty>}
        columns={[
          { head: t("state"), cell: (row) => <JobBadge job={row} /> },
          {
            head: t("job"),
            cell: (row) => (
              <Link href={`/jobs/${row.id}`} className="break">
                {row.name}
              </Link>
            ),
          },
          { head: t("rule"), cell: (row) => row.rule },
          { head: t("revision"), num: true, cell: (row) => row.revision },
          {
            head: t("took"),
            num: true,
            cell: (row) => <Took from={row.started_at} to={row.stopped_at} />,
          },
        ]}
      />
    </Card>
  );
}

function Decisions({ found }: { found: PayloadDetails }) {
  const t = useT();
  return (
    <Card
      title={t("decisions")}
      flush
      actions={
        <Link href={`/rules?payload=${found.id}`} className="button">
          {t("explain.again")}
        </Link>
      }
    >
      <Table
        caption={t("decisions")}
        rows={found.decisions}
        id={(row) => row.id}
        empty={<Empty title={t("decisions.none")}>{t("decisions.none.text")}</Empty>}
        columns={[
          { head: t("revision"), num: true, cell: (row) => row.revision },
          { head: t("rule"), cell: (row) => row.rule ?? t("norule") },
          { head: t("outcome"), cell: (row) => <Badge group="outcome" state={row.outcome} /> },
          {
            head: t("expressions"),
            cell: (row) => (
              <span className="small">
                {Object.entries(row.expressions).map(([key, text]) => (
                  <div key={key}>
                    <span className="muted">{key}:</span> <code className="break">{text}</code>
                  </div>
                ))}
                {row.error && <div className="break">{row.error}</div>}
              </span>
            ),
          },
          {
            head: t("job"),
            cell: (row) =>
              row.job_id && (
                <Link href={`/jobs/${row.job_id}`} className="nowrap">
                  {t("open")}
                </Link>
              ),
          },
        ]}
      />
    </Card>
  );
}
