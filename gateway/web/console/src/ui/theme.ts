// Light or dark: as the system says, until the switch says otherwise.
import { useCallback, useEffect, useState } from "react";
import { remember, remembered } from "./remember";

export type Theme = "system" | "light" | "dark";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function kept(): Theme {
  const value = remembered("theme");
  return value === "light" || value === "dark" ? value : "system";
}

function show(theme: Theme): void {
  const shown = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  document.documentElement.dataset.theme = shown;
}

/** Called before anything is drawn, so that nothing flashes. */
export function showKeptTheme(): void {
  show(kept());
}

/** The choice and a function that changes it. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(kept);
  useEffect(() => {
    show(theme);
    const follow = () => show(theme);
    dark.addEventListener("change", follow);
    return () => dark.removeEventListener("change", follow);
  }, [theme]);
  const choose = useCallback((wanted: Theme) => {
    remember("theme", wanted);
    setTheme(wanted);
  }, []);
  return [theme, choose];
}
