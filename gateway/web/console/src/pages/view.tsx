// Three planes and a volume rendering of one data set, with what the AI drew over it.
import { useCallback, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { segment } from "../api/client";
import { useResource } from "../api/queries";
import { useT } from "../i18n";
import type { PageProps } from "../shell/pages";
import { Card, Empty, Head, Loaded, Trouble } from "../ui/parts";
import { readVolume } from "../view/load";
import { Segments } from "../view/segments";
import { Stage } from "../view/stage";
import { Acts, ImageChoice, Planes, Progress, Reading, Windows } from "../view/tools";
import type { Dataset, Look, Plane, Preset, Volume, VolumeEntry } from "../view/types";
import { type Loading, type Looks, load, type Shown, useScene } from "../view/volumes";
import { firstPreset, presetsOf, windowOf } from "../view/windows";
import "../view/view.css";

export default function ViewPage({ params }: PageProps) {
  const t = useT();
  const dataset = useResource<Dataset>(`datasets/${segment(params.id ?? "")}`);
  return (
    <Loaded of={dataset}>
      {(found) => {
        const images = found.volumes.filter((one) => one.role === "image");
        const first = images.find((one) => found.volumes.some((o) => o.over.includes(one.id)));
        const image = first ?? images[0];
        return (
          <>
            <Head
              title={t("view")}
              shown={
                <span className="row">
                  <Link href={`/jobs/${found.job_id}`} className="crumb">
                    {t("job")} /
                  </Link>
                  <span className="break">{found.name}</span>
                </span>
              }
            />
            {image === undefined ? (
              <Empty title={t("view.none")}>{t("view.none.text")}</Empty>
            ) : (
              <Viewer key={found.id} dataset={found} images={images} first={image} />
            )}
          </>
        );
      }}
    </Loaded>
  );
}

function windowing(volume: Volume | undefined, preset: Preset | null) {
  if (volume === undefined) return { presets: [], active: null };
  return { presets: presetsOf(volume), active: preset ?? firstPreset(volume) };
}

interface Viewing {
  dataset: Dataset;
  images: VolumeEntry[];
  first: VolumeEntry;
}

function Viewer({ dataset, images, first }: Viewing) {
  const t = useT();
  const canvas = useRef<HTMLCanvasElement>(null);
  const { scene, failed, place } = useScene(canvas);
  const [image, setImage] = useState(first);
  const [shown, setShown] = useState<Shown | null>(null);
  const [loading, setLoading] = useState<Loading | null>(null);
  const [trouble, setTrouble] = useState<unknown>(null);
  const [missing, setMissing] = useState<string[]>([]);
  const [preset, setPreset] = useState<Preset | null>(null);
  const [plane, setPlane] = useState<Plane>("all");
  const [measuring, setMeasuring] = useState(false);
  const [, redraw] = useState(0);
  const looks = useRef<Looks>({});
  const chosen = useRef<[number, number] | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    if (scene === null) {
      // The gateway makes the volume while the browser makes its programs.
      readVolume(dataset.id, image.id, stop.signal).catch(() => {});
      return () => stop.abort();
    }
    chosen.current = null;
    setPreset(null);
    setTrouble(null);
    setMissing([]);
    setShown(null);
    const wish = { dataset, image, signal: stop.signal, looks, window: chosen };
    const told = {
      shown: setShown,
      loading: setLoading,
      missing: (name: string) => setMissing((names) => [...names, name]),
    };
    load(scene, wish, told).catch((error: unknown) => {
      if (stop.signal.aborted) return;
      setLoading(null);
      setTrouble(error);
    });
    return () => stop.abort();
  }, [scene, dataset, image]);

  const choosePreset = useCallback(
    (wanted: Preset) => {
      if (scene === null || shown === null) return;
      chosen.current = windowOf(wanted, shown.image.volume);
      setPreset(wanted);
      scene.window(...chosen.current);
    },
    [scene, shown],
  );
  const choosePlane = useCallback(
    (wanted: Plane) => {
      setPlane(wanted);
      scene?.plane(wanted);
    },
    [scene],
  );
  const measure = useCallback(
    (on: boolean) => {
      setMeasuring(on);
      scene?.measuring(on);
    },
    [scene],
  );
  const look = (id: string, index: number, wanted: Look[]) => {
    looks.current[id] = wanted;
    const layer = shown?.labels[index];
    if (layer !== undefined) scene?.looks(index, layer.volume.segments, wanted);
    redraw((count) => count + 1);
  };

  if (failed !== null) return <Trouble error={new Error(t("view.nowebgl"))} />;
  const volume = shown?.image.volume;
  const { presets, active } = windowing(volume, preset);
  return (
    <div className="viewer">
      <div className="viewer-main">
        <div className="viewer-tools">
          <Planes plane={plane} choose={choosePlane} />
          <Acts
            measuring={measuring}
            measure={measure}
            clear={() => scene?.clear()}
            reset={() => scene?.reset()}
          />
        </div>
        <Stage
          canvas={canvas}
          scene={scene}
          ready={shown !== null}
          level={loading === null && shown !== null ? "full" : "coarse"}
          presets={presets}
          choosePreset={choosePreset}
          choosePlane={choosePlane}
          toggleMeasure={() => measure(!measuring)}
        />
        {trouble !== null && <Trouble error={trouble} retry={() => setImage({ ...image })} />}
        <Progress loading={loading} shown={shown !== null} />
        <Reading place={place} shown={shown} />
      </div>
      <div className="stack">
        <Card title={t("view.image")}>
          <div className="stack">
            <ImageChoice images={images} image={image} choose={setImage} />
            <Windows presets={presets} active={active} choose={choosePreset} volume={volume} />
          </div>
        </Card>
        <Segments shown={shown} looks={looks.current} change={look} missing={missing} />
        <p className="small muted">{t("view.keys")}</p>
        <p className="small muted">{t("view.notice")}</p>
      </div>
    </div>
  );
}
