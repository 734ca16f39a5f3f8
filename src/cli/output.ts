import { type Colors, ownColors } from './leaving-text.js';
import type { OutputStream, ProcessContext } from './process-context.js';

export type { Colors };

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
  readonly verbose: boolean;
}

/** What a command prints: one answer on stdout, as text or as one JSON document; all else on stderr. */
export class Output {
  constructor(
    private readonly context: Pick<ProcessContext, 'env' | 'stdout' | 'stderr'>,
    readonly options: OutputOptions,
  ) {}

  get stdout(): OutputStream {
    return this.context.stdout;
  }

  get stderr(): OutputStream {
    return this.context.stderr;
  }

  /** Whether a terminal understands control sequences. */
  get canRedraw(): boolean {
    return this.context.env.TERM !== 'dumb';
  }

  /** Colors for stdout. */
  get out(): Colors {
    return this.#colors(this.stdout);
  }

  /** Colors for stderr. */
  get err(): Colors {
    return this.#colors(this.stderr);
  }

  #colors({ isTTY = false }: OutputStream): Colors {
    return ownColors(this.options.color && !this.context.env.NO_COLOR && this.canRedraw && isTTY);
  }

  /** The command's answer; null where there is nothing to say in words. */
  answer(document: object, text: string | null): void {
    if (this.options.json) this.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
    else if (text !== null) this.stdout.write(`${text}\n`);
  }

  /** Something that should be otherwise, and what to do about it. */
  warn(message: string, remedy: string): void {
    this.stderr.write(`${this.err.yellow('warning:')} ${message}\n${this.err.cyan('→')} ${remedy}\n`);
  }

  /** What is asked of whom: only with `--verbose`. */
  detail(text: string): void {
    if (this.options.verbose) this.stderr.write(`${this.err.dim(text)}\n`);
  }

  /** Something to know on the way; nothing with `--quiet`. */
  note(text: string): void {
    if (!this.options.quiet) this.stderr.write(`${text}\n`);
  }
}
