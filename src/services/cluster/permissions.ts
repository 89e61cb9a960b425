/** What a node of a space may do with the engine, as its server's configuration wants it; of other spaces nothing. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** Subjects of answers: those of a space are its nodes' own. */
export const inboxOf = (space: string): string => `_INBOX.${space}`;

/**
 * Publish and subscribe permissions for a user of a space. `creating`: it makes the streams where they are missing; others find them made.
 * Nobody who has these alone can delete a stream, or take records out of a log.
 */
export function permissionsFor(space: string, creating = true): Permissions {
  const calls = ['INFO', 'MSG.GET', ...(creating ? ['CREATE', 'UPDATE'] : [])];
  const streams = ['log', 'reg', 'lease', 'chunk'].map((name) => `${space}-${name}`);
  return {
    publish: [
      `${space}.msg.>`,
      `${space}.log.>`,
      `${space}.reg.>`,
      `${space}.lease.>`,
      `${space}.chunk.>`,
      `${inboxOf(space)}.>`,
      ...streams.flatMap((stream) => [
        ...calls.map((call) => `$JS.API.STREAM.${call}.${stream}`),
        `$JS.API.DIRECT.GET.${stream}`,
        `$JS.API.DIRECT.GET.${stream}.>`,
      ]),
      `$JS.API.STREAM.PURGE.${space}-chunk`,
    ],
    subscribe: [`${space}.msg.>`, `${space}.live.>`, `${inboxOf(space)}.>`],
  };
}
