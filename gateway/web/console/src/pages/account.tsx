// One's own password.
import { type FormEvent, useState } from "react";
import { request } from "../api/client";
import { useT } from "../i18n";
import { useAct } from "../ui/act";
import { Card, Facts, Field } from "../ui/parts";
import { useSession } from "../ui/role";

export default function Account() {
  const t = useT();
  const { user, role } = useSession();
  const { act, busy } = useAct(["session"]);
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  function save(event: FormEvent) {
    event.preventDefault();
    void act(
      () => request("session/password", { method: "PUT", json: { current, password } }),
      t("account.changed"),
    );
  }
  return (
    <Card title={t("system.account")}>
      <form className="stack narrow" onSubmit={save}>
        <Facts
          rows={[
            [t("user"), user],
            [t("role"), role && t(`role.${role}`)],
          ]}
        />
        <Field label={t("account.current")}>
          <input
            type="password"
            required
            value={current}
            autoComplete="current-password"
            onChange={(event) => setCurrent(event.target.value)}
          />
        </Field>
        <Field label={t("user.newpassword")}>
          <input
            type="password"
            required
            value={password}
            autoComplete="new-password"
            onChange={(event) => setPassword(event.target.value)}
          />
        </Field>
        <p className="muted small">{t("account.text")}</p>
        <div>
          <button type="submit" className="button primary" disabled={busy}>
            {t("account.change")}
          </button>
        </div>
      </form>
    </Card>
  );
}
