// Every page of the console, loaded when it is first opened.
import { type ComponentType, lazy } from "react";
import type { Key } from "../i18n";
import type { IconName } from "../ui/icon";

export interface Entry {
  path: string;
  name: Key;
  icon: IconName;
  /** Second key of the shortcut that begins with g. */
  key: string;
}

export const ENTRIES: Entry[] = [
  { path: "/", name: "nav.overview", icon: "overview", key: "o" },
  { path: "/studies", name: "nav.studies", icon: "studies", key: "s" },
  { path: "/jobs", name: "nav.jobs", icon: "jobs", key: "j" },
  { path: "/pipelines", name: "nav.pipelines", icon: "pipelines", key: "p" },
  { path: "/rules", name: "nav.rules", icon: "rules", key: "r" },
  { path: "/delivery", name: "nav.delivery", icon: "delivery", key: "d" },
  { path: "/associations", name: "nav.associations", icon: "associations", key: "a" },
  { path: "/system", name: "nav.system", icon: "system", key: "y" },
];

export interface PageProps {
  params: { id?: string; tab?: string };
}

type Load = () => Promise<{ default: ComponentType<PageProps> }>;

const load: Record<string, Load> = {
  "/": () => import("../pages/overview"),
  "/studies": () => import("../pages/studies"),
  "/studies/quarantine": () => import("../pages/quarantine"),
  "/studies/:id": () => import("../pages/study"),
  "/jobs": () => import("../pages/jobs"),
  "/jobs/:id": () => import("../pages/job"),
  "/pipelines": () => import("../pages/pipelines"),
  "/pipelines-new": () => import("../pages/pipeline-edit"),
  "/pipelines/:id": () => import("../pages/pipeline"),
  "/pipelines/:id/edit": () => import("../pages/pipeline-edit"),
  "/rules": () => import("../pages/rules"),
  "/delivery": () => import("../pages/delivery"),
  "/delivery/:id": () => import("../pages/result"),
  "/associations": () => import("../pages/associations"),
  "/associations/:id": () => import("../pages/association"),
  "/view/:id": () => import("../pages/view"),
  "/system": () => import("../pages/system"),
  "/system/:tab": () => import("../pages/system"),
};

export const ROUTES = Object.entries(load).map(([path, page]) => ({ path, page: lazy(page) }));
