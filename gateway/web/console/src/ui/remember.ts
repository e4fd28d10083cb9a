// What a browser keeps for its user: never anything about a patient.

type Name = "language" | "theme" | "shortcuts";

/** What was kept under a name, null when nothing or when the browser keeps nothing. */
export function remembered(name: Name): string | null {
  try {
    return localStorage.getItem(`gateway.${name}`);
  } catch {
    return null;
  }
}

/** Keep a value; a browser that keeps nothing forgets it at the next load. */
export function remember(name: Name, value: string): void {
  try {
    localStorage.setItem(`gateway.${name}`, value);
  } catch {
    // Private windows refuse: the choice lasts as long as the page.
  }
}
