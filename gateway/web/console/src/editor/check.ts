// The published schema against a text in YAML: every fault with its place in the text.
import { type Schema, Validator } from "@cfworker/json-schema";
import { isCollection, isPair, isScalar, LineCounter, parseDocument } from "yaml";

export interface Fault {
  from: number;
  to: number;
  message: string;
}

type Document = ReturnType<typeof parseDocument>;

/** Checks texts against one schema; the validator interprets it, nothing is compiled to code. */
export class Checker {
  readonly #validator: Validator;

  constructor(schema: object) {
    this.#validator = new Validator(schema as Schema, "2020-12", false);
  }

  /** Faults of the text, at most one for each place: the innermost says most. */
  faults(text: string): Fault[] {
    const lines = new LineCounter();
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
    if (document.errors.length > 0) {
      return document.errors.map((error) => ({
        from: error.pos[0],
        to: Math.max(error.pos[1], error.pos[0] + 1),
        message: error.message,
      }));
    }
    const { errors } = this.#validator.validate(document.toJS());
    const found = new Map<string, Fault>();
    for (const error of errors) {
      // What only says that something deeper is wrong hides it.
      if (["properties", "items", "$ref", "if", "then", "else"].includes(error.keyword)) continue;
      const [from, to] = place(document, error.instanceLocation);
      found.set(error.instanceLocation, { from, to, message: error.error });
    }
    return [...found.values()];
  }
}

/** Where a JSON pointer (as a fragment) stands in the text. */
function place(document: Document, pointer: string): [number, number] {
  const path = pointer
    .split("/")
    .slice(1)
    .map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"));
  let node: unknown = document.contents;
  let range: [number, number] = [0, 1];
  for (const step of path) {
    if (!isCollection(node)) break;
    const pair = node.items.find(
      (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === step,
    );
    if (isPair(pair) && isScalar(pair.key) && pair.key.range) {
      range = [pair.key.range[0], pair.key.range[1]];
      node = pair.value;
    } else {
      node = node.items[Number(step)];
      const inside = (node as { range?: [number, number, number] } | undefined)?.range;
      if (inside) range = [inside[0], Math.min(inside[1], inside[0] + 1)];
    }
  }
  return range;
}
