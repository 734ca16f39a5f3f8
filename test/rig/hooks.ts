import { ApplicationFailure } from '@temporalio/activity';

// biome-ignore lint/suspicious/noExplicitAny: activities differ in what they take.
type Activities = Record<string, (input: any) => Promise<unknown>>;
type When = 'before' | 'after';

/** What a test does before or after an activity of a worker within this process, at each of its tries. */
export class Hooks {
  private readonly acts = new Map<string, () => Promise<void> | void>();

  set(when: When, activity: string, act: () => Promise<void> | void): void {
    this.acts.set(`${when} ${activity}`, act);
  }

  /** Breaks an activity for good, before its effect or after it; the code of the failure is `broken`. */
  break(when: When, activity: string): void {
    this.set(when, activity, () => {
      throw ApplicationFailure.create({ type: 'broken', message: `${activity} is broken`, nonRetryable: true });
    });
  }

  clear(): void {
    this.acts.clear();
  }

  wrap(activities: Activities): Activities {
    const wrapped = Object.entries(activities).map(([name, run]) => [
      name,
      async (input: unknown) => {
        await this.acts.get(`before ${name}`)?.();
        const output = await run(input);
        await this.acts.get(`after ${name}`)?.();
        return output;
      },
    ]);
    return Object.fromEntries(wrapped);
  }
}
