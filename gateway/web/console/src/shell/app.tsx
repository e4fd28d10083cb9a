// The frame around every page: who is signed in, where one is, what is live.
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Suspense, useCallback, useEffect, useRef } from "react";
import { Route, Switch, useLocation } from "wouter";
import { onSignedOut, request, setCsrf } from "../api/client";
import { useLive } from "../api/live";
import type { Session } from "../api/types";
import { useT } from "../i18n";
import { Icon } from "../ui/icon";
import { Empty, Head, Loading, Trouble } from "../ui/parts";
import { SessionContext } from "../ui/role";
import { Bar } from "./bar";
import { Boundary } from "./boundary";
import { Brand, Nav } from "./nav";
import { ROUTES } from "./pages";
import { Shortcuts } from "./shortcuts";
import { SignIn } from "./sign-in";

async function readSession(): Promise<Session> {
  const session = await request<Session>("session");
  setCsrf(session.csrf);
  return session;
}

/** Sign-in page or console, by the session. */
export function App() {
  const client = useQueryClient();
  const session = useQuery({ queryKey: ["session"], queryFn: readSession, refetchInterval: false });
  useEffect(
    () => onSignedOut(() => void client.invalidateQueries({ queryKey: ["session"] })),
    [client],
  );
  if (session.data === undefined) {
    return session.error ? (
      <main className="signin">
        <Trouble error={session.error} retry={() => void session.refetch()} />
      </main>
    ) : (
      <Loading />
    );
  }
  if (session.data.role === null) return <SignIn />;
  return (
    <SessionContext value={session.data}>
      <Frame open={session.data.open} />
    </SessionContext>
  );
}

function Frame({ open }: { open: boolean }) {
  const t = useT();
  const live = useLive(true);
  const main = useRef<HTMLElement>(null);
  const [path] = useLocation();
  const before = useRef(path);
  useEffect(() => {
    // A new page begins where its head is, for the eyes and for a screen reader.
    if (before.current !== path) {
      before.current = path;
      window.scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
  }, [path]);
  const skip = useCallback(() => main.current?.focus(), []);
  return (
    <>
      <button type="button" className="skip" onClick={skip}>
        {t("skip")}
      </button>
      <div className="shell">
        <Brand />
        <Bar live={live} />
        <Nav />
        <main className="main" ref={main} tabIndex={-1}>
          {open && (
            <p className="banner" role="note">
              <Icon name="alert" />
              <span>{t("open.note")}</span>
            </p>
          )}
          <Boundary key={path}>
            <Suspense fallback={<Loading />}>
              <Switch>
                {ROUTES.map(({ path: route, page: Page }) => (
                  <Route key={route} path={route}>
                    {(params) => <Page params={params} />}
                  </Route>
                ))}
                <Route path="/sign-in">
                  <Head title={t("signin.done")} />
                </Route>
                <Route>
                  <Head title={t("nothing.title")} />
                  <Empty title={t("nothing.title")}>{t("nothing.text")}</Empty>
                </Route>
              </Switch>
            </Suspense>
          </Boundary>
        </main>
      </div>
      <Shortcuts />
    </>
  );
}
