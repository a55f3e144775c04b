import { expect } from 'chai'
import { globSync, readFileSync } from 'node:fs'
import { EXEMPT } from '../../src/guard/exempt.ts'

const sources = globSync('src/**/*.ts').map((path) => ({ path, text: readFileSync(path, 'utf8') }))

/** The own channel has a permit for each of its calls; those of `agent prove` stay within the process, and come to the guard. */
const OWN_CALLS = ['src/agent/prove/prover.ts', 'src/agent/guard/own-channel.ts']

describe('what runs without the customer’s decision', () => {
  it('is a list, each with its reason, and nothing is on it that is not in the code', () => {
    const used = new Map<string, string[]>()
    for (const { path, text } of sources)
      for (const [, why = ''] of text.matchAll(/exempt\(\s*'([^']+)'/g))
        used.set(why, [...(used.get(why) ?? []), path])
    expect(Object.fromEntries(used)).to.deep.equal({
      'gateway to agents': ['src/gateway/agents/agent-side.ts'],
      'gateway to callers': ['src/gateway/callers/caller-side.ts'],
      'local socket': ['src/tunnel/local-rpc.ts'],
    })
    expect(Object.keys(EXEMPT).sort()).to.deep.equal([...used.keys()].sort())
    for (const why of Object.values(EXEMPT)) expect(why.length).to.be.greaterThan(60)
  })

  it('is no agent’s: servers there have the guard, and calls out of it go by the own channel', () => {
    const agents = sources.filter(({ path }) => path.startsWith('src/agent/'))
    const servers = agents.flatMap(({ path, text }) =>
      [...text.matchAll(/new RpcServer\(([^)]*)\)/g)].map(([, args]) => [path, args]),
    )
    expect(servers).to.deep.equal([
      ['src/agent/services/services.ts', 'runtime, guard'],
      ['src/agent/services/services.ts', 'runtime, guard, this.#forGateways'],
    ])
    const channels = agents.filter(({ text }) => text.includes('.channel('))
    expect(channels.map(({ path }) => path)).to.deep.equal(OWN_CALLS)
  })

  it('cannot be made elsewhere: only the guard extends Permit', () => {
    const makers = sources.filter(({ text }) => /extends Permit\b/.test(text))
    expect(makers.map(({ path }) => path).sort()).to.deep.equal([
      'src/guard/call-permit.ts',
      'src/guard/exempt.ts',
    ])
    const granters = sources.filter(({ text }) => /new (Call|Own|Exempt)Permit\(/.test(text))
    expect(granters.map(({ path }) => path).sort()).to.deep.equal([
      'src/guard/exempt.ts',
      'src/guard/guard.ts',
    ])
  })
})
