// Reading and changing records: thin hooks over the cache.
import { keepPreviousData, QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useState } from "react";
import { address, Problem, request } from "./client";
import type { Page } from "./types";

type Values = Record<string, string | number | boolean | null | undefined>;

const SLOW_POLL = 60_000;

/** The cache of this page; live events make it stale, a slow poll covers a stream that is away. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        refetchInterval: SLOW_POLL,
        retry: (count, error) => !(error instanceof Problem && error.status < 500) && count < 2,
      },
    },
  });
}

/** One resource below /api/v1; `path` null asks for nothing. */
export function useResource<T>(path: string | null, values: Values = {}) {
  return useQuery({
    queryKey: [path?.split("/")[0] ?? "none", path, values],
    queryFn: ({ signal }) => request<T>(path ?? "", { signal }, values),
    enabled: path !== null,
    placeholderData: keepPreviousData,
  });
}

export interface Paged<T> {
  items: T[];
  loading: boolean;
  error: Error | null;
  page: number;
  older: (() => void) | null;
  newer: (() => void) | null;
  first: () => void;
}

const PAGE = 50;

/** A list in pages by cursor; changed filters begin at the first page again. */
export function usePaged<T>(path: string, values: Values = {}, limit = PAGE): Paged<T> {
  const filters = address(path, values);
  const [place, setPlace] = useState<{ filters: string; cursors: string[] }>({
    filters,
    cursors: [],
  });
  const cursors = place.filters === filters ? place.cursors : [];
  const cursor = cursors.at(-1);
  const found = useQuery({
    queryKey: [path.split("/")[0], path, { ...values, limit, cursor }],
    queryFn: ({ signal }) => request<Page<T>>(path, { signal }, { ...values, limit, cursor }),
    placeholderData: keepPreviousData,
  });
  const next = found.data?.next ?? null;
  const go = useCallback((to: string[]) => setPlace({ filters, cursors: to }), [filters]);
  return {
    items: found.data?.items ?? [],
    loading: found.isPending,
    error: found.error,
    page: cursors.length + 1,
    older: next === null ? null : () => go([...cursors, next]),
    newer: cursors.length === 0 ? null : () => go(cursors.slice(0, -1)),
    first: () => go([]),
  };
}

/** Makes everything below these first parts of a path stale. */
export function useRefresh(): (...kinds: string[]) => void {
  const client = useQueryClient();
  return useCallback(
    (...kinds: string[]) => {
      for (const kind of kinds) void client.invalidateQueries({ queryKey: [kind] });
    },
    [client],
  );
}
