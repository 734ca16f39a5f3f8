/** An instance of Incus. */
export interface IncusPlace {
  readonly instance: string;
  /** Incus's own default where it is left out. */
  readonly project?: string;
  /** As Incus's own client calls it; the daemon of this machine where it is left out. */
  readonly remote?: string;
}

/** With the names that Incus's own client gives to what is left out. */
export const inFull = ({ instance, project = 'default', remote = 'local' }: IncusPlace): Required<IncusPlace> => ({
  instance,
  project,
  remote,
});
