import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
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

  /** The command's answer. */
  answer(document: object, text: string): void {
    process.stdout.write(this.options.json ? `${JSON.stringify(document, null, 2)}\n` : `${text}\n`);
  }

  /** Something to know on the way; nothing with `--quiet`. */
  note(text: string): void {
    if (!this.options.quiet) process.stderr.write(`${text}\n`);
  }
}
