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

/** Every node's place and the size of the whole drawing; `down` turns it by a quarter. */
export function layout(
  graph: Graph,
  down = false,
): { places: Place[]; width: number; height: number } {
  const columns = new Map<number, string[]>([[0, [PAYLOAD]]]);
  for (const node of graph.nodes) {
    const column = node.level + 1;
    columns.set(column, [...(columns.get(column) ?? []), node.name]);
  }
  const widest = Math.max(...[...columns.values()].map((names) => names.length));
  const places = [...columns].flatMap(([column, names]) =>
    names.map((name, row) => {
      // Short columns stand in the middle of the widest.
      const along = row + (widest - names.length) / 2;
      return down
        ? { name, x: along * ACROSS, y: column * (DOWN + 16) }
        : { name, x: column * ACROSS, y: along * DOWN };
    }),
  );
  const [width, height] = down
    ? [widest * ACROSS, columns.size * (DOWN + 16)]
    : [columns.size * ACROSS, widest * DOWN];
  return { places, width, height };
}
