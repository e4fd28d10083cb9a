// Window presets: the darkest and the brightest value, in HU where there are any.
import type { Preset, Volume } from "./types";

const HU: Record<"lung" | "soft" | "bone" | "brain", [number, number]> = {
  lung: [-1350, 150],
  soft: [-160, 240],
  bone: [-450, 1050],
  brain: [0, 80],
};

export const PRESETS: Preset[] = ["lung", "soft", "bone", "brain", "full"];

/** The presets that mean something for a volume: those in HU are for CT. */
export function presetsOf(volume: Volume): Preset[] {
  return volume.modality === "CT" ? PRESETS : ["own", "full"];
}

/** Darkest and brightest value of a preset. */
export function windowOf(preset: Preset, volume: Volume): [number, number] {
  if (preset === "full") return volume.range;
  if (preset === "own") return volume.window;
  return HU[preset];
}

/** What one begins with. */
export function firstPreset(volume: Volume): Preset {
  if (volume.modality !== "CT") return "own";
  // Lungs hold what no other part of the body does: much air.
  return volume.window[0] < -700 ? "lung" : "soft";
}
