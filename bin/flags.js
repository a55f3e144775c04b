/**
 * V8's settings of both programs, measured (docs/PERFORMANCE.md, "Memory and pauses").
 *
 * Bulk passes through as millions of small buffers outside V8's heap, and with a live heap of 14 MB
 * V8 finds a reason for a full collection every 50 ms: a third of the time at 300 MB/s, and pauses of
 * 5 ms for every call. Let grow to three times what lives before it is collected, it collects a few
 * times a minute. A young generation that does not grow saves the agent 18 MB.
 */
export const FLAGS = ['--heap-growing-percent=200', '--semi-space-growth-factor=1']
