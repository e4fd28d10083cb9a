// The editor of a definition: checked against the published schema and by the gateway as one types.
import { lazy, Suspense, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { Problem, request, segment } from "../api/client";
import { useRefresh, useResource } from "../api/queries";
import type { Graph, Pipeline, Validation } from "../api/types";
import { Dag } from "../graph";
import { useT } from "../i18n";
import type { PageProps } from "../shell/pages";
import { told } from "../ui/act";
import { Mark } from "../ui/badge";
import { Card, Empty, Head, Loaded, Loading } from "../ui/parts";
import { useSay } from "../ui/toast";

const Editor = lazy(() => import("../editor/editor"));

const START = `api-version: 0.4.0
name: my-pipeline
description: What it does, in a sentence.
operators:
- name: first
  container:
    image: gateway/dicom-reader
  input:
  - path: /input
  output:
  - path: /output
`;
const TYPING_MS = 500;

export default function PipelineEdit({ params }: PageProps) {
  const name = params.id ?? null;
  const pipeline = useResource<Pipeline>(name === null ? null : `pipelines/${segment(name)}`);
  if (name === null) return <Edit name={null} start={START} />;
  return (
    <Loaded of={pipeline}>
      {(found) => <Edit key={found.id} name={found.name} start={found.definition} />}
    </Loaded>
  );
}

type Found = { line: number | null; text: string };

function useValidation(text: string): Validation | null {
  const [answer, setAnswer] = useState<Validation | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    const waiting = window.setTimeout(() => {
      request<Validation>("pipelines/validate", {
        method: "POST",
        json: { definition: text },
        signal: stop.signal,
      })
        .then(setAnswer)
        .catch((error: unknown) => {
          if (stop.signal.aborted) return;
          const message = told(error);
          setAnswer({
            valid: false,
            name: null,
            errors: [{ line: null, key: null, message }],
            graph: null,
          });
        });
    }, TYPING_MS);
    return () => {
      window.clearTimeout(waiting);
      stop.abort();
    };
  }, [text]);
  return answer;
}

function Edit({ name, start }: { name: string | null; start: string }) {
  const t = useT();
  const say = useSay();
  const refresh = useRefresh();
  const [, go] = useLocation();
  const [text, setText] = useState(start);
  const [busy, setBusy] = useState(false);
  const schema = useResource<object>("schemas/pipeline");
  const checked = useValidation(text);
  const errors: Found[] = (checked?.errors ?? []).map((one) => ({
    line: one.line,
    text: one.key ? `${one.key}: ${one.message}` : one.message,
  }));
  async function save() {
    setBusy(true);
    try {
      const made = await request<Pipeline>("pipelines", {
        method: "POST",
        json: { definition: text },
      });
      say("ok", t("pipeline.saved", { name: made.name, version: made.version }));
      refresh("pipelines", "pipeline-cards");
      go(`/pipelines/${encodeURIComponent(made.name)}`);
    } catch (error) {
      const faults = error instanceof Problem ? error.faults : [];
      say("bad", [told(error), ...faults.map((one) => one.message ?? "")].join(" "));
      setBusy(false);
    }
  }
  const title = name === null ? t("pipeline.new") : t("pipeline.edit.name", { name });
  return (
    <>
      <Head
        title={title}
        shown={
          <span className="row">
            <Link href="/pipelines" className="crumb">
              {t("nav.pipelines")} /
            </Link>
            {title}
          </span>
        }
      >
        <Verdict checked={checked} />
        <button
          type="button"
          className="button primary"
          disabled={busy || !checked?.valid || text === start}
          onClick={() => void save()}
        >
          {t("pipeline.save")}
        </button>
      </Head>
      <div className="split editing">
        <Card title={t("definition")} flush>
          <Suspense fallback={<Loading />}>
            <Editor
              start={start}
              schema={schema.data ?? null}
              errors={errors}
              onText={setText}
              label={t("definition")}
            />
          </Suspense>
          <p className="body muted small">{t("editor.leave")}</p>
        </Card>
        <div className="stack">
          <Faults errors={errors} checked={checked !== null} />
          <Preview graph={checked?.graph ?? null} />
        </div>
      </div>
    </>
  );
}

function Verdict({ checked }: { checked: Validation | null }) {
  const t = useT();
  return (
    <span role="status" className="row">
      {checked === null ? (
        <Mark tone="idle" icon="clock" text={t("editor.checking")} />
      ) : checked.valid ? (
        <Mark tone="ok" icon="check" text={t("editor.valid")} />
      ) : (
        <Mark
          tone="bad"
          icon="cross"
          text={t("editor.invalid", { count: checked.errors.length })}
        />
      )}
    </span>
  );
}

function Faults({ errors, checked }: { errors: Found[]; checked: boolean }) {
  const t = useT();
  return (
    <Card title={t("editor.faults")}>
      {errors.length === 0 ? (
        <p className="muted">{t(checked ? "editor.nofaults" : "editor.checking")}</p>
      ) : (
        <ul className="plain faults">
          {errors.map((one) => (
            <li key={`${one.line}${one.text}`} className="break">
              {one.line !== null && <strong>{t("line", { line: one.line })} </strong>}
              {one.text}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function Preview({ graph }: { graph: Graph | null }) {
  const t = useT();
  return (
    <Card title={t("graph")} flush>
      {graph === null ? (
        <Empty title={t("graph.none")}>{t("graph.none.text")}</Empty>
      ) : (
        <Dag graph={graph} label={t("graph")} down />
      )}
    </Card>
  );
}
