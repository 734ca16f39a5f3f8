// Writes V8's code cache of a bundle, FILE.cache, with all that it has compiled after it ran with these arguments.
//   node script/code-cache.cjs FILE [ARGUMENT...]
const { readFileSync, writeFileSync } = require('node:fs');
const { dirname, resolve } = require('node:path');
const { Script } = require('node:vm');

const file = resolve(process.argv[2]);
process.argv.splice(1, 2, file);
const script = new Script(readFileSync(file, 'latin1'), { filename: file });
process.on('exit', () => writeFileSync(`${file}.cache`, script.createCachedData()));
script.runInThisContext()({}, require, { exports: {} }, file, dirname(file));
