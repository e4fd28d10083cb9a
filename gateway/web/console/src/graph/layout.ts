// Places of a DAG's nodes: columns by level, rows in the order of the definition.
import type { Graph } from "../api/types";

export const WIDTH = 210;
export const HEIGHT = 84;
const ACROSS = 270;
const DOWN = 104;
/** Identifier of the node that stands for the payload. */
export const PAYLOAD = "\u0000payload";

export interface Place {
  name: string;
  x: number;
  y: number;
}

/** Every node's place and the height of the whole drawing. */
export function layout(graph: Graph): { places: Place[]; width: number; height: number } {
  const columns = new Map<number, string[]>([[0, [PAYLOAD]]]);
  for (const node of graph.nodes) {
    const column = node.level + 1;
    columns.set(column, [...(columns.get(column) ?? []), node.name]);
  }
  const rows = Math.max(...[...columns.values()].map((names) => names.length));
  const places = [...columns].flatMap(([column, names]) =>
    names.map((name, row) => ({
      name,
      x: column * ACROSS,
      // Short columns stand in the middle of the tallest.
      y: (row + (rows - names.length) / 2) * DOWN,
    })),
  );
  return { places, width: columns.size * ACROSS, height: rows * DOWN };
}
