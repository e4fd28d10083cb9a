// Tokens for scripts: each is shown once, when it is made.
import { useState } from "react";
import { request, segment } from "../api/client";
import { useResource } from "../api/queries";
import type { Page, Role, Token } from "../api/types";
import { useT } from "../i18n";
import { ActButton, useAct } from "../ui/act";
import { Dialog } from "../ui/dialog";
import { Time, Uid } from "../ui/format";
import { Card, Empty, Field, Loaded } from "../ui/parts";
import { Table } from "../ui/table";

const ROLES: Role[] = ["viewer", "operator", "administrator"];
const STALE = ["tokens"];

export default function Tokens() {
  const t = useT();
  const tokens = useResource<Page<Token>>("tokens");
  const [asking, setAsking] = useState(false);
  return (
    <Card
      title={t("system.tokens")}
      flush
      actions={
        <button type="button" className="button primary" onClick={() => setAsking(true)}>
          {t("token.new")}
        </button>
      }
    >
      <Loaded of={tokens}>
        {(told) => (
          <Table
            caption={t("system.tokens")}
            rows={told.items}
            id={(row) => row.name}
            empty={<Empty title={t("tokens.none")}>{t("tokens.none.text")}</Empty>}
            columns={[
              { head: t("name"), cell: (row) => <strong>{row.name}</strong> },
              { head: t("role"), cell: (row) => t(`role.${row.role}`) },
              { head: t("token.by"), cell: (row) => row.created_by ?? "–" },
              { head: t("created"), cell: (row) => <Time at={row.created_at} /> },
              {
                head: t("token.expires"),
                cell: (row) => (row.expires_at ? <Time at={row.expires_at} /> : t("never")),
              },
              { head: t("token.used"), cell: (row) => <Time at={row.used_at} /> },
              {
                head: t("action"),
                cell: (row) => (
                  <ActButton
                    danger
                    label={t("token.revoke")}
                    needs="administrator"
                    method="DELETE"
                    path={`tokens/${segment(row.name)}`}
                    question={t("token.revoke.question", { name: row.name })}
                    done={t("token.revoked", { name: row.name })}
                    stale={STALE}
                  />
                ),
              },
            ]}
          />
        )}
      </Loaded>
      {asking && <Make onClose={() => setAsking(false)} />}
    </Card>
  );
}

function Make({ onClose }: { onClose: () => void }) {
  const t = useT();
  const { act, busy } = useAct(STALE);
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [days, setDays] = useState("");
  const [made, setMade] = useState<Token | null>(null);
  async function make() {
    const json = { name, role, ...(days === "" ? {} : { days: Number(days) }) };
    await act(async () => {
      setMade(await request<Token>("tokens", { method: "POST", json }));
    }, t("token.made"));
  }
  if (made !== null) {
    return (
      <Dialog title={t("token.made")} onClose={onClose}>
        <p>{t("token.once")}</p>
        <Uid value={made.token ?? ""} />
      </Dialog>
    );
  }
  return (
    <Dialog
      title={t("token.new")}
      onClose={onClose}
      confirm={{ text: t("token.make"), busy, act: () => void make() }}
    >
      <Field label={t("name")}>
        <input
          value={name}
          required
          maxLength={64}
          autoComplete="off"
          spellCheck={false}
          onChange={(event) => setName(event.target.value)}
        />
      </Field>
      <Field label={t("role")}>
        <select value={role} onChange={(event) => setRole(event.target.value as Role)}>
          {ROLES.map((one) => (
            <option key={one} value={one}>
              {t(`role.${one}`)} – {t(`role.${one}.text`)}
            </option>
          ))}
        </select>
      </Field>
      <Field label={t("token.days")}>
        <input
          type="number"
          min={1}
          max={3650}
          value={days}
          placeholder={t("never")}
          onChange={(event) => setDays(event.target.value)}
        />
      </Field>
    </Dialog>
  );
}
