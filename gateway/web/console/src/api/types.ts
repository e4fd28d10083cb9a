// What the gateway's REST answers, as far as the console reads it.  Times are RFC 3339 in UTC.

export type Role = "viewer" | "operator" | "administrator";
export type Priority = "lower" | "normal" | "higher" | "immediate";

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Session {
  user: string | null;
  role: Role | null;
  csrf: string | null;
  /** No users yet: everybody who reaches the gateway may do everything. */
  open: boolean;
  expires_at: string | null;
}

export interface Payload {
  id: string;
  called_ae: string;
  calling_ae: string;
  host: string;
  group_by: string;
  state: string;
  revision: number;
  instances: number;
  bytes: number;
  study_instance_uid: string | null;
  patient_id: string | null;
  accession_number: string | null;
  expected: number | null;
  reason: string | null;
  conflict: boolean;
  conflict_released: boolean;
  opened_at: string;
  last_received_at: string | null;
  completed_at: string | null;
  deleted_at: string | null;
}

export interface Revision {
  revision: number;
  instances: number;
  opened_at: string;
  completed_at: string;
  reason: string;
}

export interface Decision {
  id: number;
  payload_id: string;
  revision: number;
  rule: string | null;
  config_version: string;
  outcome: string;
  expressions: Record<string, string>;
  values: Record<string, unknown>;
  selected: string[];
  error: string | null;
  elapsed_ms: number;
  job_id: string | null;
  decided_at: string;
}

export interface PayloadDetails extends Payload {
  revisions: Revision[];
  series: { series_instance_uid: string; modality: string | null; instances: number }[];
  associations: Association[];
  decisions: Decision[];
  jobs: Job[];
  quarantine: Quarantined[];
}

export interface Quarantined {
  id: string;
  payload_id: string;
  association_id: string;
  called_ae: string;
  calling_ae: string;
  host: string;
  sop_instance_uid: string;
  size: number;
  reason: string;
  received_at: string;
  resolved_at: string | null;
}

export interface TimelineEntry {
  time: string;
  kind: string;
  text: string;
  association_id?: string;
  job_id?: string;
  result_id?: string;
  operator?: string;
}

export interface Where {
  found: boolean;
  payloads: (Payload & { timeline: TimelineEntry[] })[];
  notes: string[];
}

export interface Job {
  id: string;
  name: string;
  pipeline_id: string;
  payload_id: string;
  received_payload_id: string | null;
  revision: number | null;
  rule: string | null;
  called_ae: string | null;
  priority: Priority;
  state: string;
  status: string;
  attempt: number;
  retries: number;
  reason: string | null;
  exit_code: number | null;
  destinations: string[];
  variables: Record<string, unknown>;
  cpu: number;
  memory_mb: number;
  gpus: number;
  timeout_seconds: number;
  created_at: string;
  queued_at: string | null;
  started_at: string | null;
  stopped_at: string | null;
  payload_deleted_at: string | null;
  notes: string[];
  node: string | null;
  devices: number[] | null;
}

export interface Operator {
  attempt: number;
  name: string;
  position: number;
  status: string;
  reason: string | null;
  exit_code: number | null;
  tail: string | null;
  started_at: string | null;
  stopped_at: string | null;
  seconds: number | null;
}

export interface JobDetails extends Job {
  pipeline: { id: string; name: string; version: number; digest: string };
  operators: Operator[];
  decision: Decision | null;
  why: string;
  results: Result[];
}

export interface GraphNode {
  name: string;
  status?: string | null;
  started_at?: string | null;
  stopped_at?: string | null;
  seconds?: number | null;
  reason?: string | null;
  exit_code?: number | null;
  image: string;
  cpu: number;
  memory_mb: number;
  gpus: number;
  level: number;
}

export interface GraphEdge {
  /** Null is the payload. */
  source: string | null;
  target: string;
  name: string;
  kind: string;
}

export interface Graph {
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface LogPiece {
  text: string;
  next_offset: number;
  attempt: number;
  ended: boolean;
}

export interface Folder {
  path: string;
  items: FileItem[];
  truncated: boolean;
}

export interface FileItem {
  name: string;
  path: string;
  kind: "folder" | "file";
  size: number | null;
  modified_at: string | null;
}

export interface Result {
  id: string;
  job_id: string;
  attempt: number;
  agent: string;
  destination: string | null;
  state: string;
  retries: number;
  reason: string | null;
  next_at: string | null;
  created_at: string;
  delivered_at: string | null;
  commitment: string | null;
  commitment_reason: string | null;
  committed_at: string | null;
}

export interface ResultFile {
  id: number;
  path: string;
  sop_instance_uid: string | null;
  sop_class_uid: string | null;
  size: number;
  state: string;
  status: number | null;
  comment: string | null;
  attempts: number;
  sent_at: string | null;
  committed_at: string | null;
}

export interface ResultDetails extends Result {
  files: ResultFile[];
}

export interface Circuit {
  state: string;
  failures: number;
  reason: string | null;
  changed_at: string;
  retry_at: string | null;
}

export interface Destination {
  name: string;
  ae_title: string;
  host: string;
  port: number;
  calling_ae_title: string;
  tls: boolean;
  commitment: boolean;
  circuit: Circuit | null;
  paused?: { since: string; by: string | null } | null;
  queue?: Record<string, number>;
}

export interface Echo {
  ok: boolean;
  milliseconds: number | null;
  detail: string;
}

export interface Association {
  id: string;
  called_ae: string;
  calling_ae: string;
  host: string;
  port: number;
  tls: string | null;
  state: string;
  reason: string | null;
  opened_at: string;
  closed_at: string | null;
  instances: number;
  bytes: number;
  duplicates: number;
  ignored: number;
  refused: number;
}

export interface AssociationDetails extends Association {
  payloads: Payload[];
}

export interface PipelineCard {
  id: string;
  name: string;
  version: number;
  description: string;
  operators: string[];
  waiting: number;
  running: number;
  held: string | null;
  last_run: { job_id: string; state: string; status: string; stopped_at: string | null } | null;
}

export interface Pipeline {
  id: string;
  name: string;
  version: number;
  digest: string;
  file: string;
  definition: string;
  created_at: string;
  removed_at: string | null;
}

export interface PipelineVersion {
  id: string;
  version: number;
  digest: string;
  created_at: string;
  removed_at: string | null;
  jobs: number;
}

export interface Diff {
  name: string;
  before: number;
  after: number;
  lines: { kind: "same" | "added" | "removed" | "skip"; text: string }[];
}

export interface Validation {
  valid: boolean;
  name: string | null;
  errors: { line: number | null; key: string | null; message: string }[];
  graph: Graph | null;
}

export interface Rule {
  name: string;
  when: string | null;
  select: string | null;
  prefer: string | null;
  pipeline: string;
  priority: Priority;
  variables: Record<string, unknown>;
  destinations: string[];
  matched?: number;
  errors?: number;
  last_error?: string | null;
}

export interface Application {
  ae_title: string;
  group_by: string;
  complete_when: {
    quiet_seconds: number | null;
    association_released: boolean;
    instances: number | string | null;
    max_wait_seconds: number | null;
  };
  otherwise: string;
  duplicates?: string;
  late_instances?: string;
  rules: Rule[];
}

export interface ConfigFault {
  file: string | null;
  line: number | null;
  key: string | null;
  message: string;
}

export interface Rules {
  version: string;
  valid: boolean;
  faults: ConfigFault[];
  applications: Application[];
}

export interface Explained {
  called: string;
  calling: string;
  host: string;
  group_by: string;
  instances: number;
  otherwise: string;
  series: {
    uid: string;
    modality: string | null;
    description: string | null;
    instances: number;
    spacing: number[] | null;
    orientation: string | null;
  }[];
  rules: {
    name: string;
    pipeline: string;
    outcome: string;
    selected: string[];
    error: string | null;
    names: Record<string, unknown> | null;
    per_series: unknown;
    elapsed_ms: number;
    expressions: { key: string; text: string; value: unknown; error: string | null }[];
  }[];
}

export interface Overview {
  time: string;
  version: string;
  status: string;
  studies: {
    today: number;
    last_hour: number;
    total: number;
    last_at: string | null;
    payloads: Record<string, number>;
  };
  jobs: {
    by: { state: string; status: string; priority: Priority; count: number }[];
    waiting: number;
    running: number;
    oldest_waiting_at: string | null;
    scheduler: { mode: string; since: string | null };
  };
  results: Record<"delivered" | "waiting" | "sending" | "failed" | "pending", number>;
  attention: { kind: string; count: number }[];
  destinations: {
    name: string;
    circuit: string | null;
    reason: string | null;
    retry_at: string | null;
    paused: boolean;
    pending: number;
    sending: number;
    waiting: number;
    failed: number;
  }[];
  machine: {
    cpu: { cores: number; busy: number | null; load: number | null } | null;
    memory: { total: number; available: number } | null;
    disk: {
      total: number;
      free: number;
      used_percent: number;
      watermark_percent: number;
      reserve_bytes: number;
      accepts_images: boolean;
    } | null;
    gpus: {
      index: number;
      model: string;
      busy: number | null;
      memory_total: number;
      memory_used: number;
      temperature: number | null;
      users: { name: string; job_id: string | null; memory: number | null }[];
    }[];
  };
  parts: { name: string; status: string; details: Record<string, unknown> }[];
}

export interface System {
  version: string;
  python: string;
  started_at: string;
  checks: { name: string; status: string; detail: string }[];
  settings: Record<string, unknown> | null;
  components: { name: string; version: string; licence: string | null }[];
}

export interface User {
  name: string;
  role: Role;
  disabled: boolean;
  created_at: string;
  password_at: string | null;
  seen_at: string | null;
}

export interface Token {
  name: string;
  role: Role;
  created_by: string | null;
  created_at: string;
  expires_at: string | null;
  used_at: string | null;
  /** Only in the answer that made it. */
  token?: string;
}

export interface Audit {
  id: number | string;
  time: string;
  user: string | null;
  via: string;
  role: string | null;
  address: string | null;
  action: string;
  target: string | null;
  data: Record<string, unknown> | null;
  status: number | null;
}
