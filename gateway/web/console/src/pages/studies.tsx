// Where is my study?  Everything that was received, by UID, accession number, AE title and time.
import { Link } from "wouter";
import { usePaged, useResource } from "../api/queries";
import type { Payload, Where } from "../api/types";
import { useT, useWord } from "../i18n";
import { Badge } from "../ui/badge";
import { ChoiceFilter, Filters, Period, TextFilter, useFilters } from "../ui/filters";
import { bytes, Time, Uid } from "../ui/format";
import { Card, Empty, Head } from "../ui/parts";
import { PagedTable } from "../ui/table";

const STATES = [
  "RECEIVING",
  "COMPLETE",
  "ROUTED",
  "UNMATCHED",
  "CONFLICT",
  "QUARANTINED",
  "DELETED",
] as const;
const NAMES = ["study", "accession", "calling_ae", "called_ae", "state", "since", "until"] as const;

export default function Studies() {
  const t = useT();
  const word = useWord();
  const { values, set, clear, any } = useFilters(NAMES);
  const found = usePaged<Payload>("payloads", values);
  return (
    <>
      <Head title={t("nav.studies")}>
        <Link href="/studies/quarantine" className="button">
          {t("quarantine.title")}
        </Link>
      </Head>
      <Filters any={any} clear={clear}>
        <TextFilter
          wide
          label={t("study.uid")}
          value={values.study}
          onValue={(value) => set("study", value)}
        />
        <TextFilter
          label={t("accession")}
          value={values.accession}
          onValue={(value) => set("accession", value)}
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
        <ChoiceFilter
          label={t("state")}
          value={values.state}
          onValue={(value) => set("state", value)}
          options={STATES}
          group="payload"
        />
        <Period since={values.since} until={values.until} set={set} />
      </Filters>
      <Card flush>
        <PagedTable
          of={found}
          caption={t("nav.studies")}
          id={(row) => row.id}
          empty={<NotFound study={values.study} accession={values.accession} filtered={any} />}
          columns={[
            { head: t("received"), cell: (row) => <Time at={row.opened_at} /> },
            { head: t("state"), cell: (row) => <Badge group="payload" state={row.state} /> },
            {
              head: t("study"),
              cell: (row) => (
                <>
                  <Link href={`/studies/${row.id}`}>
                    {row.accession_number || t("study.noaccession")}
                  </Link>
                  <div className="sub">
                    <Uid value={row.study_instance_uid} short />
                  </div>
                </>
              ),
            },
            {
              head: t("patient"),
              cell: (row) => (
                <span className="cell-text" title={row.patient_id ?? ""}>
                  {row.patient_id}
                </span>
              ),
            },
            {
              head: t("way"),
              cell: (row) => (
                <>
                  <span className="nowrap">
                    {row.calling_ae} → {row.called_ae}
                  </span>
                  <div className="sub">{row.host}</div>
                </>
              ),
            },
            { head: t("instances"), num: true, cell: (row) => row.instances },
            { head: t("size"), num: true, cell: (row) => bytes(row.bytes) },
            { head: t("revision"), num: true, cell: (row) => row.revision },
            {
              head: t("reason"),
              cell: (row) => (
                <span className="small break">{row.reason && word("complete", row.reason)}</span>
              ),
            },
          ]}
        />
      </Card>
    </>
  );
}

interface Sought {
  study: string;
  accession: string;
  filtered: boolean;
}

function NotFound({ study, accession, filtered }: Sought) {
  const t = useT();
  const sought = study !== "" || accession !== "";
  const where = useResource<Where>(sought ? "where" : null, { study, accession });
  if (!filtered) return <Empty title={t("studies.none")}>{t("studies.none.text")}</Empty>;
  return (
    <Empty title={t("studies.notfound")}>
      {t("studies.notfound.text")}
      {where.data?.notes.map((note) => (
        <span key={note} className="note">
          {note}
        </span>
      ))}
    </Empty>
  );
}
