// Every job, newest first, narrowed by what one looks for.
import { Link } from "wouter";
import { usePaged } from "../api/queries";
import type { Job } from "../api/types";
import { useT, useWord } from "../i18n";
import { JobBadge } from "../ui/badge";
import { ChoiceFilter, Filters, Period, TextFilter, useFilters } from "../ui/filters";
import { Time, Took } from "../ui/format";
import { Card, Empty, Head } from "../ui/parts";
import { PagedTable } from "../ui/table";

const NAMES = [
  "state",
  "status",
  "priority",
  "pipeline",
  "called_ae",
  "rule",
  "payload",
  "since",
  "until",
] as const;

export default function Jobs() {
  const t = useT();
  const word = useWord();
  const { values, set, clear, any } = useFilters(NAMES);
  const found = usePaged<Job>("jobs", values);
  return (
    <>
      <Head title={t("nav.jobs")} />
      <Filters any={any} clear={clear}>
        <ChoiceFilter
          label={t("state")}
          value={values.state}
          onValue={(value) => set("state", value)}
          options={["PENDING", "RUNNING", "STOPPED"]}
          group="job"
        />
        <ChoiceFilter
          label={t("status")}
          value={values.status}
          onValue={(value) => set("status", value)}
          options={["HEALTHY", "FAULTED", "CANCELED", "TERMINATED", "EVICTED"]}
          group="job"
        />
        <ChoiceFilter
          label={t("priority")}
          value={values.priority}
          onValue={(value) => set("priority", value)}
          options={["immediate", "higher", "normal", "lower"]}
          group="priority"
        />
        <TextFilter
          label={t("pipeline")}
          value={values.pipeline}
          onValue={(v) => set("pipeline", v)}
        />
        <TextFilter
          label={t("called")}
          value={values.called_ae}
          onValue={(v) => set("called_ae", v)}
        />
        <TextFilter label={t("rule")} value={values.rule} onValue={(v) => set("rule", v)} />
        <Period since={values.since} until={values.until} set={set} />
      </Filters>
      <Card flush>
        <PagedTable
          of={found}
          caption={t("nav.jobs")}
          id={(row) => row.id}
          empty={
            any ? (
              <Empty title={t("jobs.notfound")}>{t("notfound.text")}</Empty>
            ) : (
              <Empty title={t("jobs.none")}>{t("jobs.none.text")}</Empty>
            )
          }
          columns={[
            { head: t("created"), cell: (row) => <Time at={row.created_at} /> },
            { head: t("state"), cell: (row) => <JobBadge job={row} /> },
            {
              head: t("job"),
              cell: (row) => (
                <Link href={`/jobs/${row.id}`} className="break">
                  {row.name}
                </Link>
              ),
            },
            {
              head: t("rule"),
              cell: (row) => (
                <>
                  {row.rule ?? t("byhand")}
                  <div className="sub">{row.called_ae}</div>
                </>
              ),
            },
            { head: t("priority"), cell: (row) => word("priority", row.priority) },
            { head: t("attempt"), num: true, cell: (row) => row.attempt },
            {
              head: t("took"),
              num: true,
              cell: (row) => <Took from={row.started_at} to={row.stopped_at} />,
            },
            { head: t("node"), cell: (row) => row.node },
            {
              head: t("reason"),
              cell: (row) => <span className="small break clamp">{row.reason}</span>,
            },
          ]}
        />
      </Card>
    </>
  );
}
