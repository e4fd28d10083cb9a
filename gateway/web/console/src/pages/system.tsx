// The gateway itself: checks, settings, components, and who may use it.

import licences from "virtual:licences";
import { lazy, type ReactNode, Suspense } from "react";
import { Link } from "wouter";
import { useResource } from "../api/queries";
import type { System as Told } from "../api/types";
import { type Key, useT } from "../i18n";
import type { PageProps } from "../shell/pages";
import { Badge } from "../ui/badge";
import { Ago, Time } from "../ui/format";
import { Card, Empty, Facts, Head, Loaded, Loading } from "../ui/parts";
import { useRole, useSession } from "../ui/role";
import { Table } from "../ui/table";

const Users = lazy(() => import("./users"));
const Tokens = lazy(() => import("./tokens"));
const AuditList = lazy(() => import("./audit"));
const Account = lazy(() => import("./account"));

interface Tab {
  id: string;
  name: Key;
  show: () => ReactNode;
  administrator?: boolean;
}

const TABS: Tab[] = [
  { id: "checks", name: "system.checks", show: () => <Checks /> },
  { id: "settings", name: "system.settings", show: () => <Settings />, administrator: true },
  { id: "licences", name: "system.licences", show: () => <Licences /> },
  { id: "users", name: "system.users", show: () => <Users />, administrator: true },
  { id: "tokens", name: "system.tokens", show: () => <Tokens />, administrator: true },
  { id: "audit", name: "system.audit", show: () => <AuditList />, administrator: true },
  { id: "account", name: "system.account", show: () => <Account /> },
];

export default function System({ params }: PageProps) {
  const t = useT();
  const may = useRole();
  const { open } = useSession();
  const tabs = TABS.filter(
    (tab) => (!tab.administrator || may("administrator")) && !(open && tab.id === "account"),
  );
  const tab = tabs.find((one) => one.id === (params.tab ?? "checks"));
  return (
    <>
      <Head
        title={tab ? `${t("nav.system")}: ${t(tab.name)}` : t("nav.system")}
        shown={t("nav.system")}
      />
      <div className="stack">
        <nav className="tabs" aria-label={t("nav.system")}>
          {tabs.map((one) => (
            <Link
              key={one.id}
              href={one.id === "checks" ? "/system" : `/system/${one.id}`}
              aria-current={one.id === tab?.id ? "page" : undefined}
            >
              {t(one.name)}
            </Link>
          ))}
        </nav>
        <Suspense fallback={<Loading />}>
          {tab ? tab.show() : <Empty title={t("nothing.title")}>{t("system.norole")}</Empty>}
        </Suspense>
      </div>
    </>
  );
}

function Checks() {
  const t = useT();
  const system = useResource<Told>("system");
  return (
    <Loaded of={system}>
      {(told) => (
        <div className="split">
          <Card title={t("system.checks")} flush>
            <Table
              caption={t("system.checks")}
              rows={told.checks}
              id={(row) => row.name}
              empty={<Empty title={t("system.nochecks")} />}
              columns={[
                { head: t("name"), cell: (row) => row.name },
                { head: t("state"), cell: (row) => <Badge group="part" state={row.status} /> },
                { head: t("details"), cell: (row) => <span className="break">{row.detail}</span> },
              ]}
            />
          </Card>
          <Card title={t("system.version")}>
            <Facts
              rows={[
                ["Gateway", told.version],
                ["Python", told.python],
                [
                  t("started"),
                  <span key="s">
                    <Time at={told.started_at} /> (<Ago at={told.started_at} />)
                  </span>,
                ],
                [
                  "API",
                  <a key="a" href="/api/v1/docs">
                    /api/v1/docs
                  </a>,
                ],
                [
                  t("system.metrics"),
                  <a key="m" href="/metrics">
                    /metrics
                  </a>,
                ],
              ]}
            />
          </Card>
        </div>
      )}
    </Loaded>
  );
}

/** Nested settings as rows of dotted names. */
function flat(value: unknown, name = ""): [string, string][] {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) =>
      flat(inner, name === "" ? key : `${name}.${key}`),
    );
  }
  return [[name, typeof value === "string" ? value : JSON.stringify(value)]];
}

function Settings() {
  const t = useT();
  const system = useResource<Told>("system");
  return (
    <Loaded of={system}>
      {(told) => (
        <Card title={t("system.settings")} flush>
          <Table
            caption={t("system.settings")}
            rows={flat(told.settings)}
            id={([name]) => name}
            empty={null}
            columns={[
              { head: t("name"), cell: ([name]) => <code>{name}</code> },
              { head: t("value"), cell: ([, value]) => <code className="break">{value}</code> },
            ]}
          />
        </Card>
      )}
    </Loaded>
  );
}

function Licences() {
  const t = useT();
  const system = useResource<Told>("system");
  return (
    <Loaded of={system}>
      {(told) => (
        <Card title={t("system.licences")} flush>
          <Table
            caption={t("system.licences")}
            rows={[...told.components, ...licences]}
            id={(row) => row.name}
            empty={null}
            columns={[
              { head: t("name"), cell: (row) => row.name },
              { head: t("version"), cell: (row) => row.version },
              { head: t("licence"), cell: (row) => row.licence ?? "–" },
            ]}
          />
        </Card>
      )}
    </Loaded>
  );
}
