/** A call that is banned in src/, and what takes its place. */
export interface Ban {
  readonly pattern: RegExp
  readonly instead: string
  readonly allowedIn: readonly string[]
  /** Where it is banned; default: everywhere. */
  readonly within?: readonly string[]
}

/** Calls with a replacement: by convention alone they would come back. */
export const BANS: readonly Ban[] = [
  {
    pattern: /\bDate\.now\b|\bnew Date\(\)/,
    instead: 'Clock.wallMs()',
    allowedIn: ['src/base/system-clock.ts'],
  },
  {
    pattern: /\bperformance\.now\b/,
    instead: 'Clock.nowMs()',
    allowedIn: ['src/base/system-clock.ts'],
  },
  {
    pattern: /(?<!\bsocket\.)\b(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick)\(/,
    instead: 'Clock.startTimer() or Clock.soon()',
    allowedIn: ['src/base/system-clock.ts'],
  },
  {
    pattern: /\brandomBytes\(|\brandomUUID\(|\bMath\.random\b/,
    instead: 'the injected Random',
    allowedIn: [
      'src/base/random.ts',
      'src/identity/authority.ts',
      'src/identity/key-protection.ts',
    ],
  },
  {
    pattern: /\bsystem(Clock|Random)\b|\bAbortSignal\.timeout\(/,
    instead: 'the injected Clock and Random; below the network, timeoutMs',
    allowedIn: [
      'src/base/',
      'src/caller/connect.ts',
      'src/embedded-agent.ts',
      'src/cli/program/surroundings.ts',
      'src/transport/',
    ],
  },
  {
    pattern: /\bremoteAddress\b/,
    instead: 'peerAddress() or peerKey(), which know whom a load balancer speaks for',
    allowedIn: ['src/transport/peer-address.ts', 'src/agent/carriers/connector.ts'],
  },
  {
    pattern: /\bprocess\.env\b/,
    instead: 'Surroundings.environment',
    allowedIn: ['src/cli/program/surroundings.ts'],
  },
  {
    pattern: /\bprocess\.exit\b(?!Code)/,
    instead: 'a returned exit status',
    // Where nobody is there to return one to: before the program runs, and when its output is gone.
    allowedIn: ['src/cli/program/early-signals.ts', 'src/cli/program/output.ts'],
  },
  {
    pattern: /(?<!readonly )\bca: (?!rootsOf\()|\bca,|\{ ca \}/,
    instead: 'trustIn() or rootsOf(): Node takes the roots of the system in place of none',
    allowedIn: [],
    within: [
      ...['src/transport/', 'src/carrier/', 'src/dataplane/', 'src/token/', 'src/caller/'],
      'src/tunnel/',
    ],
  },
  { pattern: /\bconsole\./, instead: 'Output or Logger', allowedIn: [] },
  {
    pattern: /'yargs'/,
    instead: 'command({ path, describe, options, run })',
    allowedIn: ['src/cli/program/command-line.ts'],
  },
  {
    pattern: /rejectUnauthorized: false|checkServerIdentity: \(\) => undefined/,
    instead: 'nothing: TLS always verifies, but where a pin or a CA of the customer judges',
    allowedIn: ['src/transport/https-request.ts', 'src/transport/sealed-tls.ts'],
  },
  {
    pattern: /\.(on|once|addListener|prependListener|prependOnceListener)\(/,
    instead: 'on, once or onFirst of src/transport/edge.ts: no handler there may throw',
    allowedIn: ['src/transport/edge.ts'],
    within: ['src/transport/', 'src/tunnel/', 'src/carrier/'],
  },
  { pattern: /new (tls\.)?TLSSocket\(/, instead: 'tls.createServer or tls.connect', allowedIn: [] },
  {
    pattern: /\bthrow new Error\(/,
    instead: 'PosternError or RpcError',
    allowedIn: ['src/config/', 'src/identity/'],
  },
]
