// The sign-in page.
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { request } from "../api/client";
import { useT } from "../i18n";
import { told } from "../ui/act";
import { Icon } from "../ui/icon";
import { Field } from "../ui/parts";
import { Choices } from "./bar";

/** Name and password; the answer is a cookie that scripts cannot read. */
export function SignIn() {
  const t = useT();
  const client = useQueryClient();
  const [trouble, setTrouble] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    document.title = `${t("signin.title")} · Gateway`;
  }, [t]);
  async function enter(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    try {
      await request("session", {
        method: "POST",
        json: { user: form.get("user"), password: form.get("password") },
      });
      await client.invalidateQueries({ queryKey: ["session"] });
    } catch (error) {
      setTrouble(told(error));
      setBusy(false);
    }
  }
  return (
    <main className="signin">
      <form className="card" onSubmit={(event) => void enter(event)}>
        <h1>Gateway</h1>
        <p className="muted">{t("signin.text")}</p>
        {trouble !== null && (
          <div className="problem" role="alert">
            <Icon name="alert" />
            <span>{trouble}</span>
          </div>
        )}
        <Field label={t("user")}>
          <input name="user" autoComplete="username" required maxLength={64} spellCheck={false} />
        </Field>
        <Field label={t("password")}>
          <input name="password" type="password" autoComplete="current-password" required />
        </Field>
        <button type="submit" className="button primary" disabled={busy}>
          {t("signin.title")}
        </button>
        <div className="row">
          <Choices />
        </div>
      </form>
    </main>
  );
}
