import type { Ask, CallKind } from '../../src/contract/call-guard.ts'
import { plainData, type DataType } from '../../src/contract/data-type.ts'
import { Guard, type GuardPorts } from '../../src/guard/guard.ts'
import type { Decided, Ended, GuardEvent, Recorder } from '../../src/guard/recorder.ts'
import { EMPTY_POLICY, type PolicyDocument } from '../../src/guard/rule.ts'
import { readPolicy } from '../../src/config/policy-file.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { SeededRandom } from '../support/seeded-random.ts'

/** A call of billing to a.b.Service/Read, but for what is said otherwise. */
export function ask(
  said: {
    caller?: string
    known?: 'gateway' | 'first-hand' | 'token'
    name?: string
    kind?: CallKind
    type?: DataType
    declared?: DataType
    region?: string
    callerRegion?: string
    tunnel?: string
    isOffered?: boolean
  } = {},
): Ask {
  const { caller = 'billing', known = 'gateway', name = 'a.b.Service/Read', kind = 'unary' } = said
  const { type = 'cluster-record', declared, region = 'eu-west-1', tunnel = '1' } = said
  return {
    caller: { kind: 'service', name: caller, known, region: said.callerRegion },
    ...{ name, kind, declared, region, tunnel },
    sealed: known === 'first-hand',
    data: said.isOffered === false ? undefined : plainData(type),
    gateway: 'gw-1',
  }
}

/** The policy of a text; a mistake in it fails the test. */
export function policy(text: string): PolicyDocument {
  const { document, problems } = readPolicy(`version: 1\n${text}`, 'policy.yaml')
  if (document === undefined) throw new Error(JSON.stringify(problems))
  return document
}

/** A record in memory. */
export class RecorderInMemory implements Recorder {
  mayGoOn = true
  readonly refusals: Decided[] = []
  readonly calls: (Decided & { ended: Ended })[] = []
  readonly streams: Decided[] = []
  readonly ends: (Ended & { stream: string })[] = []
  readonly events: GuardEvent[] = []
  readonly owns: string[] = []

  refused(decided: Decided): void {
    this.refusals.push(decided)
  }

  called(decided: Decided, ended: Ended): void {
    this.calls.push({ ...decided, ended })
  }

  opened(decided: Decided): string {
    return `s${String(this.streams.push(decided))}`
  }

  closed(stream: string, ended: Ended): void {
    this.ends.push({ ...ended, stream })
  }

  own(name: string, bytesIn: number, bytesOut: number, isAllowed: boolean): void {
    this.owns.push([name, bytesIn, bytesOut, isAllowed].join(' '))
  }

  event(event: GuardEvent): void {
    this.events.push(event)
  }
}

/** A guard with a clock and a record to look at. */
export function guardWith(document: PolicyDocument = EMPTY_POLICY): {
  guard: Guard
  clock: FakeClock
  recorder: RecorderInMemory
  ports: GuardPorts
} {
  const clock = new FakeClock()
  const recorder = new RecorderInMemory()
  const ports = { clock, random: new SeededRandom(1), recorder }
  return { guard: new Guard(ports, document), clock, recorder, ports }
}
