// The graph library comes only with the pages that draw.
import { type ComponentProps, lazy, Suspense } from "react";
import { Loading } from "../ui/parts";

const Drawn = lazy(() => import("./dag"));

/** A graph, drawn as soon as its code is here. */
export function Dag(props: ComponentProps<typeof Drawn>) {
  return (
    <Suspense fallback={<Loading />}>
      <Drawn {...props} />
    </Suspense>
  );
}
