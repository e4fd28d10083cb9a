// Live by server-sent events: each event makes stale what it is about, and nothing is polled.
import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { address } from "./client";

/** First part of an event's kind to the resources that show it. */
const SHOWN: Record<string, string[]> = {
  association: ["associations", "overview", "payloads"],
  payload: ["payloads", "overview", "where", "quarantine"],
  instance: ["payloads"],
  job: ["jobs", "overview", "pipeline-cards", "payloads", "where"],
  operator: ["jobs"],
  result: ["results", "destinations", "overview", "jobs", "payloads", "where"],
  commitment: ["results", "overview"],
  destination: ["destinations", "overview"],
  scheduling: ["overview", "pipeline-cards", "scheduler"],
  config: ["rules", "destinations", "overview"],
  pipeline: ["pipelines", "pipeline-cards"],
};
const GATHER_MS = 400;
const RETRY_MS = 5_000;

/** Follow the stream while `on`; true as long as it is connected. */
export function useLive(on: boolean): boolean {
  const client = useQueryClient();
  const [live, setLive] = useState(false);
  useEffect(() => (on ? follow(client, setLive) : undefined), [client, on]);
  return live;
}

function follow(client: QueryClient, setLive: (live: boolean) => void): () => void {
  const stale = new Set<string>();
  let gathering: number | undefined;
  let retrying: number | undefined;
  let source: EventSource | null = null;
  let last = "";

  function flush(): void {
    gathering = undefined;
    for (const kind of stale) void client.invalidateQueries({ queryKey: [kind] });
    stale.clear();
  }
  function noted(message: MessageEvent<string>): void {
    last = message.lastEventId;
    for (const kind of SHOWN[kindOf(message.data)] ?? []) stale.add(kind);
    gathering ??= window.setTimeout(flush, GATHER_MS);
  }
  function connect(): void {
    source = new EventSource(address("stream", { after: last }));
    source.onopen = () => {
      setLive(true);
      // What happened before this connection has no event here.
      void client.invalidateQueries();
    };
    source.onmessage = noted;
    source.addEventListener("reset", () => void client.invalidateQueries());
    source.addEventListener("end", () => {
      source?.close();
      setLive(false);
      void client.invalidateQueries({ queryKey: ["session"] });
    });
    source.onerror = () => {
      setLive(false);
      if (source?.readyState === EventSource.CLOSED) {
        retrying = window.setTimeout(connect, RETRY_MS);
      }
    };
  }
  connect();
  return () => {
    source?.close();
    window.clearTimeout(gathering);
    window.clearTimeout(retrying);
    setLive(false);
  };
}

function kindOf(data: string): string {
  const event = JSON.parse(data) as { kind?: string };
  return event.kind?.split("/")[0] ?? "";
}
