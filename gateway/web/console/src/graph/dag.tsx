// A pipeline or a job as a graph: its payload, its operators with state and time, what flows.
import {
  Background,
  Controls,
  type Edge,
  Handle,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
} from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import "./dag.css";
import { useMemo } from "react";
import type { Graph, GraphNode } from "../api/types";
import { useT } from "../i18n";
import { Badge } from "../ui/badge";
import { Took } from "../ui/format";
import { Icon } from "../ui/icon";
import { HEIGHT, layout, PAYLOAD, WIDTH } from "./layout";

type Shown = Node<{
  node: GraphNode | null;
  down: boolean;
  chosen: boolean;
  choose: (name: string) => void;
}>;

const MARGIN = 44;
const LOWEST = 150;
const TALLEST = 460;

function OperatorNode({ data }: NodeProps<Shown>) {
  const t = useT();
  const { node, down, chosen, choose } = data;
  const from = down ? Position.Bottom : Position.Right;
  const to = down ? Position.Top : Position.Left;
  if (node === null) {
    return (
      <div className={`dag-node payload ${down ? "down" : ""}`}>
        <Icon name="studies" />
        <strong>{t("payload")}</strong>
        <Handle type="source" position={from} isConnectable={false} />
      </div>
    );
  }
  const resources = `${node.cpu} CPU · ${node.memory_mb} MB${node.gpus ? ` · ${node.gpus} GPU` : ""}`;
  return (
    <button
      type="button"
      className="dag-node nodrag nopan"
      data-state={node.status ?? ""}
      aria-pressed={chosen}
      title={`${node.image} · ${resources}`}
      onClick={() => choose(node.name)}
    >
      <Handle type="target" position={to} isConnectable={false} />
      <strong className="name">{node.name}</strong>
      {node.status === undefined ? (
        <span className="small muted">{resources}</span>
      ) : (
        <span className="row">
          {node.status === null ? (
            <span className="small muted">{t("notqueued")}</span>
          ) : (
            <Badge group="operator" state={node.status} />
          )}
          {node.started_at && (
            <span className="small muted">
              <Took from={node.started_at} to={node.stopped_at ?? null} />
            </span>
          )}
        </span>
      )}
      <span className="image">{node.image}</span>
      <Handle type="source" position={from} isConnectable={false} />
    </button>
  );
}

const TYPES = { operator: OperatorNode };

interface Drawing {
  graph: Graph;
  label: string;
  chosen?: string | null;
  onChoose?: (name: string) => void;
  /** From top to bottom, for narrow places. */
  down?: boolean;
}

function edgesOf(graph: Graph): Edge[] {
  const status = new Map(graph.nodes.map((node) => [node.name, node.status]));
  return graph.edges.map((edge, index) => ({
    id: `${index}`,
    source: edge.source ?? PAYLOAD,
    target: edge.target,
    animated: status.get(edge.target) === "RUNNING",
    className: edge.kind,
    ariaLabel: `${edge.source ?? "payload"} → ${edge.target} (${edge.name})`,
    focusable: false,
  }));
}

/** The drawing; nodes are buttons, the canvas can be moved and zoomed. */
export default function Dag({ graph, label, chosen = null, onChoose, down = false }: Drawing) {
  const drawn = useMemo(() => layout(graph, down), [graph, down]);
  const nodes = useMemo<Shown[]>(() => {
    const of = new Map(graph.nodes.map((node) => [node.name, node]));
    return drawn.places.map(({ name, x, y }) => ({
      id: name,
      type: "operator",
      position: { x, y },
      width: WIDTH,
      height: HEIGHT,
      data: {
        node: of.get(name) ?? null,
        down,
        chosen: name === chosen,
        choose: (one: string) => onChoose?.(one),
      },
    }));
  }, [graph, drawn, down, chosen, onChoose]);
  const edges = useMemo(() => edgesOf(graph), [graph]);
  const height = Math.min(TALLEST, Math.max(LOWEST, drawn.height + MARGIN));
  return (
    <section className="dag" aria-label={label} style={{ height }}>
      <ReactFlow
        key={`${graph.nodes.length}`}
        nodes={nodes}
        edges={edges}
        nodeTypes={TYPES}
        fitView
        fitViewOptions={{ padding: 0.08, maxZoom: 1 }}
        minZoom={0.2}
        maxZoom={1.5}
        nodesDraggable={false}
        nodesConnectable={false}
        nodesFocusable={false}
        edgesFocusable={false}
        elementsSelectable={false}
        preventScrolling={false}
        zoomOnScroll={false}
        proOptions={{ hideAttribution: true }}
      >
        <Background gap={22} size={1} />
        <Controls showInteractive={false} />
      </ReactFlow>
    </section>
  );
}
