import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { makeQueryClient } from "./api/queries";
import { Speaking } from "./i18n";
import { App } from "./shell/app";
import { showKeptTheme } from "./ui/theme";
import { Toasts } from "./ui/toast";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/parts.css";

showKeptTheme();
const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={makeQueryClient()}>
        <Speaking>
          <Toasts>
            <App />
          </Toasts>
        </Speaking>
      </QueryClientProvider>
    </StrictMode>,
  );
}
