// Builds the console into gateway/web/static: hashed files that the gateway serves, nothing inline.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const SMALLEST = 1024;

/** Writes .br and .gz beside what compresses, so that the gateway never compresses while it serves. */
function compressed(): Plugin {
  let folder = "";
  return {
    name: "compressed",
    apply: "build",
    configResolved(config) {
      folder = config.build.outDir;
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
        if (!/\.(js|css|svg|json)$/.test(name)) continue;
        const path = join(folder, name);
        const content = readFileSync(path);
        if (content.length < SMALLEST) continue;
        writeFileSync(`${path}.br`, brotliCompressSync(content));
        writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

const LICENCES = "virtual:licences";

interface Locked {
  packages: Record<string, { version?: string; license?: string; dev?: boolean }>;
}

/** Name, version and licence of every package that is shipped inside the build. */
function licences(): Plugin {
  return {
    name: "licences",
    resolveId: (id) => (id === LICENCES ? `\0${LICENCES}` : undefined),
    load(id) {
      if (id !== `\0${LICENCES}`) return undefined;
      const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as Locked;
      const shipped = Object.entries(lock.packages).filter(([path, one]) => path && !one.dev);
      const items = shipped.map(([path, { version = "", license = null }]) => ({
        name: path.replace(/^.*node_modules\//, ""),
        version,
        licence: license,
      }));
      return `export default ${JSON.stringify(items)}`;
    },
  };
}

export default defineConfig({
  plugins: [react(), licences(), compressed()],
  base: "/",
  // `npm run dev` beside a running gateway: GATEWAY_URL=http://127.0.0.1:8080
  server: { proxy: { "/api": process.env.GATEWAY_URL ?? "http://127.0.0.1:8080" } },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    // Inlined assets would be data: URLs, which the content security policy need not allow.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
