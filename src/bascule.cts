// Runs what the build bundled into dist/commands.cjs, and dist/worker.cjs where that is asked for. Each is compiled from
// V8's code cache, which the build wrote beside it: V8 itself refuses one that another version of it wrote, and compiles.
import fs = require('node:fs');
import path = require('node:path');
import vm = require('node:vm');

const bundles = ['./commands.cjs', './worker.cjs'];

function load(id: string): unknown {
  const file = path.join(__dirname, id);
  const script = new vm.Script(fs.readFileSync(file, 'latin1'), { filename: file, ...codeCache(file) });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, requireFrom, module, file, path.dirname(file));
  return module.exports;
}

function codeCache(file: string): { readonly cachedData?: Buffer } {
  try {
    return { cachedData: fs.readFileSync(`${file}.cache`) };
  } catch {
    // A build that was cut short, or an installation without it.
    return {};
  }
}

const requireFrom = Object.assign((id: string): unknown => (bundles.includes(id) ? load(id) : require(id)), {
  resolve: require.resolve,
});

load('./commands.cjs');
