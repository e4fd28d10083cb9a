// What is going on, and what waits for a person.
import { Link } from "wouter";
import { useResource } from "../api/queries";
import type { Overview as Told } from "../api/types";
import { useT, useWord } from "../i18n";
import { Badge, Mark } from "../ui/badge";
import { Ago, bytes, Time, useCount } from "../ui/format";
import { Icon } from "../ui/icon";
import { Meter } from "../ui/meter";
import { Card, Empty, Head, Loaded } from "../ui/parts";
import { Table } from "../ui/table";

/** Where a person sees what waits. */
const PLACES: Record<string, string> = {
  "payload-conflict": "/studies?state=CONFLICT",
  quarantine: "/studies/quarantine",
  "job-failed": "/jobs?status=FAULTED",
  "result-failed": "/delivery?state=FAILED",
  "commitment-failed": "/delivery?commitment=FAILED",
  "rule-error": "/rules",
  "ae-config": "/rules",
  "circuit-open": "/delivery",
  disk: "/system",
};

const PRIORITIES = ["immediate", "higher", "normal", "lower"] as const;

export default function Overview() {
  const t = useT();
  const overview = useResource<Told>("overview");
  return (
    <>
      <Head title={t("nav.overview")} shown={t("nav.overview")}>
        {overview.data && <Badge group="part" state={overview.data.status} />}
      </Head>
      <Loaded of={overview}>
        {(told) => (
          <div className="stack">
            <Tiles told={told} />
            <div className="cols">
              <Attention told={told} />
              <Queue told={told} />
            </div>
            <Destinations told={told} />
            <div className="cols">
              <Machine told={told} />
              <Parts told={told} />
            </div>
          </div>
        )}
      </Loaded>
    </>
  );
}

function Tiles({ told }: { told: Told }) {
  const t = useT();
  const count = useCount();
  const failed = told.results.failed;
  const tiles: [string, string, string, boolean][] = [
    [count(told.studies.today), t("overview.today"), "/studies", false],
    [
      count(told.studies.payloads.RECEIVING ?? 0),
      t("overview.receiving"),
      "/studies?state=RECEIVING",
      false,
    ],
    [count(told.jobs.running), t("overview.running"), "/jobs?state=RUNNING", false],
    [count(told.jobs.waiting), t("overview.waiting"), "/jobs?state=PENDING", false],
    [count(told.results.delivered), t("overview.delivered"), "/delivery?state=DELIVERED", false],
    [count(failed), t("overview.failed"), "/delivery?state=FAILED", failed > 0],
  ];
  return (
    <div className="tile-row">
      {tiles.map(([value, label, to, alert]) => (
        <Link key={label} href={to} className={`tile ${alert ? "alert" : ""}`}>
          <div className="value">{value}</div>
          <div className="label">{label}</div>
          {to === "/studies" && told.studies.last_at && (
            <div className="label small">
              {t("overview.lastreceived")} <Ago at={told.studies.last_at} />
            </div>
          )}
        </Link>
      ))}
    </div>
  );
}

function Attention({ told }: { told: Told }) {
  const t = useT();
  const word = useWord();
  return (
    <Card title={t("overview.attention")}>
      {told.attention.length === 0 ? (
        <Empty title={t("overview.calm")}>{t("overview.calm.text")}</Empty>
      ) : (
        <ul className="plain attention">
          {told.attention.map((one) => (
            <li key={one.kind}>
              <Link href={PLACES[one.kind] ?? "/"}>
                <Icon name="alert" />
                <span>{word("attention", one.kind)}</span>
                <strong className="num">{one.count}</strong>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Queue({ told }: { told: Told }) {
  const t = useT();
  const word = useWord();
  const of = (state: string, priority: string) =>
    told.jobs.by
      .filter((one) => one.state === state && one.priority === priority)
      .reduce((sum, one) => sum + one.count, 0);
  const ended = new Map<string, number>();
  for (const one of told.jobs.by) {
    if (one.state === "STOPPED") ended.set(one.status, (ended.get(one.status) ?? 0) + one.count);
  }
  return (
    <Card
      title={t("overview.queue")}
      flush
      actions={
        told.jobs.scheduler.mode !== "RUNNING" && (
          <Badge group="hold" state={told.jobs.scheduler.mode} />
        )
      }
    >
      <Table
        caption={t("overview.queue")}
        rows={[...PRIORITIES]}
        id={(priority) => priority}
        empty={null}
        columns={[
          { head: t("priority"), cell: (p) => word("priority", p) },
          { head: t("overview.waiting"), num: true, cell: (p) => of("PENDING", p) },
          { head: t("overview.running"), num: true, cell: (p) => of("RUNNING", p) },
        ]}
      />
      <div className="body row ended">
        <span className="muted">{t("overview.ended")}</span>
        {[...ended].map(([status, count]) => (
          <Link key={status} href={`/jobs?state=STOPPED&status=${status}`} className="row">
            <Badge group="job" state={status} /> {count}
          </Link>
        ))}
        {ended.size === 0 && "0"}
        {told.jobs.oldest_waiting_at && (
          <span className="muted">
            {t("overview.oldest")} <Ago at={told.jobs.oldest_waiting_at} />
          </span>
        )}
      </div>
    </Card>
  );
}

function Destinations({ told }: { told: Told }) {
  const t = useT();
  return (
    <Card title={t("delivery.destinations")} flush>
      <Table
        caption={t("delivery.destinations")}
        rows={told.destinations}
        id={(one) => one.name}
        empty={<Empty title={t("delivery.none")}>{t("delivery.none.text")}</Empty>}
        columns={[
          {
            head: t("destination"),
            cell: (one) => (
              <Link href={`/delivery?destination=${encodeURIComponent(one.name)}`}>{one.name}</Link>
            ),
          },
          {
            head: t("circuit"),
            cell: (one) => (
              <span className="row">
                {one.paused && <Mark tone="warn" icon="pause" text={t("paused")} />}
                <Badge group="circuit" state={one.circuit ?? "CLOSED"} />
              </span>
            ),
          },
          { head: t("delivery.queued"), num: true, cell: (one) => one.pending + one.sending },
          { head: t("delivery.retrying"), num: true, cell: (one) => one.waiting },
          { head: t("overview.failed"), num: true, cell: (one) => one.failed },
          {
            head: t("reason"),
            cell: (one) => (
              <span className="break small">
                {one.reason}
                {one.retry_at && (
                  <span className="muted">
                    {" "}
                    {t("retry.at")} <Time at={one.retry_at} />
                  </span>
                )}
              </span>
            ),
          },
        ]}
      />
    </Card>
  );
}

function Machine({ told }: { told: Told }) {
  const t = useT();
  const { cpu, memory, disk, gpus } = told.machine;
  return (
    <Card title={t("overview.machine")}>
      <div className="stack">
        {cpu?.busy != null && (
          <Meter
            label={t("machine.cpu", { cores: cpu.cores })}
            text={`${Math.round(cpu.busy * 100)} %`}
            share={cpu.busy}
          />
        )}
        {memory && (
          <Meter
            label={t("machine.memory")}
            text={`${bytes(memory.total - memory.available)} / ${bytes(memory.total)}`}
            share={1 - memory.available / memory.total}
          />
        )}
        {disk && (
          <Meter
            label={t("machine.disk")}
            text={t("machine.disk.text", {
              free: bytes(disk.free),
              percent: Math.round(disk.used_percent),
              mark: disk.watermark_percent,
            })}
            share={disk.used_percent / 100}
            mark={disk.watermark_percent / 100}
          />
        )}
        {disk && !disk.accepts_images && (
          <Mark tone="bad" icon="alert" text={t("machine.disk.full")} />
        )}
        {gpus.map((gpu) => (
          <Meter
            key={gpu.index}
            label={`GPU ${gpu.index} · ${gpu.model}`}
            text={`${gpu.busy == null ? "–" : Math.round(gpu.busy * 100)} % · ${bytes(gpu.memory_used)} / ${bytes(gpu.memory_total)}`}
            share={gpu.busy ?? 0}
          />
        ))}
        {gpus.length === 0 && <p className="muted small">{t("machine.nogpu")}</p>}
      </div>
    </Card>
  );
}

function Parts({ told }: { told: Told }) {
  const t = useT();
  return (
    <Card title={t("overview.parts")}>
      <ul className="plain parts">
        {told.parts.map((part) => (
          <li key={part.name}>
            <span>{part.name}</span>
            <Badge group="part" state={part.status} />
          </li>
        ))}
      </ul>
    </Card>
  );
}
