// Brings volumes from the gateway, the coarsest level first; asks again while one is being made.
import { address, Problem, request, segment } from "../api/client";
import type { Volume } from "./types";

const TRIES = 30;
const PAUSE_MS = 1_000;

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = window.setTimeout(resolve, PAUSE_MS);
    signal.addEventListener("abort", () => {
      window.clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

async function patient<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      const busy = error instanceof Problem && error.status === 503;
      if (!busy || tries >= TRIES) throw error;
      await pause(signal);
    }
  }
}

function below(dataset: string, volume: string): string {
  return `datasets/${segment(dataset)}/volumes/${segment(volume)}`;
}

/** Shape, window, segments and levels of a volume. */
export function readVolume(dataset: string, volume: string, signal: AbortSignal): Promise<Volume> {
  return patient(signal, () => request<Volume>(below(dataset, volume), { signal }));
}

/** The bytes of one level; `progress` is told how many are here. */
export function readLevel(
  dataset: string,
  volume: string,
  file: string,
  signal: AbortSignal,
  progress: (bytes: number) => void,
): Promise<ArrayBuffer> {
  const url = address(`${below(dataset, volume)}/levels/${segment(file)}`);
  return patient(signal, async () => {
    const response = await fetch(url, { signal, credentials: "same-origin" });
    if (!response.ok || response.body === null) {
      throw new Problem(response.status, `${response.status} ${response.statusText}`.trim());
    }
    return await gathered(response, progress);
  });
}

async function gathered(response: Response, progress: (bytes: number) => void) {
  const length = Number(response.headers.get("content-length") ?? 0);
  const whole = new Uint8Array(length);
  const reader = response.body?.getReader();
  let at = 0;
  for (;;) {
    const piece = await reader?.read();
    if (piece === undefined || piece.done) break;
    whole.set(piece.value, at);
    at += piece.value.length;
    progress(at);
  }
  if (at !== length) throw new Problem(0, "the connection ended early");
  return whole.buffer;
}
