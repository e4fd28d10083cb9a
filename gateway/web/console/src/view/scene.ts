// The picture itself: NiiVue with what a radiologist expects, behind a few plain calls.
import {
  DRAG_MODE,
  MULTIPLANAR_TYPE,
  type NiiVueLocation,
  Niivue,
  NVImage,
  SHOW_RENDER,
  SLICE_TYPE,
} from "@niivue/niivue";
import type { Look, Plane, SegmentInfo } from "./types";

const SLICES: Record<Plane, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  render: SLICE_TYPE.RENDER,
};
const BLACK = [0, 0, 0, 1];
const LETTERS = [1, 0.66, 0.1, 1];
const CROSS = [0.35, 0.75, 1, 0.7];
const RULER = [0.45, 1, 0.35, 1];

/** Grey whose darkest quarter, the air around the patient, the volume rendering does not show. */
const GREY = { R: [0, 64, 255], G: [0, 64, 255], B: [0, 64, 255], A: [0, 0, 96], I: [0, 64, 255] };
const GREY_NAME = "radiograph";
/** What NiiVue's shader of label maps does with an opacity of a label: seen or not. */
const SEEN_OR_NOT = /if \(clr\.a > 0\.0\)\s*clr\.a = 1\.0;/;

/** Give NiiVue a context in which each label has an opacity of its own. */
function prepared(canvas: HTMLCanvasElement): void {
  const gl = canvas.getContext("webgl2", { alpha: true, antialias: false });
  if (gl === null) throw new Error("no WebGL 2");
  const source = gl.shaderSource.bind(gl);
  gl.shaderSource = (shader, text) => source(shader, text.replace(SEEN_OR_NOT, ""));
}

export interface Part {
  name: string;
  bytes: ArrayBuffer;
}

export interface LabelPart extends Part {
  segments: SegmentInfo[];
  looks: Look[];
}

/** Where the cross is: mm to the right, front and head, and the image's value there. */
export interface Place {
  mm: [number, number, number];
  value: number;
  /** Segment number of each label map. */
  labels: number[];
}

function table(segments: SegmentInfo[], looks: Look[]) {
  const most = Math.max(1, ...segments.map((one) => one.number));
  const zeros = () => new Array<number>(most + 1).fill(0);
  const map = { R: zeros(), G: zeros(), B: zeros(), A: zeros(), I: [...zeros().keys()] };
  segments.forEach((one, index) => {
    const look = looks[index];
    if (look === undefined) return;
    map.R[one.number] = Number.parseInt(look.color.slice(1, 3), 16);
    map.G[one.number] = Number.parseInt(look.color.slice(3, 5), 16);
    map.B[one.number] = Number.parseInt(look.color.slice(5, 7), 16);
    map.A[one.number] = look.visible ? Math.round(look.opacity * 255) : 0;
  });
  return map;
}

/** One canvas with its volumes; call `close` when it goes away. */
export class Scene {
  private readonly nv: Niivue;
  private readonly canvas: HTMLCanvasElement;

  private constructor(nv: Niivue, canvas: HTMLCanvasElement) {
    this.nv = nv;
    this.canvas = canvas;
  }

  /** Take a canvas; fails where the browser has no WebGL 2. */
  static async open(canvas: HTMLCanvasElement, moved: (place: Place) => void): Promise<Scene> {
    const nv = new Niivue({
      // As on every viewing station: the patient's right is on the left of the screen.
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      backColor: BLACK,
      fontColor: new Float32Array(LETTERS),
      crosshairColor: CROSS,
      crosshairWidth: 1,
      crosshairWidthUnit: "mm",
      crosshairGap: 12,
      fontSizeScaling: 0.6,
      fontMinPx: 20,
      show3Dcrosshair: true,
      isOrientationTextVisible: true,
      showAllOrientationMarkers: true,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarEqualSize: false,
      tileMargin: 4,
      rulerColor: RULER,
      measureLineColor: RULER,
      measureTextColor: RULER,
      dragMode: DRAG_MODE.slicer3D,
      dragAndDropEnabled: false,
      // Its own keys would be unlike those of the rest of the console.
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      loadingText: "",
      logLevel: "silent",
    });
    prepared(canvas);
    await nv.attachToCanvas(canvas, false);
    nv.addColormap(GREY_NAME, GREY);
    nv.setSliceType(SLICE_TYPE.MULTIPLANAR);
    nv.onLocationChange = (told) => moved(place(told as NiiVueLocation));
    return new Scene(nv, canvas);
  }

  /** Show an image with its label maps in the place of what was there; the cross stays. */
  async show(image: Part, labels: LabelPart[], window: [number, number]): Promise<void> {
    const nv = this.nv;
    const before = nv.volumes.length > 0 ? nv.frac2mm(nv.scene.crosshairPos) : null;
    const [low, high] = window;
    const back = await NVImage.loadFromUrl({
      url: image.name,
      name: image.name,
      buffer: image.bytes,
      colormap: GREY_NAME,
      cal_min: low,
      cal_max: high,
      trustCalMinMax: false,
    });
    back.cal_min = low;
    back.cal_max = high;
    const over: NVImage[] = [];
    for (const one of labels) {
      const loaded = await NVImage.loadFromUrl({
        url: one.name,
        name: one.name,
        buffer: one.bytes,
        opacity: 1,
      });
      loaded.setColormapLabel(table(one.segments, one.looks));
      over.push(loaded);
    }
    nv.volumes = [back, ...over];
    // Makes the first one the ground that the others are laid on, and draws.
    nv.setVolume(back, 0);
    if (before !== null) {
      nv.scene.crosshairPos = nv.mm2frac(before);
      nv.drawScene();
    }
    nv.createOnLocationChange();
  }

  /** Darkest and brightest value. */
  window(low: number, high: number): void {
    const back = this.nv.volumes[0];
    if (back === undefined) return;
    back.cal_min = low;
    back.cal_max = high;
    this.nv.updateGLVolume();
  }

  /** How the segments of a label map are shown. */
  looks(index: number, segments: SegmentInfo[], looks: Look[]): void {
    const volume = this.nv.volumes[index + 1];
    if (volume === undefined) return;
    volume.setColormapLabel(table(segments, looks));
    this.nv.updateGLVolume();
  }

  /** All planes, or one. */
  plane(plane: Plane): void {
    this.nv.setSliceType(SLICES[plane]);
  }

  /** Move the cross by voxels to the right, front and head. */
  step(x: number, y: number, z: number): void {
    if (this.nv.volumes.length > 0) this.nv.moveCrosshairInVox(x, y, z);
  }

  /** Turn the volume rendering by degrees. */
  turn(azimuth: number, elevation: number): void {
    const { renderAzimuth, renderElevation } = this.nv.scene;
    this.nv.setRenderAzimuthElevation(renderAzimuth + azimuth, renderElevation + elevation);
  }

  /** Dragging measures a distance, or moves the cross. */
  measuring(on: boolean): void {
    this.nv.opts.dragModePrimary = on ? DRAG_MODE.measurement : DRAG_MODE.crosshair;
  }

  /** Remove every measurement. */
  clear(): void {
    this.nv.clearAllMeasurements();
  }

  /** Fit everything again. */
  reset(): void {
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.nv.scene.crosshairPos = [0.5, 0.5, 0.5];
    this.nv.setRenderAzimuthElevation(110, 10);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  /** Give memory and listeners back. */
  close(): void {
    this.nv.cleanup();
    this.nv.volumes = [];
    this.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

function place(told: NiiVueLocation): Place {
  const [x = 0, y = 0, z = 0] = told.mm;
  const [first, ...rest] = told.values.map((one) => one.value);
  return { mm: [x, y, z], value: first ?? 0, labels: rest };
}
