// Line icons, 16 × 16, drawn in the colour of the text.

const PATHS = {
  overview: "M2.5 2.5h5v5h-5zM9.5 2.5h4v3h-4zM9.5 7.5h4v6h-4zM2.5 9.5h5v4h-5z",
  studies: "M3 4.5 8 2l5 2.5L8 7zM3 8l5 2.5L13 8M3 11.5 8 14l5-2.5",
  jobs: "M3 3.5h10M3 8h10M3 12.5h6",
  pipelines: "M2 5h4v6H2zM10 2h4v4h-4zM10 10h4v4h-4zM6 8h2V4h2M8 8v4h2",
  rules: "M8 2v4M8 6 4 9v4M8 6l4 3v4M2.5 13.5h3M10.5 13.5h3",
  delivery: "M2 8h9M8 4.5 11.5 8 8 11.5M14 2.5v11",
  associations: "M5.5 8h5M6 5H4.5a3 3 0 0 0 0 6H6M10 5h1.5a3 3 0 0 1 0 6H10",
  system: "M2.5 4.5h7M12 4.5h1.5M2.5 11.5H4M6.5 11.5h7M9.5 3v3h2.5V3zM4 10v3h2.5v-3z",
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  alert: "M8 2.2 14.5 13.5h-13zM8 6.5v3.2M8 11.6v.3",
  clock: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.8V8l2.3 1.6",
  run: "M5 3.2v9.6L13 8z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  dash: "M3.5 8h9",
  dot: "M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  stop: "M4 4h8v8H4z",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3 14 14",
  theme: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  user: "M8 2.5a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4zM2.8 13.8c.6-2.7 2.6-4 5.2-4s4.6 1.3 5.2 4",
  help: "M6 6.1C6 4.9 6.9 4 8 4s2 .9 2 2c0 1.5-2 1.6-2 3.3M8 11.7v.3M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8z",
  language:
    "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM2 8h12M8 2c2 2 2.6 4 2.6 6S10 12 8 14M8 2C6 4 5.4 6 5.4 8S6 12 8 14",
  folder: "M2 4.5V13h12V5.5H7.5L6 3.5H2z",
  file: "M4 2h5l3 3v9H4zM9 2v3h3",
  download: "M8 2v8M4.8 7 8 10.2 11.2 7M3 13.5h10",
  refresh: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  ban: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM3.8 3.8l8.4 8.4",
  left: "M10 3.5 5.5 8 10 12.5",
  right: "M6 3.5 10.5 8 6 12.5",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9",
  key: "M5.5 7a3.2 3.2 0 1 0 0 6.4A3.2 3.2 0 0 0 5.5 7zM8 8l5.5-5.5M11 5l2 2",
} as const;

export type IconName = keyof typeof PATHS;

/** Decoration only: the words beside it say the same. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
