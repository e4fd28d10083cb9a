// Destinations with their queues, and every result on its way to one of them.
import { Link } from "wouter";
import { request, segment } from "../api/client";
import { usePaged, useResource } from "../api/queries";
import type { Destination, Echo, Page, Result } from "../api/types";
import { useT } from "../i18n";
import { ActButton, useAct } from "../ui/act";
import { Badge, Mark } from "../ui/badge";
import { ChoiceFilter, Filters, TextFilter, useFilters } from "../ui/filters";
import { Time } from "../ui/format";
import { Icon } from "../ui/icon";
import { Card, Empty, Field, Head, Loaded } from "../ui/parts";
import { useRole } from "../ui/role";
import { PagedTable, Table } from "../ui/table";
import { useSay } from "../ui/toast";

const NAMES = ["destination", "state", "agent", "commitment"] as const;
const STATES = ["PENDING", "SENDING", "WAITING", "DELIVERED", "COMMITTED", "FAILED"] as const;
/** States that a person may retry. */
export const RETRIABLE = ["WAITING", "FAILED"];

export default function Delivery() {
  const t = useT();
  const { values, set, clear, any } = useFilters(NAMES);
  const destinations = useResource<Page<Destination>>("destinations");
  const results = usePaged<Result>("results", values);
  return (
    <>
      <Head title={t("nav.delivery")} />
      <div className="stack">
        <Card title={t("delivery.destinations")} flush>
          <Loaded of={destinations}>{(told) => <Destinations items={told.items} />}</Loaded>
        </Card>
        <Card title={t("results")} flush>
          <Filters inset any={any} clear={clear}>
            <Field label={t("destination")}>
              <select
                value={values.destination}
                onChange={(event) => set("destination", event.target.value)}
              >
                <option value="">{t("any")}</option>
                {destinations.data?.items.map((one) => (
                  <option key={one.name} value={one.name}>
                    {one.name}
                  </option>
                ))}
              </select>
            </Field>
            <ChoiceFilter
              label={t("state")}
              value={values.state}
              onValue={(value) => set("state", value)}
              options={STATES}
              group="result"
            />
            <ChoiceFilter
              label={t("commitment")}
              value={values.commitment}
              onValue={(value) => set("commitment", value)}
              options={["DUE", "ASKED", "COMMITTED", "FAILED"]}
              group="commitment"
            />
            <TextFilter label={t("agent")} value={values.agent} onValue={(v) => set("agent", v)} />
          </Filters>
          <PagedTable
            of={results}
            caption={t("results")}
            id={(row) => row.id}
            empty={
              <Empty title={t("results.none")}>
                {t(any ? "notfound.text" : "results.none.text")}
              </Empty>
            }
            columns={[
              { head: t("created"), cell: (row) => <Time at={row.created_at} /> },
              { head: t("state"), cell: (row) => <Badge group="result" state={row.state} /> },
              {
                head: t("result"),
                cell: (row) => (
                  <Link href={`/delivery/${row.id}`} className="nowrap">
                    {row.destination ?? row.agent} · {row.id.slice(0, 8)}
                  </Link>
                ),
              },
              { head: t("agent"), cell: (row) => row.agent },
              {
                head: t("job"),
                cell: (row) => (
                  <Link href={`/jobs/${row.job_id}`} className="nowrap">
                    {t("open")}
                  </Link>
                ),
              },
              { head: t("delivery.tries"), num: true, cell: (row) => row.retries },
              {
                head: t("delivered"),
                cell: (row) =>
                  row.delivered_at === null && row.next_at !== null ? (
                    <span className="muted small">
                      {t("retry.at")} <Time at={row.next_at} />
                    </span>
                  ) : (
                    <Time at={row.delivered_at} />
                  ),
              },
              {
                head: t("reason"),
                cell: (row) => <span className="small break">{row.reason}</span>,
              },
              {
                head: t("action"),
                cell: (row) =>
                  RETRIABLE.includes(row.state) && (
                    <ActButton
                      label={t("retry")}
                      path={`results/${row.id}/retry`}
                      done={t("retry.done")}
                      stale={["results", "destinations"]}
                    />
                  ),
              },
            ]}
          />
        </Card>
      </div>
    </>
  );
}

function Destinations({ items }: { items: Destination[] }) {
  const t = useT();
  return (
    <Table
      caption={t("delivery.destinations")}
      rows={items}
      id={(row) => row.name}
      empty={<Empty title={t("delivery.none")}>{t("delivery.none.text")}</Empty>}
      columns={[
        {
          head: t("destination"),
          cell: (row) => (
            <>
              <strong>{row.name}</strong>
              <div className="sub mono">
                {row.ae_title}@{row.host}:{row.port}
                {row.tls && " TLS"}
              </div>
            </>
          ),
        },
        {
          head: t("circuit"),
          cell: (row) => (
            <>
              <span className="row">
                {row.paused && <Mark tone="warn" icon="pause" text={t("paused")} />}
                <Badge group="circuit" state={row.circuit?.state ?? "CLOSED"} />
              </span>
              {row.circuit?.reason && row.circuit.state !== "CLOSED" && (
                <div className="sub break">{row.circuit.reason}</div>
              )}
              {row.paused && (
                <div className="sub">
                  {t("paused.since")} <Time at={row.paused.since} /> {row.paused.by}
                </div>
              )}
            </>
          ),
        },
        {
          head: t("delivery.queued"),
          num: true,
          cell: (row) => (row.queue?.PENDING ?? 0) + (row.queue?.SENDING ?? 0),
        },
        { head: t("delivery.retrying"), num: true, cell: (row) => row.queue?.WAITING ?? 0 },
        { head: t("overview.failed"), num: true, cell: (row) => row.queue?.FAILED ?? 0 },
        { head: t("action"), cell: (row) => <Actions row={row} /> },
      ]}
    />
  );
}

function Actions({ row }: { row: Destination }) {
  const t = useT();
  const path = `destinations/${segment(row.name)}`;
  const stale = ["destinations", "results"];
  return (
    <span className="row tight">
      <EchoButton row={row} />
      {row.paused ? (
        <ActButton
          label={t("resume")}
          icon="run"
          path={`${path}/resume`}
          done={t("delivery.resumed", { name: row.name })}
          stale={stale}
        />
      ) : (
        <ActButton
          label={t("pause")}
          icon="pause"
          path={`${path}/pause`}
          question={t("delivery.pause.question", { name: row.name })}
          done={t("delivery.paused", { name: row.name })}
          stale={stale}
        />
      )}
    </span>
  );
}

function EchoButton({ row }: { row: Destination }) {
  const t = useT();
  const may = useRole();
  const say = useSay();
  const { act, busy } = useAct(["destinations"]);
  if (!may("operator")) return null;
  async function echo() {
    const answer = await request<Echo>(`destinations/${segment(row.name)}/echo`, {
      method: "POST",
    });
    if (!answer.ok) throw new Error(`${row.name}: ${answer.detail}`);
    return answer;
  }
  return (
    <button
      type="button"
      className="button"
      disabled={busy}
      onClick={() => {
        say("ok", t("echo.sent", { name: row.name }));
        void act(echo, (answer) =>
          t("echo.ok", { name: row.name, ms: (answer.milliseconds ?? 0).toFixed(1) }),
        );
      }}
    >
      <Icon name="associations" size={14} />
      C-ECHO
    </button>
  );
}
