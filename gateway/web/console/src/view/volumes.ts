// What is shown of a data set, level by level: an image, the label maps over it, and their looks.
import { useEffect, useRef, useState } from "react";
import { readLevel, readVolume } from "./load";
import { type LabelPart, type Place, Scene } from "./scene";
import type { Dataset, Look, Volume, VolumeEntry } from "./types";
import { firstPreset, windowOf } from "./windows";

/** Larger levels are not asked for: a browser tab would not hold them. */
const MOST_BYTES = 700_000_000;
const OPACITY = 0.5;

export interface Layer {
  entry: VolumeEntry;
  volume: Volume;
}

export interface Shown {
  image: Layer;
  labels: Layer[];
  window: [number, number];
}

export interface Loading {
  /** Bytes that are here and that are awaited, of the level on its way. */
  here: number;
  awaited: number;
  /** Levels shown, and how many there are. */
  level: number;
  levels: number;
}

export type Looks = Record<string, Look[]>;

function firstLooks(volume: Volume): Look[] {
  return volume.segments.map((one) => ({ visible: true, color: one.color, opacity: OPACITY }));
}

function usable(volume: Volume) {
  const small = volume.levels.filter((level) => level.bytes <= MOST_BYTES);
  return small.length > 0 ? small : volume.levels.slice(0, 1);
}

interface Told {
  shown: (shown: Shown) => void;
  loading: (loading: Loading | null) => void;
  /** A label map that cannot be shown; the image stays. */
  missing: (name: string) => void;
}

interface Wish {
  dataset: Dataset;
  image: VolumeEntry;
  signal: AbortSignal;
  looks: { current: Looks };
  /** What a person chose; null until then. */
  window: { current: [number, number] | null };
}

/** Load everything of one image into the scene, the coarsest level first. */
export async function load(scene: Scene, wish: Wish, told: Told): Promise<void> {
  const { dataset, image, signal, looks } = wish;
  const volume = await readVolume(dataset.id, image.id, signal);
  const entries = dataset.volumes.filter(
    (one) => one.role === "label" && one.over.includes(image.id),
  );
  const window = windowOf(firstPreset(volume), volume);
  const levels = usable(volume);
  let labels: Layer[] = [];
  for (const [index, level] of levels.entries()) {
    const loading = { level: index, levels: levels.length, awaited: level.bytes };
    told.loading({ ...loading, here: 0 });
    const bytes = await readLevel(dataset.id, image.id, level.file, signal, (here) =>
      told.loading({ ...loading, here }),
    );
    const parts: LabelPart[] = await partsOf(dataset, labels, level.factor, looks, signal);
    const chosen = wish.window.current ?? window;
    await scene.show({ name: level.file, bytes }, parts, chosen);
    told.shown({ image: { entry: image, volume }, labels, window });
    if (index === 0 && entries.length > 0) {
      // The image first: a Segmentation takes longer to read.
      labels = await known(dataset, entries, told, signal);
      for (const one of labels) looks.current[one.entry.id] ??= firstLooks(one.volume);
      const first = await partsOf(dataset, labels, level.factor, looks, signal);
      await scene.show({ name: level.file, bytes }, first, wish.window.current ?? window);
      told.shown({ image: { entry: image, volume }, labels, window });
    }
  }
  told.loading(null);
}

async function known(
  dataset: Dataset,
  entries: VolumeEntry[],
  told: Told,
  signal: AbortSignal,
): Promise<Layer[]> {
  const found: Layer[] = [];
  for (const entry of entries) {
    try {
      found.push({ entry, volume: await readVolume(dataset.id, entry.id, signal) });
    } catch (error) {
      if (signal.aborted) throw error;
      told.missing(entry.name);
    }
  }
  return found;
}

async function partsOf(
  dataset: Dataset,
  labels: Layer[],
  factor: number,
  looks: { current: Looks },
  signal: AbortSignal,
): Promise<LabelPart[]> {
  const parts: LabelPart[] = [];
  for (const { entry, volume } of labels) {
    const finest = volume.levels.at(-1);
    const level = volume.levels.find((one) => one.factor <= factor) ?? finest;
    if (level === undefined) continue;
    const bytes = await readLevel(dataset.id, entry.id, level.file, signal, () => {});
    const { segments } = volume;
    parts.push({ name: level.file, bytes, segments, looks: looks.current[entry.id] ?? [] });
  }
  return parts;
}

/** A scene on a canvas for as long as the page is there. */
export function useScene(canvas: { current: HTMLCanvasElement | null }) {
  const [scene, setScene] = useState<Scene | null>(null);
  const [failed, setFailed] = useState<Error | null>(null);
  const [place, setPlace] = useState<Place | null>(null);
  const open = useRef<Scene | null>(null);
  useEffect(() => {
    let gone = false;
    const target = canvas.current;
    if (target === null) return;
    Scene.open(target, setPlace).then(
      (found) => {
        if (gone) return found.close();
        open.current = found;
        setScene(found);
      },
      (error: unknown) => setFailed(error instanceof Error ? error : new Error(String(error))),
    );
    return () => {
      gone = true;
      open.current?.close();
      open.current = null;
    };
  }, [canvas]);
  return { scene, failed, place };
}
