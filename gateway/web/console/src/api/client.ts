// Every request of the console goes through here: same origin, JSON, problem documents.

export interface Fault {
  line?: number | null;
  key?: string | null;
  message?: string;
  at?: string;
  detail?: string;
}

/** What the server answered instead of what was asked for (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly detail: string;
  readonly faults: Fault[];

  constructor(status: number, detail: string, faults: Fault[] = []) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.detail = detail;
    this.faults = faults;
  }
}

type Values = Record<string, string | number | boolean | null | undefined>;

let csrf: string | null = null;
let signedOut: () => void = () => {};

/** The token that changing requests carry; set whenever the session is read. */
export function setCsrf(token: string | null): void {
  csrf = token;
}

/** Called when the server says that nobody is signed in any more. */
export function onSignedOut(call: () => void): void {
  signedOut = call;
}

/** `path` below /api/v1 with the values that are set. */
export function address(path: string, values: Values = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `/api/v1/${path}${text ? `?${text}` : ""}`;
}

/** One segment of a path: identifiers may hold anything a peer or a person wrote. */
export function segment(value: string): string {
  return encodeURIComponent(value);
}

async function problemOf(response: Response): Promise<Problem> {
  let detail = `${response.status} ${response.statusText}`.trim();
  let faults: Fault[] = [];
  if (response.headers.get("content-type")?.includes("json")) {
    const body: unknown = await response.json().catch(() => null);
    if (body !== null && typeof body === "object") {
      const found = body as { detail?: unknown; errors?: unknown };
      if (typeof found.detail === "string") detail = found.detail;
      if (Array.isArray(found.errors)) faults = found.errors as Fault[];
    }
  }
  return new Problem(response.status, detail, faults);
}

interface Sending {
  method?: string;
  json?: unknown;
  file?: Blob;
  signal?: AbortSignal;
}

async function fetched(url: string, { method = "GET", json, file, signal }: Sending) {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (method !== "GET" && csrf !== null) headers["X-CSRF-Token"] = csrf;
  let body: BodyInit | null = null;
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  } else if (file !== undefined) {
    headers["Content-Type"] = "application/dicom";
    body = file;
  }
  const response = await fetch(url, {
    method,
    headers,
    body,
    signal: signal ?? null,
    credentials: "same-origin",
  });
  if (response.status === 401) signedOut();
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** Send a request below /api/v1 and decode its JSON; nothing for 204. */
export async function request<T>(path: string, sending: Sending = {}, values: Values = {}) {
  const response = await fetched(address(path, values), sending);
  return (response.status === 204 ? undefined : await response.json()) as T;
}
