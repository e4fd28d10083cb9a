// A page that fails must not take the frame with it.
import { Component, type ReactNode } from "react";
import { Trouble } from "../ui/parts";

interface State {
  error: Error | null;
}

/** Shows what failed inside instead of nothing. */
export class Boundary extends Component<{ children: ReactNode }, State> {
  override state: State = { error: null };

  static getDerivedStateFromError(error: Error): State {
    return { error };
  }

  override render(): ReactNode {
    if (this.state.error === null) return this.props.children;
    return <Trouble error={this.state.error} retry={() => window.location.reload()} />;
  }
}
