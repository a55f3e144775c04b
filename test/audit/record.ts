import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readPublicKey, publicKeyPath } from '../../src/audit/audit-key.ts'
import type { Checkpoint } from '../../src/audit/chain.ts'
import { readRecord } from '../../src/audit/read-record.ts'
import { AuditRecorder } from '../../src/audit/recorder.ts'
import { RecordVerifier, type Verified } from '../../src/audit/verify-record.ts'
import type { RecordSettings } from '../../src/audit/record-report.ts'
import { RecordWriter } from '../../src/audit/writer.ts'
import { Guard } from '../../src/guard/guard.ts'
import { Permit } from '../../src/contract/call-guard.ts'
import { ask, policy } from '../guard/asks.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogRecorder } from '../support/log-recorder.ts'
import { SeededRandom } from '../support/seeded-random.ts'

const RULES =
  'rules: [{ name: reads, callers: [billing], methods: [a.b.Service/Read, a.b.Service/Tail] }]'

/** A record in a folder of its own, and a guard that it is of. */
export class TestRecord {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-audit-'))
  readonly clock: FakeClock
  readonly log = new LogRecorder()
  readonly anchors: Checkpoint[] = []
  writer: RecordWriter
  recorder: AuditRecorder
  guard: Guard
  readonly #settings: RecordSettings

  constructor(settings: Partial<RecordSettings> = {}, clock = new FakeClock()) {
    this.clock = clock
    this.#settings = {
      directory: join(this.folder, 'audit'),
      keepMs: 86_400_000,
      bytesMax: 1 << 30,
      segmentBytesMax: 1 << 26,
      segmentAgeMs: 86_400_000,
      ...settings,
    }
    ;({ writer: this.writer, recorder: this.recorder, guard: this.guard } = this.#open())
  }

  get directory(): string {
    return this.#settings.directory
  }

  get files(): string[] {
    return readdirSync(this.directory)
      .filter((name) => name.startsWith('record-'))
      .sort()
      .map((name) => join(this.directory, name))
  }

  get text(): string {
    return this.files.map((path) => readFileSync(path, 'utf8')).join('')
  }

  /** The lines that are numbered, as data. */
  get lines(): Record<string, unknown>[] {
    return this.text
      .split('\n')
      .filter((line) => line.startsWith('{"n":'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  /** As a restart after SIGKILL: nothing of what waited is written. */
  reopen(): void {
    ;({ writer: this.writer, recorder: this.recorder, guard: this.guard } = this.#open())
  }

  /** Makes calls, and writes a batch for each. */
  calls(count: number): void {
    for (let i = 0; i < count; i++) {
      const permit = this.guard.decide(ask())
      if (!Permit.is(permit)) throw new Error(permit.text)
      permit.pass('in', 10)
      permit.pass('out', 20)
      this.clock.advance(1)
      permit.ended('OK')
      this.writer.flush()
    }
  }

  async verify(anchors: readonly Checkpoint[] = [], withKey = true): Promise<Verified> {
    const keys = withKey ? [readPublicKey(publicKeyPath(this.directory))] : []
    const verifier = new RecordVerifier({ keys, anchors })
    for await (const line of readRecord(this.directory)) verifier.add(line)
    return verifier.end()
  }

  remove(): void {
    rmSync(this.folder, { recursive: true })
  }

  #open() {
    const { clock, log: logger } = this
    const writer = new RecordWriter({
      settings: this.#settings,
      clock,
      logger,
      identity: 'spiffe://t/cluster/c/agent/a',
      onCheckpoint: (checkpoint) => this.anchors.push(checkpoint),
    })
    writer.flush()
    const recorder = new AuditRecorder(writer, clock, 'r1', true)
    const guard = new Guard({ clock, random: new SeededRandom(1), recorder }, policy(RULES))
    return { writer, recorder, guard }
  }
}
