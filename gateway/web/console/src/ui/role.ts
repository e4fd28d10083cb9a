// Who is signed in and what the role reaches; the server decides, this only hides buttons.
import { createContext, useCallback, useContext } from "react";
import type { Role, Session } from "../api/types";

const RANK: Record<Role, number> = { viewer: 1, operator: 2, administrator: 3 };

export const NOBODY: Session = {
  user: null,
  role: null,
  csrf: null,
  open: false,
  expires_at: null,
};

export const SessionContext = createContext<Session>(NOBODY);

/** The session of this browser. */
export function useSession(): Session {
  return useContext(SessionContext);
}

/** A function that tells whether the role reaches. */
export function useRole(): (needed: Role) => boolean {
  const { role } = useSession();
  return useCallback((needed) => role !== null && RANK[role] >= RANK[needed], [role]);
}
