// What lies over the image: each segment with its colour, whether it is seen and how strongly.
import { useT } from "../i18n";
import { Card, Empty } from "../ui/parts";
import type { Look, SegmentInfo } from "./types";
import type { Looks, Shown } from "./volumes";

interface Props {
  shown: Shown | null;
  looks: Looks;
  change: (id: string, index: number, looks: Look[]) => void;
  missing: string[];
}

/** The label maps over the image and the looks of their segments. */
export function Segments({ shown, looks, change, missing }: Props) {
  const t = useT();
  const none = shown === null || shown.labels.length === 0;
  return (
    <Card title={t("view.segments")}>
      {missing.map((name) => (
        <p key={name} className="problem small" role="alert">
          {t("view.missing", { name })}
        </p>
      ))}
      {none && missing.length === 0 && <Empty title={t("view.segments.none")} />}
      {shown?.labels.map(({ entry, volume }, index) => {
        const now = looks[entry.id] ?? [];
        const all = (part: Partial<Look>) =>
          change(
            entry.id,
            index,
            now.map((one) => ({ ...one, ...part })),
          );
        return (
          <fieldset key={entry.id} className="segments">
            <legend className="break">{entry.name}</legend>
            {volume.segments.length > 1 && (
              <Row
                label={t("view.segments.all")}
                look={{
                  visible: now.every((one) => one.visible),
                  opacity: Math.max(0, ...now.map((one) => one.opacity)),
                  color: "",
                }}
                change={all}
              />
            )}
            {volume.segments.map((one, at) => {
              const look = now[at];
              return look === undefined ? null : (
                <SegmentRow
                  key={one.number}
                  segment={one}
                  look={look}
                  change={(part) =>
                    change(
                      entry.id,
                      index,
                      now.map((each, i) => (i === at ? { ...each, ...part } : each)),
                    )
                  }
                />
              );
            })}
          </fieldset>
        );
      })}
    </Card>
  );
}

interface Changing {
  look: Look;
  change: (part: Partial<Look>) => void;
}

function SegmentRow({ segment, look, change }: Changing & { segment: SegmentInfo }) {
  return <Row label={segment.label} look={look} change={change} />;
}

function Row({ label, look, change }: Changing & { label: string }) {
  const t = useT();
  return (
    <div className="segment">
      <label className="segment-name">
        <input
          type="checkbox"
          checked={look.visible}
          onChange={(event) => change({ visible: event.target.checked })}
        />
        <span className="break">{label}</span>
      </label>
      {look.color === "" ? (
        <span />
      ) : (
        <input
          type="color"
          value={look.color}
          aria-label={t("view.color", { label })}
          onChange={(event) => change({ color: event.target.value })}
        />
      )}
      <input
        type="range"
        min="0"
        max="100"
        step="5"
        value={Math.round(look.opacity * 100)}
        aria-label={t("view.opacity", { label })}
        disabled={!look.visible}
        onChange={(event) => change({ opacity: Number(event.target.value) / 100 })}
      />
    </div>
  );
}
