// A bar that shows a share of a whole, with an optional mark (the watermark of the disk).

interface Shown {
  label: string;
  text: string;
  /** 0 to 1. */
  share: number;
  mark?: number;
}

const HIGH = 0.9;

/** The text says what the bar shows. */
export function Meter({ label, text, share, mark }: Shown) {
  const width = Math.min(1, Math.max(0, share)) * 100;
  const high = share >= (mark ?? HIGH);
  return (
    <div className="meter">
      <div className="legend">
        <span>{label}</span>
        <span className="muted">{text}</span>
      </div>
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect
          className="track"
          x="0"
          y="0"
          width="100"
          height="8"
          vectorEffect="non-scaling-stroke"
        />
        <rect className={`fill ${high ? "high" : ""}`} x="0" y="0" width={width} height="8" />
        {mark !== undefined && (
          <line
            className="mark"
            x1={mark * 100}
            x2={mark * 100}
            y1="0"
            y2="8"
            vectorEffect="non-scaling-stroke"
          />
        )}
      </svg>
    </div>
  );
}
