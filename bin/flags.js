/**
 * V8's settings of both programs, measured (docs/PERFORMANCE.md, "Memory and pauses").
 *
 * Bulk passes through as millions of small buffers outside V8's heap, which count for its limit as
 * long as they wait for the next collection of young objects. With a live heap of 12 MB V8 then
 * starts a full collection every 25 ms: a third of the time, and pauses of 5 ms for every call. Let
 * grow to five times what lives, it collects a few times a minute. A young generation that does not
 * grow saves the agent 18 MB.
 */
export const FLAGS = ['--heap-growing-percent=400', '--semi-space-growth-factor=1']
