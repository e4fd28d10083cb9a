// The bar on top: find a study, see that the page is live, choose language and theme, sign out.
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useLocation } from "wouter";
import { request, setCsrf } from "../api/client";
import { LANGUAGES, type Language, useLanguage, useT } from "../i18n";
import { Icon } from "../ui/icon";
import { NOBODY, useSession } from "../ui/role";
import { type Theme, useTheme } from "../ui/theme";
import { openHelp } from "./shortcuts";

/** A UID is digits and dots; anything else is looked for as an accession number. */
export function studyAddress(text: string): string {
  const name = /^[0-9]+(\.[0-9]+){3,}$/.test(text) ? "study" : "accession";
  return `/studies?${new URLSearchParams({ [name]: text })}`;
}

function Find() {
  const t = useT();
  const [, go] = useLocation();
  const [text, setText] = useState("");
  function find(event: FormEvent) {
    event.preventDefault();
    if (text.trim() !== "") go(studyAddress(text.trim()));
  }
  return (
    <search className="find">
      <form onSubmit={find}>
        <input
          id="find"
          type="search"
          value={text}
          onChange={(event) => setText(event.target.value)}
          placeholder={t("find.hint")}
          aria-label={t("find.hint")}
          spellCheck={false}
          autoComplete="off"
        />
        <kbd>/</kbd>
      </form>
    </search>
  );
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

/** Language and theme, also on the sign-in page. */
export function Choices() {
  const t = useT();
  const { language, setLanguage } = useLanguage();
  const [theme, setTheme] = useTheme();
  return (
    <>
      <select
        aria-label={t("language")}
        value={language}
        onChange={(event) => setLanguage(event.target.value as Language)}
      >
        {Object.entries(LANGUAGES).map(([tag, name]) => (
          <option key={tag} value={tag} lang={tag}>
            {name}
          </option>
        ))}
      </select>
      <button
        type="button"
        id="theme"
        className="button quiet"
        aria-label={t("theme.is", { theme: t(`theme.${theme}`) })}
        title={t("theme.is", { theme: t(`theme.${theme}`) })}
        onClick={() => setTheme(NEXT[theme])}
      >
        <Icon name="theme" />
        <span className="wide">{t(`theme.${theme}`)}</span>
      </button>
    </>
  );
}

function Who() {
  const t = useT();
  const client = useQueryClient();
  const { user, role, open } = useSession();
  async function leave() {
    await request("session", { method: "DELETE" });
    setCsrf(null);
    // Nothing that this user saw stays behind for the next one.
    client.removeQueries({ predicate: (query) => query.queryKey[0] !== "session" });
    client.setQueryData(["session"], NOBODY);
  }
  if (open) return null;
  return (
    <>
      <span className="row nowrap" title={role ? t(`role.${role}`) : ""}>
        <Icon name="user" />
        <span className="wide">{user}</span>
      </span>
      <button type="button" className="button" onClick={() => void leave()}>
        {t("signout")}
      </button>
    </>
  );
}

/** The bar. */
export function Bar({ live }: { live: boolean }) {
  const t = useT();
  return (
    <header className="bar">
      <Find />
      <span className="space" />
      <span
        className="live"
        data-live={live ? "yes" : "no"}
        title={t(live ? "live.yes" : "live.no")}
      >
        <Icon name={live ? "check" : "clock"} size={13} />
        <span>{t(live ? "live.on" : "live.off")}</span>
      </span>
      <Choices />
      <button
        type="button"
        className="button quiet icon"
        aria-label={t("help.title")}
        title={t("help.title")}
        onClick={openHelp}
      >
        <Icon name="help" />
      </button>
      <Who />
    </header>
  );
}
