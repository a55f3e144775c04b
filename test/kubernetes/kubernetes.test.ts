import { readPolicy } from '../../src/config/policy-file.ts'
import { expect } from 'chai'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments } from 'yaml'
import { loadSettings } from '../../src/config/load.ts'
import { AGENT_SETTINGS } from '../../src/config/agent-settings.ts'
import { runTool } from '../support/openssl.ts'
import { faultsOf, type KubernetesObject } from './validate.ts'

const ROOT = fileURLToPath(new URL('../../kubernetes/', import.meta.url))

type Tree = Readonly<Record<string, unknown>>

function render(variant: string): KubernetesObject[] {
  const { status, output } = runTool('kubectl', ['kustomize', join(ROOT, variant)])
  expect([status, output.slice(0, 200)], output).to.satisfy(([code]: [number]) => code === 0)
  return parseAllDocuments(output).map((document) => document.toJS() as KubernetesObject)
}

/** What lies at a path such as spec.template.spec.containers.0.image. */
function at(tree: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((found, name) => (found as Tree | undefined)?.[name], tree)
}

describe('the objects for Kubernetes', function () {
  for (const [variant, kind] of [
    ['daemonset', 'DaemonSet'],
    ['deployment', 'Deployment'],
  ] as const)
    describe(variant, () => {
      const objects = (): KubernetesObject[] => render(variant)
      const workload = (): unknown => objects().find((one) => one.kind === kind)

      it('are rendered, and each fits the schema of its API', () => {
        const all = objects()
        expect(all.map((one) => one.kind).sort()).to.deep.equal(
          ['ConfigMap', kind, 'NetworkPolicy', 'PodDisruptionBudget', 'ServiceAccount'].sort(),
        )
        expect(faultsOf(all)).to.deep.equal([])
        for (const one of all) expect(at(one, 'metadata.namespace')).to.equal('postern')
      })

      it('run under the restricted profile, with nothing of the host', () => {
        const pod = at(workload(), 'spec.template.spec') as Tree
        expect(at(pod, 'securityContext.runAsNonRoot')).to.equal(true)
        expect(at(pod, 'securityContext.seccompProfile.type')).to.equal('RuntimeDefault')
        expect(at(pod, 'containers.0.securityContext')).to.deep.include({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        expect(at(pod, 'containers.1.securityContext')).to.deep.equal(
          at(pod, 'containers.0.securityContext'),
        )
        expect(JSON.stringify(pod)).to.not.match(/hostPath|hostNetwork|hostPID|hostIPC|privileged/)
        expect(at(pod, 'automountServiceAccountToken')).to.equal(false)
        expect(JSON.stringify(pod)).to.include('"audience":"postern"')
        for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
          expect(at(pod, `containers.0.${probe}.exec.command.0`)).to.equal('/usr/bin/agent')
      })

      it('select the pods that they make, and name the settings that are mounted', () => {
        const labels = at(workload(), 'spec.template.metadata.labels')
        expect(at(workload(), 'spec.selector.matchLabels')).to.deep.equal(labels)
        const rest = objects()
        const policy = rest.find((one) => one.kind === 'NetworkPolicy')
        expect(at(policy, 'spec.podSelector.matchLabels')).to.deep.equal(labels)
        expect(at(policy, 'spec.ingress')).to.deep.equal([])
        const budget = rest.find((one) => one.kind === 'PodDisruptionBudget')
        expect(at(budget, 'spec.selector.matchLabels')).to.deep.equal(labels)
        const settings = rest.find((one) => one.kind === 'ConfigMap')
        const mounted = at(workload(), 'spec.template.spec.volumes.0.configMap.name')
        expect(at(settings, 'metadata.name')).to.equal(mounted)
      })

      it('hold settings that the agent takes', () => {
        const settings = objects().find((one) => one.kind === 'ConfigMap') as unknown as {
          data: Record<string, string>
        }
        const tree = parse(settings.data['agent.yaml'] ?? '') as Tree
        for (const [key, setting] of Object.entries(AGENT_SETTINGS)) {
          const value = at(tree, key)
          if (value !== undefined) setting.parse(value)
        }
        const policy = readPolicy(settings.data['policy.yaml'] ?? '', 'policy.yaml')
        expect(policy.problems).to.deep.equal([])
      })
    })

  it('behind a connector fit too: one agent, its token by file, and the way out to the edge', () => {
    const all = render('cloudflare-connector')
    expect(faultsOf(all)).to.deep.equal([])
    const workload = all.find((one) => one.kind === 'Deployment')
    expect(at(workload, 'spec.replicas')).to.equal(1)
    const pod = at(workload, 'spec.template.spec') as Tree
    const env = at(pod, 'containers.0.env') as { name: string; value: string }[]
    const flags = loadSettings(AGENT_SETTINGS, {
      flags: { 'gateway.address': 'gateway:7443', trustDomain: 'example.com' },
      environment: Object.fromEntries(env.map(({ name, value }) => [name, value])),
      file: undefined,
    }).values
    expect(flags.via).to.deep.equal(['cloudflare-connector'])
    const mounts = JSON.stringify(at(pod, 'containers.0.volumeMounts'))
    expect(mounts).to.include(dirname(flags['cloudflared.tokenFile'] ?? '?'))
    expect(at(pod, 'containers.0.securityContext.readOnlyRootFilesystem')).to.equal(true)
    const policy = all.find((one) => one.kind === 'NetworkPolicy')
    expect(JSON.stringify(at(policy, 'spec.egress'))).to.include('"port":7844,"protocol":"UDP"')
  })

  it('a wrong object would be found: an unknown field, a wrong type, a missing field', () => {
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'x' } }
    const budget = { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: 'x' } }
    expect(faultsOf([account])).to.deep.equal([])
    expect(faultsOf([{ ...account, automount: true }]).join()).to.include('automount')
    expect(faultsOf([{ ...account, automountServiceAccountToken: 'no' }])).to.not.deep.equal([])
    expect(faultsOf([{ ...budget, spec: { maxUnavailable: [] } }])).to.not.deep.equal([])
  })
})
