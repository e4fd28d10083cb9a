// One job: its graph as it runs, its logs, its files, why it started, and what one may do.
import { useState } from "react";
import { Link } from "wouter";
import { request, segment } from "../api/client";
import { useResource } from "../api/queries";
import type { Graph, JobDetails, Priority } from "../api/types";
import { Dag } from "../graph";
import { useT, useWord } from "../i18n";
import type { PageProps } from "../shell/pages";
import { ActButton, useAct } from "../ui/act";
import { Badge, JobBadge } from "../ui/badge";
import { Dialog } from "../ui/dialog";
import { Files } from "../ui/files";
import { Time, Took, Uid } from "../ui/format";
import { Icon } from "../ui/icon";
import { Log } from "../ui/log";
import { Card, Empty, Facts, Field, Head, Loaded } from "../ui/parts";
import { useRole } from "../ui/role";
import { Table } from "../ui/table";

const STALE = ["jobs", "payloads", "results"];
const PRIORITIES: Priority[] = ["immediate", "higher", "normal", "lower"];

export default function JobPage({ params }: PageProps) {
  const id = params.id ?? "";
  const t = useT();
  const job = useResource<JobDetails>(`jobs/${segment(id)}`);
  const graph = useResource<Graph>(`jobs/${segment(id)}/graph`);
  const [chosen, choose] = useState<string | null>(null);
  return (
    <Loaded of={job}>
      {(found) => {
        const operator = chosen ?? interesting(found);
        return (
          <>
            <Top found={found} />
            <div className="stack">
              {found.reason && found.status !== "HEALTHY" && (
                <div className="problem" role="note">
                  <Icon name="alert" />
                  <span className="break">{found.reason}</span>
                </div>
              )}
              <Card title={t("graph")} flush>
                <Loaded of={graph}>
                  {(drawn) => (
                    <Dag graph={drawn} label={t("graph")} chosen={operator} onChoose={choose} />
                  )}
                </Loaded>
              </Card>
              <div className="split">
                <div className="stack">
                  <Logs found={found} operator={operator} choose={choose} />
                  <Files job={found.id} gone={found.payload_deleted_at !== null} />
                  <Results found={found} />
                </div>
                <div className="stack">
                  <Why found={found} />
                  <About found={found} />
                </div>
              </div>
            </div>
          </>
        );
      }}
    </Loaded>
  );
}

/** The operator whose log one wants first: the one that runs, failed, or was last. */
function interesting(job: JobDetails): string | null {
  const now = job.operators.filter((one) => one.attempt === job.attempt);
  const one =
    now.find((each) => each.status === "FAULTED") ??
    now.find((each) => each.status === "RUNNING") ??
    now.filter((each) => each.started_at !== null).at(-1) ??
    now[0];
  return one?.name ?? null;
}

function Top({ found }: { found: JobDetails }) {
  const t = useT();
  const may = useRole();
  const [asking, setAsking] = useState<"rerun" | "priority" | null>(null);
  const stopped = found.state === "STOPPED";
  return (
    <Head
      title={found.name}
      shown={
        <span className="row">
          <Link href="/jobs" className="crumb">
            {t("nav.jobs")} /
          </Link>
          <span className="break">{found.name}</span> <JobBadge job={found} />
        </span>
      }
    >
      {!stopped && (
        <ActButton
          danger
          label={t("job.cancel")}
          icon="ban"
          path={`jobs/${found.id}/cancel`}
          question={t("job.cancel.question")}
          done={t("job.cancel.done")}
          stale={STALE}
        />
      )}
      {found.state === "PENDING" && may("operator") && (
        <button type="button" className="button" onClick={() => setAsking("priority")}>
          {t("job.prioritise")}
        </button>
      )}
      {stopped && found.status === "HEALTHY" && found.payload_deleted_at === null && (
        <Link href={`/view/j${found.id}`} className="button">
          <Icon name="studies" size={14} />
          {t("view.open")}
        </Link>
      )}
      {stopped && may("operator") && found.payload_deleted_at === null && (
        <button type="button" className="button" onClick={() => setAsking("rerun")}>
          <Icon name="refresh" size={14} />
          {t("job.rerun")}
        </button>
      )}
      {asking === "rerun" && <Rerun found={found} onClose={() => setAsking(null)} />}
      {asking === "priority" && <Prioritise found={found} onClose={() => setAsking(null)} />}
    </Head>
  );
}

interface Asking {
  found: JobDetails;
  onClose: () => void;
}

function Rerun({ found, onClose }: Asking) {
  const t = useT();
  const { act, busy } = useAct(STALE);
  const [operator, setOperator] = useState("");
  const names = [...new Set(found.operators.map((one) => one.name))];
  async function send() {
    const post = { method: "POST" };
    await act(() => request(`jobs/${found.id}/rerun`, post, { operator }), t("job.rerun.done"));
    onClose();
  }
  return (
    <Dialog
      title={t("job.rerun")}
      onClose={onClose}
      confirm={{ text: t("job.rerun"), busy, act: () => void send() }}
    >
      <p>{t("job.rerun.question")}</p>
      <Field label={t("job.rerun.from")}>
        <select value={operator} onChange={(event) => setOperator(event.target.value)}>
          <option value="">{t("job.rerun.whole")}</option>
          {names.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </Field>
    </Dialog>
  );
}

function Prioritise({ found, onClose }: Asking) {
  const t = useT();
  const word = useWord();
  const { act, busy } = useAct(STALE);
  const [priority, setPriority] = useState<Priority>(found.priority);
  async function send() {
    const post = { method: "POST" };
    await act(
      () => request(`jobs/${found.id}/prioritise`, post, { priority }),
      t("job.prioritise.done"),
    );
    onClose();
  }
  return (
    <Dialog
      title={t("job.prioritise")}
      onClose={onClose}
      confirm={{ text: t("job.prioritise"), busy, act: () => void send() }}
    >
      <Field label={t("priority")}>
        <select value={priority} onChange={(event) => setPriority(event.target.value as Priority)}>
          {PRIORITIES.map((one) => (
            <option key={one} value={one}>
              {word("priority", one)}
            </option>
          ))}
        </select>
      </Field>
    </Dialog>
  );
}

interface Chosen {
  found: JobDetails;
  operator: string | null;
  choose: (name: string) => void;
}

function Logs({ found, operator, choose }: Chosen) {
  const t = useT();
  const now = found.operators.filter((one) => one.attempt === found.attempt);
  if (operator === null) {
    return (
      <Card title={t("logs")}>
        <Empty title={t("logs.none")}>{t("logs.none.text")}</Empty>
      </Card>
    );
  }
  return (
    <Card title={t("logs")} flush>
      <div className="tabs" role="tablist" aria-label={t("logs")}>
        {now.map((one) => (
          <button
            key={one.name}
            type="button"
            role="tab"
            aria-selected={one.name === operator}
            onClick={() => choose(one.name)}
          >
            {one.name}
          </button>
        ))}
      </div>
      <Log key={`${found.id}/${found.attempt}/${operator}`} job={found.id} operator={operator} />
    </Card>
  );
}

function Results({ found }: { found: JobDetails }) {
  const t = useT();
  return (
    <Card title={t("results")} flush>
      <Table
        caption={t("results")}
        rows={found.results}
        id={(row) => row.id}
        empty={<Empty title={t("results.none")}>{t("job.noresults.text")}</Empty>}
        columns={[
          { head: t("state"), cell: (row) => <Badge group="result" state={row.state} /> },
          {
            head: t("destination"),
            cell: (row) => <Link href={`/delivery/${row.id}`}>{row.destination ?? row.agent}</Link>,
          },
          { head: t("attempt"), num: true, cell: (row) => row.attempt },
          { head: t("delivered"), cell: (row) => <Time at={row.delivered_at} /> },
          { head: t("reason"), cell: (row) => <span className="small break">{row.reason}</span> },
        ]}
      />
    </Card>
  );
}

function Why({ found }: { found: JobDetails }) {
  const t = useT();
  const { decision } = found;
  return (
    <Card title={t("why")}>
      <div className="stack">
        <p className="break">{found.why}</p>
        {decision !== null && (
          <>
            <Facts
              rows={[
                [t("rule"), decision.rule],
                [t("rules.version"), <code key="v">{decision.config_version.slice(0, 12)}</code>],
                ...Object.entries(decision.expressions).map(
                  ([key, text]): [string, React.ReactNode] => [key, <code key={key}>{text}</code>],
                ),
                [t("evaluated"), `${decision.elapsed_ms.toFixed(1)} ms`],
              ]}
            />
            <details>
              <summary>{t("values")}</summary>
              <pre className="log" tabIndex={0}>
                {JSON.stringify(decision.values, null, 2)}
              </pre>
            </details>
          </>
        )}
        {found.received_payload_id && (
          <Link href={`/studies/${found.received_payload_id}`}>{t("study.open")}</Link>
        )}
      </div>
    </Card>
  );
}

function About({ found }: { found: JobDetails }) {
  const t = useT();
  const word = useWord();
  return (
    <Card title={t("about")}>
      <Facts
        rows={[
          [
            t("pipeline"),
            <Link key="p" href={`/pipelines/${encodeURIComponent(found.pipeline.name)}`}>
              {found.pipeline.name} · {t("version.short", { version: found.pipeline.version })}
            </Link>,
          ],
          [t("priority"), word("priority", found.priority)],
          [t("destinations"), found.destinations.join(", ") || "–"],
          [t("attempt"), `${found.attempt}`],
          [t("created"), <Time key="c" at={found.created_at} />],
          [t("started"), <Time key="s" at={found.started_at} />],
          [t("stopped"), <Time key="e" at={found.stopped_at} />],
          [t("took"), <Took key="t" from={found.started_at} to={found.stopped_at} />],
          [t("resources"), `${found.cpu} CPU · ${found.memory_mb} MB · ${found.gpus} GPU`],
          [t("timeout"), `${found.timeout_seconds} s`],
          [t("node"), found.node ?? "–"],
          [t("job.id"), <Uid key="i" value={found.id} />],
          ...found.notes.map((note): [string, string] => [t("note"), note]),
        ]}
      />
    </Card>
  );
}
