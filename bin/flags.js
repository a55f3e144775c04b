/**
 * V8's settings of the two programs, measured (docs/PERFORMANCE.md, "Memory and pauses").
 *
 * The agent shares its machine with the customer's work: a young generation that does not grow
 * costs some speed and saves 18 MB. The gateway receives bulk as millions of small buffers outside
 * V8's heap: without a larger limit they provoke a full collection every 20 ms, and each of those
 * holds up every call for 5 ms.
 */
export const FLAGS = {
  agent: ['--semi-space-growth-factor=1'],
  gateway: [
    '--external-memory-accounted-in-global-limit',
    '--initial-heap-size=512',
    '--semi-space-growth-factor=1',
  ],
}
