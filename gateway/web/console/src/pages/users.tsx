// Local users: make, change role or password, disable, delete.
import { useState } from "react";
import { request, segment } from "../api/client";
import { useResource } from "../api/queries";
import type { Page, Role, User } from "../api/types";
import { useT } from "../i18n";
import { ActButton, useAct } from "../ui/act";
import { Mark } from "../ui/badge";
import { Dialog } from "../ui/dialog";
import { Time } from "../ui/format";
import { Card, Empty, Field, Loaded } from "../ui/parts";
import { Table } from "../ui/table";

const ROLES: Role[] = ["viewer", "operator", "administrator"];
const STALE = ["users", "session"];

export default function Users() {
  const t = useT();
  const users = useResource<Page<User>>("users");
  const [asking, setAsking] = useState<User | "new" | null>(null);
  return (
    <Card
      title={t("system.users")}
      flush
      actions={
        <button type="button" className="button primary" onClick={() => setAsking("new")}>
          {t("user.new")}
        </button>
      }
    >
      <Loaded of={users}>
        {(told) => (
          <Table
            caption={t("system.users")}
            rows={told.items}
            id={(row) => row.name}
            empty={<Empty title={t("users.none")}>{t("users.none.text")}</Empty>}
            columns={[
              { head: t("user"), cell: (row) => <strong>{row.name}</strong> },
              { head: t("role"), cell: (row) => t(`role.${row.role}`) },
              {
                head: t("state"),
                cell: (row) =>
                  row.disabled ? (
                    <Mark tone="idle" icon="ban" text={t("disabled")} />
                  ) : (
                    <Mark tone="ok" icon="check" text={t("active")} />
                  ),
              },
              { head: t("user.seen"), cell: (row) => <Time at={row.seen_at} /> },
              { head: t("user.passwordat"), cell: (row) => <Time at={row.password_at} /> },
              {
                head: t("action"),
                cell: (row) => (
                  <span className="row">
                    <button type="button" className="button" onClick={() => setAsking(row)}>
                      {t("change")}
                    </button>
                    <ActButton
                      danger
                      label={t("delete")}
                      needs="administrator"
                      method="DELETE"
                      path={`users/${segment(row.name)}`}
                      question={t("user.delete.question", { name: row.name })}
                      done={t("user.deleted", { name: row.name })}
                      stale={STALE}
                    />
                  </span>
                ),
              },
            ]}
          />
        )}
      </Loaded>
      {asking !== null && (
        <Edit user={asking === "new" ? null : asking} onClose={() => setAsking(null)} />
      )}
    </Card>
  );
}

function Edit({ user, onClose }: { user: User | null; onClose: () => void }) {
  const t = useT();
  const { act, busy } = useAct(STALE);
  const [name, setName] = useState(user?.name ?? "");
  const [role, setRole] = useState<Role>(user?.role ?? "viewer");
  const [password, setPassword] = useState("");
  const [disabled, setDisabled] = useState(user?.disabled ?? false);
  async function save() {
    const done = await act(
      () =>
        user === null
          ? request("users", { method: "POST", json: { name, role, password } })
          : request(`users/${segment(user.name)}`, {
              method: "PATCH",
              json: { role, disabled, ...(password === "" ? {} : { password }) },
            }),
      t("user.saved", { name }),
    );
    if (done) onClose();
  }
  return (
    <Dialog
      title={user === null ? t("user.new") : t("user.change", { name: user.name })}
      onClose={onClose}
      confirm={{ text: t("save"), busy, act: () => void save() }}
    >
      {user === null && (
        <Field label={t("user")}>
          <input
            value={name}
            required
            maxLength={64}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => setName(event.target.value)}
          />
        </Field>
      )}
      <Field label={t("role")}>
        <select value={role} onChange={(event) => setRole(event.target.value as Role)}>
          {ROLES.map((one) => (
            <option key={one} value={one}>
              {t(`role.${one}`)} – {t(`role.${one}.text`)}
            </option>
          ))}
        </select>
      </Field>
      <Field label={t(user === null ? "password" : "user.newpassword")}>
        <input
          type="password"
          value={password}
          required={user === null}
          autoComplete="new-password"
          onChange={(event) => setPassword(event.target.value)}
        />
      </Field>
      {user !== null && (
        <label className="row">
          <input
            type="checkbox"
            checked={disabled}
            onChange={(event) => setDisabled(event.target.checked)}
          />
          {t("user.disable")}
        </label>
      )}
    </Dialog>
  );
}
