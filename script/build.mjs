// Builds dist/: bascule and bascule.cjs, the program; commands.cjs and worker.cjs, which it loads, with what they need of
// node_modules/; V8's code caches of both, and the workflows' bundles. dist/ is replaced when all is done: what runs from
// it meanwhile goes on.
import { chmodSync, copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { build } from 'esbuild';
import { execaSync } from 'execa';

const root = fileURLToPath(new URL('..', import.meta.url));
const partial = `${root}dist.partial`;
const common = {
  absWorkingDir: root,
  outdir: partial,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  // What is read at each start, and kept in memory, is as small as it can be; stack traces are read by the source map.
  minifyWhitespace: true,
  minifySyntax: true,
  minifyIdentifiers: true,
  sourcemap: true,
  sourcesContent: false,
  // One byte a character, which is read faster.
  charset: 'ascii',
  logLevel: 'error',
  define: { 'import.meta.url': 'importMetaUrl' },
};

/** esbuild's wrapper of a bundle is a function, as Node.js's own loader has it: bascule.cjs calls it. */
const wrapped = {
  banner: {
    js: `(function (exports, require, module, __filename, __dirname) {\nconst importMetaUrl = require('node:url').pathToFileURL(__filename).href;`,
  },
  footer: { js: '})' },
};

/** The worker is a bundle of its own, which the commands load where it is asked for. */
const workerApart = {
  name: 'worker-apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/worker\.js$/ }, () => ({ path: './worker.cjs', external: true }));
  },
};

/** Of V8's memory for what was just made: enough for one workflow task after the other. */
const threadYoungMb = 6;

/**
 * Temporal's worker without what bundles workflows, which the build did already; and its thread is a file beside it, by
 * another name than in node_modules/.
 */
const temporalWorker = {
  name: 'temporal-worker',
  setup({ onLoad }) {
    onLoad({ filter: /@temporalio\/worker\/lib\/workflow\/bundler\.js$/ }, () => ({
      contents: 'exports.defaultWorkflowInterceptorModules = []; exports.WorkflowCodeBundler = class {};',
    }));
    onLoad({ filter: /@temporalio\/worker\/lib\/workflow\/threaded-vm\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const thread = "Worker(require.resolve('./workflow-worker-thread'))";
      if (!text.includes(thread)) throw new Error(`${path} starts its thread otherwise: see script/build.mjs`);
      const beside = "require('node:path').join(__dirname, 'workflow-thread.cjs')";
      return {
        contents: text.replace(
          thread,
          `Worker(${beside}, { resourceLimits: { maxYoungGenerationSizeMb: ${threadYoungMb} } })`,
        ),
      };
    });
  },
};

rmSync(partial, { recursive: true, force: true });
await build({ ...common, bundle: false, entryPoints: { bascule: 'src/bascule.cts' }, sourcemap: false });
copyFileSync(`${root}src/bascule.sh`, `${partial}/bascule`);
chmodSync(`${partial}/bascule`, 0o755);
await build({ ...common, bundle: false, entryPoints: { 'encoded-failures': 'src/client/encoded-failures.cts' } });
await build({
  ...common,
  ...wrapped,
  entryPoints: { commands: 'src/cli/main.ts' },
  plugins: [workerApart],
  supported: { 'dynamic-import': false },
});
await build({
  ...common,
  ...wrapped,
  entryPoints: { worker: 'src/worker.ts' },
  // Its log and Temporal's UI show stack traces as they are: with the names of functions.
  minifyIdentifiers: false,
  plugins: [temporalWorker],
  external: ['@temporalio/core-bridge'],
  supported: { 'dynamic-import': false },
});
await build({
  ...common,
  entryPoints: { 'workflow-thread': '@temporalio/worker/lib/workflow/workflow-worker-thread.js' },
  external: ['@temporalio/core-bridge'],
});
// What Temporal's worker reads source maps with lies beside the program.
const ofTemporal = createRequire(createRequire(import.meta.url).resolve('@temporalio/worker'));
copyFileSync(ofTemporal.resolve('source-map/lib/mappings.wasm'), `${partial}/mappings.wasm`);
await bundleWorkflows('workflow-bundle-encrypted.js', { failureConverterPath: `${partial}/encoded-failures.cjs` });
await bundleWorkflows('workflow-bundle.js', {});
rmSync(`${root}dist`, { recursive: true, force: true });
renameSync(partial, `${root}dist`);
// Last, since a code cache holds the path of what it is of.
for (const name of ['commands', 'worker']) writeCodeCache(name);

async function bundleWorkflows(name, options) {
  const workflowsPath = `${root}src/workflows/index.ts`;
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR'), ...options });
  writeFileSync(`${partial}/${name}`, code);
}

/** With what a command compiles to its first question to Temporal, of whom there is none at this address. */
function writeCodeCache(name) {
  const file = `${root}dist/${name}.cjs`;
  execaSync(process.execPath, [`${root}script/code-cache.cjs`, file, 'status', '--project', 'none'], {
    env: { TEMPORAL_ADDRESS: '127.0.0.1:1', BASCULE_CONFIG: `${root}dist/none.yaml` },
    reject: false,
    timeout: 60_000,
  });
}
