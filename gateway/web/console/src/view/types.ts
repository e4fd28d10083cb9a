// What the render server tells of data sets and volumes.
export interface VolumeEntry {
  id: string;
  role: "image" | "label";
  name: string;
  modality: string;
  /** Of a label map: the images that it lies over. */
  over: string[];
}

export interface Dataset {
  id: string;
  job_id: string;
  name: string;
  volumes: VolumeEntry[];
}

export interface SegmentInfo {
  number: number;
  label: string;
  color: string;
  kind: string;
}

export interface Level {
  factor: number;
  file: string;
  bytes: number;
}

export interface Volume {
  id: string;
  modality: string;
  shape: [number, number, number];
  spacing: [number, number, number];
  dtype: string;
  range: [number, number];
  window: [number, number];
  segments: SegmentInfo[];
  levels: Level[];
}

/** How one segment is shown. */
export interface Look {
  visible: boolean;
  color: string;
  /** 0 to 1. */
  opacity: number;
}

export type Plane = "all" | "axial" | "coronal" | "sagittal" | "render";
export type Preset = "lung" | "soft" | "bone" | "brain" | "full" | "own";
