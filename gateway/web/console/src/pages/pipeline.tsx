// One pipeline: its graph, its definition, its versions and what changed between two of them.
import { useState } from "react";
import { Link } from "wouter";
import { segment } from "../api/client";
import { useResource } from "../api/queries";
import type { Diff, Graph, Page, Pipeline as Told, PipelineVersion as Version } from "../api/types";
import { Dag } from "../graph";
import { useT } from "../i18n";
import type { PageProps } from "../shell/pages";
import { ActButton } from "../ui/act";
import { Mark } from "../ui/badge";
import { Time } from "../ui/format";
import { Card, Empty, Facts, Field, Head, Loaded } from "../ui/parts";
import { useRole } from "../ui/role";
import { Table } from "../ui/table";

export default function Pipeline({ params }: PageProps) {
  const name = params.id ?? "";
  const t = useT();
  const may = useRole();
  const pipeline = useResource<Told>(`pipelines/${segment(name)}`);
  const versions = useResource<Page<Version>>(`pipelines/${segment(name)}/versions`);
  const graph = useResource<Graph>(`pipelines/${segment(name)}/graph`);
  return (
    <Loaded of={pipeline}>
      {(found) => (
        <>
          <Head
            title={found.name}
            shown={
              <span className="row">
                <Link href="/pipelines" className="crumb">
                  {t("nav.pipelines")} /
                </Link>
                {found.name}
                <span className="muted">{t("version.short", { version: found.version })}</span>
              </span>
            }
          >
            <Link href={`/jobs?pipeline=${encodeURIComponent(found.name)}`} className="button">
              {t("pipeline.jobs")}
            </Link>
            {may("administrator") && (
              <Link
                href={`/pipelines/${encodeURIComponent(found.name)}/edit`}
                className="button primary"
              >
                {t("pipeline.edit")}
              </Link>
            )}
          </Head>
          <div className="stack">
            <Card title={t("graph")} flush>
              <Loaded of={graph}>{(drawn) => <Dag graph={drawn} label={t("graph")} />}</Loaded>
            </Card>
            <div className="split">
              <Definition found={found} />
              <div className="stack">
                <Loaded of={versions}>
                  {(told) => <Versions name={found.name} versions={told.items} />}
                </Loaded>
                <Card title={t("about")}>
                  <Facts
                    rows={[
                      [
                        t("file"),
                        <span key="f" className="mono small">
                          {found.file}
                        </span>,
                      ],
                      [t("digest"), <code key="d">{found.digest.slice(0, 16)}</code>],
                      [t("created"), <Time key="c" at={found.created_at} />],
                    ]}
                  />
                </Card>
              </div>
            </div>
          </div>
        </>
      )}
    </Loaded>
  );
}

function Definition({ found }: { found: Told }) {
  const t = useT();
  return (
    <Card title={t("definition")} flush>
      <section aria-label={t("definition")}>
        <pre className="log tall" tabIndex={0}>
          {found.definition}
        </pre>
      </section>
    </Card>
  );
}

function Versions({ name, versions }: { name: string; versions: Version[] }) {
  const t = useT();
  const newest = versions[0]?.version ?? 1;
  const [before, setBefore] = useState(versions[1]?.version ?? newest);
  const [after, setAfter] = useState(newest);
  const choice = (value: number, set: (version: number) => void, label: string) => (
    <Field label={label}>
      <select value={value} onChange={(event) => set(Number(event.target.value))}>
        {versions.map((one) => (
          <option key={one.id} value={one.version}>
            {t("version.short", { version: one.version })}
          </option>
        ))}
      </select>
    </Field>
  );
  return (
    <>
      <Card title={t("versions")} flush>
        <Table
          caption={t("versions")}
          rows={versions}
          id={(row) => row.id}
          empty={<Empty title={t("versions.none")} />}
          columns={[
            { head: t("version"), num: true, cell: (row) => row.version },
            { head: t("created"), cell: (row) => <Time at={row.created_at} /> },
            { head: t("nav.jobs"), num: true, cell: (row) => row.jobs },
            {
              head: t("action"),
              cell: (row) =>
                row.removed_at ? (
                  <Mark tone="idle" icon="trash" text={t("removed")} />
                ) : (
                  <ActButton
                    danger
                    className="quiet"
                    label={t("remove")}
                    needs="administrator"
                    method="DELETE"
                    path={`pipelines/${row.id}`}
                    question={t("pipeline.remove.question", { version: row.version })}
                    done={t("pipeline.removed")}
                    stale={["pipelines", "pipeline-cards"]}
                  />
                ),
            },
          ]}
        />
      </Card>
      {versions.length > 1 && (
        <Card title={t("difference")} flush>
          <div className="body row">
            {choice(before, setBefore, t("difference.before"))}
            {choice(after, setAfter, t("difference.after"))}
          </div>
          <Difference name={name} before={before} after={after} />
        </Card>
      )}
    </>
  );
}

const SIGNS = { added: "+", removed: "−", same: " ", skip: "⋯" } as const;

function Difference({ name, before, after }: { name: string; before: number; after: number }) {
  const t = useT();
  const diff = useResource<Diff>(`pipelines/${segment(name)}/diff`, { before, after });
  return (
    <Loaded of={diff}>
      {(found) =>
        found.lines.every((line) => line.kind === "same" || line.kind === "skip") ? (
          <Empty title={t("difference.none")} />
        ) : (
          <pre className="log diff" tabIndex={0}>
            {found.lines.map((line, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: lines have no identity of their own
              <span key={index} className={line.kind}>
                {`${SIGNS[line.kind]} ${line.text}\n`}
              </span>
            ))}
          </pre>
        )
      }
    </Loaded>
  );
}
