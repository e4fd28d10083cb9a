// Two languages from typed catalogues; English is at hand, the other is loaded when chosen.
import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useState,
} from "react";
import { remember, remembered } from "../ui/remember";
import { en } from "./en";

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;
export type Language = "en" | "zh-Hant";
type Values = Record<string, string | number>;

export const LANGUAGES: Record<Language, string> = { en: "English", "zh-Hant": "繁體中文" };

interface Speech {
  language: Language;
  setLanguage: (language: Language) => void;
  catalogue: Catalogue;
}

const Context = createContext<Speech>({ language: "en", setLanguage: () => {}, catalogue: en });

function preferred(): Language {
  const kept = remembered("language");
  if (kept === "en" || kept === "zh-Hant") return kept;
  return navigator.languages.some((tag) => /^zh/i.test(tag)) ? "zh-Hant" : "en";
}

/** Gives the language to everything inside; nothing is shown before its words are there. */
export function Speaking({ children }: { children: ReactNode }) {
  const [language, choose] = useState<Language>(preferred);
  const [loaded, setLoaded] = useState<Catalogue | null>(null);
  useEffect(() => {
    if (language === "zh-Hant") void import("./zh-Hant").then((m) => setLoaded(m.zhHant));
  }, [language]);
  const catalogue = language === "en" ? en : loaded;
  useEffect(() => {
    if (catalogue !== null) document.documentElement.lang = language;
  }, [language, catalogue]);
  const setLanguage = useCallback((wanted: Language) => {
    remember("language", wanted);
    choose(wanted);
  }, []);
  const speech = useMemo(
    () => (catalogue === null ? null : { language, setLanguage, catalogue }),
    [language, setLanguage, catalogue],
  );
  return speech === null ? null : <Context value={speech}>{children}</Context>;
}

/** The language and how to change it. */
export function useLanguage(): Pick<Speech, "language" | "setLanguage"> {
  return useContext(Context);
}

function filled(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

export type Translate = (key: Key, values?: Values) => string;

/** A function from key to text. */
export function useT(): Translate {
  const { catalogue } = useContext(Context);
  return useCallback((key, values = {}) => filled(catalogue[key], values), [catalogue]);
}

/** Words for what the server names (states, kinds): the name itself where there is none. */
export function useWord(): (group: string, name: string) => string {
  const { catalogue } = useContext(Context);
  return useCallback(
    (group, name) => (catalogue as Record<string, string>)[`${group}.${name}`] ?? name,
    [catalogue],
  );
}
