// What the rules in force would decide for a study of the past or for a file, running nothing.
import { type DragEvent, useState } from "react";
import { request } from "../api/client";
import { useResource } from "../api/queries";
import type { Application, Explained, Page, Payload } from "../api/types";
import { useT } from "../i18n";
import { Badge } from "../ui/badge";
import { useFilters } from "../ui/filters";
import { Icon } from "../ui/icon";
import { Card, Empty, Facts, Field, Trouble } from "../ui/parts";
import { Table } from "../ui/table";

type Answer = Page<Explained>;

/** Asks and shows. */
export function Explain({ applications }: { applications: Application[] }) {
  const t = useT();
  const { values } = useFilters(["payload"] as const);
  const [payload, setPayload] = useState(values.payload);
  const [called, setCalled] = useState(applications[0]?.ae_title ?? "");
  const [calling, setCalling] = useState("");
  const [over, setOver] = useState(false);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [error, setError] = useState<unknown>(null);
  const recent = useResource<Page<Payload>>("payloads", { limit: 30 });

  async function ask(send: () => Promise<Answer>) {
    setError(null);
    try {
      setAnswer(await send());
    } catch (failed) {
      setAnswer(null);
      setError(failed);
    }
  }
  const ofPayload = () =>
    ask(() => request<Answer>("rules/explain", { method: "POST", json: { payload } }));
  const ofFile = (file: File) =>
    ask(() => request<Answer>("rules/explain-file", { method: "POST", file }, { called, calling }));
  function dropped(event: DragEvent) {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer.files[0];
    if (file) void ofFile(file);
  }
  return (
    <Card title={t("explain")}>
      <div className="stack">
        <p className="muted">{t("explain.text")}</p>
        <div className="cols">
          <div className="row ask">
            <Field label={t("explain.study")}>
              <select value={payload} onChange={(event) => setPayload(event.target.value)}>
                <option value="">{t("explain.choose")}</option>
                {payload !== "" && !recent.data?.items.some((one) => one.id === payload) && (
                  <option value={payload}>{payload}</option>
                )}
                {recent.data?.items.map((one) => (
                  <option key={one.id} value={one.id}>
                    {`${one.called_ae} · ${one.accession_number || t("study.noaccession")} · ${one.patient_id ?? ""} · ${new Date(one.opened_at).toLocaleString()}`}
                  </option>
                ))}
              </select>
            </Field>
            <button
              type="button"
              className="button primary"
              disabled={payload === ""}
              onClick={() => void ofPayload()}
            >
              {t("explain.ask")}
            </button>
          </div>
          <div className="stack">
            <div className="row ask">
              <Field label={t("called")}>
                <select value={called} onChange={(event) => setCalled(event.target.value)}>
                  {applications.map((one) => (
                    <option key={one.ae_title} value={one.ae_title}>
                      {one.ae_title}
                    </option>
                  ))}
                </select>
              </Field>
              <Field label={t("calling")}>
                <input
                  value={calling}
                  maxLength={16}
                  onChange={(event) => setCalling(event.target.value)}
                />
              </Field>
            </div>
            <label
              className={`drop ${over ? "over" : ""}`}
              onDragOver={(event) => {
                event.preventDefault();
                setOver(true);
              }}
              onDragLeave={() => setOver(false)}
              onDrop={dropped}
            >
              <Icon name="file" />
              <span>{t("explain.drop")}</span>
              <input
                type="file"
                className="sr-only"
                onChange={(event) => {
                  const file = event.target.files?.[0];
                  if (file) void ofFile(file);
                  event.target.value = "";
                }}
              />
            </label>
          </div>
        </div>
        {error !== null && <Trouble error={error} />}
        <div role="status" className="stack">
          {answer?.items.map((one) => (
            <Shown key={`${one.called}${one.calling}`} one={one} />
          ))}
          {answer?.items.length === 0 && <Empty title={t("explain.nothing")} />}
        </div>
      </div>
    </Card>
  );
}

function Shown({ one }: { one: Explained }) {
  const t = useT();
  return (
    <div className="stack explained">
      <Facts
        rows={[
          [t("way"), `${one.calling || "–"} → ${one.called}`],
          [t("instances"), `${one.instances}`],
          [
            t("series"),
            one.series
              .map(
                (each) =>
                  `${each.modality ?? "?"} (${each.instances}${each.orientation ? `, ${each.orientation}` : ""})`,
              )
              .join(" · ") || "–",
          ],
        ]}
      />
      <Table
        caption={t("explain")}
        rows={one.rules}
        id={(row) => row.name}
        empty={<Empty title={t("rules.norules")} />}
        columns={[
          { head: t("outcome"), cell: (row) => <Badge group="outcome" state={row.outcome} /> },
          {
            head: t("rule"),
            cell: (row) => (
              <>
                <strong>{row.name}</strong>
                <div className="sub">{row.pipeline}</div>
              </>
            ),
          },
          {
            head: t("expressions"),
            cell: (row) => (
              <>
                {row.expressions.map((each) => (
                  <div key={each.key}>
                    <span className="muted small">{each.key}</span>{" "}
                    <code className="break">{each.text}</code>{" "}
                    {each.error ? (
                      <span className="break">{each.error}</span>
                    ) : (
                      <strong className="break">= {JSON.stringify(each.value)}</strong>
                    )}
                  </div>
                ))}
                {row.error && <div className="break">{row.error}</div>}
                {row.names !== null && Object.keys(row.names).length > 0 && (
                  <details>
                    <summary>{t("values")}</summary>
                    <pre>{JSON.stringify(row.names, null, 2)}</pre>
                  </details>
                )}
              </>
            ),
          },
          { head: t("explain.selected"), num: true, cell: (row) => row.selected.length },
        ]}
      />
    </div>
  );
}
