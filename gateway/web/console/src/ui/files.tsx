// What stands below a job: its input and what each operator left, to look at and to download.
import { useState } from "react";
import { segment } from "../api/client";
import { useResource } from "../api/queries";
import type { FileItem, Folder } from "../api/types";
import { useT } from "../i18n";
import { bytes, Time } from "./format";
import { Icon } from "./icon";
import { Card, Empty, Loaded } from "./parts";
import { Table } from "./table";

function below(job: string, path: string): string {
  const parts = path === "" ? [] : path.split("/").map(segment);
  return ["jobs", job, "files", ...parts].join("/");
}

/** A browser of folders; files are downloaded, never shown. */
export function Files({ job, gone }: { job: string; gone: boolean }) {
  const t = useT();
  const [path, setPath] = useState("");
  const folder = useResource<Folder>(gone ? null : below(job, path));
  if (gone) {
    return (
      <Card title={t("files")}>
        <Empty title={t("files.gone")}>{t("files.gone.text")}</Empty>
      </Card>
    );
  }
  const parts = path === "" ? [] : path.split("/");
  return (
    <Card title={t("files")} flush>
      <nav className="crumbs" aria-label={t("files.where")}>
        <button type="button" className="button quiet" onClick={() => setPath("")}>
          {t("payload")}
        </button>
        {parts.map((part, index) => (
          <span key={parts.slice(0, index + 1).join("/")} className="row">
            /
            <button
              type="button"
              className="button quiet"
              onClick={() => setPath(parts.slice(0, index + 1).join("/"))}
            >
              {part}
            </button>
          </span>
        ))}
      </nav>
      <Loaded of={folder}>
        {(found) => (
          <>
            <Table
              caption={t("files")}
              rows={found.items}
              id={(row) => row.path}
              empty={<Empty title={t("files.none")} />}
              columns={[
                {
                  head: t("name"),
                  cell: (row) => <Item row={row} job={job} open={() => setPath(row.path)} />,
                },
                {
                  head: t("size"),
                  num: true,
                  cell: (row) =>
                    row.size === null || row.kind === "folder" ? "" : bytes(row.size),
                },
                { head: t("changed"), cell: (row) => <Time at={row.modified_at} /> },
              ]}
            />
            {found.truncated && <p className="body muted">{t("files.truncated")}</p>}
          </>
        )}
      </Loaded>
    </Card>
  );
}

interface Row {
  row: FileItem;
  job: string;
  open: () => void;
}

function Item({ row, job, open }: Row) {
  if (row.kind === "folder") {
    return (
      <button type="button" className="link" onClick={open}>
        <Icon name="folder" size={14} /> <span className="break">{row.name}</span>
      </button>
    );
  }
  return (
    <a href={`/api/v1/${below(job, row.path)}`} download={row.name} className="link">
      <Icon name="file" size={14} /> <span className="break">{row.name}</span>
    </a>
  );
}
