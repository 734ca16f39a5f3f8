import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
  readonly verbose: boolean;
}

/** What a command prints: one answer on stdout, as text or as one JSON document; all else on stderr. */
export class Output {
  /** Colors for stdout, and for stderr. */
  readonly out: Colors;
  readonly err: Colors;

  constructor(readonly options: OutputOptions) {
    const isAllowed = options.color && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
    this.out = pc.createColors(isAllowed && process.stdout.isTTY === true);
    this.err = pc.createColors(isAllowed && process.stderr.isTTY === true);
  }

  /** The command's answer; null where there is nothing to say in words. */
  answer(document: object, text: string | null): void {
    if (this.options.json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else if (text !== null) process.stdout.write(`${text}\n`);
  }

  /** Something that should be otherwise, and what to do about it. */
  warn(message: string, remedy: string): void {
    process.stderr.write(`${this.err.yellow('warning:')} ${message}\n${this.err.cyan('→')} ${remedy}\n`);
  }

  /** What is asked of whom: only with `--verbose`. */
  detail(text: string): void {
    if (this.options.verbose) process.stderr.write(`${this.err.dim(text)}\n`);
  }

  /** Something to know on the way; nothing with `--quiet`. */
  note(text: string): void {
    if (!this.options.quiet) process.stderr.write(`${text}\n`);
  }
}
