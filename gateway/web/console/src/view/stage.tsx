// The canvas, its size and its keys.
import { type KeyboardEvent, type RefObject, useId } from "react";
import { useT } from "../i18n";
import type { Scene } from "./scene";
import type { Plane, Preset } from "./types";

const STEPS: Record<string, [number, number, number]> = {
  ArrowLeft: [1, 0, 0],
  ArrowRight: [-1, 0, 0],
  ArrowUp: [0, 1, 0],
  ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1],
  PageDown: [0, 0, -1],
};
const TURNS: Record<string, [number, number]> = {
  ArrowLeft: [-10, 0],
  ArrowRight: [10, 0],
  ArrowUp: [0, 10],
  ArrowDown: [0, -10],
};
const PLANES: Record<string, Plane> = {
  a: "axial",
  c: "coronal",
  s: "sagittal",
  v: "render",
  f: "all",
};

interface Props {
  canvas: RefObject<HTMLCanvasElement | null>;
  scene: Scene | null;
  ready: boolean;
  level: "coarse" | "full";
  presets: Preset[];
  choosePreset: (preset: Preset) => void;
  choosePlane: (plane: Plane) => void;
  toggleMeasure: () => void;
}

/** The picture; arrows move the cross, page keys the slice, shift and arrows turn the volume. */
export function Stage(props: Props) {
  const t = useT();
  const help = useId();
  const { canvas, scene, presets, choosePreset, choosePlane, toggleMeasure } = props;

  function doing({ key, shiftKey }: KeyboardEvent): (() => void) | undefined {
    const turn = shiftKey ? TURNS[key] : undefined;
    if (turn !== undefined) return () => scene?.turn(...turn);
    const step = STEPS[key];
    if (step !== undefined) return () => scene?.step(...step);
    const plane = PLANES[key];
    if (plane !== undefined) return () => choosePlane(plane);
    const preset = presets[Number(key) - 1];
    if (preset !== undefined) return () => choosePreset(preset);
    return new Map([
      ["m", toggleMeasure],
      ["Delete", () => scene?.clear()],
      ["Home", () => scene?.reset()],
    ]).get(key);
  }

  function pressed(event: KeyboardEvent): void {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : doing(event);
    if (act === undefined) return;
    act();
    event.preventDefault();
    event.stopPropagation();
  }

  return (
    <div
      className="stage"
      role="application"
      aria-label={t("view.picture")}
      aria-describedby={help}
      tabIndex={0}
      data-ready={props.ready}
      data-level={props.level}
      onKeyDownCapture={pressed}
      onPointerDown={(event) => event.currentTarget.focus({ preventScroll: true })}
    >
      <canvas ref={canvas} />
      <span id={help} className="sr-only">
        {t("view.keys")}
      </span>
    </div>
  );
}
