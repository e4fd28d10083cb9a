// Every pipeline in use as a card: its queue, whether it is held, how it last ended.
import { Link } from "wouter";
import { useResource } from "../api/queries";
import type { Page, PipelineCard } from "../api/types";
import { useT } from "../i18n";
import { ActButton } from "../ui/act";
import { Badge, JobBadge } from "../ui/badge";
import { Ago } from "../ui/format";
import { Icon } from "../ui/icon";
import { Card, Empty, Head, Loaded } from "../ui/parts";
import { useRole } from "../ui/role";

export default function Pipelines() {
  const t = useT();
  const may = useRole();
  const cards = useResource<Page<PipelineCard>>("pipeline-cards");
  return (
    <>
      <Head title={t("nav.pipelines")}>
        {may("administrator") && (
          <Link href="/pipelines-new" className="button primary">
            {t("pipeline.new")}
          </Link>
        )}
      </Head>
      <Loaded of={cards}>
        {(found) =>
          found.items.length === 0 ? (
            <Card>
              <Empty title={t("pipelines.none")}>{t("pipelines.none.text")}</Empty>
            </Card>
          ) : (
            <div className="cols">
              {found.items.map((card) => (
                <Pipeline key={card.id} card={card} />
              ))}
            </div>
          )
        }
      </Loaded>
    </>
  );
}

function Pipeline({ card }: { card: PipelineCard }) {
  const t = useT();
  const name = encodeURIComponent(card.name);
  return (
    <Card
      title={<Link href={`/pipelines/${name}`}>{card.name}</Link>}
      actions={<span className="muted small">{t("version.short", { version: card.version })}</span>}
    >
      <div className="stack">
        {card.description && <p>{card.description}</p>}
        <p className="muted small">{card.operators.join(" · ")}</p>
        <div className="row counts">
          <Link href={`/jobs?state=PENDING&pipeline=${name}`}>
            <strong>{card.waiting}</strong> {t("job.waiting.count")}
          </Link>
          <Link href={`/jobs?state=RUNNING&pipeline=${name}`}>
            <strong>{card.running}</strong> {t("job.running.count")}
          </Link>
          {card.held && <Badge group="hold" state={card.held} />}
        </div>
        <div className="row">
          {card.last_run === null ? (
            <span className="muted">{t("pipeline.neverrun")}</span>
          ) : (
            <>
              <Link href={`/jobs/${card.last_run.job_id}`}>{t("pipeline.lastrun")}</Link>
              <JobBadge job={card.last_run} />
              {card.last_run.stopped_at && (
                <span className="muted small">
                  <Ago at={card.last_run.stopped_at} />
                </span>
              )}
            </>
          )}
        </div>
        <Hold card={card} />
      </div>
    </Card>
  );
}

function Hold({ card }: { card: PipelineCard }) {
  const t = useT();
  const stale = ["pipeline-cards"];
  const values = { pipeline: card.name };
  if (card.held) {
    return (
      <div className="row">
        <ActButton
          label={t("resume")}
          icon="run"
          path="scheduler/resume"
          values={values}
          done={t("pipeline.resumed", { name: card.name })}
          stale={stale}
        />
      </div>
    );
  }
  return (
    <div className="row">
      <ActButton
        label={t("pause")}
        icon="pause"
        path="scheduler/pause"
        values={values}
        question={t("pipeline.pause.question")}
        done={t("pipeline.paused", { name: card.name })}
        stale={stale}
      />
      <Link href={`/pipelines/${encodeURIComponent(card.name)}`} className="button">
        <Icon name="pipelines" size={14} />
        {t("graph")}
      </Link>
    </div>
  );
}
