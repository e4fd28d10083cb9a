// The controls around the picture, and what it says at the cross.
import { useT } from "../i18n";
import { bytes } from "../ui/format";
import { Field } from "../ui/parts";
import type { Place } from "./scene";
import type { Plane, Preset, Volume, VolumeEntry } from "./types";
import type { Loading, Shown } from "./volumes";
import { windowOf } from "./windows";

const PLANES: Plane[] = ["all", "axial", "coronal", "sagittal", "render"];

/** Which planes are seen. */
export function Planes({ plane, choose }: { plane: Plane; choose: (plane: Plane) => void }) {
  const t = useT();
  const words: Record<Plane, string> = {
    all: t("view.plane.all"),
    axial: t("view.plane.axial"),
    coronal: t("view.plane.coronal"),
    sagittal: t("view.plane.sagittal"),
    render: t("view.plane.render"),
  };
  return (
    <fieldset className="row choice">
      <legend className="sr-only">{t("view.planes")}</legend>
      {PLANES.map((one) => (
        <button
          key={one}
          type="button"
          className="button"
          aria-pressed={one === plane}
          onClick={() => choose(one)}
        >
          {words[one]}
        </button>
      ))}
    </fieldset>
  );
}

interface Acting {
  measuring: boolean;
  measure: (on: boolean) => void;
  clear: () => void;
  reset: () => void;
}

/** Measuring, and back to the beginning. */
export function Acts({ measuring, measure, clear, reset }: Acting) {
  const t = useT();
  return (
    <div className="row">
      <button
        type="button"
        className="button"
        aria-pressed={measuring}
        onClick={() => measure(!measuring)}
      >
        {t("view.measure")}
      </button>
      <button type="button" className="button" onClick={clear}>
        {t("view.clear")}
      </button>
      <button type="button" className="button" onClick={reset}>
        {t("view.reset")}
      </button>
    </div>
  );
}

interface Choosing {
  images: VolumeEntry[];
  image: VolumeEntry;
  choose: (image: VolumeEntry) => void;
}

/** Which image, where there are several. */
export function ImageChoice({ images, image, choose }: Choosing) {
  const t = useT();
  if (images.length === 1) return <p className="break">{image.name}</p>;
  return (
    <Field label={t("view.series")}>
      <select
        value={image.id}
        onChange={(event) => {
          const found = images.find((one) => one.id === event.target.value);
          if (found !== undefined) choose(found);
        }}
      >
        {images.map((one) => (
          <option key={one.id} value={one.id}>
            {one.name}
          </option>
        ))}
      </select>
    </Field>
  );
}

interface Windowing {
  presets: Preset[];
  active: Preset | null;
  choose: (preset: Preset) => void;
  volume: Volume | undefined;
}

/** Window presets, each with its key. */
export function Windows({ presets, active, choose, volume }: Windowing) {
  const t = useT();
  const words: Record<Preset, string> = {
    lung: t("view.window.lung"),
    soft: t("view.window.soft"),
    bone: t("view.window.bone"),
    brain: t("view.window.brain"),
    full: t("view.window.full"),
    own: t("view.window.own"),
  };
  return (
    <fieldset className="windows">
      <legend>{t("view.window")}</legend>
      {presets.map((one) => (
        <button
          key={one}
          type="button"
          className="button"
          aria-pressed={one === active}
          onClick={() => choose(one)}
        >
          {words[one]}
        </button>
      ))}
      {volume !== undefined && active !== null && (
        <p className="small muted num">{span(windowOf(active, volume), volume)}</p>
      )}
    </fieldset>
  );
}

function span([low, high]: [number, number], volume: Volume): string {
  const unit = volume.modality === "CT" ? " HU" : "";
  return `${Math.round(low)} … ${Math.round(high)}${unit}`;
}

/** What is still on its way. */
export function Progress({ loading, shown }: { loading: Loading | null; shown: boolean }) {
  const t = useT();
  if (loading === null && shown)
    return <p className="small muted viewer-line">{t("view.whole")}</p>;
  if (loading === null) return <p className="small muted viewer-line">{t("view.preparing")}</p>;
  const part = loading.awaited > 0 ? Math.min(1, loading.here / loading.awaited) : 0;
  return (
    <p className="small muted viewer-line" role="status">
      {t("view.arriving", { level: loading.level + 1, levels: loading.levels })}
      <progress value={part} aria-label={t("view.progress")} />
      <span className="num">{bytes(loading.awaited)}</span>
    </p>
  );
}

/** Place, value and segments at the cross. */
export function Reading({ place, shown }: { place: Place | null; shown: Shown | null }) {
  const t = useT();
  if (place === null || shown === null) return null;
  const [x, y, z] = place.mm;
  const unit = shown.image.volume.modality === "CT" ? " HU" : "";
  const names = shown.labels.flatMap(({ volume }, index) => {
    const hit = volume.segments.find((one) => one.number === Math.round(place.labels[index] ?? 0));
    return hit === undefined ? [] : [hit.label];
  });
  const side = (value: number, more: string, less: string) =>
    `${value < 0 ? less : more} ${Math.abs(value).toFixed(0)}`;
  return (
    <p className="viewer-line reading">
      <span>{t("view.place")}</span>
      <code>{`${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`}</code>
      <span>{t("value")}</span>
      <code>{`${Math.round(place.value)}${unit}`}</code>
      <strong>{names.join(", ")}</strong>
    </p>
  );
}
