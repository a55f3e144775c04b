import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { Authority } from '../../identity/authority.ts'
import { readAuthority, writeAuthority } from '../../identity/authority-files.ts'
import { KeyProtection } from '../../identity/key-protection.ts'
import { keyKindOf } from '../../identity/keys.ts'
import { FOR_ALL, writeState } from '../../identity/state-files.ts'
import { signBundle } from '../../identity/trust-bundle.ts'
import type { Authorities, IssuingPair } from './authorities.ts'
import { BACKDATE_MS } from '../../identity/schedule.ts'
import { BundleStore } from './bundle-store.ts'
import { listCertificates } from './certificate-book.ts'
import { type Connected, credentialsOfRow, type Denials } from '../access/access.ts'
import { ISSUING_MS, ROOT_MS } from './init.ts'
import type { Database } from '../../store/records.ts'
import type { AuthorityPhase, BundleContentKind } from '../../store/schema.ts'

/** What a crash leaves of a root that was being made. */
const HALF_MADE = ['root.key', '.root.key.new', '.root.pem.new']
/** Rounds of back and forth that bundles are signed ahead for, while the root is at hand. */
const ROUNDS = 3
/** An error names so many of those whom a step would cut off. */
const NAMED_MAX = 20
const FOLDER_BYTES = 4
const ROUND: readonly BundleContentKind[] = ['both', 'old', 'new']

/** The folders of the roots that a change is prepared with. */
export interface PrepareRequest {
  /** Where the root lies: root.pem and root.key, brought back from where they are kept. */
  readonly rootFolder: string
  /** Where a new root is made, or was by an earlier try; undefined: the root stays. */
  readonly newRootFolder: string | undefined
  readonly rootProtection: KeyProtection
}

/** The values and collaborators that Step is given. */
export interface StepOptions {
  readonly actor: string
  readonly nowMs: number
  /** Goes on although agents would be cut off. */
  readonly isForced: boolean
}

/** Where a change of CA stands. */
export type ChangePhase = 'standby' | 'prepared' | 'activated'

/** An agent that a step would leave behind, and why. */
export interface Straggler {
  readonly identity: string
  readonly reason: string
}

/**
 * The change of a CA, step by step: prepare, activate, retire, each of which can be rolled back. What
 * a step makes lies complete on disk before one transaction of the store puts it into force, so that
 * a crash in the middle leaves the step undone.
 */
export class CaChange {
  readonly #authorities: Authorities
  readonly #denials: Denials
  readonly #bundles: BundleStore
  readonly #random: Random
  readonly #connected: readonly Connected[] | undefined

  /** `connected`: who is connected now, where the daemon could be asked. */
  constructor(
    { denials, random }: { readonly denials: Denials; readonly random: Random },
    authorities: Authorities,
    connected?: readonly Connected[],
  ) {
    this.#random = random
    this.#connected = connected
    this.#authorities = authorities
    this.#denials = denials
    this.#bundles = new BundleStore(authorities.parts.records)
  }

  get phase(): ChangePhase {
    const { rows, previous } = this.#authorities
    if (previous !== undefined) return 'activated'
    return rows.some(({ phase }) => phase === 'prepared') ? 'prepared' : 'standby'
  }

  /**
   * Makes the next issuing CAs, and a new root where one is asked for; agents are handed the wider
   * bundle. Nothing is issued by them yet.
   * @throws CA_STEP_REFUSED, and what reading the root throws
   */
  async prepare(request: PrepareRequest, options: StepOptions): Promise<void> {
    this.#mustBe('standby', 'prepare')
    const { active, rows } = this.#authorities
    const root = readAuthority(request.rootFolder, 'root', request.rootProtection)
    if (root.pin !== active.row.root_pin) {
      const text = `the root in ${request.rootFolder} is ${root.pin}, not that of the active CA, ${active.row.root_pin}`
      throw new PosternError('CA_STEP_REFUSED', text)
    }
    const id = Math.max(...rows.map((row) => row.id)) + 1
    const next = await this.#makeNext(id, root, active, request, options.nowMs)
    const signed = this.#signAhead(root, active, next, options.nowMs)
    await this.#step('prepared', options, `generation ${String(id)}`, async (within) => {
      await within
        .insertInto('authorities')
        .values({
          id,
          folder: next.folder,
          phase: 'prepared',
          root_pin: next.root.pin,
          agents_key: next.agents.keyId,
          at: options.nowMs,
        })
        .execute()
      await this.#bundles.replaceAhead(signed(await this.#bundles.lastVersion(within)), within)
      await this.#bundles.advance('both', within)
    })
  }

  /** Issues by the prepared CAs from now on. @throws CA_STEP_REFUSED */
  async activate(options: StepOptions): Promise<void> {
    this.#mustBe('prepared', 'activate')
    await this.#judge(await this.#notAcknowledged(options.nowMs), options)
    await this.#step('activated', options, '', async (within) => {
      await this.#move('active', 'previous', within)
      await this.#move('prepared', 'active', within)
    })
  }

  /** Trusts the CAs before no more. @throws CA_STEP_REFUSED */
  async retire(options: StepOptions): Promise<void> {
    this.#mustBe('activated', 'retire')
    const { previous } = this.#authorities
    const left = await this.#holdersOf(previous?.agents_key ?? '', options.nowMs)
    const unaware = await this.#notAcknowledged(options.nowMs)
    await this.#judge([...left, ...unaware], options)
    await this.#step('retired', options, '', async (within) => {
      await this.#move('previous', 'retired', within)
      await this.#bundles.advance('new', within)
    })
  }

  /** Undoes the last step. @throws CA_STEP_REFUSED */
  async rollback(options: StepOptions): Promise<void> {
    const { rows } = this.#authorities
    switch (this.phase) {
      case 'activated':
        await this.#step('activation.undone', options, '', async (within) => {
          await this.#move('active', 'prepared', within)
          await this.#move('previous', 'active', within)
        })
        return
      case 'prepared': {
        const prepared = rows.find(({ phase }) => phase === 'prepared')
        const left = await this.#holdersOf(prepared?.agents_key ?? '', options.nowMs)
        await this.#judge(left, options)
        await this.#step('preparation.undone', options, '', async (within) => {
          await this.#move('prepared', 'abandoned', within)
          await this.#bundles.advance('old', within)
        })
        return
      }
      case 'standby': {
        const last = rows.filter(({ phase }) => phase === 'retired').at(-1)
        const active = rows.find(({ phase }) => phase === 'active')
        const isFinished = (await this.#bundles.currentContent()) === 'new'
        if (last === undefined || active === undefined || last.id > active.id || !isFinished)
          throw refused('no change of CA is under way, and none was finished')
        await this.#step('retirement.undone', options, '', async (within) => {
          await within
            .updateTable('authorities')
            .set({ phase: 'previous' })
            .where('id', '=', last.id)
            .execute()
          await this.#bundles.advance('both', within)
        })
      }
    }
  }

  /** Whom the next step would leave behind. */
  async stragglers(nowMs: number): Promise<readonly Straggler[]> {
    const { previous } = this.#authorities
    const unaware = this.phase === 'standby' ? [] : await this.#notAcknowledged(nowMs)
    const left = previous === undefined ? [] : await this.#holdersOf(previous.agents_key, nowMs)
    return [...left, ...unaware]
  }

  #mustBe(phase: ChangePhase, step: string): void {
    if (this.phase === phase) return
    const next = {
      standby: 'prepare',
      prepared: 'activate or rollback',
      activated: 'retire or rollback',
    }
    throw refused(
      `${step} follows on ${phase}; the change is ${this.phase}, next is ${next[this.phase]}`,
    )
  }

  async #judge(stragglers: readonly Straggler[], { isForced }: StepOptions): Promise<void> {
    if (stragglers.length === 0 || isForced) return Promise.resolve()
    const named = stragglers
      .slice(0, NAMED_MAX)
      .map(({ identity, reason }) => `${identity} (${reason})`)
    const more =
      stragglers.length > NAMED_MAX ? `; and ${String(stragglers.length - NAMED_MAX)} more` : ''
    throw refused(`this would cut off ${named.join('; ')}${more}. --force goes on`)
  }

  async #step(
    what: string,
    { actor, nowMs, isForced }: StepOptions,
    detail: string,
    act: (within: Database) => Promise<void>,
  ): Promise<void> {
    const { records } = this.#authorities.parts
    await records.database.transaction().execute(async (within) => {
      // Judged by what was read before: nobody may have made a step since.
      if ((await records.revision('ca', within)) !== this.#authorities.revision)
        throw refused('somebody else has changed the CAs meanwhile; look at gateway ca status')
      await act(within)
      await records.bump('ca', within)
      const text = isForced ? `${detail} forced`.trim() : detail
      await records.note({ at: nowMs, kind: `ca.${what}`, actor, detail: text }, within)
    })
    await this.#authorities.refresh()
  }

  /** @throws CA_STEP_REFUSED where somebody else has moved meanwhile */
  async #move(from: AuthorityPhase, to: AuthorityPhase, within: Database): Promise<void> {
    const { numUpdatedRows } = await within
      .updateTable('authorities')
      .set({ phase: to })
      .where('phase', '=', from)
      .executeTakeFirst()
    if (numUpdatedRows !== 1n) throw refused(`the CAs have changed meanwhile: none is ${from}`)
  }

  /** Agents with a live certificate that have not said that they hold the current bundle. */
  async #notAcknowledged(nowMs: number): Promise<Straggler[]> {
    const { database } = this.#authorities.parts.records
    const { version } = this.#authorities.bundle
    const known = await database.selectFrom('agents').selectAll().execute()
    const heldBy = new Map(
      known.map(({ cluster, agent, bundle_version }) => [`${cluster}/${agent}`, bundle_version]),
    )
    return (await this.#live({}, nowMs)).flatMap((identity) => {
      // Callers and gateways have no tunnel that a bundle could come over.
      if (isCaller(identity)) return []
      const held = heldBy.get(identity) ?? 0
      // One that is higher was never handed out by us.
      if (held === version) return []
      const reason = `holds trust bundle ${String(held)}, not ${String(version)}`
      return [{ identity, reason }]
    })
  }

  async #holdersOf(issuer: string, nowMs: number): Promise<Straggler[]> {
    const { active } = this.#authorities
    const next = issuer === active.row.agents_key ? undefined : active.row.agents_key
    // Callers hold what they were issued until they use the next: only the daemon knows who does.
    const ready = new Set(
      next === undefined || this.#connected === undefined
        ? []
        : (await this.#live({ issuer: next }, nowMs)).filter(isCaller),
    )
    const names = (await this.#live({ issuer }, nowMs)).filter((name) => !ready.has(name))
    const holders = names.map((identity) => ({
      identity,
      reason: isCaller(identity)
        ? 'has a certificate of the CA that goes: gateway certs issue makes the next one'
        : 'has a certificate of the CA that goes',
    }))
    const connected = (this.#connected ?? []).filter((one) => one.issuer === issuer)
    const live = [...new Set(connected.map(({ identity }) => identity))]
      .filter((identity) => !names.includes(identity))
      .map((identity) => ({
        identity,
        reason: 'is connected with a certificate of the CA that goes, and would be cut off',
      }))
    return [...holders, ...live]
  }

  /** cluster/agent of certificates that are in use and let in; of a caller its whole name. */
  async #live(filter: { issuer?: string }, nowMs: number): Promise<string[]> {
    const { records } = this.#authorities.parts
    const rows = await listCertificates({ ...filter, liveAtMs: nowMs }, records.database)
    const names = rows
      .filter((row) => this.#denials.denialOf(credentialsOfRow(row)) === undefined)
      .map(({ cluster, agent, identity }) => (cluster === '' ? identity : `${cluster}/${agent}`))
    return [...new Set(names)].sort()
  }

  async #makeNext(
    id: number,
    root: Authority,
    active: IssuingPair,
    { newRootFolder, rootProtection }: PrepareRequest,
    nowMs: number,
  ): Promise<NextPair> {
    const { directory, trustDomain } = this.#authorities.parts
    const { protection } = this.#authorities
    const newRoot =
      newRootFolder === undefined
        ? root
        : await rootIn(
            newRootFolder,
            root,
            `${trustDomain} root ${String(id)}`,
            rootProtection,
            nowMs,
          )
    const validity = {
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + ISSUING_MS),
    }
    const named = (what: string) => `${trustDomain} ${what} ${String(id)}`
    const agents = await newRoot.createSuccessor(
      active.agents,
      named('agents and callers'),
      validity,
    )
    const gateways = await newRoot.createSuccessor(active.gateways, named('gateways'), validity)
    // A name of its own, so that two who prepare at once do not write to one place.
    const folder = `generation-${String(id)}-${this.#random.hex(FOLDER_BYTES)}`
    const path = join(directory, folder)
    await writeAuthority(path, 'agents', agents, protection)
    await writeAuthority(path, 'gateways', gateways, protection)
    if (newRoot !== root) {
      const cross = await root.certify(gateways)
      writeState(join(path, 'gateways-cross.pem'), `${cross.toString('pem')}\n`, FOR_ALL)
    }
    return { folder, root: newRoot, agents, gateways }
  }

  /** For a version to begin after: the bundles of every step that may come, in turn. */
  #signAhead(root: Authority, active: IssuingPair, next: NextPair, nowMs: number) {
    const { trustDomain } = this.#authorities.parts
    const old = { roots: [root.der], issuing: [active.agents.der, active.gateways.der] }
    const fresh = { roots: [next.root.der], issuing: [next.agents.der, next.gateways.der] }
    const both = {
      roots: next.root === root ? old.roots : [...old.roots, ...fresh.roots],
      issuing: [...old.issuing, ...fresh.issuing],
    }
    const contents = { old, new: fresh, both }
    const signers = next.root === root ? [root] : [root, next.root]
    return (after: number) =>
      Array.from({ length: ROUNDS * ROUND.length }, (_, index) => {
        const content = ROUND[index % ROUND.length] ?? 'both'
        const version = after + 1 + index
        const body = { trustDomain, version, madeAtMs: nowMs, ...contents[content] }
        return { version, content, signed: signBundle(body, signers) }
      })
  }
}

/** Of the names that `live` gives: agents are cluster/agent. */
function isCaller(name: string): boolean {
  return name.startsWith('spiffe:')
}

interface NextPair {
  readonly folder: string
  readonly root: Authority
  readonly agents: Authority
  readonly gateways: Authority
}

/** The new root of an earlier try, or one that is made now: of the same kind as the old. */
async function rootIn(
  folder: string,
  old: Authority,
  name: string,
  protection: KeyProtection,
  nowMs: number,
): Promise<Authority> {
  if (existsSync(join(folder, 'root.pem'))) {
    const found = readAuthority(folder, 'root', protection)
    if (found.pin === old.pin) throw refused(`${folder} holds the old root, not a new one`)
    return found
  }
  // A key whose certificate was not written, as after a crash, vouches for nothing: it is made anew.
  if (existsSync(folder) && readdirSync(folder).some((name) => !HALF_MADE.includes(name)))
    throw new PosternError('STATE_EXISTS', `${folder} is not empty, and holds no root`, {
      path: folder,
    })
  const validity = { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + ROOT_MS) }
  const root = await Authority.createRoot(name, validity, keyKindOf(old.key))
  await writeAuthority(folder, 'root', root, protection)
  return root
}

function refused(text: string): PosternError {
  return new PosternError('CA_STEP_REFUSED', text)
}
