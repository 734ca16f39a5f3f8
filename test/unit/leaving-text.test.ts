import { EventEmitter } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import pc from 'picocolors';
import { describe, expect, test } from 'vitest';
import { reportError } from '../../src/cli/failure.js';
import { Invocation } from '../../src/cli/invocation.js';
import { leaving, ownColors } from '../../src/cli/leaving-text.js';
import { LiveArea } from '../../src/cli/live-area.js';
import type { OutputStream } from '../../src/cli/process-context.js';
import { BasculeError } from '../../src/errors.js';
import { visibleText } from '../../src/visible-text.js';

/** Ends a color, sets the title, clears the screen, writes the line anew, and turns what follows: by each kind of character. */
const hostile = 'a\x1b[0m\x1b]0;owned\x07\x1b[2J\rover\b\x7f\x9b31m\u202egnp\u2066\u{e0041}\0z';
const visible =
  'a\\u001b[0m\\u001b]0;owned\\u0007\\u001b[2J\\u000dover\\u0008\\u007f\\u009b31m\\u202egnp\\u2066\\udb40\\udc41\\u0000z';

class Recorder extends Writable {
  text = '';
  readonly isTTY = true;
  readonly columns = 200;
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

function recorded() {
  const [stdout, stderr] = [new Recorder(), new Recorder()];
  const invocation = new Invocation({
    ...{ argv: [], env: { TERM: 'xterm' }, folder: '/', stdin: Readable.from([]), signals: new EventEmitter() },
    ...{ stdout: stdout as OutputStream, stderr: stderr as OutputStream },
    exit: () => {
      throw new Error('it would end');
    },
  });
  return { stdout, stderr, invocation };
}

describe('control characters of others', () => {
  test.each<[string, (invocation: Invocation) => void]>([
    ['an answer', ({ output }) => output.answer({}, hostile)],
    ['a warning', ({ output }) => output.warn(hostile, hostile)],
    ['a note', ({ output }) => output.note(hostile)],
    ['a detail', ({ output }) => output.detail(hostile)],
    [
      'an error',
      (one) => reportError(one, new BasculeError('refused', { code: 'x', message: hostile, remedy: hostile })),
    ],
    ['an error that nobody foresaw', (one) => reportError(one, new Error(hostile))],
    ['lines that are drawn in place', ({ output }) => new LiveArea(output.stderr).draw([hostile], [hostile])],
    ['a line of a log', ({ output }) => output.stdout.write(hostile)],
    ['--help', ({ context }) => context.stdout.write(hostile)],
  ])('leave as text by %s', (_, print) => {
    const { stdout, stderr, invocation } = recorded();
    invocation.configure({ verbose: true });
    print(invocation);
    const text = `${stdout.text}${stderr.text}`;
    expect(text).toContain(visible);
    // Its own sequences aside nothing is left that a terminal acts on.
    expect(visibleText(stripVTControlCharacters(text))).toBe(stripVTControlCharacters(text));
  });

  test('leave as the same text in JSON', () => {
    const { stdout, invocation } = recorded();
    invocation.configure({ json: true });
    invocation.output.answer({ lines: [hostile] }, null);
    expect(JSON.parse(stdout.text)).toEqual({ lines: [hostile] });
    expect(visibleText(stdout.text)).toBe(stdout.text);
  });

  test('are none of a tab, a line feed, or the end of a line as Windows has it', () => {
    expect(visibleText('a\tb\r\nc\nd')).toBe('a\tb\nc\nd');
  });
});

test('colors leave as they are, also one within the other, and around text of others', () => {
  const terminal = new Recorder();
  const own = ownColors(true);
  const paint = ({ red, cyan, bold, dim }: typeof own, text: string) => red(`x ${cyan(bold(text))} y ${dim('z')}`);
  leaving(terminal as OutputStream).write(paint(own, 'in'));
  const shown = (text: string) => text.replaceAll('\x1b[39m\x1b[31m', '\x1b[31m');
  expect(shown(terminal.text)).toBe(paint(pc.createColors(true), 'in'));
  expect(ownColors(false).red('x')).toBe('x');
});

test('text leaves by the streams of the command alone', () => {
  const folder = resolve(import.meta.dirname, '../../src/cli');
  const writes = /process\.(stdout|stderr)|console\.(?!mjs)|\bstdio: 'inherit'/;
  const others = readdirSync(folder).filter((file) => writes.test(readFileSync(resolve(folder, file), 'utf8')));
  // The first makes them; the second hears that nobody reads any more.
  expect(others.toSorted()).toEqual(['main.ts', 'process-context.ts']);
});
