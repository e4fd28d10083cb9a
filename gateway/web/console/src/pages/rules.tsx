// Called AE titles and their rules, whether their files are in force, and what a study would meet.
import { Link } from "wouter";
import { useResource } from "../api/queries";
import type { Application, Rule, Rules as Told } from "../api/types";
import { useT, useWord } from "../i18n";
import { Mark } from "../ui/badge";
import { Icon } from "../ui/icon";
import { Card, Empty, Head, Loaded } from "../ui/parts";
import { Table } from "../ui/table";
import { Explain } from "./explain";

export default function Rules() {
  const t = useT();
  const rules = useResource<Told>("rules");
  return (
    <>
      <Head title={t("nav.rules")}>
        {rules.data && (
          <Mark
            tone={rules.data.valid ? "ok" : "bad"}
            icon={rules.data.valid ? "check" : "alert"}
            text={t(rules.data.valid ? "rules.valid" : "rules.invalid")}
          />
        )}
      </Head>
      <Loaded of={rules}>
        {(told) => (
          <div className="stack">
            {!told.valid && <Faults told={told} />}
            <p className="muted">
              {t("rules.version")} <code>{told.version.slice(0, 12)}</code> · {t("rules.reload")}
            </p>
            <Explain applications={told.applications} />
            {told.applications.length === 0 ? (
              <Card>
                <Empty title={t("rules.none")}>{t("rules.none.text")}</Empty>
              </Card>
            ) : (
              told.applications.map((one) => <OfTitle key={one.ae_title} application={one} />)
            )}
          </div>
        )}
      </Loaded>
    </>
  );
}

function Faults({ told }: { told: Told }) {
  const t = useT();
  return (
    <div className="problem" role="alert">
      <Icon name="alert" />
      <div>
        <strong>{t("rules.faults")}</strong>
        <ul className="plain">
          {told.faults.map((fault) => (
            <li key={`${fault.file}${fault.line}${fault.message}`} className="break">
              <code>
                {fault.file}
                {fault.line !== null && `:${fault.line}`}
              </code>{" "}
              {fault.key && <strong>{fault.key}: </strong>}
              {fault.message}
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}

function OfTitle({ application }: { application: Application }) {
  const t = useT();
  const word = useWord();
  const { complete_when: when } = application;
  const conditions = [
    when.quiet_seconds !== null && t("rules.quiet", { seconds: when.quiet_seconds }),
    when.association_released && t("rules.released"),
    when.instances !== null && t("rules.instances", { count: when.instances }),
    when.max_wait_seconds !== null && t("rules.maxwait", { seconds: when.max_wait_seconds }),
  ].filter((one) => one !== false);
  return (
    <Card
      title={<span className="mono">{application.ae_title}</span>}
      flush
      actions={
        <span className="muted small">
          {t("rules.groupby", { group: word("group", application.group_by) })} ·{" "}
          {t("rules.complete")} {conditions.join(` ${t("or")} `)} · {t("rules.otherwise")}{" "}
          {word("otherwise", application.otherwise)}
        </span>
      }
    >
      <div className="ruled">
        <Table
          caption={t("rules.of", { title: application.ae_title })}
          rows={application.rules}
          id={(row) => row.name}
          empty={<Empty title={t("rules.norules")}>{t("rules.norules.text")}</Empty>}
          columns={[
            { head: t("rule"), cell: (row) => <strong>{row.name}</strong> },
            { head: t("condition"), cell: (row) => <Conditions rule={row} /> },
            {
              head: t("pipeline"),
              cell: (row) => (
                <Link href={`/pipelines/${encodeURIComponent(row.pipeline)}`}>{row.pipeline}</Link>
              ),
            },
            { head: t("priority"), cell: (row) => word("priority", row.priority) },
            { head: t("destinations"), cell: (row) => row.destinations.join(", ") || "–" },
            { head: t("rules.matched"), num: true, cell: (row) => row.matched ?? 0 },
            {
              head: t("rules.errors"),
              num: true,
              cell: (row) =>
                row.errors ? (
                  <>
                    <Mark tone="bad" icon="alert" text={`${row.errors}`} />
                    <div className="sub break">{row.last_error}</div>
                  </>
                ) : (
                  "0"
                ),
            },
          ]}
        />
      </div>
    </Card>
  );
}

function Conditions({ rule }: { rule: Rule }) {
  const t = useT();
  const parts = (["when", "select", "prefer"] as const).filter((key) => rule[key] !== null);
  if (parts.length === 0) return <span className="muted">{t("rules.always")}</span>;
  return (
    <>
      {parts.map((key) => (
        <div key={key}>
          <span className="muted small">{key}</span> <code className="break">{rule[key]}</code>
        </div>
      ))}
    </>
  );
}
